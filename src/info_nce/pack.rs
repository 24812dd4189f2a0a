//! Sweeps over rows of embeddings: into the panels of products, normalised or as they are.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut3, s};

use super::embeddings::Embeddings;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, LANES};
use crate::staging::contiguous;

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
                let to = &mut panel[row * A::PANEL..][..numbers.len()];
                // By sixteen: pieces of any length would be calls of the library, each for little.
                let ((to, rest_to), (from, rest)) = (to.as_chunks_mut(), numbers.as_chunks());
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, from): (&mut [A; LANES], _)| *to = *from);
                rest_to.copy_from_slice(rest);
            }
        }
    }
}
