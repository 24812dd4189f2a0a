//! The last sweep over gradients: what is along the rows themselves is taken off.

use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::info_nce::finish::Projected;
use crate::kernels::Groups;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::contiguous;
use crate::store::{Stores, write_row};

/// Writes g − c·x to rows, with another c in the columns of each prefix that the shorter ones do not have.
pub(super) struct FinishPrefixes<'e, 'g, A> {
    /// x, of all rows.
    pub(super) embeddings: ArrayView2<'e, A>,
    /// The embedding that belongs to the first of `rows`.
    pub(super) first: usize,
    /// The columns of each prefix.
    pub(super) ends: &'e [usize],
    /// c, row by row.
    pub(super) along: &'e [f64],
    /// g, row by row; otherwise it is what the rows hold.
    pub(super) sums: Option<&'e [A]>,
    pub(super) rows: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for FinishPrefixes<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (count, dim) = self.rows.dim();
        let (mut held, mut spare) = (Vec::new(), Vec::new());
        for local in 0..count {
            let mut row = self.rows.row_mut(local);
            let gradient = match self.sums {
                Some(sums) => &sums[local * dim..][..dim],
                None => {
                    held.clear();
                    held.extend(&row);
                    &held[..]
                }
            };
            let x = contiguous(self.embeddings.row(self.first + local), &mut spare);
            let mut start = 0;
            for (&end, &along) in self.ends.iter().zip(&self.along[local * self.ends.len()..]) {
                let projected = Projected::<A, I> {
                    gradient: Groups::new(&gradient[start..end]),
                    row: Groups::new(&x[start..end]),
                    outer: I::splat(1.0),
                    along: I::splat(-along),
                };
                write_row::<A, I>(row.slice_mut(s![start..end]), Stores::Cached, projected);
                start = end;
            }
        }
    }
}
