//! A gradient by one number for all rows, log τ: the share of each row, kept apart and added up in order.

use crate::blocks::Units;
use crate::reduction::Sum;
use crate::rows::Extent;
use crate::scalar::Scalar;
use crate::workspace::Buffer;

/// The shares of the rows, where wanted.
pub(super) struct Slopes<'a>(Option<&'a mut [f64]>);

impl<'a> Slopes<'a> {
    pub(super) fn new(buffer: &'a mut Buffer<f64>, wanted: bool, rows: usize) -> Self {
        Self(wanted.then(|| buffer.take(rows)))
    }

    /// The places of the rows' shares, for a pass.
    pub(super) fn units(&mut self) -> Option<Units<'_, f64>> {
        let slice = self.0.as_deref_mut()?;
        Some(Units { slice, len: 1 })
    }

    /// The sum of all shares.
    pub(super) fn sum_to<A: Scalar>(self, out: Option<&mut A>) {
        if let (Some(out), Some(shares)) = (out, self.0) {
            let sum = shares.iter().fold(Sum::default(), |sum, &x| sum.plus(x));
            *out = A::narrow(sum.value());
        }
    }
}

/// The extent of a pass over `matrices` of scores `[n, m]`: an exponential takes as long as reading eight bytes more.
pub(super) fn extent<A>(rows: usize, columns: usize, matrices: usize) -> Extent {
    Extent {
        rows,
        row_bytes: matrices * columns * (size_of::<A>() + 8),
    }
}
