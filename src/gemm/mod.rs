//! The matrix product that the tiled passes are made of: any view times a packed panel.
//!
//! C (+)= A·B where B is one *panel*: k rows of [`Element::PANEL`](crate::scalar::Element) numbers (128 bytes), contiguous. A is never
//! packed: its numbers are broadcast one by one, so any strides serve, and a transposed view is the transposed product. That
//! fits InfoNCE, whose three products can all be arranged to have the small side (a block of queries, or its scores) as the panel:
//!
//! | product | A, broadcast | panel | C |
//! | --- | --- | --- | --- |
//! | scores | documents, as the caller holds them | queries, transposed when packed | scores, one panel of queries wide |
//! | query gradient | documents, transposed view | scores | query gradient, transposed |
//! | document gradient | scores | queries | document gradient, as the caller holds it |
//!
//! So the documents, by far the most data, are read in place and never copied, and the scores are written by the first product in the
//! very layout that the second wants. General products (`matrixmultiply`, `gemm`) pack both sides on each call.
//!
//! The kernel holds a tile of C in registers: with AVX-512 12 rows × 2 vectors, with AVX2 4 × 2 … and reads per step of k two vectors of
//! the panel and one number of each row of A.

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, Axis};

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

/// C (+)= A·B for A `[m, k]`, B a panel `[k, PANEL]` and C `[m, w]` with w ≤ PANEL; columns of B beyond w are not used.
pub(crate) fn product<A: Scalar>(
    a: ArrayView2<'_, A>,
    b: &[A],
    c: ArrayViewMut2<'_, A>,
    write: Write,
) {
    product_at(level(), a.insert_axis(Axis(0)), b, c, write);
}

/// C (+)= Σₛ A[s]·B[s] for A `[s, m, k]` and B a panel `[s·k, PANEL]`: what is long in k but lies in pieces.
pub(crate) fn segmented_product<A: Scalar>(
    a: ArrayView3<'_, A>,
    b: &[A],
    c: ArrayViewMut2<'_, A>,
    write: Write,
) {
    product_at(level(), a, b, c, write);
}

fn product_at<A: Scalar>(
    level: Level,
    a: ArrayView3<'_, A>,
    b: &[A],
    mut c: ArrayViewMut2<'_, A>,
    write: Write,
) {
    let (segments, m, k) = a.dim();
    assert!(
        b.len() >= segments * k * A::PANEL && c.nrows() == m && c.ncols() <= A::PANEL,
        "shapes of a panel product"
    );
    let task = Task {
        segments,
        m,
        k,
        width: c.ncols(),
        a: a.as_ptr(),
        a_strides: [a.strides()[0], a.strides()[1], a.strides()[2]],
        b: b.as_ptr(),
        c_strides: [c.strides()[0], c.strides()[1]],
        c: c.as_mut_ptr(),
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
    width: usize,
    a: *const A,
    a_strides: [isize; 3],
    b: *const A,
    c: *mut A,
    c_strides: [isize; 2],
    write: Write,
}

impl<A> Task<A> {
    /// The same task for `B`, which must be the type `A` under another name.
    fn cast<B>(&self) -> Task<B> {
        assert_eq!(size_of::<A>(), size_of::<B>());
        let Self {
            segments,
            m,
            k,
            width,
            a_strides,
            c_strides,
            write,
            ..
        } = *self;
        Task {
            segments,
            m,
            k,
            width,
            a: self.a.cast(),
            a_strides,
            b: self.b.cast(),
            c: self.c.cast(),
            c_strides,
            write,
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
            _ => unsafe { tiles::<f32, [f32; 4], 6>(&task) },
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
            _ => unsafe { tiles::<f64, [f64; 2], 6>(&task) },
        }
    }
}

/// A vector register of numbers.
trait Lanes<A>: Copy {
    const COUNT: usize;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(x: A) -> Self;
    /// # Safety
    /// `p` is valid for `COUNT` reads, and the CPU has the instructions.
    unsafe fn load(p: *const A) -> Self;
    /// # Safety
    /// `p` is valid for `COUNT` writes, and the CPU has the instructions.
    unsafe fn store(self, p: *mut A);
    /// self + other
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(self, other: Self) -> Self;
    /// self + x·y
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add_product(self, x: Self, y: Self) -> Self;
}

/// All tiles of a task: the panel in column strips of two vectors, each strip in tiles of `ROWS` rows, the rest of the rows in smaller tiles.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn tiles<A: Element, V: Lanes<A>, const ROWS: usize>(task: &Task<A>) {
    let mut column = 0;
    while column < task.width {
        let mut row = 0;
        while row < task.m {
            // SAFETY: rows row..row + the tile's height and columns from `column` on lie inside the task.
            row += unsafe {
                match task.m - row {
                    rest if rest >= ROWS => tile::<A, V, ROWS>(task, row, column),
                    8.. => tile::<A, V, 8>(task, row, column),
                    4.. => tile::<A, V, 4>(task, row, column),
                    2.. => tile::<A, V, 2>(task, row, column),
                    _ => tile::<A, V, 1>(task, row, column),
                }
            };
        }
        column += 2 * V::COUNT;
    }
}

/// One tile of C: `ROWS` rows of two vectors, for all of k. Returns `ROWS`.
///
/// # Safety
/// As for [`run`]; rows `row..row + ROWS` exist and `column` is a strip of the panel that C reaches into.
#[inline(always)]
unsafe fn tile<A: Element, V: Lanes<A>, const ROWS: usize>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> usize {
    // SAFETY: passed on; C has the rows `row..row + ROWS` and the columns that are written.
    unsafe {
        let sums = accumulate::<A, V, ROWS>(task, row, column);
        let [c_row, c_column] = task.c_strides;
        let c = task
            .c
            .offset(row as isize * c_row + column as isize * c_column);
        if c_column != 1 || column + 2 * V::COUNT > task.width {
            // By value: the loop in there takes an address, and these sums must stay in registers.
            scatter::<A, V, ROWS>(task, sums, c, column);
            return ROWS;
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let c = c.offset(i as isize * c_row);
            for (half, sum) in sum.into_iter().enumerate() {
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
    ROWS
}

/// The sums of a tile, in registers.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn accumulate<A: Element, V: Lanes<A>, const ROWS: usize>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> [[V; 2]; ROWS] {
    // SAFETY: all offsets address elements (s, i, l) with s < segments, i < m, l < k of A, and
    // (s·k + l, j) with j < PANEL of the panel, because strips are 2·COUNT wide and PANEL is a multiple of that.
    unsafe {
        let [segment_stride, row_stride, step] = task.a_strides;
        let mut b = task.b.add(column);
        let mut sums = [[V::splat(A::zero()); 2]; ROWS];
        for segment in 0..task.segments {
            let start = segment as isize * segment_stride + row as isize * row_stride;
            let mut a = task.a.wrapping_offset(start);
            for _ in 0..task.k {
                let (left, right) = (V::load(b), V::load(b.add(V::COUNT)));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.offset(i as isize * row_stride));
                    sum[0] = sum[0].add_product(x, left);
                    sum[1] = sum[1].add_product(x, right);
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
unsafe fn scatter<A: Element, V: Lanes<A>, const ROWS: usize>(
    task: &Task<A>,
    sums: [[V; 2]; ROWS],
    c: *mut A,
    column: usize,
) {
    let mut line = [A::zero(); 64];
    for (i, sum) in sums.iter().enumerate() {
        // SAFETY: two vectors of at most 16 numbers fit the line; j stays below the width.
        unsafe {
            sum[0].store(line.as_mut_ptr());
            sum[1].store(line.as_mut_ptr().add(V::COUNT));
            for (j, &x) in line
                .iter()
                .enumerate()
                .take((task.width - column).min(2 * V::COUNT))
            {
                let c = c.offset(i as isize * task.c_strides[0] + j as isize * task.c_strides[1]);
                *c = if task.write == Write::Add { *c + x } else { x };
            }
        }
    }
}

/// The portable vector: an array that the compiler maps onto what the target has (SSE2, NEON).
macro_rules! portable_lanes {
    ($scalar:ty, $count:literal) => {
        impl Lanes<$scalar> for [$scalar; $count] {
            const COUNT: usize = $count;
            #[inline(always)]
            unsafe fn splat(x: $scalar) -> Self {
                [x; $count]
            }
            #[inline(always)]
            unsafe fn load(p: *const $scalar) -> Self {
                // SAFETY: valid for COUNT reads by the trait's contract; an array is as aligned as its element.
                unsafe { *p.cast() }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $scalar) {
                // SAFETY: valid for COUNT writes by the trait's contract.
                unsafe { *p.cast() = self }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] + other[i])
            }
            #[inline(always)]
            unsafe fn add_product(self, x: Self, y: Self) -> Self {
                const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
                std::array::from_fn(|i| {
                    if FMA {
                        x[i].mul_add(y[i], self[i])
                    } else {
                        self[i] + x[i] * y[i]
                    }
                })
            }
        }
    };
}
portable_lanes!(f32, 4);
portable_lanes!(f64, 2);
