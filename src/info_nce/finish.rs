//! The way of gradients back to rows of embeddings, through the normalisation.

use std::ops::Range;

use ndarray::ArrayViewMut2;

use super::embeddings::Embeddings;
use crate::kernels::{Groups, dot};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::SingleSlope;
use crate::singles::store_singles;
use crate::staging::contiguous;
use crate::store::{Columns, Stores, write_row};
use crate::wide::Real;

/// What of a row is taken off its gradient on the way back from inner products.
#[derive(Clone, Copy)]
pub(super) enum Along<'e> {
    /// Dot products.
    Nothing,
    /// Cosines: what changes the norm, (x̂·g)·x̂.
    Projection,
    /// Distances: the row itself times the sum of its weights.
    Sums(&'e [f64]),
}

impl Along<'_> {
    /// For some of the rows.
    pub(super) fn some(&self, rows: Range<usize>) -> Self {
        match self {
            Self::Sums(sums) => Self::Sums(&sums[rows]),
            other => *other,
        }
    }
}

/// Carries gradients by normalised rows back to the rows: (g − (x̂·g)·x̂)/‖x‖ for cosines.
pub(super) struct FinishRows<'e, 'a, 'g, A> {
    pub(super) embeddings: &'e Embeddings<'a, A>,
    /// The embedding that belongs to the first of `rows`.
    pub(super) first: usize,
    pub(super) along: Along<'e>,
    /// g, row by row, with a scale for each; otherwise it is what the rows hold, with the document's factor in it.
    pub(super) sums: Option<(&'e [A], &'e [f64])>,
    /// Whether to add to the rows.
    pub(super) add: bool,
    pub(super) rows: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for FinishRows<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (mut held, mut spare) = (Vec::new(), Vec::new());
        for local in 0..self.rows.nrows() {
            self.finish::<I>(local, &mut held, &mut spare);
        }
    }
}

impl<A: Scalar> FinishRows<'_, '_, '_, A> {
    /// One of the rows; the rest is memory for it.
    #[inline(always)]
    fn finish<I: Isa>(&mut self, local: usize, held: &mut Vec<A>, spare: &mut Vec<A>) {
        let (embeddings, index) = (self.embeddings, self.first + local);
        let mut row = self.rows.row_mut(local);
        let (factor, per_norm) = (embeddings.factors[index], embeddings.per_norm[index]);
        // What the gradient is multiplied with, and of that the part which the sums of distances have not seen.
        let (outer, scale) = match self.sums {
            Some((_, scales)) => (per_norm * scales[local], scales[local]),
            None if factor == 0.0 => (0.0, 1.0),
            None => (per_norm / factor, 1.0),
        };
        let gradient = match self.sums {
            Some((sums, _)) => &sums[local * row.len()..][..row.len()],
            None => {
                held.clear();
                match row.as_slice() {
                    Some(row) => held.extend_from_slice(row),
                    None => held.extend(&row),
                }
                &held[..]
            }
        };
        // Of distances a gradient by the products that is 0 is only a part.
        let is_asked = matches!(self.along, Along::Sums(sums) if sums[local] != 0.0);
        // A query that does not take part, or a row that nothing asks for: it need not be finite.
        if scale == 0.0 || (!is_asked && gradient.iter().all(|g| g.is_zero())) {
            if !self.add {
                row.fill(A::zero());
            }
            return;
        }
        let rows = embeddings.rows();
        let x = contiguous(rows.row(index), spare);
        let along = match self.along {
            Along::Nothing => 0.0,
            Along::Projection => dot::<A, I>(gradient, x).value() * factor * factor,
            Along::Sums(sums) => sums[local] / scale,
        };
        if self.add {
            for ((to, &g), &x) in row.iter_mut().zip(gradient).zip(x) {
                *to = A::narrow(to.wide() + outer * (g.wide() - along * x.wide()));
            }
        } else if A::SINGLE
            && let [Some(x), Some(g)] = [x, gradient].map(A::singles)
            && let Some(slope) = SingleSlope::ordinary(along, outer)
        {
            // The sums have roundings of their own, which are larger.
            store_singles::<A, I, 2, 1>(&mut [Some(row)], [x, g], false, &slope);
        } else {
            let projected = Projected::<A, I> {
                gradient: Groups::new(gradient),
                row: Groups::new(x),
                outer: I::splat(outer),
                along: I::splat(-along),
            };
            write_row::<A, I>(row, Stores::Cached, projected);
        }
    }
}

/// Adds gradients to rows that hold sums of gradients by normalised rows.
pub(super) struct AddSums<'e, 'a, 'g, A> {
    pub(super) embeddings: &'e Embeddings<'a, A>,
    /// Row by row.
    pub(super) sums: &'e [A],
    pub(super) scales: &'e [f64],
    /// The row that each belongs to.
    pub(super) rows: &'e [usize],
    pub(super) to: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for AddSums<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let dim = self.to.ncols();
        let sums = self.sums.chunks_exact(dim.max(1));
        for ((&row, &scale), sums) in self.rows.iter().zip(self.scales).zip(sums) {
            let factor = self.embeddings.factors[row] * scale;
            // A query that does not take part, whatever its row holds, or a zero row.
            if scale == 0.0 || factor == 0.0 {
                continue;
            }
            let to = self.to.row_mut(row);
            to.into_iter()
                .zip(sums)
                .for_each(|(to, g)| *to = A::narrow(to.wide() + factor * g.wide()));
        }
    }
}

/// outer·(g + along·x)
pub(super) struct Projected<'r, A, I: Isa> {
    pub(super) gradient: Groups<'r, A>,
    pub(super) row: Groups<'r, A>,
    pub(super) outer: I::Wide,
    pub(super) along: I::Wide,
}

impl<A: Scalar, I: Isa> Columns<I, 1> for Projected<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        let (g, x) = (self.gradient.at::<I>(group), self.row.at::<I>(group));
        [I::mul(self.outer, I::wide_mul_add(self.along, x, g))]
    }
}
