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
            // A copy, because the loop in there takes an address, and the sums must stay in registers.
            let sums = sums;
            scatter::<A, V, ROWS>(task, &sums, c, column);
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
    sums: &[[V; 2]; ROWS],
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The vector registers of AVX2 and AVX-512, and the functions that are compiled for them.

    use super::{Lanes, Task, tiles};
    use std::arch::x86_64::*;

    macro_rules! lanes {
        ($vector:ty, $scalar:ty, $count:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $fma:ident) => {
            impl Lanes<$scalar> for $vector {
                const COUNT: usize = $count;
                #[inline(always)]
                unsafe fn splat(x: $scalar) -> Self {
                    // SAFETY: the CPU has the instruction, by the trait's contract; so below.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $scalar) -> Self {
                    // SAFETY: valid for COUNT reads, by the trait's contract; unaligned load.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $scalar) {
                    // SAFETY: valid for COUNT writes, by the trait's contract; unaligned store.
                    unsafe { $store(p, self) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: as for splat.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn add_product(self, x: Self, y: Self) -> Self {
                    // SAFETY: as for splat.
                    unsafe { $fma(x, y, self) }
                }
            }
        };
    }
    lanes!(
        __m512,
        f32,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps
    );
    lanes!(
        __m512d,
        f64,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_add_pd,
        _mm512_fmadd_pd
    );
    lanes!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps
    );
    lanes!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_fmadd_pd
    );

    macro_rules! compiled_for {
        ($name:ident, $features:literal, $scalar:ty, $vector:ty, $rows:literal) => {
            /// # Safety
            /// As for `run`, with the features named here.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(task: &Task<$scalar>) {
                // SAFETY: passed on; the features are enabled for this function.
                unsafe { tiles::<$scalar, $vector, $rows>(task) }
            }
        };
    }
    compiled_for!(
        avx512_f32,
        "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma",
        f32,
        __m512,
        12
    );
    compiled_for!(
        avx512_f64,
        "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma",
        f64,
        __m512d,
        12
    );
    compiled_for!(avx2_f32, "avx2,fma", f32, __m256, 6);
    compiled_for!(avx2_f64, "avx2,fma", f64, __m256d, 6);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::available;
    use ndarray::{Array2, Array3, s};

    /// Integers of this size add up exactly in f32, so any order of summation gives the same bits.
    fn integers<A: Scalar>(rows: usize, columns: usize, seed: usize) -> Array2<A> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            A::narrow(((i * 31 + j * 17 + seed) % 13) as f64 - 6.0)
        })
    }

    fn naive<A: Scalar>(a: ArrayView2<'_, A>, b: ArrayView2<'_, A>) -> Array2<A> {
        Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
            (0..a.ncols()).fold(A::zero(), |s, l| s + a[[i, l]] * b[[l, j]])
        })
    }

    fn agrees_with_naive<A: Scalar>() {
        for level in available() {
            for m in (0..=27).chain([50]) {
                for (k, width) in [
                    (0, 5),
                    (1, A::PANEL),
                    (7, A::PANEL - 1),
                    (33, 1),
                    (64, A::PANEL),
                ] {
                    let (a, b) = (integers::<A>(m, k, 1), integers::<A>(k, A::PANEL, 2));
                    let expected = naive(a.view(), b.slice(s![.., ..width]));
                    let panel = b.as_slice().unwrap();
                    let mut c = integers::<A>(m, width, 3);
                    let sum = &c + &expected;
                    product_at(
                        level,
                        a.view().insert_axis(Axis(0)),
                        panel,
                        c.view_mut(),
                        Write::Add,
                    );
                    assert_eq!(c, sum, "{level:?} {m}×{k}×{width}");
                    product_at(
                        level,
                        a.view().insert_axis(Axis(0)),
                        panel,
                        c.view_mut(),
                        Write::Set,
                    );
                    assert_eq!(c, expected, "{level:?} {m}×{k}×{width}");
                }
            }
        }
    }

    #[test]
    fn product_agrees_with_naive_at_every_height_in_f32() {
        agrees_with_naive::<f32>();
    }

    #[test]
    fn product_agrees_with_naive_at_every_height_in_f64() {
        agrees_with_naive::<f64>();
    }

    #[test]
    fn segments_add_up() {
        let (a, b) = (
            integers::<f32>(5, 36, 6),
            integers::<f32>(36, f32::PANEL, 7),
        );
        let expected = naive(a.view(), b.view());
        let pieces = Array3::from_shape_fn((3, 5, 12), |(s, i, l)| a[[i, s * 12 + l]]);
        for level in available() {
            let mut c = Array2::zeros((5, f32::PANEL));
            product_at(
                level,
                pieces.view(),
                b.as_slice().unwrap(),
                c.view_mut(),
                Write::Set,
            );
            assert_eq!(c, expected, "{level:?}");
        }
    }

    #[test]
    fn any_strides_serve_on_both_sides() {
        let wide = integers::<f32>(40, 60, 4);
        let b = integers::<f32>(20, f32::PANEL, 5);
        for level in available() {
            for a in [
                wide.slice(s![..20, ..13]).reversed_axes(),
                wide.slice(s![..;-3, 1..60;3]).slice_move(s![..13, ..20]),
            ] {
                let expected = naive(a, b.view());
                let mut c = Array2::<f32>::zeros((f32::PANEL, 26));
                let target = c.slice_mut(s![.., ..;-2]).reversed_axes();
                product_at(
                    level,
                    a.insert_axis(Axis(0)),
                    b.as_slice().unwrap(),
                    target,
                    Write::Set,
                );
                assert_eq!(
                    c.slice(s![.., ..;-2]).reversed_axes(),
                    expected,
                    "{level:?}"
                );
                assert!(
                    c.slice(s![.., ..;2]).iter().all(|&x| x == 0.0),
                    "{level:?}: between the columns"
                );
            }
        }
    }
}

#[cfg(test)]
mod rate {
    use super::*;
    use ndarray::{Array2, s};
    #[test]
    fn rate() {
        let (m, d, r) = (256, 768, 256);
        let docs = Array2::<f32>::from_elem((m, d), 0.5);
        let panel = vec![0.1f32; d * 32 * (r / 32)];
        let mut tiles = vec![0f32; m * 32 * (r / 32)];
        let mut dq = vec![0f32; d * 32 * (r / 32)];
        let qn = vec![0.1f32; d * r];
        let mut dd = Array2::<f32>::zeros((m, d));
        let lv = crate::simd::level();
        for _ in 0..3 {
            let mut t = [0.0; 3];
            for _ in 0..20 {
                let t0 = std::time::Instant::now();
                for p in 0..r / 32 {
                    let c = ArrayViewMut2::from_shape(
                        (m, 32),
                        &mut tiles[p * m * 32..(p + 1) * m * 32],
                    )
                    .unwrap();
                    product(
                        docs.view(),
                        &panel[p * d * 32..(p + 1) * d * 32],
                        c,
                        Write::Set,
                    );
                }
                t[0] += t0.elapsed().as_secs_f64();
                let t0 = std::time::Instant::now();
                for p in 0..r / 32 {
                    let c =
                        ArrayViewMut2::from_shape((d, 32), &mut dq[p * d * 32..(p + 1) * d * 32])
                            .unwrap();
                    product(
                        docs.t(),
                        &tiles[p * m * 32..(p + 1) * m * 32],
                        c,
                        Write::Add,
                    );
                }
                t[1] += t0.elapsed().as_secs_f64();
                let t0 = std::time::Instant::now();
                for j in 0..d / 32 {
                    let a = ArrayView3::from_shape((r / 32, m, 32), &tiles).unwrap();
                    segmented_product(
                        a,
                        &qn[j * r * 32..][..r * 32],
                        dd.slice_mut(s![.., j * 32..j * 32 + 32]),
                        Write::Add,
                    );
                }
                t[2] += t0.elapsed().as_secs_f64();
            }
            let f = 20.0 * 2.0 * (m * d * r) as f64;
            eprintln!(
                "{lv:?} {:.1} {:.1} {:.1} GF/s",
                f / t[0] / 1e9,
                f / t[1] / 1e9,
                f / t[2] / 1e9
            );
        }
    }
}
