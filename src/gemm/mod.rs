//! The matrix product that the tiled passes are made of: any view times packed panels.
//!
//! C (+)= A·B where B is in *panels*: for each of its [`PANEL`](crate::scalar::Element) columns (128 bytes) k rows of that many numbers, contiguous. A is never
//! packed: its numbers are broadcast one by one, so any strides serve, and a transposed view is the transposed product. The three products of InfoNCE:
//!
//! | product | A, broadcast | panels | C |
//! | --- | --- | --- | --- |
//! | scores | documents, as the caller holds them | queries, transposed when packed, once for each block of them | scores, one panel of queries wide |
//! | query gradient | scores, transposed view | documents, packed chunk by chunk on the way | query gradient, row by row |
//! | document gradient | scores | queries, once for each block | document gradient, as the caller holds it |
//!
//! So the scores are written by the first product in the layout that the other two read, and of the documents, by far the most data, no more than a
//! chunk is ever copied. General products (`matrixmultiply`, `gemm`) pack both sides on each call.
//!
//! The kernel holds a tile of C in registers: with AVX-512 six rows of two panels, four vectors, or 12 rows of one; with AVX2 6 rows of two vectors.
//! For each step of k it reads these vectors and one number of each row of A: the wide tile reads 10 times for 24 multiply-adds, the high one 14 times,
//! which a processor that does two multiply-adds of 512 bits a cycle may have to wait for.

mod lanes;
mod packed;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, Axis};

use lanes::Lanes;
pub(crate) use packed::{Packed, Target};

use crate::scalar::{Element, Scalar};
use crate::simd::{Level, level};

/// Whether a product replaces what C holds or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// C need not be initialised to anything meaningful.
    Set,
    Add,
}

/// The squared norms of rows whose products lose no digits to the range of the numbers.
pub(crate) fn trusted_squares<A: Scalar>() -> Range<f64> {
    let square = A::epsilon().wide() * A::epsilon().wide();
    A::min_positive_value().wide() / square..A::max_value().wide() * square
}

/// C (+)= A·B for A `[m, k]`, B of k rows, and C `[m, n]`; columns of B beyond n are not used.
pub(crate) fn product<'c, A: Scalar + 'c>(
    a: ArrayView2<'_, A>,
    b: Packed<'_, A>,
    c: impl Into<Target<'c, A>>,
    write: Write,
) {
    product_at(level(), a.insert_axis(Axis(0)), b, c.into(), write);
}

/// C (+)= Σₛ A[s]·B[s] for A `[s, m, k]` and B of s·k rows: what is long in k but lies in pieces.
pub(crate) fn segmented_product<'c, A: Scalar + 'c>(
    a: ArrayView3<'_, A>,
    b: Packed<'_, A>,
    c: impl Into<Target<'c, A>>,
    write: Write,
) {
    product_at(level(), a, b, c.into(), write);
}

fn product_at<A: Scalar>(
    level: Level,
    a: ArrayView3<'_, A>,
    b: Packed<'_, A>,
    c: Target<'_, A>,
    write: Write,
) {
    let (segments, m, k) = a.dim();
    let panels = c.width.div_ceil(A::PANEL);
    let last = panels.saturating_sub(1) * b.stride;
    assert!(
        c.rows == m && (panels == 0 || b.numbers.len() >= last + segments * k * A::PANEL),
        "shapes of a panel product"
    );
    let task = Task {
        segments,
        m,
        k,
        width: c.width,
        a: a.as_ptr(),
        a_strides: [a.strides()[0], a.strides()[1], a.strides()[2]],
        b: b.numbers.as_ptr(),
        b_panel: b.stride,
        c: c.first,
        c_strides: c.strides,
        c_panel: c.panel,
        write,
    };
    // SAFETY: the pointers and strides are those of live views of the shapes just checked, C is borrowed mutably and so overlaps
    // neither A nor B; `level` is never above what the CPU has (see `simd::level` and, in tests, `simd::available`).
    unsafe { run(level, &task) }
}

/// The operands as the kernels see them. Valid for every (row, column) inside the shapes.
struct Task<A> {
    segments: usize,
    m: usize,
    k: usize,
    /// Columns of C, in panels the last of which may be narrower.
    width: usize,
    a: *const A,
    /// Of segment, row and step.
    a_strides: [isize; 3],
    b: *const A,
    /// Numbers of B from a panel to the next.
    b_panel: usize,
    c: *mut A,
    /// Of row and column.
    c_strides: [isize; 2],
    /// From a panel of columns to the next.
    c_panel: isize,
    write: Write,
}

impl<A> Task<A> {
    /// The same task for `B`, which must be the type `A` under another name.
    fn cast<B>(&self) -> Task<B> {
        assert_eq!(size_of::<A>(), size_of::<B>());
        Task {
            segments: self.segments,
            m: self.m,
            k: self.k,
            width: self.width,
            a: self.a.cast(),
            a_strides: self.a_strides,
            b: self.b.cast(),
            b_panel: self.b_panel,
            c: self.c.cast(),
            c_strides: self.c_strides,
            c_panel: self.c_panel,
            write: self.write,
        }
    }
}

/// # Safety
/// The task's pointers are valid, C overlaps nothing, and the CPU has `level`.
unsafe fn run<A: Scalar>(level: Level, task: &Task<A>) {
    // `Scalar` is sealed: four bytes are f32, eight are f64, so the casts are to the same type.
    if size_of::<A>() == size_of::<f32>() {
        let task = task.cast::<f32>();
        match level {
            // SAFETY: passed on from the caller.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::avx512_f32(&task) },
            // SAFETY: passed on from the caller.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::avx2_f32(&task) },
            // SAFETY: passed on from the caller.
            _ => unsafe { tiles::<f32, [f32; 4], 6, 0>(&task) },
        }
    } else {
        let task = task.cast::<f64>();
        match level {
            // SAFETY: passed on from the caller.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::avx512_f64(&task) },
            // SAFETY: passed on from the caller.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::avx2_f64(&task) },
            // SAFETY: passed on from the caller.
            _ => unsafe { tiles::<f64, [f64; 2], 6, 0>(&task) },
        }
    }
}

/// All tiles of a task: C in strips of two vectors and tiles of `ROWS` rows, or, where `PAIRED` is not 0 and a panel is two vectors, in strips of two
/// panels and tiles of `PAIRED` rows; the rest of the rows in smaller tiles.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn tiles<A: Element, V: Lanes<A>, const ROWS: usize, const PAIRED: usize>(task: &Task<A>) {
    let mut column = 0;
    while column < task.width {
        // SAFETY: the columns from `column` on lie inside the task; those of two panels start with a panel, because all before them were whole.
        column += unsafe {
            if PAIRED > 0 && column + A::PANEL < task.width {
                strip::<A, V, PAIRED, 2>(task, column)
            } else {
                strip::<A, V, ROWS, 1>(task, column)
            }
        };
    }
}

/// The tiles of a strip of two vectors, of one panel or of each of two. Returns how many columns it has.
///
/// # Safety
/// As for [`tile`], for every row.
#[inline(always)]
unsafe fn strip<A: Element, V: Lanes<A>, const ROWS: usize, const PANELS: usize>(
    task: &Task<A>,
    column: usize,
) -> usize {
    let mut row = 0;
    while row < task.m {
        // SAFETY: rows row..row + the tile's height lie inside the task.
        row += unsafe {
            match task.m - row {
                rest if rest >= ROWS => tile::<A, V, ROWS, PANELS>(task, row, column),
                8.. => tile::<A, V, 8, PANELS>(task, row, column),
                4.. => tile::<A, V, 4, PANELS>(task, row, column),
                2.. => tile::<A, V, 2, PANELS>(task, row, column),
                _ => tile::<A, V, 1, PANELS>(task, row, column),
            }
        };
    }
    2 * V::COUNT * PANELS
}

/// Where a column of the task lies: the panel, and the column of it.
#[inline(always)]
fn place<A: Element>(column: usize) -> (usize, usize) {
    (column / A::PANEL, column % A::PANEL)
}

/// One tile of C: `ROWS` rows of two vectors of each of `PANELS` panels, for all of k. Returns `ROWS`.
///
/// # Safety
/// As for [`run`]; rows `row..row + ROWS` exist, and C reaches into the strips from `column` on of each panel.
#[inline(always)]
unsafe fn tile<A: Element, V: Lanes<A>, const ROWS: usize, const PANELS: usize>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> usize {
    // SAFETY: passed on; C has the rows `row..row + ROWS` and the columns that are written.
    unsafe {
        let sums = accumulate::<A, V, ROWS, PANELS>(task, row, column);
        let [c_row, c_column] = task.c_strides;
        let (panel, inside) = place::<A>(column);
        let c = task.c.offset(
            row as isize * c_row + panel as isize * task.c_panel + inside as isize * c_column,
        );
        let width = 2 * V::COUNT * PANELS;
        if c_column != 1 || column + width > task.width {
            // By value: the loop in there takes an address, and these sums must stay in registers.
            scatter::<A, V, ROWS, PANELS>(task, sums, c, column);
            return ROWS;
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let c = c.offset(i as isize * c_row);
            for (panel, sums) in sums.into_iter().enumerate() {
                let c = c.offset(panel as isize * task.c_panel);
                for (half, sum) in sums.into_iter().enumerate() {
                    let c = c.add(half * V::COUNT);
                    let sum = if task.write == Write::Add {
                        V::load(c).add(sum)
                    } else {
                        sum
                    };
                    sum.store(c);
                }
            }
        }
    }
    ROWS
}

/// The sums of a tile, in registers.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn accumulate<A: Element, V: Lanes<A>, const ROWS: usize, const PANELS: usize>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> [[[V; 2]; PANELS]; ROWS] {
    // SAFETY: all offsets address elements (s, i, l) with s < segments, i < m, l < k of A, and
    // (s·k + l, j) with j < PANEL of panels of B, because strips are 2·COUNT wide and PANEL is a multiple of that.
    unsafe {
        let [segment_stride, row_stride, step] = task.a_strides;
        let (panel, inside) = place::<A>(column);
        let mut b = task.b.add(panel * task.b_panel + inside);
        let mut sums = [[[V::splat(A::zero()); 2]; PANELS]; ROWS];
        for segment in 0..task.segments {
            let start = segment as isize * segment_stride + row as isize * row_stride;
            let mut a = task.a.wrapping_offset(start);
            for _ in 0..task.k {
                let vectors: [[V; 2]; PANELS] = std::array::from_fn(|panel| {
                    let b = b.add(panel * task.b_panel);
                    [V::load(b), V::load(b.add(V::COUNT))]
                });
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.offset(i as isize * row_stride));
                    for (sums, vectors) in sums.iter_mut().zip(&vectors) {
                        sums[0] = sums[0].add_product(x, vectors[0]);
                        sums[1] = sums[1].add_product(x, vectors[1]);
                    }
                }
                a = a.wrapping_offset(step);
                b = b.wrapping_add(A::PANEL);
            }
        }
        sums
    }
}

/// Writes a tile that C only reaches part of, or whose columns are not contiguous.
///
/// # Safety
/// As for [`tile`]; `c` addresses the tile's first element.
#[cold]
#[inline(always)]
unsafe fn scatter<A: Element, V: Lanes<A>, const ROWS: usize, const PANELS: usize>(
    task: &Task<A>,
    sums: [[[V; 2]; PANELS]; ROWS],
    c: *mut A,
    column: usize,
) {
    let mut line = [A::zero(); 64];
    for (i, sums) in sums.iter().enumerate() {
        for (panel, sum) in sums.iter().enumerate() {
            let width = task.width.saturating_sub(column + panel * A::PANEL);
            // SAFETY: two vectors of at most 16 numbers fit the line; j stays below the width.
            unsafe {
                let c = c.offset(i as isize * task.c_strides[0] + panel as isize * task.c_panel);
                sum[0].store(line.as_mut_ptr());
                sum[1].store(line.as_mut_ptr().add(V::COUNT));
                for (j, &x) in line.iter().enumerate().take(width.min(2 * V::COUNT)) {
                    let c = c.offset(j as isize * task.c_strides[1]);
                    *c = if task.write == Write::Add { *c + x } else { x };
                }
            }
        }
    }
}
