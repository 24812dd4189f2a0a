//! Rows with several negatives, and those of a distance whose gradient comes in whole rows: sums in `f64`, one negative after the other.

use super::gradient::Gradients;
use super::pass::{Far, Near, Pass, Views, negative_mut};
use crate::distance::{BothGradients, Side, Slope};
use crate::kernels::Groups;
use crate::rows::{Out, Outcome};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::{Scratch, contiguous};
use crate::store::{Wide, add_to, write_row};

/// A row of any number of negatives but one.
pub(super) struct Several<'w, 'l, 'a, 'g, A: Scalar> {
    pub(super) pass: &'w Pass<'l, 'a, A>,
    pub(super) row: usize,
    pub(super) pair: [&'w [A]; 2],
    pub(super) out: Option<Out<'w, Views<'g, A>>>,
    pub(super) scratch: &'w mut Scratch,
}

impl<A: Scalar> Kernel for Several<'_, '_, '_, '_, A> {
    type Output = Outcome;

    #[inline(always)]
    fn run<I: Isa>(self) -> Outcome {
        let Self {
            pass,
            row,
            pair,
            out,
            scratch,
        } = self;
        let [anchor, positive] = pair;
        let (near, slope) = pass.measure::<I>(anchor, positive);
        let mut outcome = Outcome::new(0.0, [0.0, near, 0.0, 0.0]);
        let scale = out.as_ref().map_or(0.0, |out| out.scale);
        let (mut far, mut pull) = (Vec::new(), 0.0);
        for k in 0..pass.input.negatives.dim().1 {
            let mut spare = Vec::new();
            let negative = contiguous(pass.negative(row, k), &mut spare);
            let measured = pass.measure::<I>(anchor, negative);
            let one = pass.far::<I>(measured, positive, negative, near, scale, &mut outcome);
            pull -= one.factor;
            far.push(one);
        }
        if let Some(out) = out {
            let near = Near { slope, pull };
            I::call(WriteSeveral {
                pass,
                row,
                pair,
                near,
                far: &far,
                out,
                scratch,
            });
        }
        outcome
    }
}

impl<A: Scalar> Pass<'_, '_, A> {
    /// `scale` times both gradients of a measured pair.
    #[inline(always)]
    fn gradients<'r, I: Isa>(
        &self,
        slope: Slope<A::Real>,
        scale: f64,
        rows: [&'r [A]; 2],
        [dx, dy]: [&'r mut [f64]; 2],
    ) -> Gradients<'r, A, I> {
        // An inactive triplet has gradient 0 whatever its rows hold, and its distance is not asked.
        if slope.comes_in_rows() && scale != 0.0 {
            self.loss.distance.gradient(rows[0], rows[1], dx, dy);
            return Gradients::Rows([Groups::new(dx), Groups::new(dy)], I::splat(scale));
        }
        Gradients::Coordinates(BothGradients {
            coordinates: slope.coordinates::<A, I>(scale),
            rows: [Groups::new(rows[0]), Groups::new(rows[1])],
        })
    }
}

/// Writes the gradients for several negatives, or of a distance whose gradient comes in rows: the sums for anchor and positive are kept in `f64`.
pub(super) struct WriteSeveral<'w, 'l, 'a, 'g, A: Scalar> {
    pub(super) pass: &'w Pass<'l, 'a, A>,
    pub(super) row: usize,
    pub(super) pair: [&'w [A]; 2],
    pub(super) near: Near<A::Real>,
    pub(super) far: &'w [Far<A::Real>],
    pub(super) out: Out<'w, Views<'g, A>>,
    pub(super) scratch: &'w mut Scratch,
}

impl<A: Scalar> Kernel for WriteSeveral<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            pass, near, out, ..
        } = self;
        let [anchor, positive] = self.pair;
        let (to_anchor, to_positive, to_negatives) = out.views;
        let [to_a, to_p, dx, dy] = self.scratch.rows(anchor.len());
        to_a.fill(0.0);
        to_p.fill(0.0);
        let mut spare = Vec::new();
        // The positive first, then the negatives.
        for k in 0..=self.far.len() {
            let (slope, factor, swapped, other) = if k == 0 {
                (near.slope, near.pull, false, positive)
            } else {
                let far = &self.far[k - 1];
                let negative = contiguous(pass.negative(self.row, k - 1), &mut spare);
                (far.slope, far.factor, far.swapped, negative)
            };
            let x = if swapped { positive } else { anchor };
            let both = &mut pass.gradients::<I>(slope, factor, [x, other], [&mut *dx, &mut *dy]);
            for side in 0..2 {
                let sum = match (k, side) {
                    (0, 1) => &mut *to_p,
                    (_, 1) => break,
                    _ if swapped => &mut *to_p,
                    _ => &mut *to_a,
                };
                add_to::<I>(
                    sum,
                    Side {
                        both: &mut *both,
                        side,
                    },
                );
            }
            if let Some(views) = to_negatives.as_mut().filter(|_| k > 0) {
                let view = negative_mut(views, out.row, k - 1);
                write_row::<A, I>(view, out.stores, Side { both, side: 1 });
            }
        }
        for (view, sum) in [(to_anchor, to_a), (to_positive, to_p)] {
            if let Some(view) = view {
                write_row::<A, I>(view.row_mut(out.row), out.stores, Wide::new(sum));
            }
        }
    }
}
