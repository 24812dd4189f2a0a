//! Softmax cross-entropy of one row of scores with any number of positives.

use super::exponentials::{Exponentials, exponentiate};
use super::pair::Pair;
use super::positives::Members;
use crate::several_positives::SeveralPositives;
use crate::simd::{Isa, Kernel};

/// How a row is judged.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// 1/τ
    pub(super) per_temperature: f64,
    /// ε of label smoothing
    pub(super) smoothing: f64,
    pub(super) form: SeveralPositives,
}

/// What a row comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judged {
    pub(super) loss: f64,
    /// ∂ℓ/∂log τ
    pub(super) slope: f64,
    /// The mean probability of a positive, each in its own softmax.
    pub(super) probability: f64,
    /// The best positive's score.
    pub(super) best: f64,
    /// What turns e^(z − max) of the others into their part of ∂ℓ/∂z, …
    per_sum: f64,
    /// … and what is added to it, for smoothed labels.
    shift: f64,
}

impl Rule {
    /// The loss of a row, and ∂ℓ/∂z, z = s/τ, in `gradient`. A score of −∞ is a candidate that is left out. Both slices are of the row's length.
    #[inline(always)]
    pub(super) fn judge<I: Isa>(
        self,
        scores: &[f64],
        positives: Members<'_>,
        gradient: &mut [f64],
    ) -> Judged {
        I::call(Judge {
            rule: self,
            scores,
            positives,
            gradient,
        })
    }

    #[inline(always)]
    fn judge_here<I: Isa>(
        self,
        scores: &[f64],
        positives: Members<'_>,
        gradient: &mut [f64],
    ) -> Judged {
        if positives.len() == 0 {
            gradient.fill(0.0);
            return Judged::default();
        }
        gradient.copy_from_slice(scores);
        for t in positives.iter() {
            gradient[t] = f64::NEG_INFINITY;
        }
        let row = Row {
            rule: self,
            others: exponentiate::<I>(gradient, self.per_temperature),
            scores,
            positives,
        };
        if self.form == SeveralPositives::Together && positives.len() > 1 {
            let joint = row.joint();
            let judged = row.against_all(&joint);
            row.spread(&judged, gradient);
            for t in positives.iter() {
                gradient[t] = row.joint_slope(&joint, scores[t]);
            }
            judged
        } else {
            let judged = row.in_pairs();
            row.spread(&judged, gradient);
            for t in positives.iter() {
                gradient[t] = row.pair_slope(scores[t]);
            }
            judged
        }
    }
}

struct Judge<'r, 'p, 'g> {
    rule: Rule,
    scores: &'r [f64],
    positives: Members<'p>,
    gradient: &'g mut [f64],
}

impl Kernel for Judge<'_, '_, '_> {
    type Output = Judged;

    #[inline(always)]
    fn run<I: Isa>(self) -> Judged {
        self.rule
            .judge_here::<I>(self.scores, self.positives, self.gradient)
    }
}

/// A row whose candidates that are no positives have been summed.
struct Row<'a, 'p> {
    rule: Rule,
    others: Exponentials,
    scores: &'a [f64],
    positives: Members<'p>,
}

impl Row<'_, '_> {
    fn share(&self) -> f64 {
        1.0 / self.positives.len() as f64
    }

    /// What goes to every candidate of a pair from a smoothed label.
    fn pair_smoothing(&self) -> f64 {
        self.rule.smoothing / (1.0 + self.others.count)
    }

    /// Every positive against the others alone.
    #[inline(always)]
    fn in_pairs(&self) -> Judged {
        let mut judged = self.nothing_yet();
        let (share, smoothing) = (self.share(), self.pair_smoothing());
        for t in self.positives.iter() {
            let score = self.scores[t];
            let pair = self.pair(score);
            // How far the mean of the candidates is behind the positive.
            let behind = if smoothing > 0.0 && self.others.count > 0.0 && score > f64::NEG_INFINITY
            {
                let ahead = self.others.shifted(score, self.rule.per_temperature);
                smoothing * (ahead * self.others.count - self.others.total)
            } else {
                0.0
            };
            judged.loss += share * (pair.loss + behind);
            judged.slope += share * (pair.slope - behind);
            judged.probability += share * pair.probability;
            judged.per_sum += share * pair.per_sum;
        }
        judged.shift = -smoothing;
        judged
    }

    /// ∂ℓ/∂z of a positive.
    #[inline(always)]
    fn pair_slope(&self, score: f64) -> f64 {
        self.share() * (self.pair_smoothing() * self.others.count - self.pair(score).others)
    }

    #[inline(always)]
    fn pair(&self, score: f64) -> Pair {
        Pair::new(score, &self.others, self.rule.per_temperature)
    }

    /// The softmax over all candidates.
    #[inline(always)]
    fn joint(&self) -> Joint {
        let (per, others) = (self.rule.per_temperature, &self.others);
        let scores = || self.positives.iter().map(|t| self.scores[t]);
        let max = scores().fold(others.max, |max, s| if s > max { s } else { max });
        let max = if scores().any(|s| s.is_nan()) || max == f64::INFINITY {
            f64::NAN
        } else {
            max
        };
        let mut joint = Joint {
            max,
            ..Joint::default()
        };
        if max == f64::NEG_INFINITY {
            joint.max = 0.0;
        }
        let mut down = 0.0;
        for score in scores() {
            let d = (score - joint.max) * per;
            let e = d.exp();
            joint.positives += e;
            joint.moment += if e == 0.0 { 0.0 } else { e * d };
            down += d;
        }
        joint.positives_total = down;
        if others.count > 0.0 || others.sum.is_nan() {
            let d = (others.max - joint.max) * per;
            joint.factor = d.exp();
            let moved = others.moment + others.sum * if joint.factor == 0.0 { 0.0 } else { d };
            joint.moment += joint.factor * moved;
            joint.others_total = others.total + others.count * d;
        }
        joint.sum = joint.positives + joint.factor * others.sum;
        joint
    }

    /// The mean over the positives, each against all candidates.
    #[inline(always)]
    fn against_all(&self, joint: &Joint) -> Judged {
        let (share, all) = (
            self.share(),
            self.positives.len() as f64 + self.others.count,
        );
        let mean = joint.positives_total * share;
        if mean == f64::NEG_INFINITY {
            return Judged {
                loss: f64::INFINITY,
                slope: f64::NEG_INFINITY,
                per_sum: if joint.sum > 0.0 {
                    joint.factor / joint.sum
                } else {
                    0.0
                },
                ..self.nothing_yet()
            };
        }
        let behind = if self.rule.smoothing > 0.0 {
            self.rule.smoothing * (mean - (joint.positives_total + joint.others_total) / all)
        } else {
            0.0
        };
        Judged {
            loss: joint.sum.ln() - mean + behind,
            slope: mean - joint.moment / joint.sum - behind,
            probability: share * joint.positives / joint.sum,
            per_sum: joint.factor / joint.sum,
            shift: -self.rule.smoothing / all,
            ..self.nothing_yet()
        }
    }

    /// ∂ℓ/∂z of a positive: p − 1/|P|, with the positives' part of the difference taken by itself.
    #[inline(always)]
    fn joint_slope(&self, joint: &Joint, score: f64) -> f64 {
        let (count, share) = (self.positives.len() as f64, self.share());
        let e = ((score - joint.max) * self.rule.per_temperature).exp();
        let smoothing = self.rule.smoothing * (share - 1.0 / (count + self.others.count));
        if joint.sum == 0.0 {
            return smoothing - share;
        }
        let ahead = (count * e - joint.positives) - joint.factor * self.others.sum;
        share * ahead / joint.sum + smoothing
    }

    fn nothing_yet(&self) -> Judged {
        let scores = self.positives.iter().map(|t| self.scores[t]);
        Judged {
            best: scores.fold(f64::NEG_INFINITY, f64::max),
            ..Judged::default()
        }
    }

    /// Makes exponentials of the others' scores their part of the gradient.
    #[inline(always)]
    fn spread(&self, judged: &Judged, gradient: &mut [f64]) {
        if judged.shift == 0.0 {
            gradient.iter_mut().for_each(|x| *x *= judged.per_sum);
            return;
        }
        for (x, &score) in gradient.iter_mut().zip(self.scores) {
            let left_out = score == f64::NEG_INFINITY;
            *x = if left_out {
                0.0
            } else {
                *x * judged.per_sum + judged.shift
            };
        }
    }
}

/// Sums over all candidates, relative to the largest score of all.
#[derive(Default)]
struct Joint {
    max: f64,
    /// Σ e^d, over all and over the positives
    sum: f64,
    positives: f64,
    /// What the others' exponentials are to be multiplied with.
    factor: f64,
    /// Σ e^d·d over all
    moment: f64,
    /// Σ d
    positives_total: f64,
    others_total: f64,
}
