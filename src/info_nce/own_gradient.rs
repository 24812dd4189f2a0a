//! The gradient of a query's own negatives, one at a time.

use ndarray::ArrayViewMut1;

use super::settle::OnTop;
use crate::kernels::{Begun, Coming, Groups};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::{Pair, PairSlope};
use crate::singles::write_ahead;
use crate::store::{Columns, Stores, WideRow, visit, write_row};

/// Writes the gradient of an own negative, and adds up that of its query.
pub(super) struct OwnNegative<'r, 'v, A: Scalar> {
    pub(super) pair: Pair<A::Real>,
    /// What the gradient of the similarity is multiplied with.
    pub(super) factor: f64,
    /// The query, and its numbers in `f64`.
    pub(super) row: &'r [A],
    pub(super) wide: &'r WideRow,
    pub(super) negative: &'r [A],
    /// The gradient of the query, but for the multiple of the query itself that is added up in `along`.
    pub(super) sum: &'r mut WideRow,
    pub(super) along: &'r mut f64,
    /// Where it goes if it is wanted; with a factor it is added to what was there before.
    pub(super) to: Option<(ArrayViewMut1<'v, A>, Option<f64>)>,
    pub(super) before: &'r [A],
    pub(super) stores: Stores,
    /// The next query and its negative in the same place, and what is begun of their moments meanwhile.
    pub(super) coming: Coming<[&'r [f32]; 2]>,
    pub(super) begun: &'r mut Begun,
}

impl<A: Scalar> Kernel for OwnNegative<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        if A::SINGLE && self.is_written_in_singles::<I>() {
            return;
        }
        let Self { pair, factor, .. } = self;
        let gradient = NegativeGradient::<A, I> {
            by_query: pair.slope(factor),
            by_negative: pair.swapped().slope(factor),
            query: self.wide,
            negative: Groups::new(self.negative),
            sum: self.sum,
        };
        match self.to {
            None => visit::<I>(self.negative.len(), gradient),
            Some((view, None)) => write_row::<A, I>(view, self.stores, gradient),
            Some((view, Some(factor))) => {
                let gradient = OnTop::new(self.before, factor, gradient);
                write_row::<A, I>(view, Stores::Cached, gradient);
            }
        }
    }
}

impl<A: Scalar> OwnNegative<'_, '_, A> {
    /// The same for ordinary `f32` rows and cosines: the gradient of the negative in `f32`, with a loop of its own for the query's, whose terms are added up
    /// in `f64`.
    #[inline(always)]
    fn is_written_in_singles<I: Isa>(&mut self) -> bool {
        let rows = [self.row, self.negative].map(A::singles);
        let (Pair::Cosine(cosine), [Some(row), Some(negative)]) = (self.pair, rows) else {
            return false;
        };
        let added = matches!(self.to, Some((_, Some(_))));
        let Some([_, slope]) = cosine.singles::<I>(self.factor).filter(|_| !added) else {
            return false;
        };
        let [of_negative, of_query] = cosine.terms(self.factor);
        *self.along += of_query;
        self.sum
            .add_all::<I>(Multiple::<A, I>::new(of_negative, self.negative));
        if let Some((view, _)) = self.to.take() {
            let others = [negative, row];
            let next = (self.coming, &mut *self.begun);
            write_ahead::<A, I, 2, 1, 2>(&mut [Some(view)], others, self.stores, &slope, next);
        }
        true
    }
}

/// A multiple of a row.
pub(super) struct Multiple<'r, A: Scalar, I: Isa> {
    factor: I::Wide,
    row: Groups<'r, A>,
}

impl<'r, A: Scalar, I: Isa> Multiple<'r, A, I> {
    #[inline(always)]
    pub(super) fn new(factor: f64, row: &'r [A]) -> Self {
        Self {
            factor: I::splat(factor),
            row: Groups::new(row),
        }
    }
}

impl<A: Scalar, I: Isa> Columns<I, 1> for Multiple<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        [I::mul(self.factor, self.row.at::<I>(group))]
    }
}

/// The gradient of a score by the negative; that by the query is added up on the way.
struct NegativeGradient<'r, A: Scalar, I: Isa> {
    by_query: PairSlope<A, I>,
    by_negative: PairSlope<A, I>,
    query: &'r WideRow,
    negative: Groups<'r, A>,
    sum: &'r mut WideRow,
}

impl<A: Scalar, I: Isa> Columns<I, 1> for NegativeGradient<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        let (query, negative) = (self.query.at::<I>(group), self.negative.at::<I>(group));
        self.sum.add::<I>(group, self.by_query.at(query, negative));
        [self.by_negative.at(negative, query)]
    }
}
