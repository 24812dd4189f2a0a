//! The softmax of each query, once its own negatives are in, and the gradient of what is listed.

use std::sync::atomic::Ordering;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use super::askers::Askers;
use super::embeddings::Embeddings;
use super::listed::{Listed, Unfinished, Views, times};
use super::own::{Own, OwnRows};
use super::own_gradient::{Multiple, OwnNegative};
use super::pairs::PairRows;
use super::query::Query;
use super::softmax::Partition;
use crate::kernels::{Begun, Coming, Groups, dot};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, Publishing};
use crate::similarity::{Pair, begun_cosine};
use crate::staging::{contiguous, singles};
use crate::store::{Columns, Stores, WideRow, write_row};

/// Settles some queries.
pub(super) struct Settle<'l, 'a, 'p, 's, 'g, 'o, A> {
    pub(super) listed: &'l Listed<'a, A>,
    pub(super) first: usize,
    pub(super) queries: &'l mut [Query],
    pub(super) pairs: PairRows<'p, 's>,
    pub(super) views: Views<'g, 'o, A>,
    pub(super) unfinished: Unfinished<'l, 'a, A>,
}

impl<A: Scalar> Kernel for Settle<'_, '_, '_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let listed = self.listed;
        let dim = listed.input.queries.ncols();
        let own_bytes = size_of::<A>() * listed.own.map_or(0, |own| own.rows.len());
        let mut pass = Pass {
            pairs: Vec::new(),
            sum: WideRow::new(dim),
            wide: WideRow::new(dim),
            spare: Vec::new(),
            before: Vec::new(),
            stores: Stores::for_bytes(own_bytes),
            begun: Vec::new(),
        };
        let _published = Publishing(pass.stores == Stores::Streamed);
        let mut query_spare = Vec::new();
        let count = self.queries.len();
        for local in 0..count {
            let next = (local + 1 < count).then_some(self.first + local + 1);
            let (i, query) = (self.first + local, &mut self.queries[local]);
            let row = contiguous(listed.input.queries.row(i), &mut query_spare);
            if let Some(own) = &listed.own {
                pass.score::<I>(listed, own, i, row, query);
            }
            let entries = self.pairs.of(local);
            query.settled = listed.rules.settled(query, entries);
            if self.views.0.is_none() && self.views.1.is_none() {
                continue;
            }
            pass.sum.clear();
            if let Some(own) = &listed.own {
                let to = self.views.1.as_mut();
                let unfinished = self.unfinished.negatives;
                pass.differentiate::<I>(listed, own, (i, next), row, query, to, unfinished);
            }
            let Some(views) = &mut self.views.0 else {
                continue;
            };
            if !listed.positive_in_tiles {
                let weight = listed.weight(i) * listed.per_temperature;
                for (index, target) in listed.positives.of(i).enumerate() {
                    let pull = entries
                        .get(index)
                        .map_or(query.settled.pull, |entry| entry.pull);
                    let document = contiguous(listed.documents.row(target), &mut pass.spare);
                    let pair = listed.measure::<I>(row, document);
                    let factor = times(-weight, pull);
                    pair.add_first::<A, I>(factor, row, document, &mut pass.sum);
                }
            }
            let Pass { sum, before, .. } = &mut pass;
            let raise = self.unfinished.queries.map(|queries| raise(queries, i));
            let view = views.row_mut(local);
            match raise {
                None => write_row::<A, I>(view, Stores::Cached, &*sum),
                Some(factor) => {
                    before.clear();
                    before.extend(view.iter().copied());
                    let sum = OnTop::new(before, factor, &*sum);
                    write_row::<A, I>(view, Stores::Cached, sum);
                }
            }
        }
    }
}

/// What turns a gradient by a row into one by the row once normalised. Carried back through the normalisation it is what it was.
#[inline(always)]
fn raise<A>(embeddings: &Embeddings<'_, A>, row: usize) -> f64 {
    let per_norm = embeddings.per_norm[row];
    if per_norm == 0.0 {
        0.0
    } else {
        embeddings.factors[row] / per_norm
    }
}

/// What is kept from query to query.
struct Pass<A: Scalar> {
    /// The own negatives of a query: measured, with their scores.
    pairs: Vec<(Pair<A::Real>, f64)>,
    sum: WideRow,
    wide: WideRow,
    spare: Vec<A>,
    before: Vec<A>,
    stores: Stores,
    /// What is begun of the moments of the next query with each of its negatives.
    begun: Vec<Begun>,
}

impl<A: Scalar> Pass<A> {
    /// Adds the own negatives of a query to its sums.
    #[inline(always)]
    fn score<I: Isa>(
        &mut self,
        listed: &Listed<'_, A>,
        own: &Own<'_, A>,
        i: usize,
        row: &[A],
        query: &mut Query,
    ) {
        let square = dot::<A, I>(row, row);
        self.pairs.clear();
        for (index, at) in own.of(i).enumerate() {
            let negative = contiguous(row_of(own.rows, at), &mut self.spare);
            let begun = self.begun.get(index).filter(|begun| !begun.is_nothing());
            let pair = match begun {
                Some(begun) => Pair::Cosine(begun_cosine::<A, I>(begun, row, negative, 0.0)),
                None => listed
                    .similarity
                    .measure_from::<A, I>(square, row, negative),
            };
            let u = listed.over_temperature(pair.similarity());
            let score = listed.own_score::<I>(i, own.place(at), query, u);
            if score.z == f64::NEG_INFINITY {
                listed.left_out.fetch_add(1, Ordering::Relaxed);
            } else {
                match listed.rules.bias {
                    Some(bias) => query.sigmoids.add(score, bias),
                    None => query.others = query.others.merge(Partition::of(score)),
                }
                query.totals.add(score);
                query.above += f64::from(query.has_positive && score.z > listed.tie(query));
            }
            self.pairs.push((pair, score.z));
        }
        self.begun.clear();
    }

    /// What comes after the negative `index` of a query: that of the next query, and one some rows after it.
    #[inline(always)]
    fn coming<'r, I: Isa>(
        &self,
        listed: &'r Listed<'_, A>,
        own: &'r Own<'_, A>,
        next: Option<usize>,
        index: usize,
    ) -> Coming<[&'r [f32]; 2]> {
        let Some(query) = next.filter(|_| self.stores.look_ahead()) else {
            return Coming::default();
        };
        let negatives = own.of(query);
        let Coming { next, later } =
            Coming::rows::<I>(negatives.start + index, negatives.end, own.rows.nrows());
        let rows = |at| singles([row_of(listed.input.queries, query), row_of(own.rows, at)]);
        Coming {
            next: next.and_then(rows),
            later: later.and_then(rows),
        }
    }

    /// Writes the gradients of the own negatives of a query, and adds up that of the query.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one row of a pass, cut out of it for its length"
    )]
    fn differentiate<I: Isa>(
        &mut self,
        listed: &Listed<'_, A>,
        own: &Own<'_, A>,
        (i, next): (usize, Option<usize>),
        row: &[A],
        query: &Query,
        mut to: Option<&mut OwnRows<'_, '_, A>>,
        unfinished: Option<&Embeddings<'_, A>>,
    ) {
        let smoothing = listed.rules.label_smoothing / (1.0 + query.totals.count);
        let weight = listed.weight(i) * listed.per_temperature;
        self.wide.set(row);
        let mut along = 0.0;
        for ((index, &(pair, z)), at) in self.pairs.iter().enumerate().zip(own.of(i)) {
            let coming = self.coming::<I>(listed, own, next, index);
            self.begun.push(Begun::NOTHING);
            let share = if z == f64::NEG_INFINITY {
                0.0
            } else {
                listed.share(query, z) - smoothing
            };
            let factor = times(weight, share);
            let negative = contiguous(row_of(own.rows, at), &mut self.spare);
            let to = to.as_mut().map(|to| {
                let local = to.local(at);
                let view = to.rows.row_mut(local);
                let raise = unfinished.map(|embeddings| {
                    self.before.clear();
                    self.before.extend(view.iter().copied());
                    raise(embeddings, at)
                });
                (view, raise)
            });
            I::call(OwnNegative {
                pair,
                factor,
                row,
                wide: &self.wide,
                negative,
                sum: &mut self.sum,
                along: &mut along,
                to,
                before: &self.before,
                stores: self.stores,
                coming,
                begun: &mut self.begun[index],
            });
        }
        if along != 0.0 {
            self.sum.add_all::<I>(Multiple::<A, I>::new(-along, row));
        }
    }
}

/// A multiple of some columns, added to what a row held before.
pub(super) struct OnTop<'r, A, C> {
    before: Groups<'r, A>,
    factor: f64,
    columns: C,
}

impl<'r, A: Scalar, C> OnTop<'r, A, C> {
    #[inline(always)]
    pub(super) fn new(before: &'r [A], factor: f64, columns: C) -> Self {
        Self {
            before: Groups::new(before),
            factor,
            columns,
        }
    }
}

impl<A: Scalar, I: Isa, C: Columns<I, 1>> Columns<I, 1> for OnTop<'_, A, C> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        let [columns] = self.columns.group(group);
        let before = self.before.at::<I>(group);
        [I::wide_mul_add(I::splat(self.factor), columns, before)]
    }
}

/// The gradient of documents that are nothing but positives.
pub(super) struct Documents<'l, 'a, 'g, A, P> {
    pub(super) listed: &'l Listed<'a, A>,
    pub(super) askers: &'l Askers,
    /// −∂ℓ/∂z of a query's positive.
    pub(super) pull: &'l P,
    pub(super) first: usize,
    pub(super) views: ArrayViewMut2<'g, A>,
}

impl<A: Scalar, P: Fn(usize, usize) -> f64> Kernel for Documents<'_, '_, '_, A, P> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let input = &self.listed.input;
        let mut sum = WideRow::new(input.queries.ncols());
        let [mut query_spare, mut document_spare] = [Vec::new(), Vec::new()];
        for local in 0..self.views.nrows() {
            if input.within {
                // They are the queries, whose own gradient is there.
                sum.set(contiguous(self.views.row(local), &mut query_spare));
            } else {
                sum.clear();
            }
            let at = self.first + local;
            let document = contiguous(row_of(self.listed.documents, at), &mut document_spare);
            for &i in self.askers.of(at) {
                let row = contiguous(input.queries.row(i), &mut query_spare);
                let weight = self.listed.weight(i) * self.listed.per_temperature;
                let factor = times(-weight, (self.pull)(i, at));
                let pair = self.listed.measure::<I>(row, document);
                pair.swapped()
                    .add_first::<A, I>(factor, document, row, &mut sum);
            }
            write_row::<A, I>(self.views.row_mut(local), Stores::Cached, &sum);
        }
    }
}

/// A row with the lifetime of the matrix.
#[inline(always)]
fn row_of<A>(rows: ArrayView2<'_, A>, row: usize) -> ArrayView1<'_, A> {
    rows.index_axis_move(Axis(0), row)
}
