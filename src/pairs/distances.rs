//! The distances of all pairs of a batch, for losses that look at all of them before they know the gradient of one.

use ndarray::ArrayView2;

use super::pass::Measure;
use crate::blocks::{Units, for_each};
use crate::rows::Extent;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::staging::contiguous;

/// Writes the distance of each pair of rows of `x` and `y` `[n, dim]`.
pub(super) fn measure_all<A: Scalar>(
    measure: &impl Measure<A, Value = f64>,
    x: ArrayView2<'_, A>,
    y: ArrayView2<'_, A>,
    out: &mut [f64],
) {
    let (n, dim) = x.dim();
    let extent = Extent {
        rows: n,
        row_bytes: dim.saturating_mul(2 * size_of::<A>()),
    };
    let units = Units { slice: out, len: 1 };
    for_each(extent.threads(), n, extent.grain(), units, &|first,
                                                           _,
                                                           out: Units<
        '_,
        f64,
    >| {
        dispatch(Block {
            measure,
            x,
            y,
            first,
            out: out.slice,
        });
    });
}

struct Block<'a, 'o, A, M> {
    measure: &'a M,
    x: ArrayView2<'a, A>,
    y: ArrayView2<'a, A>,
    first: usize,
    out: &'o mut [f64],
}

impl<A: Scalar, M: Measure<A, Value = f64>> Kernel for Block<'_, '_, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (mut x_spare, mut y_spare) = (Vec::new(), Vec::new());
        for (row, out) in (self.first..).zip(self.out) {
            let x = contiguous(self.x.row(row), &mut x_spare);
            let y = contiguous(self.y.row(row), &mut y_spare);
            *out = self.measure.measure::<I>(x, y).0;
        }
    }
}
