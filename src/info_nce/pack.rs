//! Sweeps over rows of embeddings: into panels, normalised, and gradients back out through the normalisation.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, ArrayViewMut3, s};

use super::embeddings::Embeddings;
use crate::kernels::{Groups, dot};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, LANES};
use crate::similarity::SingleSlope;
use crate::singles::{Singles, write_singles};
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
        let matrix = self.left.rows();
        let mut spare = Vec::new();
        // A few columns of all rows at a time: the lines of the panel are written while they are in the cache, whole.
        let mut some = [[A::zero(); TURN]; 32];
        for (index, packed) in self.packed.chunks_mut(TURN * A::PANEL).enumerate() {
            let columns = index * TURN..matrix.ncols().min((index + 1) * TURN);
            for (&row, to) in self.rows.iter().zip(&mut some) {
                let factor = self.left.factors[row];
                let row = some_columns(matrix.row(row), columns.clone(), &mut spare);
                scale_row(row, factor, to);
            }
            turn::<A, I>(&some[..A::PANEL], packed);
        }
    }
}

/// Writes numbers times a factor.
#[inline(always)]
fn scale_row<A: Scalar>(numbers: &[A], factor: f64, to: &mut [A]) {
    for (to, &x) in to.iter_mut().zip(numbers) {
        *to = A::narrow(x.wide() * factor);
    }
}

/// Turns some columns of the rows of a panel, `[lane][column]`, into `[column][lane]`, as many as there are to be.
#[inline(always)]
fn turn<A: Scalar, I: Isa>(rows: &[[A; TURN]], panel: &mut [A]) {
    let Some(rows) = A::singles(rows.as_flattened()) else {
        for (column, panel) in panel.chunks_exact_mut(A::PANEL).enumerate() {
            panel
                .iter_mut()
                .zip(rows)
                .for_each(|(to, row)| *to = row[column]);
        }
        return;
    };
    let Some(panel) = A::singles_mut(panel) else {
        return;
    };
    let (squares, _) = rows.as_chunks::<LANES>().0.as_chunks::<LANES>();
    for (index, square) in squares.iter().enumerate() {
        let mut columns = [I::single(0.0); LANES];
        for (to, row) in columns.iter_mut().zip(square) {
            *to = I::load(row);
        }
        let places = panel.as_chunks_mut::<LANES>().0.iter_mut();
        let places = places.skip(index).step_by(A::PANEL / LANES);
        for (to, column) in places.zip(I::transpose(columns)) {
            I::store(column, to);
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
const TURN: usize = LANES;

/// Packs rows, normalised and scaled, as panels of columns; what is beyond the rows and columns is zero.
pub(super) struct PackRows<'e, 'a, 'o, A> {
    pub(super) left: &'e Embeddings<'a, A>,
    pub(super) rows: &'e [usize],
    /// The columns of each panel.
    pub(super) panels: &'e [Range<usize>],
    /// Of each row, and zeros for rows that there are not.
    pub(super) scales: &'e [f64],
    /// `[row, panel, column]`, where the rows of a panel follow each other.
    pub(super) out: ArrayViewMut3<'o, A>,
}

impl<A: Scalar> Kernel for PackRows<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        /// Rows that are read side by side.
        const ROWS: usize = 8;
        let matrix = self.left.rows();
        let mut spare = Vec::new();
        let scales = self.scales.chunks(ROWS);
        let mut out = self.out.permuted_axes([1, 0, 2]);
        for (index, scales) in scales.enumerate() {
            let first = index * ROWS;
            let out = out.slice_mut(s![.., first..first + scales.len(), ..]);
            for (columns, mut out) in self.panels.iter().zip(out.into_outer_iter_mut()) {
                let Some(out) = out.as_slice_mut() else {
                    continue;
                };
                for ((row, &scale), out) in (first..).zip(scales).zip(out.chunks_mut(A::PANEL)) {
                    let Some(&row) = self.rows.get(row).filter(|_| scale != 0.0) else {
                        out.fill(A::zero());
                        continue;
                    };
                    let factor = self.left.factors[row] * scale;
                    let numbers = some_columns(matrix.row(row), columns.clone(), &mut spare);
                    out[numbers.len()..].fill(A::zero());
                    scale_row(numbers, factor, out);
                }
            }
        }
    }
}

/// Copies rows to panels `[column panel][row][column]`; what is beyond the columns is left as it is.
pub(super) struct CopyColumns<'a, 'o, A> {
    pub(super) rows: ArrayView2<'a, A>,
    pub(super) copy: &'o mut [A],
}

impl<A: Scalar> Kernel for CopyColumns<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let len = self.rows.nrows() * A::PANEL;
        let mut spare = Vec::new();
        for (row, numbers) in self.rows.outer_iter().enumerate() {
            let numbers = contiguous(numbers, &mut spare);
            let panels = self.copy.chunks_exact_mut(len);
            for (panel, numbers) in panels.zip(numbers.chunks(A::PANEL)) {
                let to = &mut panel[row * A::PANEL..][..A::PANEL];
                if numbers.len() == A::PANEL {
                    to.copy_from_slice(&numbers[..A::PANEL]);
                } else {
                    to[..numbers.len()].copy_from_slice(numbers);
                }
            }
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
        let dim = self.rows.ncols();
        let matrix = self.embeddings.rows();
        let (mut spare, mut gradient_spare) = (Vec::new(), Vec::new());
        for local in 0..self.rows.nrows() {
            if self.sums.is_some_and(|(_, scales)| scales[local] == 0.0) {
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
            let gradient = if let Some((sums, scales)) = self.sums {
                outer *= scales[local];
                inner = scales[local];
                &sums[local * dim..][..dim]
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
            } else if let ([Some(g), Some(x)], Some(slope)) = (
                [gradient, x].map(A::singles),
                SingleSlope::ordinary(along, outer),
            ) {
                // The sums have their own roundings, which are larger.
                let projected = &mut SingleProjected(slope);
                write_singles::<A, I, 2, 1>(&mut [Some(row)], [g, x], Stores::Cached, projected);
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

/// outer·(g − along·x) in `f32`.
struct SingleProjected<I: Isa>(SingleSlope<I>);

impl<I: Isa> Singles<I, 2, 1> for SingleProjected<I> {
    #[inline(always)]
    fn at(&mut self, [g, x]: [I::Single; 2]) -> [I::Single; 1] {
        [self.0.at(x, g)]
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
