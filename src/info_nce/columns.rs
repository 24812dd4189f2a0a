//! The softmax over the queries of each document: by itself, or as a part of its query's.

use super::askers::Askers;
use super::engine::Engine;
use super::listed::times;
use super::softmax::Partition;
use crate::scalar::Scalar;

impl<A: Scalar> Engine<'_, '_, A> {
    fn askers(&self) -> Askers {
        Askers::new(
            self.listed.positives,
            self.queries.len(),
            self.columns.len(),
        )
    }

    /// Lets the queries that compete for each document into the softmax of the query whose positive it is.
    pub(super) fn join_columns(&mut self) {
        let askers = self.askers();
        for document in 0..self.columns.len() {
            let askers = askers.of(document);
            let others = self.rivals(document, askers);
            for (&i, others) in askers.iter().zip(others) {
                self.queries[i].others = self.queries[i].others.merge(others);
            }
        }
    }

    /// Settles the softmax over the queries of each document that is somebody's positive.
    pub(super) fn settle_columns(&mut self) {
        let askers = self.askers();
        for document in 0..self.columns.len() {
            self.settle_column(document, askers.of(document));
        }
    }

    /// What competes with each of the `askers`, who have this document as their positive: all other queries, those askers among them.
    fn rivals(&self, document: usize, askers: &[usize]) -> Vec<Partition> {
        let own = askers
            .iter()
            .map(|&i| Partition::of(self.queries[i].positive.plain()));
        all_but_each(self.columns[document], own)
    }

    fn settle_column(&mut self, document: usize, askers: &[usize]) {
        let base = self.columns[document];
        let shift = shift_of::<A>(base.max);
        let rivals = self.rivals(document, askers);
        let joint = self.loss.joint();
        // What the softmax of each asker makes of a score z of this column: weight·per_sum·e^(z − max).
        let (mut softmaxes, mut share) = (Vec::with_capacity(askers.len()), 0.0);
        for (&i, rivals) in askers.iter().zip(rivals) {
            let weight = self.listed.weight(i);
            let query = &mut self.queries[i];
            let (max, settled) = if joint {
                (query.others.max, query.settled)
            } else {
                query.column = rivals.against(query.positive.plain());
                (rivals.max, query.column)
            };
            if max == f64::NEG_INFINITY {
                softmaxes.push(Partition::EMPTY);
                continue;
            }
            softmaxes.push(Partition {
                max: -max,
                sum: times(weight, settled.per_sum),
                moment: 0.0,
            });
            if base.max > f64::NEG_INFINITY || base.sum.is_nan() {
                share += times(weight, settled.per_sum * (shift.wide() - max).exp());
            }
        }
        let pushes = all_but_each(Partition::EMPTY, softmaxes.iter().copied());
        for (&i, push) in askers.iter().zip(pushes) {
            let weight = self.listed.weight(i);
            let query = &mut self.queries[i];
            // The other askers push this one's score down: their softmaxes have it in them.
            let pushed = times(push.sum, (query.positive.u + push.max).exp());
            let pulled = if joint {
                0.0
            } else {
                times(weight, query.column.pull)
            };
            query.column_positive = pushed - pulled;
        }
        self.column_shifts[document] = shift;
        self.column_weights[document] = A::narrow(share);
    }
}

/// `base` merged with all of some parts but one, for each of them.
fn all_but_each(
    base: Partition,
    parts: impl DoubleEndedIterator<Item = Partition> + ExactSizeIterator + Clone,
) -> Vec<Partition> {
    let mut merged = vec![base; parts.len()];
    let mut after = base;
    for (slot, part) in merged.iter_mut().zip(parts.clone()).rev() {
        *slot = after;
        after = after.merge(part);
    }
    let mut before = Partition::EMPTY;
    for (slot, part) in merged.iter_mut().zip(parts) {
        *slot = before.merge(*slot);
        before = before.merge(part);
    }
    merged
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
