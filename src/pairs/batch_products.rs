//! The pass over all pairs of a batch by matrix products, for the distances that come from one.
//!
//! The distances of a panel of rows to all rows are one product, and what each weighs in the gradient makes another (see
//! [`batch_distance`](crate::batch_distance)). Some rows at a time, so that their weights fit the workspace. For a gradient each pair is met twice, once from
//! either row, so that every gradient row has one writer; otherwise from its first row alone.

use std::ops::Range;

use ndarray::{ArrayViewMut1, ArrayViewMut2, s};

use super::batch::kind;
use super::batch_pass::{AllPairs, Memory, PairRows, Sums};
use crate::batch_distance::{
    Backward, BatchDistance, MeasureSome, Panels, Pull, Role, Side, Weights,
};
use crate::blocks::{Split, Threads, Units, map_merge};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::staging::with_buffer;

/// All pairs of a batch whose distances come from products.
pub(super) struct Products<'p, 'a, A: Scalar> {
    pub(super) pass: &'p AllPairs<'a, A>,
    pub(super) panels: &'p Panels<'a, 'a, A>,
}

/// What some rows come to: the sums of the pairs that begin with them, and what the distances weigh that were measured from the rows.
struct Part {
    sums: Sums,
    pulls: Vec<Pull>,
}

impl Part {
    fn merge(mut self, mut other: Self) -> Self {
        self.pulls.append(&mut other.pulls);
        Self {
            sums: self.sums.merge(other.sums),
            pulls: self.pulls,
        }
    }
}

/// The weights of some rows, `[row, other]`, and the losses of the pairs that begin with them.
type Written<'w, 'l, A> = (Option<Units<'w, A>>, Option<PairRows<'l, A>>);

/// A row with its distances to all rows, NaN where products can't tell.
struct Row<'d, A> {
    row: usize,
    /// Its place among the rows of the part.
    local: usize,
    distances: &'d [A],
    /// The rows that it is paired with, itself perhaps among them.
    others: Range<usize>,
    /// The distances to these that were measured instead, in order; but for that to itself.
    measured: &'d [f64],
}

impl<'a, A: Scalar> Products<'_, 'a, A> {
    fn side(&self) -> &'a Side<'a, A> {
        self.panels.candidates()
    }

    pub(super) fn run(
        &self,
        mut gradient: Option<ArrayViewMut2<'_, A>>,
        losses: Option<ArrayViewMut1<'_, A>>,
        memory: &mut Memory<'_, A>,
    ) -> Sums {
        let side = self.side();
        let n = side.rows.nrows();
        let mut losses = losses.map(|losses| PairRows::new(losses, n));
        let mut sums = Sums::NONE;
        let packed = gradient.as_ref().map(|_| side.panels(memory.packed));
        let step = rows_at_a_time::<A>(n, memory.limit);
        for start in (0..n).step_by(step) {
            let rows = start..n.min(start + step);
            let (some, rest) = losses.split(rows.len());
            losses = rest;
            let mut weights = match gradient {
                Some(_) => Some(memory.weights.take(rows.len() * n)),
                None => None,
            };
            let units = weights.as_deref_mut().map(|slice| Units { slice, len: n });
            let part = self.weigh(rows.clone(), (units, some));
            sums = sums.merge(part.sums);
            if let (Some(gradient), Some(matrix), Some(panels)) = (&mut gradient, weights, packed) {
                let backward = Backward {
                    role: Role::Anchors,
                    own: &side.some(rows.clone()),
                    other: side,
                    distance: side.distance,
                    weights: Some(Weights { matrix, panels }),
                    pulls: &part.pulls,
                    scale: 1.0,
                };
                backward.run(gradient.slice_mut(s![rows, ..]));
            }
        }
        sums
    }

    fn weigh(&self, rows: Range<usize>, written: Written<'_, '_, A>) -> Part {
        /// Of what a pair costs and weighs, once its distance is known.
        const NANOSECONDS: f64 = 3.0;
        let pairs = (rows.len() * self.side().rows.nrows()) as f64;
        let threads = Threads::for_nanoseconds(pairs * (NANOSECONDS + self.panels.nanoseconds()));
        let leaf = |first, count, written: Written<'_, '_, A>| {
            with_buffer(|buffer| {
                let start = rows.start + first;
                // A row that is not weighed is paired with later ones only.
                let met = if written.0.is_some() { 0 } else { start };
                let distances = self.panels.distances(start..start + count, met, buffer);
                self.panel(rows.start, first..first + count, distances, written)
            })
        };
        map_merge(threads, rows.len(), A::PANEL, written, &leaf, &Part::merge)
    }

    /// A panel of the rows from `start` on, whose distances are given.
    fn panel(
        &self,
        start: usize,
        panel: Range<usize>,
        distances: &[A],
        (weights, mut losses): Written<'_, '_, A>,
    ) -> Part {
        let side = self.side();
        let n = side.rows.nrows();
        let mut weights = weights.map(|weights| weights.slice);
        let mut part = Part {
            sums: Sums::NONE,
            pulls: Vec::new(),
        };
        let (mut near, mut measured) = (Vec::new(), Vec::new());
        for ((lane, local), distances) in panel.enumerate().zip(distances.chunks_exact(n)) {
            let row = start + local;
            let unknown = |&other: &usize| other != row && distances[other].is_nan();
            let others = if weights.is_some() { 0 } else { row + 1 }..n;
            near.clear();
            near.extend(others.clone().filter(unknown).map(|other| other as u32));
            dispatch(MeasureSome {
                anchors: side,
                candidates: side,
                anchor: row,
                some: &near,
                out: &mut measured,
            });
            let row = Row {
                row,
                local,
                distances,
                others,
                measured: &measured,
            };
            let weights = weights
                .as_mut()
                .map(|weights| &mut weights[lane * n..][..n]);
            let losses = losses.as_mut().map(|losses| losses.of(row.row));
            self.row(row, weights, losses, &mut part);
        }
        part
    }

    /// The pairs of a row: their losses where it is the first, and what their distances weigh. Where a distance was measured from the rows, or its weight
    /// leaves the range of the rows' type, the difference of the rows is taken from them as well.
    fn row(
        &self,
        row: Row<'_, A>,
        mut weights: Option<&mut [A]>,
        mut losses: Option<ArrayViewMut1<'_, A>>,
        part: &mut Part,
    ) {
        let mut measured = row.measured.iter();
        let distances = &row.distances[row.others.clone()];
        for (other, &distance) in row.others.zip(distances) {
            if let Some(weights) = &mut weights {
                weights[other] = A::zero();
            }
            if other == row.row {
                continue;
            }
            let near = distance.is_nan().then(|| measured.next()).flatten();
            let distance = near.copied().unwrap_or(distance.wide());
            let weight = self.pair(row.row, other, distance, &mut losses, &mut part.sums);
            let Some(weights) = weights.as_mut().filter(|_| weight != 0.0) else {
                continue;
            };
            let by_difference = A::narrow(match self.side().distance {
                BatchDistance::Euclidean => weight / distance,
                BatchDistance::SquaredEuclidean => weight * 2.0,
                BatchDistance::Cosine => weight,
            });
            if near.is_none() && by_difference.is_normal() {
                weights[other] = by_difference;
            } else {
                part.pulls.push(Pull {
                    anchor: row.local as u32,
                    candidate: other as u32,
                    weight,
                });
            }
        }
    }

    /// What the distance of a pair weighs in the loss. The pair is summed up where its first row comes first.
    fn pair(
        &self,
        row: usize,
        other: usize,
        distance: f64,
        losses: &mut Option<ArrayViewMut1<'_, A>>,
        sums: &mut Sums,
    ) -> f64 {
        let pass = self.pass;
        let label = pass.input.label(row, other);
        let term = pass.term(label, distance);
        let weight = pass.input.weight(row, other);
        if row < other {
            sums.add(label, weight, term);
            if let Some(losses) = losses {
                losses[other - row - 1] = A::narrow(term.loss);
            }
        }
        let scale = pass.scales[kind(label)] * weight;
        // Neither a weight of zero nor an inactive pair lets a NaN or an infinity through.
        if scale == 0.0 || term.slope == 0.0 {
            0.0
        } else {
            scale * term.slope
        }
    }
}

/// Rows whose weights for `n` rows fit the limit: whole panels, and whole blocks of the backward pass.
fn rows_at_a_time<A: Scalar>(n: usize, limit: usize) -> usize {
    const UNIT: usize = 96;
    let fit = limit / (n.max(1) * size_of::<A>());
    (fit - fit % UNIT).max(UNIT)
}
