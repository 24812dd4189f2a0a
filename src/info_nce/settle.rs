//! The softmax of each query, once its own negatives are in, and the gradient of what is listed.

use ndarray::{ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};

use super::candidates::Askers;
use super::listed::{Listed, Views, times};
use super::query::Query;
use super::softmax::Partition;
use crate::kernels::{Groups, dot};
use crate::rows::{Ahead, contiguous};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, publish};
use crate::similarity::PairSlope;
use crate::store::{Columns, Stores, WideRow, visit, write_row};

/// Settles some queries.
pub(super) struct Settle<'l, 'a, 'g, A> {
    pub(super) listed: &'l Listed<'a, A>,
    pub(super) first: usize,
    pub(super) queries: &'l mut [Query],
    pub(super) views: Views<'g, A>,
}

impl<A: Scalar> Kernel for Settle<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Listed {
            input,
            per_temperature,
            positive_in_tiles,
            ..
        } = *self.listed;
        let own = input.negatives.map_or(0, |negatives| negatives.dim().1);
        let negatives = input
            .negatives
            .unwrap_or_else(|| input.queries.insert_axis(Axis(1)));
        let dim = input.queries.ncols();
        let mut pairs = Vec::with_capacity(own);
        let [mut sum, mut wide] = [(); 2].map(|()| WideRow::new(dim));
        let [mut query_spare, mut other_spare] = [Vec::new(), Vec::new()];
        let stores =
            Stores::for_bytes(size_of::<A>() * input.negatives.map_or(0, |rows| rows.len()));
        for local in 0..self.queries.len() {
            let (i, query) = (self.first + local, &mut self.queries[local]);
            let row = contiguous(input.queries.row(i), &mut query_spare);
            let square = dot::<A, I>(row, row);
            pairs.clear();
            for k in 0..own {
                let negative = contiguous(negatives.slice_move(s![i, k, ..]), &mut other_spare);
                let pair = self
                    .listed
                    .similarity
                    .measure_from::<A, I>(square, row, negative);
                let u = pair.similarity() * per_temperature;
                let score = self.listed.own_score::<I>(i, k, query, u);
                if score.z == f64::NEG_INFINITY {
                    query.left_out += 1;
                } else {
                    query.others = query.others.merge(Partition::of(score));
                    query.totals.add(score);
                    query.above += f64::from(score.z > self.listed.tie(query));
                }
                pairs.push((pair, score.z));
            }
            query.settled = self.listed.settled(query);
            let smoothing = self.listed.rules.label_smoothing / (1.0 + query.totals.count);
            let weight = self.listed.weight(i) * per_temperature;
            sum.clear();
            wide.set(row);
            for (k, &(pair, score)) in pairs.iter().enumerate() {
                let share = if score == f64::NEG_INFINITY {
                    0.0
                } else {
                    (score - query.others.max).exp() * query.settled.per_sum - smoothing
                };
                let factor = times(weight, share);
                let negative = contiguous(negatives.slice_move(s![i, k, ..]), &mut other_spare);
                let gradient = NegativeGradient::<A, I> {
                    by_query: pair.slope(factor),
                    by_negative: pair.swapped().slope(factor),
                    query: &wide,
                    negative: Groups::new(negative),
                    sum: &mut sum,
                    ahead: ahead(negatives, i + 1, k, stores),
                };
                match &mut self.views.1 {
                    Some(views) => {
                        write_row::<A, I>(views.slice_mut(s![local, k, ..]), stores, gradient);
                    }
                    None => visit::<I>(dim, gradient),
                }
            }
            let Some(views) = &mut self.views.0 else {
                continue;
            };
            if !positive_in_tiles {
                let document =
                    contiguous(input.documents.row(input.targets.of(i)), &mut other_spare);
                let factor = times(-weight, query.settled.pull);
                let pair = self.listed.measure::<I>(row, document);
                sum.add_all::<I>(pair.first::<A, I>(factor, row, document));
            }
            write_row::<A, I>(views.row_mut(local), Stores::Cached, &sum);
        }
        if stores == Stores::Streamed {
            publish();
        }
    }
}

/// The same negative of the next query, which can come into the cache while this one's gradient goes out.
#[inline(always)]
fn ahead<A>(negatives: ArrayView3<'_, A>, query: usize, k: usize, stores: Stores) -> Ahead<'_, A> {
    let there = stores == Stores::Streamed && query < negatives.dim().0;
    Ahead::new(there.then(|| negatives.slice_move(s![query, k, ..])))
}

/// The gradient of a score by the negative; that by the query is added up on the way.
struct NegativeGradient<'r, A: Scalar, I: Isa> {
    by_query: PairSlope<A, I>,
    by_negative: PairSlope<A, I>,
    query: &'r WideRow,
    negative: Groups<'r, A>,
    sum: &'r mut WideRow,
    ahead: Ahead<'r, A>,
}

impl<A: Scalar, I: Isa> Columns<I, 1> for NegativeGradient<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        self.ahead.prefetch(group);
        let (query, negative) = (self.query.at::<I>(group), self.negative.at::<I>(group));
        self.sum.add::<I>(group, self.by_query.at(query, negative));
        [self.by_negative.at(negative, query)]
    }
}

/// The gradient of documents that are nothing but positives.
pub(super) struct Documents<'l, 'a, 'g, A> {
    pub(super) listed: &'l Listed<'a, A>,
    pub(super) askers: &'l Askers,
    pub(super) queries: &'l [Query],
    pub(super) first: usize,
    pub(super) views: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for Documents<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let input = &self.listed.input;
        let mut sum = WideRow::new(input.queries.ncols());
        let [mut query_spare, mut document_spare] = [Vec::new(), Vec::new()];
        for local in 0..self.views.nrows() {
            sum.clear();
            let document = contiguous(
                document_row(input.documents, self.first + local),
                &mut document_spare,
            );
            for &i in self.askers.of(self.first + local) {
                let row = contiguous(input.queries.row(i), &mut query_spare);
                let weight = self.listed.weight(i) * self.listed.per_temperature;
                let factor = times(-weight, self.queries[i].settled.pull);
                let pair = self.listed.measure::<I>(row, document);
                sum.add_all::<I>(pair.second::<A, I>(factor, row, document));
            }
            write_row::<A, I>(self.views.row_mut(local), Stores::Cached, &sum);
        }
    }
}

/// A row with the lifetime of the matrix.
#[inline(always)]
fn document_row<A>(documents: ArrayView2<'_, A>, row: usize) -> ArrayView1<'_, A> {
    documents.index_axis_move(Axis(0), row)
}
