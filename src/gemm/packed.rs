//! What a product reads in panels, and where it writes.

use std::marker::PhantomData;

use ndarray::{ArrayViewMut2, ArrayViewMut3};

use crate::scalar::Scalar;

/// The right side of a product: panels `[k, PANEL]`, one after the other or further apart.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'b, A> {
    pub(crate) numbers: &'b [A],
    /// Numbers from a panel to the next.
    pub(crate) stride: usize,
}

impl<'b, A: Scalar> Packed<'b, A> {
    /// A single panel.
    pub(crate) fn panel(numbers: &'b [A]) -> Self {
        Self { numbers, stride: 0 }
    }

    /// Panels of `rows` rows each.
    pub(crate) fn panels(numbers: &'b [A], rows: usize) -> Self {
        Self {
            numbers,
            stride: rows * A::PANEL,
        }
    }

    /// The panels from one on.
    pub(crate) fn skip_panels(self, panel: usize) -> Self {
        Self {
            numbers: self.numbers.get(panel * self.stride..).unwrap_or_default(),
            ..self
        }
    }

    /// The panels without their first rows.
    pub(crate) fn skip_rows(self, row: usize) -> Self {
        Self {
            numbers: self.numbers.get(row * A::PANEL..).unwrap_or_default(),
            ..self
        }
    }
}

/// The matrix that a product writes: its columns beside each other, or in panels.
pub(crate) struct Target<'c, A> {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) first: *mut A,
    /// Of row and column.
    pub(super) strides: [isize; 2],
    /// From a panel of columns to the next.
    pub(super) panel: isize,
    borrowed: PhantomData<&'c mut A>,
}

impl<'c, A: Scalar> From<ArrayViewMut2<'c, A>> for Target<'c, A> {
    /// `[m, n]`
    fn from(mut view: ArrayViewMut2<'c, A>) -> Self {
        let strides = [view.strides()[0], view.strides()[1]];
        Self {
            rows: view.nrows(),
            width: view.ncols(),
            first: view.as_mut_ptr(),
            strides,
            panel: strides[1] * A::PANEL as isize,
            borrowed: PhantomData,
        }
    }
}

impl<'c, A: Scalar> From<ArrayViewMut3<'c, A>> for Target<'c, A> {
    /// `[panel, m, PANEL]`
    fn from(mut view: ArrayViewMut3<'c, A>) -> Self {
        let (panels, rows, width) = view.dim();
        assert_eq!(width, A::PANEL, "whole panels");
        Self {
            rows,
            width: panels * width,
            first: view.as_mut_ptr(),
            strides: [view.strides()[1], view.strides()[2]],
            panel: view.strides()[0],
            borrowed: PhantomData,
        }
    }
}
