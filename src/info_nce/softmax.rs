//! The state of a softmax that is still being summed, and what a positive makes of it.

/// The score of a candidate: the similarity over the temperature, u = s/τ, and what the softmax is taken of, z = u + whatever is added by rules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    pub(super) u: f64,
    pub(super) z: f64,
}

impl Score {
    /// The score that it is where no rule changes it.
    pub(super) fn plain(self) -> Self {
        Self {
            u: self.u,
            z: self.u,
        }
    }
}

/// Plain sums over candidates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) u: f64,
    pub(super) z: f64,
    pub(super) count: f64,
}

impl Totals {
    pub(super) const ZERO: Self = Self {
        u: 0.0,
        z: 0.0,
        count: 0.0,
    };

    pub(super) fn add(&mut self, score: Score) {
        self.u += score.u;
        self.z += score.z;
        self.count += 1.0;
    }
}

/// A part of a softmax's denominator: Σ eᶻ and Σ eᶻ·u over some candidates, kept relative to the largest z. Parts merge exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    /// The largest score z, −∞ over nothing.
    pub(super) max: f64,
    /// Σ e^(z − max)
    pub(super) sum: f64,
    /// Σ e^(z − max)·(u − max)
    pub(super) moment: f64,
}

impl Partition {
    pub(super) const EMPTY: Self = Self {
        max: f64::NEG_INFINITY,
        sum: 0.0,
        moment: 0.0,
    };

    /// The part that has one candidate.
    pub(super) fn of(score: Score) -> Self {
        if score.z == f64::NEG_INFINITY {
            Self::EMPTY
        } else {
            Self {
                max: score.z,
                sum: 1.0,
                moment: score.u - score.z,
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
    pub(super) fn against(self, positive: Score) -> Settled {
        self.against_copies(positive, 0.0)
    }

    /// The same where the positive is in the denominator several times, as often as e to the power of `log_copies`: log(copies + Σ e^(z − z⁺)).
    pub(super) fn against_copies(self, positive: Score, log_copies: f64) -> Settled {
        if self.max == f64::NEG_INFINITY && !self.sum.is_nan() {
            let zero_or_nan = positive.z * 0.0;
            return Settled {
                loss: log_copies + zero_or_nan,
                per_sum: zero_or_nan,
                others: zero_or_nan,
                pull: zero_or_nan,
                slope: zero_or_nan,
            };
        }
        // How far the others are ahead of all copies together.
        let gap = self.max - positive.z - log_copies;
        let (loss, per_sum) = if gap <= 0.0 {
            // log1p of the others' sum over the positive's keeps the digits of a loss near zero.
            let share = self.sum * gap.exp();
            (log_copies + share.ln_1p(), gap.exp() / (1.0 + share))
        } else {
            let sum = self.sum + (-gap).exp();
            (self.max - positive.z + sum.ln(), 1.0 / sum)
        };
        let others = self.sum * per_sum;
        Settled {
            loss,
            per_sum,
            others,
            pull: others,
            slope: self.slope(per_sum, positive),
        }
    }

    /// The same where the positive is left out of the denominator: log Σ eᶻ − z⁺ over the others. Over nothing the loss is 0.
    pub(super) fn decoupled(self, positive: Score) -> Settled {
        let coupled = self.against(positive);
        if self.max == f64::NEG_INFINITY {
            return coupled;
        }
        let per_sum = 1.0 / self.sum;
        Settled {
            loss: self.max - positive.z + self.sum.ln(),
            per_sum,
            pull: 1.0,
            slope: self.slope(per_sum, positive),
            ..coupled
        }
    }

    /// What the softmax over these candidates, positives among them, gives several positives: the mean of log Σ eᶻ − z⁺.
    pub(super) fn around(self, positives: Totals) -> Settled {
        let (mean_u, mean_z) = (positives.u / positives.count, positives.z / positives.count);
        Settled {
            loss: self.max - mean_z + self.sum.ln(),
            per_sum: 1.0 / self.sum,
            others: 1.0,
            pull: 1.0,
            slope: self.moment / self.sum + (self.max - mean_u),
        }
    }

    /// Σ p·(u − u⁺)
    fn slope(self, per_sum: f64, positive: Score) -> f64 {
        per_sum * (self.moment + self.sum * (self.max - positive.u))
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
    /// −∂loss/∂z⁺: the same, but for decoupled losses and smoothed labels.
    pub(super) pull: f64,
    /// Σ p·(u − u⁺) over the others: −∂loss/∂log τ.
    pub(super) slope: f64,
}

impl Settled {
    pub(super) const ZERO: Self = Self {
        loss: 0.0,
        per_sum: 0.0,
        others: 0.0,
        pull: 0.0,
        slope: 0.0,
    };

    /// With the label spread: a share ε of it goes to all candidates alike, the positive and the `others`.
    pub(super) fn smoothed(self, share: f64, positive: Score, others: Totals) -> Self {
        let per_candidate = 1.0 / (1.0 + others.count);
        let behind = |positive: f64, sum: f64| (positive * others.count - sum) * per_candidate;
        Self {
            loss: self.loss + share * behind(positive.z, others.z),
            pull: self.pull - share * others.count * per_candidate,
            slope: self.slope + share * behind(positive.u, others.u),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(u: f64) -> Score {
        Score { u, z: u }
    }

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
            scores.iter().fold(Partition::EMPTY, |sum, &z| {
                sum.merge(Partition::of(plain(z)))
            })
        };
        for positive in [-3.0, 4.95, 7.0] {
            let (loss, slope) = naive(&scores, positive);
            for cut in 0..=scores.len() {
                let settled = part(&scores[..cut])
                    .merge(part(&scores[cut..]))
                    .against(plain(positive));
                assert!((settled.loss - loss).abs() < ROUNDING * loss.max(1.0));
                assert!((settled.slope - slope).abs() < ROUNDING * slope.abs().max(1.0));
            }
        }
    }

    #[test]
    fn loss_and_one_minus_p_keep_their_digits_when_the_positive_is_far_ahead() {
        let settled = Partition::of(plain(-300.0)).against(plain(300.0));
        let exact = (-600.0_f64).exp();
        assert!(
            (settled.loss / exact - 1.0).abs() < ROUNDING
                && (settled.others / exact - 1.0).abs() < ROUNDING
        );
    }

    #[test]
    fn several_positives_share_one_denominator() {
        let (scores, positives) = ([0.3, -2.0, 5.0], [1.0, 4.0]);
        let mut all = Partition::EMPTY;
        let mut totals = Totals::default();
        for z in scores.into_iter().chain(positives) {
            all = all.merge(Partition::of(plain(z)));
        }
        positives.into_iter().for_each(|z| totals.add(plain(z)));
        let log_sum = scores
            .iter()
            .chain(&positives)
            .map(|z: &f64| z.exp())
            .sum::<f64>()
            .ln();
        assert!((all.around(totals).loss - (log_sum - 2.5)).abs() < ROUNDING);
    }

    #[test]
    fn a_positive_that_counts_twice_is_in_the_denominator_twice() {
        let others = Partition::of(plain(0.5));
        for positive in [-1.0_f64, 2.0] {
            let settled = others.against_copies(plain(positive), 2_f64.ln());
            let exact = (2.0 * positive.exp() + 0.5_f64.exp()).ln() - positive;
            assert!((settled.loss - exact).abs() < ROUNDING);
            assert!((settled.others - 0.5_f64.exp() / (exact + positive).exp()).abs() < ROUNDING);
        }
        assert_eq!(
            Partition::EMPTY.against_copies(plain(1.0), 2_f64.ln()).loss,
            2_f64.ln()
        );
    }

    #[test]
    fn a_copy_that_outweighs_its_positive_by_any_log_weight_has_its_exact_loss() {
        let positive = Score { u: 0.0, z: -1e12 };
        for others in [-1e12, -5.0, 5.0] {
            let settled = Partition::of(plain(others)).against_copies(positive, 1e12);
            let exact = 1e12 + others.exp().ln_1p();
            assert!((settled.loss - exact).abs() < ROUNDING * exact);
            let share = 1.0 / (1.0 + (-others).exp());
            assert!((settled.others - share).abs() < ROUNDING);
        }
    }

    #[test]
    fn no_candidates_cost_nothing_and_nan_stays() {
        assert_eq!(Partition::EMPTY.against(plain(3.0)).loss, 0.0);
        assert!(Partition::EMPTY.against(plain(f64::NAN)).loss.is_nan());
        assert!(
            Partition::of(plain(1.0))
                .merge(Partition::of(plain(f64::NAN)))
                .against(plain(0.0))
                .loss
                .is_nan()
        );
        assert!(
            Partition::of(plain(f64::NAN))
                .merge(Partition::of(plain(1.0)))
                .against(plain(0.0))
                .loss
                .is_nan()
        );
    }
}
