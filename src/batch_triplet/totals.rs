//! What anchors come to, and the sums over them.

use super::Triplet;
use crate::batch_distance::Pull;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};

/// What an anchor comes to.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) loss: f64,
    pub(super) triplets: f64,
    pub(super) active: f64,
    /// Sums over the triplets.
    pub(super) distances: [f64; 2],
    /// Whether a distance is NaN.
    pub(super) poisoned: bool,
}

/// The sums over some anchors.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) loss: Sum,
    /// The divisors of the two means.
    all: Sum,
    active: Sum,
    pub(super) pulls: Vec<Pull>,
    pub(super) list: Vec<Triplet>,
    pub(super) anchors: u64,
    pub(super) triplets: f64,
    pub(super) active_triplets: f64,
    pub(super) distances: [Sum; 2],
}

impl Totals {
    pub(super) fn plus(&mut self, outcome: Outcome, weight: f64, per_anchor: bool) {
        // An anchor of weight zero does not take part, not even with a NaN.
        if outcome.triplets == 0.0 || weight == 0.0 {
            return;
        }
        let (all, active) = if per_anchor {
            (1.0, if outcome.loss == 0.0 { 0.0 } else { 1.0 })
        } else {
            (outcome.triplets, outcome.active)
        };
        self.loss = self.loss.plus(weight * outcome.row(per_anchor));
        self.all = self.all.plus(weight * all);
        self.active = self.active.plus(weight * active);
        if !outcome.poisoned {
            self.anchors += 1;
            self.triplets += outcome.triplets;
            self.active_triplets += outcome.active;
            for (sum, distances) in self.distances.iter_mut().zip(outcome.distances) {
                *sum = sum.plus(distances);
            }
        }
    }

    pub(super) fn merge(mut self, mut other: Self) -> Self {
        self.loss = self.loss.merge(other.loss);
        self.all = self.all.merge(other.all);
        self.active = self.active.merge(other.active);
        self.pulls.append(&mut other.pulls);
        self.list.append(&mut other.list);
        self.anchors += other.anchors;
        self.triplets += other.triplets;
        self.active_triplets += other.active_triplets;
        for (sum, distances) in self.distances.iter_mut().zip(other.distances) {
            *sum = sum.merge(distances);
        }
        self
    }

    /// 1/Z
    pub(super) fn scale(&self, reduction: Reduction) -> f64 {
        reciprocal_or_zero(match reduction {
            Reduction::Mean => self.all.value(),
            Reduction::MeanActive => self.active.value(),
            Reduction::Sum => 1.0,
            Reduction::Over(z) => z,
        })
    }
}

impl Outcome {
    /// The loss of the anchor as a row of the batch.
    pub(super) fn row(&self, per_anchor: bool) -> f64 {
        if per_anchor && self.triplets != 0.0 {
            self.loss / self.triplets
        } else {
            self.loss
        }
    }
}
