//! Everything that can compute a case in this process: ours, candle, burn, and the machine's limit.

mod burn;
mod candle;
mod limit;
mod ours;

use std::path::Path;

use crate::case::Case;
use crate::inputs::{self, Number};

/// One case, loaded and ready to be repeated.
pub trait Session {
    /// Computes the value and, where the case says so, the gradients; returns the value.
    fn step(&mut self) -> f64;

    /// Called before the calls of a turn, untimed.
    fn begin_turn(&mut self) {}

    /// What the table says beside the figure.
    fn note(&self) -> String {
        String::new()
    }

    /// How much longer the case takes than one step.
    fn scale(&self) -> f64 {
        1.0
    }

    /// Drops what the last step returned, so that freeing it is not timed.
    fn release(&mut self) {}

    /// The gradients of the last step in the order of the inputs, row by row.
    fn gradients(&self) -> Vec<Vec<f64>> {
        Vec::new()
    }
}

/// A session, or the reason why the engine does not run the case.
pub type Opened = Result<Box<dyn Session>, String>;

/// Loads `case` from `folder` into the engine called `engine`.
pub fn open(engine: &str, case: &Case, folder: &Path) -> Opened {
    match engine {
        "limit" => limit::open(case),
        "ours" | "fresh" if case.double => {
            ours::open(case, load::<f64>(case, folder)?, engine == "fresh")
        }
        "ours" | "fresh" => ours::open(case, load::<f32>(case, folder)?, engine == "fresh"),
        "candle" | "burn" if case.double => Err("f32 only".into()),
        "candle" => candle::open(case, load::<f32>(case, folder)?),
        "burn" => burn::open(case, load::<f32>(case, folder)?),
        _ => Err(format!("unknown engine {engine}")),
    }
}

fn load<A: Number>(case: &Case, folder: &Path) -> Result<inputs::Arrays<A>, String> {
    inputs::read_files(case, folder).map_err(|error| error.to_string())
}
