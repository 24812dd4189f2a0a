//! The gradient of a measured cosine: in `f64`, and in `f32` where that loses nothing.

use super::cosine::Cosine;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::singles::Singles;
use crate::wide::Real;

/// Where the square of the sine is less, a residual is so small a part of its row that the parts of a share in `f32` are too few.
const A_LITTLE: f64 = 1e-4;

impl<R: Real> Cosine<R> {
    /// `factor`·∂c/∂x.
    #[inline(always)]
    pub(crate) fn first<A: Scalar<Real = R>, I: Isa>(self, factor: f64) -> CosineSlope<A, I> {
        CosineSlope {
            share: self.shares[0],
            factor: I::splat(factor * self.per_norms),
            scale: (self.scale != [1.0; 2]).then(|| self.scale.map(I::splat)),
        }
    }

    /// `factor`·∂c/∂y, with x and y exchanged.
    #[inline(always)]
    pub(crate) fn second<A: Scalar<Real = R>, I: Isa>(self, factor: f64) -> CosineSlope<A, I> {
        self.swapped().first::<A, I>(factor)
    }

    /// `factor`·∂c/∂x and ∂c/∂y of `f32` rows in `f32`; `None` where that would lose digits.
    #[inline(always)]
    pub(crate) fn singles<I: Isa>(self, factor: f64) -> Option<[SingleSlope<I>; 2]> {
        let factor = factor * self.per_norms;
        let ordinary = self.ordinary && (1e-30..1e30).contains(&factor.abs());
        if !(I::FMA && ordinary && self.square_of_sine() > A_LITTLE) {
            return None;
        }
        let [first, second] = self.shares;
        Some([
            SingleSlope::new(first.value(), factor),
            SingleSlope::new(second.value(), factor),
        ])
    }

    /// `factor`·∂c/∂x of ordinary rows is the first times y less the second times x.
    #[inline(always)]
    pub(crate) fn terms(self, factor: f64) -> [f64; 2] {
        let factor = factor * self.per_norms;
        [factor, factor * self.shares[0].value()]
    }

    #[inline(always)]
    pub(super) fn swapped(self) -> Self {
        Self {
            shares: [self.shares[1], self.shares[0]],
            scale: [self.scale[1], self.scale[0]],
            ..self
        }
    }
}

/// A multiple of ∂c/∂x.
pub(crate) struct CosineSlope<A: Scalar, I: Isa> {
    share: A::Real,
    factor: I::Wide,
    scale: Option<[I::Wide; 2]>,
}

impl<A: Scalar, I: Isa> CosineSlope<A, I> {
    /// Some coordinates, from the same coordinates of x and y.
    #[inline(always)]
    pub(crate) fn at(&self, mut x: I::Wide, mut y: I::Wide) -> I::Wide {
        let Some(scale) = self.scale else {
            return I::mul(self.factor, A::residuals::<I>(self.share, x, y));
        };
        (x, y) = (I::mul(x, scale[0]), I::mul(y, scale[1]));
        let slope = I::mul(self.factor, A::residuals::<I>(self.share, x, y));
        // By itself: as a part of the factor it might make that subnormal, and take its digits.
        I::mul(slope, scale[0])
    }
}

/// factor·(y − share·x) for `f32` rows, in `f32`, as a multiple of ∂c/∂x is: by two fused multiply-adds, with the share in two parts.
///
/// Where the first product takes most of a coordinate, the difference is exact. So a coordinate has two roundings of itself and the share's error of 2⁻⁴⁹,
/// and two more by the factor, at half of the conversions and arithmetic in `f64`.
pub(crate) struct SingleSlope<I: Isa> {
    minus_share: [I::Single; 2],
    factor: I::Single,
}

impl<I: Isa> SingleSlope<I> {
    /// `None` where it might overflow or lose digits to the range of the numbers, or is not faster.
    #[inline(always)]
    pub(crate) fn ordinary(share: f64, factor: f64) -> Option<Self> {
        let ordinary = I::FMA && share.abs() < 1e30 && (1e-30..1e30).contains(&factor.abs());
        ordinary.then(|| Self::new(share, factor))
    }

    #[inline(always)]
    fn new(share: f64, factor: f64) -> Self {
        let high = -share as f32;
        Self {
            minus_share: [
                I::single(high),
                I::single((-share - f64::from(high)) as f32),
            ],
            factor: I::single(factor as f32),
        }
    }

    /// Some coordinates, from the same coordinates of x and y.
    #[inline(always)]
    pub(crate) fn at(&self, x: I::Single, y: I::Single) -> I::Single {
        let [high, low] = self.minus_share;
        let residual = I::single_fused(low, x, I::single_fused(high, x, y));
        I::single_mul(self.factor, residual)
    }
}

impl<I: Isa> Singles<I, 2, 1> for SingleSlope<I> {
    #[inline(always)]
    fn at(&self, [x, y]: [I::Single; 2]) -> [I::Single; 1] {
        [SingleSlope::at(self, x, y)]
    }
}
