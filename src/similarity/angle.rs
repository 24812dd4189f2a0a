//! The angle similarity of AnglE: rows as complex vectors of half the dimension.

use super::SAFE;
use super::cosine::power_of_two_scale;
use crate::kernels::{Groups, Moments, dot, moments, scaled_moments};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::store::Columns;
use crate::wide::Real;

/// s = |Re h + Im h| for h = Σ xₖ·conj(yₖ) / (‖x‖‖y‖) over the complex coordinates xₖ = x[k] + i·x[k + H], H = ⌈dim/2⌉; in an odd dimension the last
/// one of the first half is real.
///
/// With p = x·y + x″·y′ − x′·y″ for the halves x′, x″ of x and y′, y″ of y: s = |p| / (‖x‖‖y‖), that is |x·w| / (‖x‖‖y‖) with w = (1 + i)y, whose halves
/// are y′ − y″ and y″ + y′. So ∂s/∂x = ±(w − (p/‖x‖²)·x) / (‖x‖‖y‖); for ∂s/∂y the halves are x′ + x″ and x″ − x′.
#[derive(Clone, Copy)]
pub(crate) struct Angle<R> {
    /// Powers of two that bring the norms into range; 1 but for extreme rows.
    scale: [f64; 2],
    /// p/‖x‖² and p/‖y‖², of the scaled rows.
    shares: [R; 2],
    /// ±1 / (‖x‖‖y‖), of the scaled rows; 0 if one of them is zero, or p is.
    factor: f64,
    /// s
    pub(crate) similarity: f64,
}

/// The number of coordinates of the first half.
pub(crate) fn first_half(dim: usize) -> usize {
    dim.div_ceil(2)
}

/// The angle similarity of two rows; 0 and without gradient if one of them is zero.
#[inline(always)]
pub(crate) fn angle<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> Angle<A::Real> {
    I::call(AngleOf(x, y))
}

struct AngleOf<'r, A>(&'r [A], &'r [A]);

impl<A: Scalar> Kernel for AngleOf<'_, A> {
    type Output = Angle<A::Real>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Angle<A::Real> {
        measure::<A, I>(self.0, self.1)
    }
}

/// [`scaled_moments`], which extreme rows alone need.
struct ScaledMoments<'r, A>(&'r [A], &'r [A], [f64; 2]);

impl<A: Scalar> Kernel for ScaledMoments<'_, A> {
    type Output = Moments<A::Real>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Moments<A::Real> {
        scaled_moments::<A, I>(self.0, self.1, self.2)
    }
}

#[inline(always)]
fn measure<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> Angle<A::Real> {
    let half = first_half(x.len());
    let paired = x.len() - half;
    let mut sums = moments::<A, I>(x, y);
    let [[x_first, x_last], [y_first, y_last]] = [x, y].map(|row| [&row[..paired], &row[half..]]);
    let mut scale = [1.0; 2];
    let turned = if SAFE.contains(&sums.xx.value()) && SAFE.contains(&sums.yy.value()) {
        dot::<A, I>(x_last, y_first) - dot::<A, I>(x_first, y_last)
    } else {
        scale = [x, y].map(|row| power_of_two_scale(row, 0.0));
        sums = I::call(ScaledMoments(x, y, scale));
        I::call(ScaledMoments(x_last, y_first, scale)).xy
            - I::call(ScaledMoments(x_first, y_last, scale)).xy
    };
    let Moments { xx, xy, yy } = sums;
    let norms = (xx.sqrt() * yy.sqrt()).value();
    if norms == 0.0 {
        return Angle {
            scale: [1.0; 2],
            shares: [A::Real::new(0.0, 0.0); 2],
            factor: 0.0,
            similarity: 0.0,
        };
    }
    let product = xy + turned;
    let sign = match product.value() {
        0.0 => 0.0,
        p => 1_f64.copysign(p),
    };
    Angle {
        scale,
        shares: [product / xx, product / yy],
        factor: sign / norms,
        similarity: product.value().abs() / norms,
    }
}

impl<R: Real> Angle<R> {
    /// `factor` times both gradients, for the coordinates of the first halves of the rows or of the last.
    #[inline(always)]
    pub(crate) fn half<'r, A: Scalar<Real = R>, I: Isa>(
        self,
        factor: f64,
        rows: [&'r [A]; 2],
        last: bool,
    ) -> HalfSlope<'r, A, I> {
        let halves = rows.map(|row| row.split_at(first_half(row.len())));
        let (first_halves, last_halves) = (halves.map(|half| half.0), halves.map(|half| half.1));
        let (own, other, turn) = if last {
            (last_halves, first_halves, 1.0)
        } else {
            (first_halves, last_halves, -1.0)
        };
        HalfSlope {
            own: own.map(Groups::new),
            other: other.map(Groups::new),
            turn: I::splat(turn),
            shares: self.shares,
            scale: self.scale.map(I::splat),
            factors: self
                .scale
                .map(|scale| I::splat(factor * self.factor * scale)),
            // Not the product: 0 times the NaN of a row that has one is NaN.
            active: factor != 0.0 && self.factor != 0.0,
        }
    }
}

/// A multiple of both gradients of an angle similarity, for the coordinates of one half of the rows.
pub(crate) struct HalfSlope<'r, A: Scalar, I: Isa> {
    own: [Groups<'r, A>; 2],
    other: [Groups<'r, A>; 2],
    /// The sign with which the other half of y is added to w; that of x has the opposite one.
    turn: I::Wide,
    shares: [A::Real; 2],
    scale: [I::Wide; 2],
    factors: [I::Wide; 2],
    active: bool,
}

impl<A: Scalar, I: Isa> Columns<I, 2> for HalfSlope<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 2] {
        if !self.active {
            return [I::splat(0.0); 2];
        }
        let scaled = |rows: &[Groups<'_, A>; 2], side: usize| {
            I::mul(rows[side].at::<I>(group), self.scale[side])
        };
        let [x, y] = [scaled(&self.own, 0), scaled(&self.own, 1)];
        let to_x = I::add(y, I::mul(self.turn, scaled(&self.other, 1)));
        let to_y = I::sub(x, I::mul(self.turn, scaled(&self.other, 0)));
        [
            I::mul(self.factors[0], A::residuals::<I>(self.shares[0], x, to_x)),
            I::mul(self.factors[1], A::residuals::<I>(self.shares[1], y, to_y)),
        ]
    }
}
