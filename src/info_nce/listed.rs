//! Candidates that are listed query by query: positives and own negatives. Scored row by row, in `f64`.

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, s};

use super::InfoNceInput;
use super::candidates::Askers;
use super::softmax::{Partition, Settled};
use crate::blocks::{Threads, Units, for_each};
use crate::kernels::{Groups, dot};
use crate::rows::{Ahead, contiguous};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch, publish};
use crate::similarity::{Pair, PairSlope, Similarity};
use crate::store::{Columns, Stores, WideRow, visit, write_row};

/// What is known of a query.
#[derive(Clone, Copy)]
pub(super) struct Query {
    /// The score z of the positive.
    pub(super) positive: f64,
    /// The softmax over all candidates but the positive.
    pub(super) others: Partition,
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
        positive: 0.0,
        others: Partition::EMPTY,
        above: 0.0,
        settled: Settled {
            loss: 0.0,
            per_sum: 0.0,
            others: 0.0,
            slope: 0.0,
        },
        column: Settled {
            loss: 0.0,
            per_sum: 0.0,
            others: 0.0,
            slope: 0.0,
        },
        column_positive: 0.0,
    };
}

/// The queries of a block with all that is listed for them.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a, A> {
    pub(super) input: InfoNceInput<'a, A>,
    pub(super) similarity: Similarity,
    pub(super) per_temperature: f64,
    /// Whether the positive's gradient is left to the tiles.
    pub(super) positive_in_tiles: bool,
    /// What the losses are multiplied with besides their weights.
    pub(super) scale: f64,
}

/// Gradient views of a block of queries.
pub(super) type Views<'g, A> = (Option<ArrayViewMut2<'g, A>>, Option<ArrayViewMut3<'g, A>>);

impl<'a, A: Scalar> Listed<'a, A> {
    /// The share of a query's loss in the value.
    #[inline]
    pub(super) fn weight(&self, query: usize) -> f64 {
        self.scale
            * self
                .input
                .weights
                .map_or(1.0, |weights| weights[query].wide())
    }

    /// The score up to which a candidate ties with the positive: scores in tiles are rounded, and a copy of the positive must not
    /// count as better.
    #[inline]
    pub(super) fn tie(&self, query: &Query) -> f64 {
        let size = query.positive.abs().max(self.per_temperature);
        query.positive + 16.0 * A::epsilon().wide() * size
    }

    fn threads(&self, queries: usize) -> Threads {
        let listed = 1 + self
            .input
            .negatives
            .map_or(0, |negatives| negatives.dim().1);
        Threads::for_nanoseconds((queries * listed * self.input.queries.ncols()) as f64 / 2.0)
    }

    /// Scores the positives of the queries from `first` on.
    pub(super) fn score_positives(&self, first: usize, queries: &mut [Query]) {
        let units = Units {
            slice: queries,
            len: 1,
        };
        for_each(
            self.threads(units.slice.len()),
            units.slice.len(),
            32,
            units,
            &|start, _, queries: Units<Query>| {
                dispatch(Positives {
                    listed: self,
                    first: first + start,
                    queries: queries.slice,
                });
            },
        );
    }

    /// Adds the own negatives, settles the softmax of each query from `first` on, and writes the gradients of what is listed.
    pub(super) fn settle(&self, first: usize, queries: &mut [Query], views: Views<'_, A>) {
        let count = queries.len();
        let work = (
            Units {
                slice: queries,
                len: 1,
            },
            views.0,
            views.1,
        );
        let grain = if self.input.negatives.is_some() {
            4
        } else {
            64
        };
        for_each(self.threads(count), count, grain, work, &|start,
                                                            _,
                                                            (
            queries,
            to_query,
            to_negatives,
        ): (
            Units<Query>,
            _,
            _,
        )| {
            let views = (to_query, to_negatives);
            dispatch(Settle {
                listed: self,
                first: first + start,
                queries: queries.slice,
                views,
            });
        });
    }

    /// The gradient of the documents where they are nothing but positives: a document's row is written once, from all its queries.
    pub(super) fn write_documents(
        &self,
        askers: &Askers,
        queries: &[Query],
        documents: ArrayViewMut2<'_, A>,
    ) {
        let count = documents.nrows();
        for_each(
            self.threads(count),
            count,
            32,
            documents,
            &|first, _, views| {
                dispatch(Documents {
                    listed: self,
                    askers,
                    queries,
                    first,
                    views,
                });
            },
        );
    }

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> Pair<A::Real> {
        self.similarity.measure::<A, I>(x, y)
    }
}

struct Positives<'l, 'a, A> {
    listed: &'l Listed<'a, A>,
    first: usize,
    queries: &'l mut [Query],
}

impl<A: Scalar> Kernel for Positives<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let input = &self.listed.input;
        let (mut query_spare, mut document_spare) = (Vec::new(), Vec::new());
        for (i, query) in self.queries.iter_mut().enumerate() {
            let row = contiguous(input.queries.row(self.first + i), &mut query_spare);
            let document = contiguous(
                input.documents.row(input.targets.of(self.first + i)),
                &mut document_spare,
            );
            query.positive =
                self.listed.measure::<I>(row, document).similarity() * self.listed.per_temperature;
        }
    }
}

struct Settle<'l, 'a, 'g, A> {
    listed: &'l Listed<'a, A>,
    first: usize,
    queries: &'l mut [Query],
    views: Views<'g, A>,
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
            .unwrap_or_else(|| input.queries.insert_axis(ndarray::Axis(1)));
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
                let score = pair.similarity() * per_temperature;
                query.others = query.others.merge(Partition::of(score));
                query.above += f64::from(score > self.listed.tie(query));
                pairs.push((pair, score));
            }
            query.settled = query.others.against(query.positive);
            let weight = self.listed.weight(i) * per_temperature;
            sum.clear();
            wide.set(row);
            for (k, &(pair, score)) in pairs.iter().enumerate() {
                let share = (score - query.others.max).exp() * query.settled.per_sum;
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
                let factor = times(-weight, query.settled.others);
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

struct Documents<'l, 'a, 'g, A> {
    listed: &'l Listed<'a, A>,
    askers: &'l Askers,
    queries: &'l [Query],
    first: usize,
    views: ArrayViewMut2<'g, A>,
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
                let factor = times(-weight, self.queries[i].settled.others);
                let pair = self.listed.measure::<I>(row, document);
                sum.add_all::<I>(pair.second::<A, I>(factor, row, document));
            }
            write_row::<A, I>(self.views.row_mut(local), Stores::Cached, &sum);
        }
    }
}

/// A product that is 0 where the weight is: a query of weight zero does not take part, not even with a NaN.
#[inline(always)]
pub(super) fn times(weight: f64, x: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * x }
}

/// A row with the lifetime of the matrix.
#[inline(always)]
fn document_row<A>(documents: ArrayView2<'_, A>, row: usize) -> ndarray::ArrayView1<'_, A> {
    documents.index_axis_move(ndarray::Axis(0), row)
}
