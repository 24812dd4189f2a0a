//! Rows that lie one after the other in memory.

use ndarray::{ArrayView2, CowArray, Ix2};

use crate::scalar::Scalar;

/// The rows of a matrix, copied first where they do not lie in order.
pub(super) struct Flat<'a, A> {
    array: CowArray<'a, A, Ix2>,
}

impl<'a, A: Scalar> Flat<'a, A> {
    pub(super) fn new(matrix: &'a ArrayView2<'_, A>) -> Self {
        Self {
            array: matrix.as_standard_layout(),
        }
    }

    pub(super) fn rows(&self) -> FlatRows<'_, A> {
        FlatRows {
            // Standard layout has all numbers in a slice.
            numbers: self.array.as_slice().unwrap_or_default(),
            count: self.array.nrows(),
            dim: self.array.ncols(),
        }
    }
}

/// Rows in order.
#[derive(Clone, Copy)]
pub(super) struct FlatRows<'a, A> {
    numbers: &'a [A],
    pub(super) count: usize,
    pub(super) dim: usize,
}

impl<'a, A> FlatRows<'a, A> {
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &'a [A] {
        &self.numbers[row * self.dim..(row + 1) * self.dim]
    }
}
