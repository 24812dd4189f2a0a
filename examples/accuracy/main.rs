//! How many digits of each loss and of its gradient are right, beside PyTorch's and JAX's on the same inputs.
//!
//! `cargo run --release --example accuracy` prints the table, and `-- --summary` after it three inputs of the main losses. Errors are relative to a
//! reference of thirty-one digits (`reference.rs`): for each row loss and the mean, and for each gradient row ‖found − exact‖/‖exact‖. Where the exact
//! result is zero they are relative to what it is zero from: to 1 for 1 − c, to 1/‖x‖ for the gradient of a cosine, 1/(τ‖x‖) for that of a softmax of
//! cosines. The bounds that hold are tests (`bounds.rs`).
//!
//! The peers' errors in `peers.tsv` come from the answers of `peers.py` to the same inputs, bit for bit, judged by the same reference:
//!
//! ```sh
//! pip install -r examples/accuracy/requirements.txt
//! accuracy="cargo run --release --example accuracy --"
//! $accuracy --export | python examples/accuracy/peers.py | $accuracy --judge > examples/accuracy/peers.tsv
//! ```

#[cfg(test)]
mod bounds;
mod cases;
mod inputs;
mod measure;
mod ours;
mod peers;
mod reference;
mod table;
mod wide;

use std::io::{Result, stdin, stdout};

fn main() -> Result<()> {
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        None => table::print(&mut stdout().lock()),
        Some("--summary") => table::summary(&mut stdout().lock()),
        Some("--export") => peers::export(&mut stdout().lock()),
        Some("--judge") => peers::judge(&mut stdin().lock(), &mut stdout().lock()),
        Some(other) => {
            let message =
                format!("expected nothing, --summary, --export or --judge, found {other}");
            Err(std::io::Error::other(message))
        }
    }
}
