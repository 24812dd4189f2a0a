//! How far the product of two rows can be from what their similarity is.

use ndarray::ArrayView2;

use crate::blocks::{Threads, Units, for_each};
use crate::gemm;
use crate::kernels::dot;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::Similarity;
use crate::staging::contiguous;
use crate::wide::Real;

/// What turns products into similarities, with bounds: product·factor + offsets ± (slack·slack + spans), the factor a document's.
#[derive(Clone, Copy)]
pub(super) struct Bound<A> {
    /// 1/‖row‖ for cosines, else 1; 0 for a row whose products can't be trusted. For squared distances queries are packed twofold.
    pub(super) factor: A,
    /// −‖row‖² for squared distances, else 0.
    pub(super) offset: A,
    /// Of a query times (dim + 8)·ε: ‖row‖ for the dot product, 1 for cosines, else 0.
    pub(super) slack: A,
    /// (dim + 8)·ε·‖row‖² for squared distances; infinite for a row whose products can't be trusted.
    pub(super) span: A,
}

/// The bounds of all rows.
pub(super) fn bounds<A: Scalar>(rows: ArrayView2<'_, A>, similarity: Similarity) -> Vec<Bound<A>> {
    let zero = A::zero();
    let none = Bound {
        factor: zero,
        offset: zero,
        slack: zero,
        span: A::infinity(),
    };
    let mut bounds = vec![none; rows.nrows()];
    let work = Units {
        slice: &mut bounds,
        len: 1,
    };
    let threads = Threads::for_nanoseconds(rows.len() as f64 / 8.0);
    for_each(threads, rows.nrows(), 256, work, &|first, _, out| {
        dispatch(Measure {
            rows,
            similarity,
            first,
            out: out.slice,
        });
    });
    bounds
}

/// (dim + 8)·ε: more than the sums of a product can be off by, relative to the norms.
pub(super) fn rounding<A: Scalar>(dim: usize) -> f64 {
    (dim + 8) as f64 * A::epsilon().wide()
}

/// The bounds of some rows, where products can be trusted.
struct Measure<'a, 'o, A> {
    rows: ArrayView2<'a, A>,
    similarity: Similarity,
    first: usize,
    out: &'o mut [Bound<A>],
}

impl<A: Scalar> Kernel for Measure<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let trusted = gemm::trusted_squares::<A>();
        let mut spare = Vec::new();
        for (row, out) in self.out.iter_mut().enumerate() {
            let row = contiguous(self.rows.row(self.first + row), &mut spare);
            let square = dot::<A, I>(row, row).value();
            if !trusted.contains(&square) {
                continue;
            }
            let [factor, offset, slack, span] = match self.similarity {
                Similarity::Cosine => [1.0 / square.sqrt(), 0.0, 1.0, 0.0],
                Similarity::Dot => [1.0, 0.0, square.sqrt(), 0.0],
                Similarity::SquaredEuclidean => {
                    [1.0, -square, 0.0, rounding::<A>(row.len()) * square]
                }
            }
            .map(A::narrow);
            *out = Bound {
                factor,
                offset,
                slack,
                span,
            };
        }
    }
}
