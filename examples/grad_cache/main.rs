//! Batches of thousands with an encoder whose activations fit for 64 rows only.
//!
//! In-batch negatives want large batches, and a large batch does not fit: not because of the embeddings, which are small, but because of what
//! the encoder keeps for its way back. The gradient of the loss by an embedding needs embeddings only, so (Gao et al. 2021,
//! <https://arxiv.org/abs/2101.06983>):
//!
//! 1. embed the batch in chunks, keeping embeddings and forgetting activations;
//! 2. compute loss and gradient of the whole batch once;
//! 3. embed each chunk again, this time going back with its rows of the gradient.
//!
//! The gradient is that of the full batch, for one more forward pass. Whatever is random in the encoder must repeat itself in the second pass:
//! here dropout is a function of the row's place in the batch.
//!
//! `cargo run --release --example grad_cache` prints time and peak memory beside those of the full batch.

mod encoder;
mod memory;
mod random;
mod step;

use std::error::Error;
use std::process::Command;
use std::time::Instant;

use contrastive::InfoNceLoss;

use encoder::{Encoder, Sizes};
use step::{Batch, cached, full};

const ROWS: usize = 4096;
const CHUNK: usize = 64;
const SIZES: Sizes = Sizes {
    features: 256,
    width: 4096,
    dim: 128,
};

fn main() -> Result<(), Box<dyn Error>> {
    let form = std::env::args().nth(1);
    match form.as_deref() {
        None => both(),
        Some(form) => measure(form),
    }
}

/// Each form in a process of its own, so that neither lives on memory that the other left behind.
fn both() -> Result<(), Box<dyn Error>> {
    println!("{ROWS} pairs, f32, {SIZES:?}\n");
    for form in ["full", "cached"] {
        let status = Command::new(std::env::current_exe()?).arg(form).status()?;
        if !status.success() {
            return Err(format!("{form}: {status}").into());
        }
    }
    Ok(())
}

fn measure(form: &str) -> Result<(), Box<dyn Error>> {
    let encoder = Encoder::<f32>::new(SIZES, 1);
    let batch = Batch::new(ROWS, SIZES.features);
    let loss = InfoNceLoss::new(0.05)?;
    let before = memory::resident();
    let start = Instant::now();
    let (name, step) = match form {
        "full" => ("whole batch".into(), full(&encoder, &batch, &loss)?),
        "cached" => (
            format!("chunks of {CHUNK}"),
            cached(&encoder, &batch, &loss, CHUNK)?,
        ),
        _ => return Err("expected no argument, full or cached".into()),
    };
    let seconds = start.elapsed().as_secs_f64();
    let norm = step.gradient.norm();
    print!(
        "{name:>12}: loss {:.6}, gradient norm {norm:.6}, {seconds:.2} s, ",
        step.value
    );
    match (memory::peak(), before) {
        (Some(peak), Some(before)) => println!("peak {:.0} MiB above the inputs", peak - before),
        _ => println!("peak memory is not known on this system"),
    }
    Ok(())
}
