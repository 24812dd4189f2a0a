//! What a kernel may ask of an instruction set.

use super::Kernel;
use super::stream::{LINE, Line, PIECE, stream_piece};

/// Numbers that a reduction keeps apart: two registers of AVX-512, four of AVX2. The same on every instruction set, and with it the order
/// of the additions.
pub(crate) const LANES: usize = 16;

/// What a kernel may ask of the instruction set that it is compiled for.
///
/// The compiler turns plain loops over slices into good vector code, but not reductions that are kept in lanes: those are written with
/// [`Wide`](Isa::Wide), sixteen `f64` that stay in registers. An implementor is only ever named by [`dispatch`], behind the detection of its
/// instructions; that is what makes its operations safe.
pub trait Isa: 'static {
    /// Whether a fused multiply-add is one instruction here and not a library call.
    const FMA: bool;
    /// Whether a store fills a cache line.
    const WHOLE_LINES: bool;
    /// Sixteen `f64`.
    type Wide: Copy + 'static;
    /// Sixteen `f32`: for what loses nothing in the precision of the rows.
    type Single: Copy + 'static;

    fn splat(x: f64) -> Self::Wide;
    fn from_f32(x: &[f32; LANES]) -> Self::Wide;
    fn from_f64(x: &[f64; LANES]) -> Self::Wide;
    fn to_array(x: Self::Wide) -> [f64; LANES];
    /// Rounded to `f32`.
    fn to_f32(x: Self::Wide, out: &mut [f32; LANES]);
    fn add(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    fn sub(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    fn mul(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    /// `x·y + z`, with one rounding, whatever it costs.
    fn fused(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide;

    /// Adds `x·x`, `x·y` and `y·y` of numbers widened.
    ///
    /// An operation of its own, as the next: with three sums of sixteen lanes in twelve registers of AVX2, of the numbers only a few fit beside them, which must
    /// come and go one register after the other. All of them first, and sums go through memory in every step.
    #[inline(always)]
    fn add_moments(sums: [&mut Self::Wide; 3], x: &[f32; LANES], y: &[f32; LANES]) {
        let (x, y) = (Self::from_f32(x), Self::from_f32(y));
        for (sum, (x, y)) in sums.into_iter().zip([(x, x), (x, y), (y, y)]) {
            *sum = Self::wide_mul_add(x, y, *sum);
        }
    }
    /// The same of `x − y` and `x − z`; without the product of the two where that is not asked for.
    #[inline(always)]
    fn add_difference_moments(
        sums: [&mut Self::Wide; 3],
        rows: [&[f32; LANES]; 3],
        with_product: bool,
    ) {
        let [x, y, z] = rows.map(Self::from_f32);
        let (to_y, to_z) = (Self::sub(x, y), Self::sub(x, z));
        let [squares, products, other_squares] = sums;
        *squares = Self::wide_mul_add(to_y, to_y, *squares);
        *other_squares = Self::wide_mul_add(to_z, to_z, *other_squares);
        if with_product {
            *products = Self::wide_mul_add(to_y, to_z, *products);
        }
    }

    fn single(x: f32) -> Self::Single;
    fn load(x: &[f32; LANES]) -> Self::Single;
    fn store(x: Self::Single, out: &mut [f32; LANES]);
    /// Past the caches where the target allows it.
    fn stream(x: Self::Single, out: &mut Line);
    fn single_sub(x: Self::Single, y: Self::Single) -> Self::Single;
    fn single_mul(x: Self::Single, y: Self::Single) -> Self::Single;
    /// `x·y + z`, with one rounding, whatever it costs.
    fn single_fused(x: Self::Single, y: Self::Single, z: Self::Single) -> Self::Single;
    /// The lanes of two in turn: x₀ y₀ x₁ y₁ … x₇ y₇, then x₈ y₈ … x₁₅ y₁₅.
    fn zip(x: Self::Single, y: Self::Single) -> [Self::Single; 2];

    /// Runs a kernel in a function of its own, compiled for this instruction set: for what is seldom needed, or needed in several places
    /// of the same kernel, and would be compiled again in each.
    fn call<K: Kernel>(kernel: K) -> K::Output;

    /// Copies a cache line past the caches where the target allows it.
    ///
    /// # Safety
    /// `from` is valid for a read and `to` for a write of [`LINE`] bytes, which do not overlap; `to` is aligned to as many.
    #[inline(always)]
    unsafe fn stream_line(to: *mut u8, from: *const u8) {
        for piece in (0..LINE).step_by(PIECE) {
            // SAFETY: inside the line, which the caller vouches for; a piece of an aligned line is aligned.
            unsafe { stream_piece(to.add(piece), from.add(piece)) };
        }
    }

    /// The sum of all lanes, halves added to halves.
    #[inline(always)]
    fn sum(x: Self::Wide) -> f64 {
        let mut sums = Self::to_array(x);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }

    /// `x − y`, by the multipliers where these can: conversions and sums keep the adders busy.
    #[inline(always)]
    fn difference(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        if Self::FMA {
            Self::fused(y, Self::splat(-1.0), x)
        } else {
            Self::sub(x, y)
        }
    }

    /// `x·y + z`, fused where that is an instruction.
    #[inline(always)]
    fn wide_mul_add(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide {
        if Self::FMA {
            Self::fused(x, y, z)
        } else {
            Self::add(Self::mul(x, y), z)
        }
    }

    /// Exchanges the rows and the columns of a square.
    #[inline(always)]
    fn transpose(mut rows: [Self::Single; LANES]) -> [Self::Single; LANES] {
        // In the place of a number, the bits of row and column one after the other, a round moves the first bit to the end: after four rounds the bits
        // of the column are where those of the row were.
        for _ in 0..LANES.ilog2() {
            let mut zipped = rows;
            for row in 0..LANES / 2 {
                [zipped[2 * row], zipped[2 * row + 1]] =
                    Self::zip(rows[row], rows[row + LANES / 2]);
            }
            rows = zipped;
        }
        rows
    }

    /// Each lane by itself.
    #[inline(always)]
    fn map(x: Self::Wide, f: impl FnMut(f64) -> f64) -> Self::Wide {
        Self::from_f64(&Self::to_array(x).map(f))
    }

    /// `a·b + c`, fused where that is an instruction.
    #[inline(always)]
    fn mul_add<A: num_traits::Float>(a: A, b: A, c: A) -> A {
        if Self::FMA {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }
}
