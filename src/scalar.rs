//! The two element types, `f32` and `f64`, and what the kernels need to know of them.

use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::thread::LocalKey;

use num_traits::{Float, NumAssign};

use crate::compiled::Compiled;
use crate::simd::{Isa, LANES};
use crate::wide::{DoubleDouble, Real};

/// The element type of embeddings and gradients: `f32` or `f64`. Sealed.
///
/// ```
/// fn norm<A: contrastive::Scalar>(row: &[A]) -> A {
///     row.iter().fold(A::zero(), |sum, &x| sum + x * x).sqrt()
/// }
/// assert_eq!(norm(&[3.0_f32, 4.0]), 5.0);
/// ```
pub trait Scalar: Element + Compiled {}

impl Scalar for f32 {}
impl Scalar for f64 {}

/// The private half of [`Scalar`].
pub trait Element: Float + NumAssign + Debug + Display + Default + Send + Sync + 'static {
    /// Sums and coefficients of rows: twice the digits of the rows.
    type Real: Real;

    /// How many elements of this type a panel of the matrix product is wide: 128 bytes.
    const PANEL: usize = 128 / size_of::<Self>();
    /// 1/ln 2, and ln 2 in two parts of which the first has trailing zeros, for the reduction of the exponent.
    const LOG2_E: Self;
    const LN_2: [Self; 2];
    /// 1.5·2^(mantissa bits): adding it rounds to an integer in the low bits.
    const ROUND: Self;
    /// The least argument whose exponential is still a normal number.
    const EXP_MIN: Self;
    /// The Taylor coefficients of (eʳ − 1 − r)/r² on |r| ≤ ln 2 / 2, the highest power first.
    const EXP: &'static [Self];
    /// Below this value 1 − cos is taken from the difference of the rows.
    const NEARLY_PARALLEL: f64;

    fn wide(self) -> f64;
    fn narrow(x: f64) -> Self;
    /// What a thread copies rows to.
    fn staging() -> &'static LocalKey<Cell<Vec<Self>>>;
    /// Whether the type is `f32`. What runs only `if A::SINGLE` is not compiled for others.
    const SINGLE: bool;
    /// Numbers as `f32`, if that is what they are.
    fn singles(x: &[Self]) -> Option<&[f32]>;
    fn singles_mut(x: &mut [Self]) -> Option<&mut [f32]>;
    /// Sixteen numbers, widened.
    fn lanes<I: Isa>(x: &[Self; LANES]) -> I::Wide;
    /// Sixteen numbers, rounded back.
    fn store<I: Isa>(x: I::Wide, out: &mut [Self; LANES]);
    /// The sum of all lanes of `hi + lo`, halves added to halves.
    fn fold<I: Isa>(hi: I::Wide, lo: I::Wide) -> Self::Real;
    /// Adds `x·y` to the sums `hi + lo`: compensated where `f64` has no more digits than the rows.
    fn add_product<I: Isa>(hi: &mut I::Wide, lo: &mut I::Wide, x: I::Wide, y: I::Wide);
    /// Adds `x·x`, `x·y` and `y·y` to three sums.
    #[inline(always)]
    fn add_moments<I: Isa>(
        hi: [&mut I::Wide; 3],
        lo: [&mut I::Wide; 3],
        x: &[Self; LANES],
        y: &[Self; LANES],
    ) {
        let (x, y) = (Self::lanes::<I>(x), Self::lanes::<I>(y));
        let sums = hi.into_iter().zip(lo);
        for ((hi, lo), (x, y)) in sums.zip([(x, x), (x, y), (y, y)]) {
            Self::add_product::<I>(hi, lo, x, y);
        }
    }
    /// The same of `x − y` and `x − z`; without the product of the two where that is not asked for.
    #[inline(always)]
    fn add_difference_moments<I: Isa>(
        hi: [&mut I::Wide; 3],
        lo: [&mut I::Wide; 3],
        rows: [&[Self; LANES]; 3],
        with_product: bool,
    ) {
        let [x, y, z] = rows.map(Self::lanes::<I>);
        let (to_y, to_z) = (I::difference(x, y), I::difference(x, z));
        let sums = hi.into_iter().zip(lo).enumerate();
        for ((index, (hi, lo)), (x, y)) in sums.zip([(to_y, to_y), (to_y, to_z), (to_z, to_z)]) {
            if index != 1 || with_product {
                Self::add_product::<I>(hi, lo, x, y);
            }
        }
    }
    /// `y − coefficient·x`, without cancellation of the product's digits.
    fn residuals<I: Isa>(coefficient: Self::Real, x: I::Wide, y: I::Wide) -> I::Wide;
    /// 2ⁿ for the integer that `x = n + ROUND` has in its low bits.
    fn power_of_two(x: Self) -> Self;
}

impl Element for f32 {
    type Real = f64;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const LN_2: [Self; 2] = [0.693_138_1, 9.058_001e-6];
    const ROUND: Self = 12_582_912.0;
    const EXP_MIN: Self = -87.336_54;
    const EXP: &'static [Self] = &[
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    const NEARLY_PARALLEL: f64 = 1e-4;

    const SINGLE: bool = true;
    #[inline(always)]
    fn singles(x: &[Self]) -> Option<&[f32]> {
        Some(x)
    }
    #[inline(always)]
    fn singles_mut(x: &mut [Self]) -> Option<&mut [f32]> {
        Some(x)
    }
    fn staging() -> &'static LocalKey<Cell<Vec<f32>>> {
        thread_local! {
            static STAGING: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
        }
        &STAGING
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn lanes<I: Isa>(x: &[Self; LANES]) -> I::Wide {
        I::from_f32(x)
    }
    #[inline(always)]
    fn store<I: Isa>(x: I::Wide, out: &mut [f32; LANES]) {
        I::to_f32(x, out);
    }
    #[inline(always)]
    fn fold<I: Isa>(hi: I::Wide, _: I::Wide) -> f64 {
        I::sum(hi)
    }
    #[inline(always)]
    fn add_product<I: Isa>(hi: &mut I::Wide, _: &mut I::Wide, x: I::Wide, y: I::Wide) {
        // The product of two f32 is exact in f64, so fused or not the bits are the same.
        *hi = I::wide_mul_add(x, y, *hi);
    }
    #[inline(always)]
    fn add_moments<I: Isa>(
        sums: [&mut I::Wide; 3],
        _: [&mut I::Wide; 3],
        x: &[f32; LANES],
        y: &[f32; LANES],
    ) {
        I::add_moments(sums, x, y);
    }
    #[inline(always)]
    fn add_difference_moments<I: Isa>(
        sums: [&mut I::Wide; 3],
        _: [&mut I::Wide; 3],
        rows: [&[f32; LANES]; 3],
        with_product: bool,
    ) {
        I::add_difference_moments(sums, rows, with_product);
    }
    #[inline(always)]
    fn residuals<I: Isa>(coefficient: f64, x: I::Wide, y: I::Wide) -> I::Wide {
        I::wide_mul_add(I::splat(-coefficient), x, y)
    }
    #[inline(always)]
    fn power_of_two(x: Self) -> Self {
        f32::from_bits(x.to_bits().wrapping_add(127) << 23)
    }
}

impl Element for f64 {
    type Real = DoubleDouble;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const LN_2: [Self; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
    const ROUND: Self = 6_755_399_441_055_744.0;
    const EXP_MIN: Self = -708.396_418_532_264_1;
    const EXP: &'static [Self] = &[
        1.0 / 87_178_291_200.0,
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    const NEARLY_PARALLEL: f64 = 1e-12;

    const SINGLE: bool = false;
    #[inline(always)]
    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }
    #[inline(always)]
    fn singles_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
    fn staging() -> &'static LocalKey<Cell<Vec<f64>>> {
        thread_local! {
            static STAGING: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
        }
        &STAGING
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn lanes<I: Isa>(x: &[Self; LANES]) -> I::Wide {
        I::from_f64(x)
    }
    #[inline(always)]
    fn store<I: Isa>(x: I::Wide, out: &mut [f64; LANES]) {
        *out = I::to_array(x);
    }
    #[inline(always)]
    fn fold<I: Isa>(hi: I::Wide, lo: I::Wide) -> DoubleDouble {
        DoubleDouble::sum(I::to_array(hi), I::to_array(lo))
    }
    #[inline(always)]
    fn add_product<I: Isa>(hi: &mut I::Wide, lo: &mut I::Wide, x: I::Wide, y: I::Wide) {
        // The two-sum and the product's rounding error of `wide.rs`, lane by lane.
        let product = I::mul(x, y);
        let product_error = I::fused(x, y, I::sub(I::splat(0.0), product));
        let sum = I::add(*hi, product);
        let part = I::sub(sum, *hi);
        let sum_error = I::add(I::sub(*hi, I::sub(sum, part)), I::sub(product, part));
        *hi = sum;
        *lo = I::add(*lo, I::add(product_error, sum_error));
    }
    #[inline(always)]
    fn residuals<I: Isa>(coefficient: DoubleDouble, x: I::Wide, y: I::Wide) -> I::Wide {
        let (hi, lo) = coefficient.parts();
        I::fused(I::splat(-lo), x, I::fused(I::splat(-hi), x, y))
    }
    #[inline(always)]
    fn power_of_two(x: Self) -> Self {
        f64::from_bits(x.to_bits().wrapping_add(1023) << 52)
    }
}
