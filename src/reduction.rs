//! How the losses of the rows become one number: L = Σᵢ wᵢ ℓᵢ / Z.

use ndarray::ArrayView1;

use crate::error::{Error, check};
use crate::scalar::Scalar;

/// The divisor Z of L = Σᵢ wᵢ ℓᵢ / Z. Without weights every wᵢ is 1.
///
/// ```
/// use contrastive::{CosineEmbeddingInput, CosineEmbeddingLoss, Loss, PairLabel, Reduction};
/// use ndarray::array;
///
/// let (x, y) = (array![[1.0, 0.0], [1.0, 0.0]], array![[0.0, 1.0], [0.0, 1.0]]);
/// let labels = array![PairLabel::Match, PairLabel::NoMatch];
/// let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
/// let value = |reduction| CosineEmbeddingLoss::new(0.0)?.with_reduction(reduction)?.forward(input);
///
/// // The row losses are 1 and 0.
/// assert_eq!(value(Reduction::Mean)?, 0.5);
/// assert_eq!(value(Reduction::Sum)?, 1.0);
/// assert_eq!(value(Reduction::MeanActive)?, 1.0);
/// assert_eq!(value(Reduction::Over(8.0))?, 0.125);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Reduction {
    /// Z = Σ wᵢ: the (weighted) mean. Weights must not be negative; if they are all zero the loss is 0. No rows at all are an error, nor may 1/Z or Z
    /// overflow.
    #[default]
    Mean,
    /// Z = 1. Any finite weights: with an upstream gradient per row as the weights this is the vector-Jacobian product, so that an outer
    /// loss composes.
    Sum,
    /// Z = the weight of the rows whose loss is not zero; the loss is 0 if there are none. Otherwise as [`Mean`](Self::Mean).
    MeanActive,
    /// Z as given, positive and finite as its reciprocal must be: for a shard of a batch, the rows or the weight of the whole batch. Any finite weights.
    Over(f64),
}

impl Reduction {
    /// Refuses a divisor that is not a positive number, or too small to divide by.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if let Self::Over(z) = self {
            check(
                "reduction",
                "a positive, finite divisor with a finite reciprocal",
                z,
                z > 0.0 && z.is_finite() && z.recip().is_finite(),
            )?;
        }
        Ok(self)
    }

    /// Checks the weights `[n]` of a batch whose rows are counted by `name`.
    pub(crate) fn check_weights<A: Scalar>(
        self,
        name: &'static str,
        rows: usize,
        weights: Option<ArrayView1<'_, A>>,
    ) -> Result<(), Error> {
        let mean = matches!(self, Self::Mean | Self::MeanActive);
        if mean && rows == 0 {
            return Err(Error::EmptyBatch { name });
        }
        let Some(weights) = weights else {
            return Ok(());
        };
        if weights.len() != rows {
            return Err(Error::Shape {
                name: "weights",
                expected: vec![rows],
                found: vec![weights.len()],
            });
        }
        let weights = weights.iter().map(|weight| weight.wide());
        if mean {
            check_weights_of_mean(weights)
        } else {
            check_each(weights, "a finite weight", f64::is_finite)
        }
    }

    /// 1/Z where it is known before the losses are; `None` for [`MeanActive`](Self::MeanActive). 0 if Z = 0.
    pub(crate) fn scale<A: Scalar>(
        self,
        rows: usize,
        weights: Option<ArrayView1<'_, A>>,
    ) -> Option<f64> {
        let z = match self {
            Self::Mean => weights.map_or(rows as f64, |weights| total(weights)),
            Self::Sum => 1.0,
            Self::MeanActive => return None,
            Self::Over(z) => z,
        };
        Some(reciprocal_or_zero(z))
    }
}

/// Whatever rows a mean is over, 1/Z and Z must be finite.
fn check_weights_of_mean(weights: impl Iterator<Item = f64> + Clone) -> Result<(), Error> {
    let is_divisor = |weight: f64| weight == 0.0 || weight.recip().is_finite();
    check_each(weights.clone(), "a finite weight, not negative", |weight| {
        weight.is_finite() && weight >= 0.0
    })?;
    check_each(
        weights.clone(),
        "0 or a weight with a finite reciprocal",
        is_divisor,
    )?;
    let mut sum = 0.0;
    check_each(weights, "weights with a finite sum", |weight| {
        sum += weight;
        sum.is_finite()
    })
}

fn check_each(
    weights: impl Iterator<Item = f64>,
    expected: &'static str,
    mut is_right: impl FnMut(f64) -> bool,
) -> Result<(), Error> {
    let mut weights = weights.enumerate();
    match weights.find(|(_, weight)| !is_right(*weight)) {
        None => Ok(()),
        Some((row, found)) => Err(Error::Weight {
            row,
            expected,
            found,
        }),
    }
}

/// 1/z; 0 for 0: a mean over no weight is 0.
pub(crate) fn reciprocal_or_zero(z: f64) -> f64 {
    if z == 0.0 { 0.0 } else { 1.0 / z }
}

fn total<A: Scalar>(weights: ArrayView1<'_, A>) -> f64 {
    weights
        .iter()
        .fold(Sum::default(), |sum, w| sum.plus(w.wide()))
        .value()
}

/// A compensated sum: the rounding error of each addition is kept beside the sum (Neumaier 1974).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    sum: f64,
    error: f64,
}

impl Sum {
    pub(crate) const ZERO: Self = Self {
        sum: 0.0,
        error: 0.0,
    };

    #[inline(always)]
    pub(crate) fn plus(self, x: f64) -> Self {
        let (sum, error) = crate::wide::two_sum(self.sum, x);
        Self {
            sum,
            error: self.error + error,
        }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            sum: self.sum * factor,
            error: self.error * factor,
        }
    }

    pub(crate) fn merge(self, other: Self) -> Self {
        let joined = self.plus(other.sum);
        Self {
            error: joined.error + other.error,
            ..joined
        }
    }

    pub(crate) fn value(self) -> f64 {
        // Once the sum has left the finite numbers its error is NaN and means nothing.
        if self.sum.is_finite() {
            self.sum + self.error
        } else {
            self.sum
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_keeps_what_a_plain_sum_loses() {
        let sum = [1.0, 1e16, 1.0, -1e16]
            .into_iter()
            .fold(Sum::default(), Sum::plus);
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn divisors_and_weights_without_a_finite_reciprocal_or_sum_are_refused() {
        let tiny = 1e-310_f64;
        assert!(Reduction::Over(tiny).checked().is_err());
        assert!(Reduction::Over(f64::MIN_POSITIVE).checked().is_ok());
        let row = |weights: [f64; 2]| {
            let weights = ndarray::arr1(&weights);
            match Reduction::Mean.check_weights("rows", 2, Some(weights.view())) {
                Err(Error::Weight { row, .. }) => Some(row),
                Err(error) => panic!("{error}"),
                Ok(()) => None,
            }
        };
        assert_eq!(row([1e308, 1e308]), Some(1));
        assert_eq!(row([tiny, 1.0]), Some(0));
        assert_eq!(row([1.0, -1.0]), Some(1));
        assert_eq!(row([0.0, 1e308]), None);
    }

    #[test]
    fn merged_sums_keep_what_either_of_them_has_kept() {
        let sum = |x: f64| Sum::ZERO.plus(x).plus(1.0).plus(-x);
        assert_eq!(sum(1e16).merge(sum(-1e16)).value(), 2.0);
    }

    #[test]
    fn infinite_sum_is_infinite_and_not_nan() {
        assert_eq!(
            Sum::default().plus(f64::INFINITY).plus(1.0).value(),
            f64::INFINITY
        );
    }
}
