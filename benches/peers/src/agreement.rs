//! Whether two engines computed the same loss and the same gradients.

use std::fmt;

use crate::case::Case;

/// Relative error of the loss that is allowed. The peers sum tens of thousands of rows in f32.
pub const LOSS_TOLERANCE: f64 = 2e-5;
/// Allowed norm of the gradients' difference, relative to the gradients' norm. At temperature 0.05 the rounding of an
/// f32 score alone changes a probability by a few 1e-6.
pub const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Both of them in f64. PyTorch adds 1e-6 to every difference of a triplet, which alone is worth 1e-6.
pub const DOUBLE_TOLERANCE: f64 = 1e-5;

/// Rows of each gradient that are compared.
const SAMPLE: usize = 1024;

/// Evenly spaced rows, at least [`SAMPLE`] of them where there are so many.
pub fn sampled(gradient: &[f64], rows: usize) -> impl Iterator<Item = f64> {
    let step = (rows / SAMPLE).max(1);
    gradient
        .chunks(gradient.len() / rows)
        .step_by(step)
        .flatten()
        .copied()
}

/// What one engine computed: the loss, and rows of each gradient.
#[derive(Clone)]
pub struct Outcome {
    pub loss: f64,
    pub gradients: Vec<Vec<f64>>,
}

/// How far two outcomes are apart, relative to the first.
pub struct Difference {
    pub loss: f64,
    pub gradient: f64,
}

impl Difference {
    pub fn between(reference: &Outcome, other: &Outcome) -> Self {
        let comparable = reference.gradients.len() == other.gradients.len();
        let pairs = reference.gradients.iter().zip(&other.gradients);
        let largest = pairs.map(|(a, b)| relative(a, b)).fold(0.0, greater);
        Self {
            loss: (other.loss - reference.loss).abs() / reference.loss.abs(),
            gradient: if comparable { largest } else { f64::INFINITY },
        }
    }

    /// Whether both are within the tolerances of this page.
    pub fn is_tolerable(&self, case: &Case) -> bool {
        let (loss, gradient) = match case.double {
            true => (DOUBLE_TOLERANCE, DOUBLE_TOLERANCE),
            false => (LOSS_TOLERANCE, GRADIENT_TOLERANCE),
        };
        self.loss <= loss && self.gradient <= gradient
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.0e}, gradients {:.0e}", self.loss, self.gradient)
    }
}

/// ‖a − b‖ / ‖a‖.
fn relative(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    (squares / a.iter().map(|a| a * a).sum::<f64>()).sqrt()
}

/// The greater one; NaN wins, so that it is never tolerable.
fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
