//! One labelled pair: its cosine, its loss, and the gradient while the rows are in the cache.

use ndarray::{ArrayView1, ArrayViewMut1, ArrayViewMut2};

use super::{CosineEmbeddingInput, CosineEmbeddingLoss};
use crate::kernels::{Begun, Coming, Groups};
use crate::label::PairLabel;
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::{Cosine, CosineSlope, SingleSlope, begun_cosine};
use crate::singles::{Singles, write_ahead, write_zeros};
use crate::staging::{Held, singles};
use crate::store::{Columns, Stores, write_rows};

pub(super) struct Pass<'a, A> {
    pub(super) loss: CosineEmbeddingLoss,
    pub(super) input: CosineEmbeddingInput<'a, A>,
}

impl<A: Scalar> Pass<'_, A> {
    #[inline(always)]
    fn pair(&self, row: usize) -> [ArrayView1<'_, A>; 2] {
        [self.input.x.row(row), self.input.y.row(row)]
    }

    /// The same as slices of `f32`, where they are that.
    #[inline(always)]
    fn singles(&self, row: Option<usize>) -> Option<[&[f32]; 2]> {
        singles(self.pair(row?))
    }

    /// The loss of a pair as a function of c and 1 − c, and its derivative by c.
    #[inline(always)]
    pub(super) fn hinge(&self, label: PairLabel, cosine: f64, distance: f64) -> (f64, f64) {
        let (excess, slope) = match label {
            // m⁺ − c = (1 − c) − (1 − m⁺), which for m⁺ = 1 keeps the digits of 1 − c.
            PairLabel::Match => (distance - (1.0 - self.loss.positive_margin), -1.0),
            PairLabel::NoMatch => (cosine - self.loss.margin, 1.0),
        };
        if excess <= 0.0 {
            (0.0, 0.0)
        } else {
            (excess, slope)
        }
    }
}

/// The gradient views of a block of pairs.
pub(super) type Views<'g, A> = (Option<ArrayViewMut2<'g, A>>, Option<ArrayViewMut2<'g, A>>);

impl<'g, A: Scalar> RowLoss<A, Views<'g, A>> for Pass<'_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let [x, y] = held.staging.pair(self.pair(row));
        let label = self.input.labels[row];
        let pair = begun_cosine::<A, I>(&held.begun, x, y, self.loss.epsilon);
        held.begun.clear();
        let (loss, slope) = self.hinge(label, pair.cosine, pair.distance);
        if let Some(out) = out {
            let factor = slope * out.scale;
            let (gx, gy) = out.views;
            let rows = [gx, gy].map(|view| view.as_mut().map(|view| view.row_mut(out.row)));
            let coming = Coming {
                next: self.singles(out.coming.next),
                later: self.singles(out.coming.later),
            };
            let next = (coming, &mut held.begun);
            write::<A, I>([x, y], pair, factor, rows, out.stores, next);
        }
        Outcome::new(loss, tally(label, pair.cosine))
    }
}

/// What the report counts of a pair.
#[inline(always)]
pub(super) fn tally(label: PairLabel, cosine: f64) -> [f64; 4] {
    match label {
        PairLabel::Match => [1.0, cosine, 0.0, 0.0],
        PairLabel::NoMatch => [0.0, 0.0, 1.0, cosine],
    }
}

/// Writes `factor` times the gradients of a cosine; zeros for a factor of zero, whatever the rows hold. Meanwhile prepares for the rows that come next.
#[inline(always)]
pub(super) fn write<A: Scalar, I: Isa>(
    pair: [&[A]; 2],
    cosine: Cosine<A::Real>,
    factor: f64,
    mut rows: [Option<ArrayViewMut1<'_, A>>; 2],
    stores: Stores,
    next: (Coming<[&[f32]; 2]>, &mut Begun),
) {
    if A::SINGLE
        && let [Some(x), Some(y)] = pair.map(A::singles)
    {
        if factor == 0.0 {
            return write_zeros::<A, I, 2, 2>(rows, stores, next);
        }
        if let Some(slopes) = cosine.singles::<I>(factor) {
            let gradient = SinglePair(slopes);
            return write_ahead::<A, I, 2, 2, 2>(&mut rows, [x, y], stores, &gradient, next);
        }
    }
    I::call(WriteWide {
        pair,
        cosine,
        factor,
        rows,
        stores,
    });
}

/// A multiple of the gradients of a cosine in the precision of `f32` rows.
struct SinglePair<I: Isa>([SingleSlope<I>; 2]);

impl<I: Isa> Singles<I, 2, 2> for SinglePair<I> {
    #[inline(always)]
    fn at(&self, [x, y]: [I::Single; 2]) -> [I::Single; 2] {
        let [first, second] = &self.0;
        [first.at(x, y), second.at(y, x)]
    }
}

/// The same in `f64`: for `f64` rows, and for `f32` rows that are out of the ordinary.
struct WriteWide<'r, 'g, A: Scalar> {
    pair: [&'r [A]; 2],
    cosine: Cosine<A::Real>,
    factor: f64,
    rows: [Option<ArrayViewMut1<'g, A>>; 2],
    stores: Stores,
}

impl<A: Scalar> Kernel for WriteWide<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let [x, y] = self.pair;
        let gradient = PairGradient {
            rows: [Groups::new(x), Groups::new(y)],
            active: self.factor != 0.0,
            first: self.cosine.first::<A, I>(self.factor),
            second: self.cosine.second::<A, I>(self.factor),
        };
        write_rows::<A, I, 2>(self.rows, self.stores, gradient);
    }
}

struct PairGradient<'r, A: Scalar, I: Isa> {
    rows: [Groups<'r, A>; 2],
    active: bool,
    first: CosineSlope<A, I>,
    second: CosineSlope<A, I>,
}

impl<A: Scalar, I: Isa> Columns<I, 2> for PairGradient<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 2] {
        if !self.active {
            return [I::splat(0.0); 2];
        }
        let (x, y) = (self.rows[0].at::<I>(group), self.rows[1].at::<I>(group));
        [self.first.at(x, y), self.second.at(y, x)]
    }
}
