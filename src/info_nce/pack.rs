//! Sweeps over rows of embeddings: into panels, normalised, and gradients back out through the normalisation.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

use super::candidates::Embeddings;
use crate::kernels::{Groups, dot};
use crate::rows::contiguous;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::store::{Columns, Stores, write_row};
use crate::wide::Real;

/// Packs rows, normalised, as one panel `[dim][lane]`; lanes without a row are zero.
pub(super) struct PackTransposed<'e, 'a, A> {
    pub(super) left: &'e Embeddings<'a, A>,
    pub(super) rows: Range<usize>,
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
            for (lane, row) in self.rows.clone().enumerate() {
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
    pub(super) rows: ArrayView2<'a, A>,
    pub(super) factors: &'e [f64],
    pub(super) scales: &'e [f64],
    pub(super) out: &'e mut [A],
}

impl<A: Scalar> Kernel for PackRows<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.rows.ncols() < A::PANEL || self.rows.nrows() < self.scales.len() {
            self.out.fill(A::zero());
        }
        let mut spare = Vec::new();
        for (index, out) in self
            .out
            .chunks_exact_mut(A::PANEL)
            .take(self.rows.nrows())
            .enumerate()
        {
            if self.scales[index] == 0.0 {
                out.fill(A::zero());
                continue;
            }
            let factor = self.factors[index] * self.scales[index];
            let row = contiguous(self.rows.row(index), &mut spare);
            out.iter_mut()
                .zip(row)
                .for_each(|(out, &x)| *out = A::narrow(x.wide() * factor));
        }
    }
}

/// Carries gradients by normalised rows back to the rows: (g − (x̂·g)·x̂)/‖x‖.
pub(super) struct FinishRows<'e, 'a, 'g, A> {
    pub(super) embeddings: &'e Embeddings<'a, A>,
    /// The embedding that belongs to the first of `rows`.
    pub(super) first: usize,
    pub(super) project: bool,
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
        let mut gradients = vec![
            A::zero();
            if self.turned.is_some() {
                dim * A::PANEL
            } else {
                0
            }
        ];
        if let Some((turned, _)) = self.turned {
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
            let gradient = if let Some((_, scales)) = self.turned {
                outer *= scales[local];
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
            let along = if self.project {
                dot::<A, I>(gradient, x).value() * factor * factor
            } else {
                0.0
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

/// outer·(g + along·x)
struct Projected<'r, A, I: Isa> {
    gradient: Groups<'r, A>,
    row: Groups<'r, A>,
    outer: I::Wide,
    along: I::Wide,
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
fn turn<A: Scalar>(panel: &[A], turned: &mut [A], rows: usize) {
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
