//! The cosine of two rows, exact near ±1 and for every norm, with its gradient.

use std::ops::Range;

use crate::kernels::{
    Begun, Moments, Stripe, Visit, begun_moments, largest, moments, scaled_moments, striped,
};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::wide::Real;

/// The cosine c of two rows x and y, and what its gradient needs.
///
/// ∂c/∂x = (y − (x·y / ‖x‖²)·x) / (‖x‖‖y‖), and with x and y exchanged. The coefficients come from sums with twice the
/// digits of the rows, so that the difference loses nothing when the rows are nearly parallel.
#[derive(Clone, Copy)]
pub(crate) struct Cosine<R> {
    /// Powers of two that bring the norms into range; 1 but for extreme rows.
    pub(super) scale: [f64; 2],
    /// x·y/‖x‖² and x·y/‖y‖², of the scaled rows.
    pub(super) shares: [R; 2],
    /// 1 / (‖x‖‖y‖), of the scaled rows; 0 if one of them is zero.
    pub(super) per_norms: f64,
    /// Whether both norms are [`ORDINARY`], of rows that are not scaled.
    pub(super) ordinary: bool,
    /// c
    pub(crate) cosine: f64,
    /// 1 − c, to its own digits
    pub(crate) distance: f64,
}

impl<R: Real> Cosine<R> {
    /// That of a zero row, with no gradient.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self {
            scale: [1.0; 2],
            shares: [R::new(0.0, 0.0); 2],
            per_norms: 0.0,
            ordinary: false,
            cosine: 0.0,
            distance: 1.0,
        }
    }

    /// 1 − c²
    #[inline(always)]
    pub(super) fn square_of_sine(&self) -> f64 {
        self.distance * (1.0 + self.cosine)
    }
}

/// Sums of squares outside of this range may have lost digits to underflow, or overflowed.
pub(crate) const SAFE: Range<f64> = 1e-280..1e280;

/// Squared norms of `f32` rows that neither overflow in `f32` nor lose digits that count to underflow.
pub(crate) const ORDINARY: Range<f64> = 1e-24..1e24;

/// The cosine of two rows. With `epsilon` > 0 it is added to both squared norms, as PyTorch does.
#[inline(always)]
pub(crate) fn cosine<A: Scalar, I: Isa>(x: &[A], y: &[A], epsilon: f64) -> Cosine<A::Real> {
    I::call(CosineOf { x, y, epsilon })
}

/// The same, with the moments carried on from what was begun.
#[inline(always)]
pub(crate) fn begun_cosine<A: Scalar, I: Isa>(
    begun: &Begun,
    x: &[A],
    y: &[A],
    epsilon: f64,
) -> Cosine<A::Real> {
    if begun.is_nothing() {
        return cosine::<A, I>(x, y, epsilon);
    }
    let rows = CosineOf { x, y, epsilon };
    I::call(BegunCosine { begun, rows })
}

struct CosineOf<'r, A> {
    x: &'r [A],
    y: &'r [A],
    epsilon: f64,
}

impl<A: Scalar> Kernel for CosineOf<'_, A> {
    type Output = Cosine<A::Real>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Output {
        let Self { x, y, epsilon } = self;
        cosine_of::<A, I>(moments::<A, I>(x, y), x, y, epsilon)
    }
}

struct BegunCosine<'r, A> {
    begun: &'r Begun,
    rows: CosineOf<'r, A>,
}

impl<A: Scalar> Kernel for BegunCosine<'_, A> {
    type Output = Cosine<A::Real>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Output {
        let CosineOf { x, y, epsilon } = self.rows;
        cosine_of::<A, I>(begun_moments::<A, I>(self.begun, x, y), x, y, epsilon)
    }
}

#[inline(always)]
pub(super) fn cosine_of<A: Scalar, I: Isa>(
    mut sums: Moments<A::Real>,
    x: &[A],
    y: &[A],
    epsilon: f64,
) -> Cosine<A::Real> {
    let mut scale = [1.0; 2];
    if !(SAFE.contains(&sums.xx.value()) && SAFE.contains(&sums.yy.value())) {
        (scale, sums) = I::call(Rescaled { x, y, epsilon });
    }
    let Moments { xx, xy, yy } = sums;
    let xx = xx + A::Real::new(epsilon * scale[0] * scale[0], 0.0);
    let yy = yy + A::Real::new(epsilon * scale[1] * scale[1], 0.0);
    let norms = xx.sqrt() * yy.sqrt();
    if norms.value() == 0.0 {
        return Cosine::none();
    }
    let cosine = xy / norms;
    // Beside the division before, so that both are under way at once.
    let per_norms = 1.0 / norms.value();
    let mut distance = (A::Real::new(1.0, 0.0) - cosine).value();
    let shares = [xy / xx, xy / yy];
    if distance < A::NEARLY_PARALLEL && epsilon == 0.0 {
        // ‖y − (x·y/‖x‖²)·x‖² = ‖y‖²(1 − c)(1 + c)
        let rest = I::call(ResidualSquare {
            share: shares[0],
            x,
            y,
            scale,
        });
        distance = rest / (yy.value() * (1.0 + cosine.value()));
    }
    Cosine {
        scale,
        shares,
        per_norms,
        ordinary: scale == [1.0; 2]
            && ORDINARY.contains(&xx.value())
            && ORDINARY.contains(&yy.value()),
        cosine: cosine.value(),
        distance,
    }
}

/// The power of two that brings the largest magnitude of a row near 1; 1 for a zero row and where an epsilon outweighs a small one.
#[inline(always)]
pub(crate) fn power_of_two_scale<A: Scalar>(row: &[A], epsilon: f64) -> f64 {
    let largest = largest(row);
    if largest == 0.0 || (epsilon > 0.0 && largest < 1.0) || !largest.is_finite() {
        return 1.0;
    }
    power_of_two_over(largest)
}

/// The power of two that brings a positive number near 1, within those whose inverses are normal numbers, which is enough for subnormal numbers and
/// for the largest.
#[inline(always)]
pub(crate) fn power_of_two_over(x: f64) -> f64 {
    let exponent = ((x.to_bits() >> 52) as i64 - 1023).clamp(-1000, 1022);
    f64::from_bits(((1023 - exponent) as u64) << 52)
}

/// The scales of two extreme rows, and their moments times these.
struct Rescaled<'r, A> {
    x: &'r [A],
    y: &'r [A],
    epsilon: f64,
}

impl<A: Scalar> Kernel for Rescaled<'_, A> {
    type Output = ([f64; 2], Moments<A::Real>);

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Output {
        let scale = [self.x, self.y].map(|row| power_of_two_scale(row, self.epsilon));
        (scale, scaled_moments::<A, I>(self.x, self.y, scale))
    }
}

/// ‖y − share·x‖² of the scaled rows.
struct ResidualSquare<'r, A: Scalar> {
    share: A::Real,
    x: &'r [A],
    y: &'r [A],
    scale: [f64; 2],
}

impl<A: Scalar> Kernel for ResidualSquare<'_, A> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let residuals = Residuals::<A, I> {
            share: self.share,
            scale: [I::splat(self.scale[0]), I::splat(self.scale[1])],
            sum: Stripe::zero(),
        };
        let sum = striped::<A, I, _>(self.x, self.y, residuals).sum;
        sum.sum::<A>().value()
    }
}

struct Residuals<A: Scalar, I: Isa> {
    share: A::Real,
    scale: [I::Wide; 2],
    sum: Stripe<I>,
}

impl<A: Scalar, I: Isa> Visit<A, I> for Residuals<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let [x_scale, y_scale] = self.scale;
        let rest = A::residuals::<I>(self.share, I::mul(x, x_scale), I::mul(y, y_scale));
        self.sum.add_product::<A>(rest, rest);
    }
}

#[cfg(test)]
mod tests;
