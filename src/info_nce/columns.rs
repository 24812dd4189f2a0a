//! The other direction of the symmetric form: the softmax over the queries of each document.

use super::candidates::Askers;
use super::engine::Engine;
use super::listed::times;
use super::softmax::Partition;
use crate::scalar::Scalar;

impl<A: Scalar> Engine<'_, '_, A> {
    /// Settles the softmax over the queries of each document that is somebody's positive.
    pub(super) fn settle_columns(&mut self) {
        let askers = Askers::new(
            &self.input().targets,
            self.queries.len(),
            self.columns.len(),
        );
        for document in 0..self.columns.len() {
            self.settle_column(document, askers.of(document));
        }
    }

    /// Each of the `askers` has this document as its positive, and the other askers' scores among the others.
    fn settle_column(&mut self, document: usize, askers: &[usize]) {
        let base = self.columns[document];
        let shift = shift_of::<A>(base.max);
        let positive = |engine: &Self, i: usize| Partition::of(engine.queries[i].positive);
        // All askers after each one; with those before it, all but itself.
        let mut after = vec![base; askers.len()];
        for k in (1..askers.len()).rev() {
            after[k - 1] = after[k].merge(positive(self, askers[k]));
        }
        let (mut before, mut share, mut weight) = (Partition::EMPTY, 0.0, 0.0);
        for (k, &i) in askers.iter().enumerate() {
            let others = before.merge(after[k]);
            before = before.merge(positive(self, i));
            let settled = others.against(self.queries[i].positive);
            self.queries[i].column = settled;
            weight += self.listed.weight(i);
            if base.max > f64::NEG_INFINITY || base.sum.is_nan() {
                share += times(
                    self.listed.weight(i),
                    settled.per_sum * (shift.wide() - others.max).exp(),
                );
            }
        }
        for &i in askers {
            let (own, others) = (self.listed.weight(i), self.queries[i].column.pull);
            // The other askers pull their own score up and this one down.
            let pushed = if askers.len() > 1 {
                (weight - own) * (1.0 - others)
            } else {
                0.0
            };
            self.queries[i].column_positive = pushed - times(own, others);
        }
        self.column_shifts[document] = shift;
        self.column_weights[document] = A::narrow(share);
    }
}

/// A maximum as what is subtracted from scores: the nearest number of their precision that is not below it; 0 for the maximum of nothing.
pub(super) fn shift_of<A: Scalar>(max: f64) -> A {
    if max == f64::NEG_INFINITY {
        return A::zero();
    }
    let shift = A::narrow(max);
    if shift.wide() < max {
        shift + shift.abs() * A::epsilon() + A::min_positive_value()
    } else {
        shift
    }
}
