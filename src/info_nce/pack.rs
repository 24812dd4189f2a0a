//! Sweeps over rows of embeddings: into panels, normalised, and gradients back out through the normalisation.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewMut2};

use super::embeddings::Embeddings;
use crate::kernels::{Groups, dot};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::contiguous;
use crate::store::{Columns, Stores, write_row};
use crate::wide::Real;

/// Packs rows, normalised, as one panel `[dim][lane]`; lanes without a row are zero.
pub(super) struct PackTransposed<'e, 'a, A> {
    pub(super) left: &'e Embeddings<'a, A>,
    pub(super) rows: &'e [usize],
    pub(super) packed: &'e mut [A],
}

impl<A: Scalar> Kernel for PackTransposed<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.rows.len() < A::PANEL {
            self.packed.fill(A::zero());
        }
        let matrix = self.left.rows();
        let mut spare = Vec::new();
        // A few columns of all rows at a time, so that the lines of the panel are written while they are in the cache.
        for (index, packed) in self.packed.chunks_mut(TURN * A::PANEL).enumerate() {
            let columns = index * TURN..matrix.ncols().min((index + 1) * TURN);
            for (lane, &row) in self.rows.iter().enumerate() {
                let factor = self.left.factors[row];
                let row = some_columns(matrix.row(row), columns.clone(), &mut spare);
                for (to, &x) in packed.chunks_exact_mut(A::PANEL).zip(row) {
                    to[lane] = A::narrow(x.wide() * factor);
                }
            }
        }
    }
}

/// A piece of a row as a slice, copied where its columns are not contiguous.
#[inline(always)]
fn some_columns<'a, A: Scalar>(
    row: ArrayView1<'a, A>,
    columns: Range<usize>,
    spare: &'a mut Vec<A>,
) -> &'a [A] {
    match row.to_slice() {
        Some(row) => &row[columns],
        None => {
            spare.clear();
            spare.extend(columns.map(|column| row[column]));
            spare
        }
    }
}

/// How many columns are transposed at a time: 64 bytes of a row of `f32`, two kilobytes of a panel.
const TURN: usize = 16;

/// Packs some columns of rows, normalised and scaled, as one panel `[row][column]`; what is beyond the rows and columns is zero.
pub(super) struct PackRows<'e, 'a, A> {
    pub(super) left: &'e Embeddings<'a, A>,
    pub(super) rows: &'e [usize],
    pub(super) columns: Range<usize>,
    /// Of each row, and zeros up to a whole panel.
    pub(super) scales: &'e [f64],
    pub(super) out: &'e mut [A],
}

impl<A: Scalar> Kernel for PackRows<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.columns.len() < A::PANEL || self.rows.len() < self.scales.len() {
            self.out.fill(A::zero());
        }
        let matrix = self.left.rows();
        let mut spare = Vec::new();
        let panel = self.out.chunks_exact_mut(A::PANEL);
        for (out, (&row, &scale)) in panel.zip(self.rows.iter().zip(self.scales)) {
            if scale == 0.0 {
                out.fill(A::zero());
                continue;
            }
            let factor = self.left.factors[row] * scale;
            let row = some_columns(matrix.row(row), self.columns.clone(), &mut spare);
            out.iter_mut()
                .zip(row)
                .for_each(|(out, &x)| *out = A::narrow(x.wide() * factor));
        }
    }
}

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
    /// g as a panel `[dim][lane]` with a scale for each lane; otherwise it is what the rows hold, with the document's factor in it.
    pub(super) turned: Option<(&'e [A], &'e [f64])>,
    /// Whether to add to the rows.
    pub(super) add: bool,
    pub(super) rows: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for FinishRows<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let dim = self.rows.ncols();
        let matrix = self.embeddings.rows();
        let mut gradients = Vec::new();
        if let Some((turned, _)) = self.turned {
            gradients.resize(dim * A::PANEL, A::zero());
            turn(turned, &mut gradients, self.rows.nrows());
        }
        let (mut spare, mut gradient_spare) = (Vec::new(), Vec::new());
        for local in 0..self.rows.nrows() {
            if self.turned.is_some_and(|(_, scales)| scales[local] == 0.0) {
                // A query that does not take part.
                if !self.add {
                    self.rows.row_mut(local).fill(A::zero());
                }
                continue;
            }
            let factor = self.embeddings.factors[self.first + local];
            let mut outer = self.embeddings.per_norm[self.first + local];
            let x = contiguous(matrix.row(self.first + local), &mut spare);
            // What the sums of distances are still to be divided by to go with the gradient.
            let mut inner = 1.0;
            let gradient = if let Some((_, scales)) = self.turned {
                outer *= scales[local];
                inner = scales[local];
                &gradients[local * dim..][..dim]
            } else {
                outer = if factor == 0.0 { 0.0 } else { outer / factor };
                gradient_spare.clear();
                match self.rows.row(local).to_slice() {
                    Some(row) => gradient_spare.extend_from_slice(row),
                    None => gradient_spare.extend(self.rows.row(local)),
                }
                &gradient_spare
            };
            if gradient.iter().all(|g| g.is_zero()) {
                // Nothing asks for this row, which need not be finite then.
                if !self.add {
                    self.rows.row_mut(local).fill(A::zero());
                }
                continue;
            }
            let along = match self.along {
                Along::Nothing => 0.0,
                Along::Projection => dot::<A, I>(gradient, x).value() * factor * factor,
                Along::Sums(sums) => sums[local] / inner,
            };
            let add = self.add;
            let mut row = self.rows.row_mut(local);
            if add {
                for ((to, &g), &x) in row.iter_mut().zip(gradient).zip(x) {
                    *to = A::narrow(to.wide() + outer * (g.wide() - along * x.wide()));
                }
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
}

/// Adds a panel of gradients `[dim][lane]` to rows that hold sums of gradients by normalised rows.
pub(super) struct AddTurned<'e, 'a, 'g, A> {
    pub(super) embeddings: &'e Embeddings<'a, A>,
    /// Panels `[panel][dim][lane]`.
    pub(super) turned: &'e [A],
    pub(super) scales: &'e [f64],
    /// The row of each lane.
    pub(super) rows: &'e [usize],
    pub(super) to: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for AddTurned<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let dim = self.to.ncols();
        let mut gradients = vec![A::zero(); dim * A::PANEL];
        let panels = self.turned.chunks_exact((dim * A::PANEL).max(1));
        for (index, (rows, panel)) in self.rows.chunks(A::PANEL).zip(panels).enumerate() {
            turn(panel, &mut gradients, rows.len());
            for (lane, &row) in rows.iter().enumerate() {
                let scale = self.scales[index * A::PANEL + lane];
                let factor = self.embeddings.factors[row] * scale;
                // A query that does not take part, whatever its row holds, or a zero row.
                if scale == 0.0 || factor == 0.0 {
                    continue;
                }
                let gradient = &gradients[lane * dim..][..dim];
                let to = self.to.row_mut(row);
                to.into_iter()
                    .zip(gradient)
                    .for_each(|(to, g)| *to = A::narrow(to.wide() + factor * g.wide()));
            }
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

/// Turns a panel `[dim][lane]` into rows `[lane][dim]`, the first `rows` of them.
#[inline(always)]
pub(super) fn turn<A: Scalar>(panel: &[A], turned: &mut [A], rows: usize) {
    let dim = panel.len() / A::PANEL;
    let whole = dim - dim % SQUARE;
    for start in (0..whole).step_by(SQUARE) {
        for first in (0..rows).step_by(SQUARE) {
            // Squares of fixed size, which the compiler turns in registers.
            let square: [[A; SQUARE]; SQUARE] = std::array::from_fn(|column| {
                let lanes = &panel[(start + column) * A::PANEL + first..];
                std::array::from_fn(|lane| lanes[..SQUARE][lane])
            });
            for lane in first..rows.min(first + SQUARE) {
                let row: [A; SQUARE] = std::array::from_fn(|column| square[column][lane - first]);
                turned[lane * dim + start..][..SQUARE].copy_from_slice(&row);
            }
        }
    }
    for column in whole..dim {
        for lane in 0..rows {
            turned[lane * dim + column] = panel[column * A::PANEL + lane];
        }
    }
}

/// The side of a square that is turned at once.
const SQUARE: usize = 8;
