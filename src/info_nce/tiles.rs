//! The sweeps over a tile of scores.
//!
//! A tile holds the scores of one chunk of documents against one panel of queries, documents in rows: `tile[document][query]`. So a query is a lane,
//! the sums over documents are vertical, and the tile is a panel of the matrix product that makes the query gradient (see `gemm.rs`).

use super::sigmoid::logistic;
use super::softmax::Partition;
use super::tile_rules::Undo;
use crate::exponential::exp;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};

/// What scores are held to on either side, so that a product that overflows stays a number: what is beyond is beyond every other score anyway.
#[inline(always)]
pub(super) fn score_bound<A: Scalar>() -> A {
    A::max_value() / (A::one() + A::one())
}

/// From inner products to scores: every row times its document's factor; what is a query's own out; the largest score of each lane.
pub(super) struct Scale<'a, A> {
    pub(super) tile: &'a mut [A],
    /// The document's factor over τ.
    pub(super) factors: &'a [A],
    /// What is added to the scores of rows and lanes, where similarity is a distance.
    pub(super) offsets: Option<(&'a [A], &'a [A])>,
    /// (row, lane) of what is a query's own in this tile, and does not compete.
    pub(super) mine: &'a [(usize, usize)],
    /// Lanes that hold a query; the rest get −∞.
    pub(super) lanes: usize,
    /// Receives the largest score of each lane.
    pub(super) max: &'a mut [A],
}

impl<A: Scalar> Kernel for Scale<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let bound = score_bound::<A>();
        let max = &mut self.max[..A::PANEL];
        max.fill(A::neg_infinity());
        for (row, &factor) in self.tile.chunks_exact_mut(A::PANEL).zip(self.factors) {
            for (z, max) in row.iter_mut().zip(max.iter_mut()) {
                let scaled = *z * factor;
                let scaled = if scaled > bound { bound } else { scaled };
                *z = if scaled < -bound { -bound } else { scaled };
                *max = if *z > *max { *z } else { *max };
            }
        }
        if self.mine.is_empty() && self.lanes >= A::PANEL && self.offsets.is_none() {
            return;
        }
        if let Some((rows, lanes)) = self.offsets {
            for (row, &by_row) in self.tile.chunks_exact_mut(A::PANEL).zip(rows) {
                for (z, &by_lane) in row.iter_mut().zip(lanes) {
                    let moved = *z + (by_row + by_lane);
                    *z = if moved < -bound { -bound } else { moved };
                }
            }
        }
        for &(row, lane) in self.mine {
            self.tile[row * A::PANEL + lane] = A::neg_infinity();
        }
        max.fill(A::neg_infinity());
        for row in self.tile.chunks_exact_mut(A::PANEL) {
            row[self.lanes.min(A::PANEL)..].fill(A::neg_infinity());
            for (max, &mut z) in max.iter_mut().zip(row) {
                *max = if z > *max { z } else { *max };
            }
        }
    }
}

/// The sums of a tile, lane by lane.
pub(super) struct Sums<'a, A> {
    pub(super) tile: &'a [A],
    /// What is subtracted from the scores of each lane.
    pub(super) shifts: &'a [A],
    /// Scores above which a candidate is counted in `above`.
    pub(super) positives: &'a [A],
    /// For tiles that a rule changed.
    pub(super) undo: Option<Undo<'a, A>>,
    /// Σ e^(z − shift) of each lane, then Σ e^(z − shift)·(u − shift), then nothing, then the number of candidates above the positive.
    pub(super) out: &'a mut [f64],
}

/// Terms that are added in the precision of the scores before they go to a sum in `f64`.
const RUN: usize = 8;

impl<A: Scalar> Kernel for Sums<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut lanes = self.out.chunks_exact_mut(A::PANEL);
        let [sums, moments, _, above] = [(); 4].map(|()| lanes.next().expect("four sums a lane"));
        let (shifts, positives) = (&self.shifts[..A::PANEL], &self.positives[..A::PANEL]);
        sums.fill(0.0);
        moments.fill(0.0);
        above.fill(0.0);
        // 128 bytes hold a panel of either type; the arrays are as long as the wider panel.
        let (mut sum, mut moment, mut count) = ([A::zero(); 32], [A::zero(); 32], [A::zero(); 32]);
        let (sum, moment, count) = (
            &mut sum[..A::PANEL],
            &mut moment[..A::PANEL],
            &mut count[..A::PANEL],
        );
        for (first, run) in self.tile.chunks(RUN * A::PANEL).enumerate() {
            let first = first * RUN;
            sum.fill(A::zero());
            moment.fill(A::zero());
            count.fill(A::zero());
            for (index, row) in run.chunks_exact(A::PANEL).enumerate() {
                let undo = Undo::of_row(self.undo, first + index);
                for lane in 0..A::PANEL {
                    let z = row[lane];
                    let e = exp::<A, I>(z - shifts[lane]);
                    sum[lane] += e;
                    let down = undo.of(z) - shifts[lane];
                    // Where e is 0 the score may be −∞, and the product NaN.
                    moment[lane] += if e > A::zero() { e * down } else { e };
                    count[lane] += if z > positives[lane] {
                        A::one()
                    } else {
                        A::zero()
                    };
                }
            }
            for lane in 0..A::PANEL {
                sums[lane] += sum[lane].wide();
                moments[lane] += moment[lane].wide();
                above[lane] += count[lane].wide();
            }
        }
    }
}

/// The sums of a tile, document by document: those of the softmax over the queries, for which scores are what they were before any rule.
pub(super) struct ColumnSums<'a, A> {
    pub(super) tile: &'a [A],
    /// For tiles that a rule changed.
    pub(super) undo: Option<Undo<'a, A>>,
    /// Receives (max, sum, moment) of each document.
    pub(super) out: &'a mut [Partition],
}

impl<A: Scalar> Kernel for ColumnSums<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (index, (row, out)) in self.tile.chunks_exact(A::PANEL).zip(self.out).enumerate() {
            let mut scores = [A::zero(); 32];
            let scores = &mut scores[..A::PANEL];
            let mut max = A::neg_infinity();
            let undo = Undo::of_row(self.undo, index);
            for (u, &z) in scores.iter_mut().zip(row) {
                *u = undo.of(z);
                max = if *u > max { *u } else { max };
            }
            let shift = if max == A::neg_infinity() {
                A::zero()
            } else {
                max
            };
            let mut terms = [A::zero(); 32];
            let mut moments = [A::zero(); 32];
            for lane in 0..A::PANEL {
                let down = scores[lane] - shift;
                let e = exp::<A, I>(down);
                terms[lane] = e;
                moments[lane] = if e > A::zero() { e * down } else { e };
            }
            let sum = terms.iter().map(|x| x.wide()).sum();
            let moment = moments.iter().map(|x| x.wide()).sum();
            let part = Partition {
                max: max.wide(),
                sum,
                moment,
            };
            *out = out.merge(part);
        }
    }
}

/// The softmax over queries, document by document.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, A> {
    pub(super) shifts: &'a [A],
    pub(super) weights: &'a [A],
    /// For tiles that a rule changed.
    pub(super) undo: Option<Undo<'a, A>>,
}

/// What turns scores into weights: the gradient by the scores.
#[derive(Clone, Copy)]
pub(super) struct Softmaxes<'a, A> {
    /// What is subtracted from the scores of each lane.
    pub(super) shifts: &'a [A],
    /// What the exponentials of each lane are multiplied with.
    pub(super) weights: &'a [A],
    /// Whether `weights` is used; without a second softmax it is folded into the packed queries instead.
    pub(super) row_weights: bool,
    pub(super) columns: Option<Columns<'a, A>>,
    /// With a bias, a weight is the logistic function of score and bias, and not the exponential of the score.
    pub(super) sigmoid: Option<A>,
    /// What is taken off the candidates of each lane that are not left out.
    pub(super) offsets: Option<&'a [A]>,
}

impl<A: Scalar> Softmaxes<'_, A> {
    /// The weights of the scores of a document, times a factor.
    #[inline(always)]
    pub(super) fn weigh<I: Isa>(&self, document: usize, row: &mut [A], factor: A) {
        let (shifts, weights) = (&self.shifts[..A::PANEL], &self.weights[..A::PANEL]);
        let none = A::zero();
        let nothing = [none; 32];
        let offsets = &self.offsets.unwrap_or(&nothing)[..A::PANEL];
        match self.columns {
            None if self.sigmoid.is_some() => {
                let bias = self.sigmoid.unwrap_or_default();
                row.iter_mut()
                    .for_each(|z| *z = logistic::<A, I>(*z + bias) * factor);
            }
            None if !self.row_weights => {
                for (z, &shift) in row.iter_mut().zip(shifts) {
                    *z = exp::<A, I>(*z - shift) * factor;
                }
            }
            None => {
                let lanes = shifts.iter().zip(weights).zip(offsets);
                for (z, ((&shift, &weight), &offset)) in row.iter_mut().zip(lanes) {
                    let offset = if *z == A::neg_infinity() {
                        none
                    } else {
                        offset
                    };
                    *z = (exp::<A, I>(*z - shift) * weight - offset) * factor;
                }
            }
            Some(columns) => {
                let (down, share) = (columns.shifts[document], columns.weights[document]);
                let undo = Undo::of_row(columns.undo, document);
                for (z, (&shift, &weight)) in row.iter_mut().zip(shifts.iter().zip(weights)) {
                    let u = undo.of(*z);
                    let both = exp::<A, I>(*z - shift) * weight + exp::<A, I>(u - down) * share;
                    *z = both * factor;
                }
            }
        }
    }
}

/// From scores to the gradient by the inner products.
pub(super) struct Weigh<'a, A> {
    pub(super) tile: &'a mut [A],
    /// The document's factor over τ.
    pub(super) factors: &'a [A],
    pub(super) softmaxes: Softmaxes<'a, A>,
    /// (row, lane, value) of the positives in this tile.
    pub(super) positives: &'a [(usize, usize, f64)],
    /// Lanes that become zero.
    pub(super) idle: &'a [usize],
}

impl<A: Scalar> Kernel for Weigh<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let rows = self.tile.chunks_exact_mut(A::PANEL).zip(self.factors);
        for (document, (row, &factor)) in rows.enumerate() {
            if factor.is_finite() {
                self.softmaxes.weigh::<I>(document, row, factor);
            } else {
                weigh_masked(row, |row| {
                    self.softmaxes.weigh::<I>(document, row, factor);
                });
            }
        }
        for &(row, lane, value) in self.positives {
            self.tile[row * A::PANEL + lane] = A::narrow(value * self.factors[row].wide());
        }
        for &lane in self.idle {
            self.tile
                .iter_mut()
                .skip(lane)
                .step_by(A::PANEL)
                .for_each(|z| *z = A::zero());
        }
    }
}

/// The weights of the scores of a document that is not finite: of those that are left out, 0.
#[inline(always)]
fn weigh_masked<A: Scalar>(row: &mut [A], weigh: impl FnOnce(&mut [A])) {
    let mut left_out = [false; 32];
    for (left_out, &z) in left_out.iter_mut().zip(&*row) {
        *left_out = z == A::neg_infinity();
    }
    weigh(row);
    for (z, left_out) in row.iter_mut().zip(left_out) {
        if left_out {
            *z = A::zero();
        }
    }
}

/// The sums of a weighed tile: of each lane, then of each row, where lanes count `scales` times. For distances, whose gradient has the row itself in it.
pub(super) struct WeightSums<'a, A> {
    pub(super) tile: &'a [A],
    pub(super) scales: &'a [f64],
    /// A panel of lanes, then the rows of the tile.
    pub(super) out: &'a mut [f64],
}

impl<A: Scalar> Kernel for WeightSums<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (lanes, rows) = self.out.split_at_mut(A::PANEL);
        lanes.fill(0.0);
        for (row, out) in self.tile.chunks_exact(A::PANEL).zip(rows) {
            *out = 0.0;
            for ((lane, &weight), &scale) in lanes.iter_mut().zip(row).zip(self.scales) {
                *lane += weight.wide();
                // A query that does not take part has scale zero, and a NaN perhaps.
                *out += if scale == 0.0 {
                    0.0
                } else {
                    weight.wide() * scale
                };
            }
        }
    }
}
