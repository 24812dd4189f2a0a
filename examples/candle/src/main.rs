//! `cargo run --release` trains; `cargo run --release -- times` prints what a step takes.

use contrastive_candle::objective::Error;
use contrastive_candle::{text, times, train};

fn main() -> Result<(), Error> {
    let pairs = text::read(&text::file())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => train::run(&pairs, 4),
        ["times"] => times::print(&pairs),
        _ => Err("expected no argument, or: times".into()),
    }
}
