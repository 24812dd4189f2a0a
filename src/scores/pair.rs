//! Softmax cross-entropy of one positive against candidates that are none.

use super::exponentials::Exponentials;

/// One positive against the others.
pub(super) struct Pair {
    pub(super) loss: f64,
    pub(super) slope: f64,
    /// The sum of the others' probabilities: 1 − p.
    pub(super) others: f64,
    pub(super) per_sum: f64,
    pub(super) probability: f64,
}

impl Pair {
    /// From the positive's score and the others' sums.
    #[inline(always)]
    pub(super) fn new(score: f64, others: &Exponentials, per_temperature: f64) -> Self {
        // The sum is NaN where one of the others is; an infinite positive is no score.
        let nan = others.sum
            + if score == f64::INFINITY {
                f64::NAN
            } else {
                score
            };
        if nan.is_nan() {
            return Self::all(f64::NAN);
        }
        if score == f64::NEG_INFINITY {
            return Self {
                loss: f64::INFINITY,
                slope: f64::NEG_INFINITY,
                others: 1.0,
                per_sum: if others.sum > 0.0 {
                    1.0 / others.sum
                } else {
                    0.0
                },
                probability: 0.0,
            };
        }
        if others.count == 0.0 {
            return Self {
                probability: 1.0,
                ..Self::all(0.0)
            };
        }
        let gap = -others.shifted(score, per_temperature);
        let (loss, per_sum, probability) = if gap <= 0.0 {
            // log1p of the others' sum over the positive's keeps the digits of a loss near zero.
            let share = others.sum * gap.exp();
            (
                share.ln_1p(),
                gap.exp() / (1.0 + share),
                1.0 / (1.0 + share),
            )
        } else {
            let sum = others.sum + (-gap).exp();
            (gap + sum.ln(), 1.0 / sum, (-gap).exp() / sum)
        };
        let weight = others.sum * per_sum;
        // With the positive out of all reach an infinite gap has no weight.
        let reach = if weight == 0.0 { 0.0 } else { weight * gap };
        Self {
            loss,
            slope: -(per_sum * others.moment + reach),
            others: weight,
            per_sum,
            probability,
        }
    }

    fn all(x: f64) -> Self {
        Self {
            loss: x,
            slope: x,
            others: x,
            per_sum: x,
            probability: x,
        }
    }
}
