//! Own negatives: one flat matrix, and where those of each query lie in it.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};

use crate::blocks::Split;
use crate::scalar::Scalar;

/// Where the negatives of a query begin.
#[derive(Clone, Copy)]
pub(super) enum Starts<'a> {
    /// As many for each query.
    Every(usize),
    Offsets(ArrayView1<'a, usize>),
}

impl Starts<'_> {
    fn of(&self, query: usize) -> usize {
        match self {
            Self::Every(count) => query * count,
            Self::Offsets(offsets) => offsets[query],
        }
    }
}

/// The own negatives of all queries.
#[derive(Clone, Copy)]
pub(super) struct Own<'a, A> {
    /// `[total, dim]`
    pub(super) rows: ArrayView2<'a, A>,
    pub(super) starts: Starts<'a>,
}

impl<A> Own<'_, A> {
    /// The rows of a query.
    #[inline(always)]
    pub(super) fn of(&self, query: usize) -> Range<usize> {
        self.starts.of(query)..self.starts.of(query + 1)
    }

    /// Where a row's number lies in an array `[n, K]`, or `[total, 1]` if the negatives are ragged.
    #[inline(always)]
    pub(super) fn place(&self, row: usize) -> [usize; 2] {
        match self.starts {
            Starts::Every(count) => [row / count, row % count],
            Starts::Offsets(_) => [row, 0],
        }
    }
}

/// Gradient rows of the own negatives of some queries.
pub(super) struct OwnRows<'g, 's, A> {
    pub(super) rows: ArrayViewMut2<'g, A>,
    pub(super) starts: Starts<'s>,
    /// The first of the queries.
    pub(super) query: usize,
}

impl<A> OwnRows<'_, '_, A> {
    /// The gradient row of a row of the flat matrix.
    #[inline(always)]
    pub(super) fn local(&self, row: usize) -> usize {
        row - self.starts.of(self.query)
    }

    pub(super) fn some(self, queries: &Range<usize>) -> Self {
        let rows =
            self.local(self.starts.of(queries.start))..self.local(self.starts.of(queries.end));
        Self {
            rows: self.rows.slice_move(ndarray::s![rows, ..]),
            starts: self.starts,
            query: queries.start,
        }
    }
}

impl<A: Send + Sync> Split for OwnRows<'_, '_, A> {
    fn split(self, unit: usize) -> (Self, Self) {
        let middle = self.local(self.starts.of(self.query + unit));
        let (left, right) = self.rows.split_at(Axis(0), middle);
        let part = |rows, query| Self {
            rows,
            starts: self.starts,
            query,
        };
        (part(left, self.query), part(right, self.query + unit))
    }
}

/// A gradient `[n, K, dim]` as a matrix `[n·K, dim]`: the caller's memory where its layout allows that, a copy otherwise.
pub(super) enum FlatGradient<'g, A> {
    InPlace(ArrayViewMut2<'g, A>),
    Copy(Array2<A>, ArrayViewMut3<'g, A>),
}

impl<'g, A: Scalar> FlatGradient<'g, A> {
    pub(super) fn new(view: ArrayViewMut3<'g, A>) -> Self {
        let (n, count, dim) = view.dim();
        if count == 1 {
            return Self::InPlace(view.index_axis_move(Axis(1), 0));
        }
        if !view.is_standard_layout() {
            return Self::Copy(Array2::zeros((n * count, dim)), view);
        }
        let flat = view.into_shape_with_order((n * count, dim));
        Self::InPlace(flat.expect("rows in order can be counted through"))
    }

    pub(super) fn rows(&mut self) -> ArrayViewMut2<'_, A> {
        match self {
            Self::InPlace(view) => view.view_mut(),
            Self::Copy(copy, _) => copy.view_mut(),
        }
    }

    /// Brings a copy to the caller.
    pub(super) fn finish(self) {
        if let Self::Copy(copy, mut view) = self {
            view.iter_mut().zip(copy).for_each(|(to, x)| *to = x);
        }
    }
}
