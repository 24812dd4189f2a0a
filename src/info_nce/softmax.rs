//! The state of a softmax that is still being summed, and what a positive makes of it.

/// A part of a softmax's denominator: Σ eᶻ and Σ eᶻ·z over some candidates, kept relative to the largest z. Parts merge exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    /// The largest score z, −∞ over nothing.
    pub(super) max: f64,
    /// Σ e^(z − max)
    pub(super) sum: f64,
    /// Σ e^(z − max)·(z − max)
    pub(super) moment: f64,
}

impl Partition {
    pub(super) const EMPTY: Self = Self {
        max: f64::NEG_INFINITY,
        sum: 0.0,
        moment: 0.0,
    };

    /// The part that has one candidate.
    pub(super) fn of(score: f64) -> Self {
        if score == f64::NEG_INFINITY {
            Self::EMPTY
        } else {
            Self {
                max: score,
                sum: 1.0,
                moment: 0.0,
            }
        }
    }

    pub(super) fn merge(self, other: Self) -> Self {
        let max = self.max.max(other.max);
        let (left, right) = (self.relative_to(max), other.relative_to(max));
        Self {
            max,
            sum: left.0 + right.0,
            moment: left.1 + right.1,
        }
    }

    /// Sum and moment relative to a larger maximum.
    fn relative_to(self, max: f64) -> (f64, f64) {
        if self.max == max || self.max == f64::NEG_INFINITY {
            // Nothing, or a NaN, which stays.
            return (self.sum, self.moment);
        }
        let down = self.max - max;
        let factor = down.exp();
        (self.sum * factor, (self.moment + self.sum * down) * factor)
    }

    /// What the softmax over these candidates and one positive gives the positive.
    pub(super) fn against(self, positive: f64) -> Settled {
        if self.max == f64::NEG_INFINITY && !self.sum.is_nan() {
            let zero_or_nan = positive * 0.0;
            return Settled {
                loss: zero_or_nan,
                per_sum: zero_or_nan,
                others: zero_or_nan,
                slope: zero_or_nan,
            };
        }
        let gap = self.max - positive;
        let (loss, per_sum) = if gap <= 0.0 {
            // log1p of the others' sum over the positive's keeps the digits of a loss near zero.
            let share = self.sum * gap.exp();
            (share.ln_1p(), gap.exp() / (1.0 + share))
        } else {
            let sum = self.sum + (-gap).exp();
            (gap + sum.ln(), 1.0 / sum)
        };
        let slope = per_sum * (self.moment + self.sum * gap);
        Settled {
            loss,
            per_sum,
            others: self.sum * per_sum,
            slope,
        }
    }
}

/// A softmax with its positive.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// −log p of the positive
    pub(super) loss: f64,
    /// What turns e^(z − max) into a probability.
    pub(super) per_sum: f64,
    /// 1 − p of the positive: the sum of the others' probabilities.
    pub(super) others: f64,
    /// Σ p·(z − z⁺) over the others: −∂loss/∂log τ.
    pub(super) slope: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few roundings in f64.
    const ROUNDING: f64 = 1e-14;

    fn naive(scores: &[f64], positive: f64) -> (f64, f64) {
        let total: f64 = scores.iter().map(|z| (z - positive).exp()).sum::<f64>() + 1.0;
        let slope = scores
            .iter()
            .map(|z| (z - positive).exp() * (z - positive))
            .sum::<f64>()
            / total;
        (total.ln(), slope)
    }

    #[test]
    fn parts_merge_to_the_whole_in_any_grouping() {
        let scores = [0.3, -2.0, 5.0, 4.9, -30.0, 1.0];
        let part = |scores: &[f64]| {
            scores
                .iter()
                .fold(Partition::EMPTY, |sum, &z| sum.merge(Partition::of(z)))
        };
        for positive in [-3.0, 4.95, 7.0] {
            let (loss, slope) = naive(&scores, positive);
            for cut in 0..=scores.len() {
                let settled = part(&scores[..cut])
                    .merge(part(&scores[cut..]))
                    .against(positive);
                assert!((settled.loss - loss).abs() < ROUNDING * loss.max(1.0));
                assert!((settled.slope - slope).abs() < ROUNDING * slope.abs().max(1.0));
            }
        }
    }

    #[test]
    fn loss_and_one_minus_p_keep_their_digits_when_the_positive_is_far_ahead() {
        let settled = Partition::of(-300.0).against(300.0);
        let exact = (-600.0_f64).exp();
        assert!(
            (settled.loss / exact - 1.0).abs() < ROUNDING
                && (settled.others / exact - 1.0).abs() < ROUNDING
        );
    }

    #[test]
    fn no_candidates_cost_nothing_and_nan_stays() {
        assert_eq!(Partition::EMPTY.against(3.0).loss, 0.0);
        assert!(Partition::EMPTY.against(f64::NAN).loss.is_nan());
        assert!(
            Partition::of(1.0)
                .merge(Partition::of(f64::NAN))
                .against(0.0)
                .loss
                .is_nan()
        );
        assert!(
            Partition::of(f64::NAN)
                .merge(Partition::of(1.0))
                .against(0.0)
                .loss
                .is_nan()
        );
    }
}
