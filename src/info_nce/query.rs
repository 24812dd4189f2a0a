//! The state of a query during a pass.

use super::softmax::{Partition, Score, Settled, Totals};

/// What is known of a query.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) positive: Score,
    /// The softmax over all candidates but the positive.
    pub(super) others: Partition,
    /// Sums over the same, for smoothed labels.
    pub(super) totals: Totals,
    /// What tells false negatives: the id, and the score u or the guide's cosine above which a candidate is left out.
    pub(super) id: u64,
    pub(super) ceiling: f64,
    /// Own negatives that were left out.
    pub(super) left_out: usize,
    /// Candidates that score above the positive; counted for a report only.
    pub(super) above: f64,
    pub(super) settled: Settled,
    /// The query's softmax as a document's: the other direction of the symmetric form.
    pub(super) column: Settled,
    /// The gradient by the score of the positive that comes from `column`.
    pub(super) column_positive: f64,
}

impl Query {
    pub(super) const NEW: Self = Self {
        positive: Score { u: 0.0, z: 0.0 },
        others: Partition::EMPTY,
        totals: Totals {
            u: 0.0,
            z: 0.0,
            count: 0.0,
        },
        id: 0,
        ceiling: f64::INFINITY,
        left_out: 0,
        above: 0.0,
        settled: Settled::ZERO,
        column: Settled::ZERO,
        column_positive: 0.0,
    };
}
