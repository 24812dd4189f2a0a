//! The state of a query during a pass.

use super::sigmoid::Sigmoids;
use super::softmax::{Partition, Score, Settled, Totals};

/// What is known of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) has_positive: bool,
    /// The score of the positive, the best of several.
    pub(super) positive: Score,
    /// Sums over several positives.
    pub(super) several: Totals,
    /// The softmax over all candidates but a single positive.
    pub(super) others: Partition,
    /// Sums over all candidates but positives, for smoothed labels and the report.
    pub(super) totals: Totals,
    /// Sums over the same, for the sigmoid loss.
    pub(super) sigmoids: Sigmoids,
    /// What tells false negatives: the id, and the score u or the guide's cosine above which a candidate is left out.
    pub(super) id: u64,
    pub(super) ceiling: f64,
    /// Candidates that score above the positive; counted for a report only.
    pub(super) above: f64,
    pub(super) settled: Settled,
    /// ∂ℓ/∂bias of the sigmoid loss.
    pub(super) tilt: f64,
    /// The query's softmax as a document's, where that is one of its own.
    pub(super) column: Settled,
    /// The gradient by the score of the positive that comes from the softmaxes over queries.
    pub(super) column_positive: f64,
}

impl Query {
    pub(super) const NEW: Self = Self {
        has_positive: false,
        positive: Score { u: 0.0, z: 0.0 },
        several: Totals::ZERO,
        others: Partition::EMPTY,
        totals: Totals::ZERO,
        sigmoids: Sigmoids::ZERO,
        id: 0,
        ceiling: f64::INFINITY,
        above: 0.0,
        settled: Settled::ZERO,
        tilt: 0.0,
        column: Settled::ZERO,
        column_positive: 0.0,
    };

    /// ∂ℓ/∂log τ
    pub(super) fn by_log_temperature(&self) -> f64 {
        -(self.settled.slope + self.column.slope)
    }

    /// Lets in what was seen of other documents.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.has_positive {
            self.has_positive = true;
            self.positive = other.positive;
        }
        self.others = self.others.merge(other.others);
        self.sigmoids.merge(other.sigmoids);
        self.totals.u += other.totals.u;
        self.totals.z += other.totals.z;
        self.totals.count += other.totals.count;
    }
}
