//! The pass over pairs: what a loss needs to know of two rows, and the gradient of it.

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::distance::{BothGradients, Chosen, Slope};
use crate::kernels::Groups;
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::{Cosine, cosine};
use crate::staging::{Held, Scratch};
use crate::store::{Wide, write_row, write_rows};

/// The gradient views of a block of pairs.
pub(super) type Views<'g, A> = (Option<ArrayViewMut2<'g, A>>, Option<ArrayViewMut2<'g, A>>);

/// Something measured on two rows, with its gradient by both.
pub(super) trait Measure<A: Scalar>: Sync {
    /// What the loss is a function of.
    type Value: Copy;
    /// What the gradient needs besides the rows.
    type Slope: Copy;

    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (Self::Value, Self::Slope);

    /// Writes `factor` times both gradients; zeros for a factor of zero, whatever the rows hold.
    fn write<I: Isa>(
        &self,
        rows: [&[A]; 2],
        slope: Self::Slope,
        factor: f64,
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    );
}

impl<A: Scalar> Measure<A> for Chosen<'_, A> {
    type Value = f64;
    type Slope = Slope<A::Real>;

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Self::Slope) {
        Chosen::measure::<I>(self, x, y)
    }

    #[inline(always)]
    fn write<I: Isa>(
        &self,
        rows: [&[A]; 2],
        slope: Self::Slope,
        factor: f64,
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    ) {
        // A pair without influence has gradient 0 whatever its rows hold, and its distance is not asked.
        if !slope.comes_in_rows() || factor == 0.0 {
            return write_coordinates::<A, I>(rows, slope, factor, out);
        }
        let [x, y] = rows;
        let [dx, dy] = scratch.rows(x.len());
        self.gradient(x, y, dx, dy);
        let (gx, gy) = out.views;
        for (view, row) in [(gx, dx), (gy, dy)] {
            if let Some(view) = view {
                row.iter_mut().for_each(|x| *x *= factor);
                write_row::<A, I>(view.row_mut(out.row), out.stores, Wide::new(row));
            }
        }
    }
}

/// The cosine, with the digits of 1 − c as well.
pub(super) struct CosineOfPair;

impl<A: Scalar> Measure<A> for CosineOfPair {
    type Value = Cosine<A::Real>;
    type Slope = Cosine<A::Real>;

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (Self::Value, Self::Slope) {
        let pair = cosine::<A, I>(x, y, 0.0);
        (pair, pair)
    }

    #[inline(always)]
    fn write<I: Isa>(
        &self,
        rows: [&[A]; 2],
        pair: Self::Slope,
        factor: f64,
        out: Out<'_, Views<'_, A>>,
        _: &mut Scratch,
    ) {
        // The slope is that of 1 − c.
        write_coordinates::<A, I>(rows, Slope::of_cosine(pair), -factor, out);
    }
}

#[inline(always)]
fn write_coordinates<A: Scalar, I: Isa>(
    rows: [&[A]; 2],
    slope: Slope<A::Real>,
    factor: f64,
    out: Out<'_, Views<'_, A>>,
) {
    I::call(WriteBoth {
        rows,
        slope,
        factor,
        out,
    });
}

/// Writes both gradients of a pair.
struct WriteBoth<'r, 'o, 'g, A: Scalar> {
    rows: [&'r [A]; 2],
    slope: Slope<A::Real>,
    factor: f64,
    out: Out<'o, Views<'g, A>>,
}

impl<A: Scalar> Kernel for WriteBoth<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { rows, out, .. } = self;
        let (gx, gy) = out.views;
        let views = [gx, gy].map(|view| view.as_mut().map(|view| view.row_mut(out.row)));
        let both = BothGradients {
            coordinates: self.slope.coordinates::<A, I>(self.factor),
            rows: rows.map(Groups::new),
        };
        write_rows::<A, I, 2>(views, out.stores, both);
    }
}

/// The loss of a pair, its derivative by what was measured, and numbers for the report.
#[derive(Clone, Copy, Default)]
pub(super) struct Term {
    pub(super) loss: f64,
    pub(super) slope: f64,
    pub(super) tally: [f64; 4],
}

/// A loss of independent pairs: `term(row, measured)`.
pub(super) struct Pass<'a, A, M, F> {
    pub(super) x: ArrayView2<'a, A>,
    pub(super) y: ArrayView2<'a, A>,
    pub(super) measure: M,
    pub(super) term: F,
}

impl<'g, A, M, F> RowLoss<A, Views<'g, A>> for Pass<'_, A, M, F>
where
    A: Scalar,
    M: Measure<A>,
    F: Fn(usize, M::Value) -> Term + Sync,
{
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let Held {
            staging, scratch, ..
        } = held;
        let [x, y] = staging.pair([self.x.row(row), self.y.row(row)]);
        let (value, slope) = self.measure.measure::<I>(x, y);
        let term = (self.term)(row, value);
        if let Some(out) = out {
            // A row of weight zero has gradient 0 even where its slope is NaN.
            let factor = if out.scale == 0.0 {
                0.0
            } else {
                term.slope * out.scale
            };
            self.measure.write::<I>([x, y], slope, factor, out, scratch);
        }
        Outcome::new(term.loss, term.tally)
    }
}
