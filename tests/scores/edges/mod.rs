//! Documented edge cases, each with numbers that can be checked by hand.

use contrastive::{SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss};
use ndarray::Array2;

mod heads;
mod positives;
mod softmax;
mod teachers;

/// A few roundings in f64.
const ROUNDING: f64 = 1e-14;

const INF: f64 = f64::INFINITY;

fn softmax(temperature: f64) -> SoftmaxCrossEntropyLoss {
    SoftmaxCrossEntropyLoss::new(temperature).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= ROUNDING * expected.abs().max(1.0),
        "{found}, not {expected}"
    );
}

fn input(scores: &Array2<f64>) -> SoftmaxCrossEntropyInput<'_, f64> {
    SoftmaxCrossEntropyInput::new(scores.view())
}
