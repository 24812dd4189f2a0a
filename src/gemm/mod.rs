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
//! The kernel holds a tile of C in registers: with AVX-512 six rows of two panels, four vectors, or 12 rows of one; with AVX2 three rows of a panel, four
//! vectors, or six rows of two. For each step of k it reads these vectors and one number of each row of A: with AVX-512 the wide tile reads 10 times for 24
//! multiply-adds, the high one 14 times, which a processor that does two multiply-adds of 512 bits a cycle may have to wait for; with AVX2 7 or 8 times for
//! 12. The wide tiles read whole panels, every line of which has its place in the first-level cache; half of each would have to do with half of the places.
//! Columns that are no more than two vectors, and portable code, take the high ones, of six rows where there are no more registers.

mod lanes;
mod packed;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, Axis};

pub(crate) use packed::{Packed, Target};
use tiles::tiles;

use crate::scalar::Scalar;
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
    let needed = || {
        let last = panels.saturating_sub(1).checked_mul(b.stride)?;
        let panel = segments.checked_mul(k)?.checked_mul(A::PANEL)?;
        last.checked_add(panel)
    };
    let fits = panels == 0 || needed().is_some_and(|needed| b.numbers.len() >= needed);
    assert!(c.rows == m && fits, "shapes of a panel product");
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
            _ => unsafe { tiles::<f32, [f32; 4], 6, 6, 1, 2>(&task) },
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
            _ => unsafe { tiles::<f64, [f64; 2], 6, 6, 1, 2>(&task) },
        }
    }
}
