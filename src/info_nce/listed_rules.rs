//! What the candidates that are listed one by one go through, and what they and the tiles make of a query's loss.

use super::pairs::Entry;
use super::query::Query;
use super::rules::FalseNegatives;
use super::sigmoid::{sigmoid, softplus};
use super::softmax::{Score, Settled};
use super::{InfoNceLoss, SeveralPositives};

/// The rules for candidates that are listed.
#[derive(Clone, Copy)]
pub(super) struct ListedRules {
    pub(super) false_negatives: Option<FalseNegatives>,
    /// Whether own negatives are left out by their own similarity.
    pub(super) own_is_judged: bool,
    /// What the scores of own negatives are multiplied with, by hardness.
    pub(super) own_boost: f64,
    pub(super) label_smoothing: f64,
    pub(super) decoupled: bool,
    pub(super) several: SeveralPositives,
    /// Whether the positive is in the denominator a second time, as a score of its document.
    pub(super) twice: bool,
    /// Of the sigmoid loss.
    pub(super) bias: Option<f64>,
}

impl ListedRules {
    pub(super) fn new(loss: &InfoNceLoss) -> Self {
        let hard = loss.hardness.filter(|hardness| hardness.sources.own);
        Self {
            false_negatives: loss.false_negatives.map(|(rule, _)| rule),
            own_is_judged: loss.false_negatives.is_some_and(|(_, sources)| sources.own),
            own_boost: 1.0 + hard.map_or(0.0, |hardness| hardness.strength) * loss.temperature,
            label_smoothing: loss.label_smoothing,
            decoupled: loss.decoupled,
            several: loss.several_positives,
            twice: loss.joint() && loss.directions.document_to_query,
            bias: loss.bias,
        }
    }

    /// What a query's softmax gives it, once all candidates are in; the pulls of several positives are written to `pairs`.
    #[inline]
    pub(super) fn settled(&self, query: &mut Query, pairs: &mut [Entry]) -> Settled {
        if let Some(bias) = self.bias {
            return sigmoid_settled(query, pairs, bias);
        }
        if !pairs.is_empty() {
            return self.settled_with_several(query, pairs);
        }
        if !query.has_positive {
            return Settled::ZERO;
        }
        let settled = if self.decoupled {
            query.others.decoupled(query.positive)
        } else {
            let Score { u, z } = query.positive;
            let log_copies = if self.twice { softplus(u - z) } else { 0.0 };
            query.others.against_copies(query.positive, log_copies)
        };
        if self.label_smoothing > 0.0 {
            return settled.smoothed(self.label_smoothing, query.positive, query.totals);
        }
        settled
    }

    fn settled_with_several(&self, query: &Query, pairs: &mut [Entry]) -> Settled {
        let share = 1.0 / pairs.len() as f64;
        if self.several == SeveralPositives::Together {
            let mut settled = query.others.around(query.several);
            settled.others = 1.0;
            for entry in pairs {
                let p = (entry.score.z - query.others.max).exp() * settled.per_sum;
                entry.pull = share - p;
                settled.others -= p;
            }
            return settled;
        }
        let mut mean = Settled::ZERO;
        for entry in pairs {
            let settled = if self.decoupled {
                query.others.decoupled(entry.score)
            } else {
                query.others.against(entry.score)
            };
            entry.pull = share * settled.pull;
            mean.loss += share * settled.loss;
            mean.per_sum += share * settled.per_sum;
            mean.others += share * settled.others;
            mean.slope += share * settled.slope;
        }
        mean
    }
}

/// The sigmoid loss of a query: its positives each for itself, besides the sums over the others.
fn sigmoid_settled(query: &mut Query, pairs: &mut [Entry], bias: f64) -> Settled {
    let mut single = [Entry {
        row: 0,
        score: query.positive,
        pull: 0.0,
    }];
    let positives = match pairs {
        [] if query.has_positive => &mut single[..],
        pairs => pairs,
    };
    let sums = query.sigmoids;
    let mut settled = Settled {
        loss: sums.loss,
        slope: sums.moment,
        ..Settled::ZERO
    };
    query.tilt = sums.share;
    let per_positive = 1.0 / positives.len().max(1) as f64;
    for entry in positives {
        let z = entry.score.z + bias;
        entry.pull = sigmoid(-z);
        settled.loss += softplus(-z);
        settled.slope -= entry.pull * entry.score.u;
        settled.others += per_positive * entry.pull;
        settled.pull = entry.pull;
        query.tilt -= entry.pull;
    }
    settled
}
