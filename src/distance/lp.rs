//! The Lp distance.

use std::marker::PhantomData;

use super::{Kind, Measured, Slope};
use crate::error::{Error, check};
use crate::kernels::{Stripe, Visit, square_distance, striped};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::{SAFE, power_of_two_over};
use crate::wide::Real;

/// The Lp distance ‖x − y‖ₚ = (Σ |zᵢ|ᵖ)^(1/p), z = x − y, for p ≥ 1 and ∞.
///
/// Gradient by x: sign(zᵢ)·(|zᵢ|/d)^(p−1); for p = ∞ sign(zᵢ) at the largest coordinate, shared equally between coordinates that tie.
/// At distance 0 it is 0. Differences and powers are scaled where they would under- or overflow: the gradient has all its digits also where the
/// distance is subnormal and has few.
///
/// ```
/// use contrastive::{Loss, Lp, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[3.0, 4.0]], array![[6.0, 0.0]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
/// let value = |lp| TripletMarginLoss::new(1.0)?.with_distance(lp).forward(input);
/// assert_eq!(value(Lp::new(1.0)?)?, 2.0); // 1 + 7 − 6
/// assert_eq!(value(Lp::new(2.0)?)?, 0.0); // 1 + 5 − 6
/// assert_eq!(value(Lp::infinity())?, 0.0); // 1 + 4 − 6 < 0
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::Lp")
)]
pub struct Lp {
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::extended"))]
    p: f64,
    epsilon: f64,
}

impl Lp {
    /// The distance for an exponent p ≥ 1; infinity is allowed.
    ///
    /// # Errors
    /// If p is below 1 or NaN.
    pub fn new(p: f64) -> Result<Self, Error> {
        Ok(Self {
            p: check("p", "a number of at least 1", p, p >= 1.0)?,
            epsilon: 0.0,
        })
    }

    /// p = 2.
    pub fn euclidean() -> Self {
        Self {
            p: 2.0,
            epsilon: 0.0,
        }
    }

    /// p = ∞: the largest coordinate of the difference.
    pub fn infinity() -> Self {
        Self {
            p: f64::INFINITY,
            epsilon: 0.0,
        }
    }

    /// Adds `epsilon` to every coordinate of x − y, with its sign, as PyTorch does (1e-6 there). Equal rows are then ε·dim^(1/p)
    /// apart and have a gradient of norm 1.
    ///
    /// # Errors
    /// If `epsilon` is negative or not finite.
    pub fn with_epsilon(self, epsilon: f64) -> Result<Self, Error> {
        let in_range = epsilon >= 0.0 && epsilon.is_finite();
        let epsilon = check(
            "epsilon",
            "a finite number, not negative",
            epsilon,
            in_range,
        )?;
        Ok(Self { epsilon, ..self })
    }
}

impl Default for Lp {
    fn default() -> Self {
        Self::euclidean()
    }
}

impl Lp {
    #[inline(always)]
    pub(super) fn measure<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> Measured<A> {
        if self.is_plain() {
            return self.rooted::<A, I>(square_distance::<A, I>(x, y), x, y);
        }
        self.measured(I::call(NormOf { lp: self, x, y }), x, y)
    }

    /// From the plain square of the norm, which [`Self::is_plain`] says; anew where that may have lost digits to the range.
    #[inline(always)]
    pub(super) fn rooted<A: Scalar, I: Isa>(
        self,
        square: A::Real,
        x: &[A],
        y: &[A],
    ) -> Measured<A> {
        let square = square.value();
        let norm = if in_range::<A>(square) {
            Norm::plain(square.sqrt())
        } else {
            I::call(NormOf { lp: self, x, y })
        };
        self.measured(norm, x, y)
    }

    #[inline(always)]
    fn measured<A: Scalar>(self, norm: Norm, x: &[A], y: &[A]) -> Measured<A> {
        (norm.root / norm.scale, Slope(self.slope(x, y, norm)))
    }

    #[inline(always)]
    fn difference<A: Scalar>(self) -> impl Fn(A, A) -> f64 {
        let epsilon = self.epsilon;
        move |x, y| x.wide() - y.wide() + epsilon
    }

    #[inline(always)]
    fn largest<A: Scalar>(self, x: &[A], y: &[A]) -> f64 {
        let difference = self.difference::<A>();
        let bits = x
            .iter()
            .zip(y)
            .map(|(&x, &y)| difference(x, y).abs().to_bits());
        // In the order of the bit patterns a NaN is above infinity, and so stays.
        f64::from_bits(bits.fold(0, u64::max))
    }

    /// Whether the norm is the root of the plain sum of squares, where that is in range.
    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self.p == 2.0 && self.epsilon == 0.0
    }

    /// What turns a coordinate of the difference into one of the gradient.
    #[inline(always)]
    fn slope<A: Scalar>(self, x: &[A], y: &[A], Norm { root, scale }: Norm) -> Kind<A::Real> {
        let epsilon = self.epsilon;
        if root == 0.0 {
            Kind::Zero
        } else if self.p == 2.0 {
            Kind::Difference {
                epsilon,
                scale,
                factor: 1.0 / root,
            }
        } else if self.p == 1.0 {
            Kind::Sign { epsilon }
        } else if self.p == f64::INFINITY {
            let difference = self.difference::<A>();
            let ties = x
                .iter()
                .zip(y)
                .filter(|&(&x, &y)| difference(x, y).abs() == root);
            Kind::Largest {
                epsilon,
                distance: root,
                ties: ties.count() as f64,
            }
        } else {
            Kind::Power {
                epsilon,
                scale,
                root,
                power: self.p - 1.0,
            }
        }
    }
}

/// A norm times a scale: a power of two with which its squares and powers stay in range, 1 for ordinary rows. The norm itself may be subnormal, with
/// few digits, or overflow where its gradient does not.
#[derive(Clone, Copy)]
struct Norm {
    root: f64,
    scale: f64,
}

impl Norm {
    #[inline(always)]
    fn plain(root: f64) -> Self {
        Self { root, scale: 1.0 }
    }
}

/// Whether a sum of squares has lost no digits to the range of the numbers.
#[inline(always)]
fn in_range<A: Scalar>(sum: f64) -> bool {
    SAFE.contains(&sum) || sum == 0.0 && size_of::<A>() < size_of::<f64>()
}

/// The norm for every exponent, ε and range.
#[derive(Clone, Copy)]
struct NormOf<'r, A> {
    lp: Lp,
    x: &'r [A],
    y: &'r [A],
}

impl<A: Scalar> Kernel for NormOf<'_, A> {
    type Output = Norm;

    #[inline(always)]
    fn run<I: Isa>(self) -> Norm {
        let Self { lp, x, y } = self;
        let p = lp.p;
        if p == 1.0 || p == 2.0 {
            let sum = I::call(PowerSum {
                norm: self,
                scale: 1.0,
                largest: 1.0,
            });
            if p == 1.0 {
                return Norm::plain(sum);
            }
            if in_range::<A>(sum) {
                return Norm::plain(sum.sqrt());
            }
        }
        let largest = lp.largest(x, y);
        if largest == 0.0 || !largest.is_finite() || p == f64::INFINITY {
            return Norm::plain(largest);
        }
        let scale = power_of_two_over(largest);
        // Powers of numbers up to 1, one of which is 1, can't overflow, nor all underflow. Squares near 1 need no division.
        let largest = if p == 2.0 { 1.0 } else { largest * scale };
        let sum = I::call(PowerSum {
            norm: self,
            scale,
            largest,
        });
        let root = match p {
            2.0 => sum.sqrt(),
            _ => largest * sum.powf(1.0 / p),
        };
        Norm { root, scale }
    }
}

/// Σ (|zᵢ|·scale/largest)ᵖ, of which the largest is 1 for p = 1 and p = 2, and for p = 1 the scale.
struct PowerSum<'r, A> {
    norm: NormOf<'r, A>,
    scale: f64,
    largest: f64,
}

impl<A: Scalar> Kernel for PowerSum<'_, A> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let NormOf { lp, x, y } = self.norm;
        let powers = Powers::<A, I> {
            p: lp.p,
            scale: self.scale,
            largest: self.largest,
            epsilon: I::splat(lp.epsilon),
            sum: Stripe::zero(),
            element: PhantomData,
        };
        striped::<A, I, _>(x, y, powers).sum.sum::<A>().value()
    }
}

struct Powers<A, I: Isa> {
    p: f64,
    scale: f64,
    largest: f64,
    /// 0 in the lanes beyond the rows.
    epsilon: I::Wide,
    sum: Stripe<I>,
    element: PhantomData<A>,
}

impl<A: Scalar, I: Isa> Visit<A, I> for Powers<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let z = I::add(I::difference(x, y), self.epsilon);
        let (left, right) = match self.p {
            1.0 => (I::map(z, f64::abs), I::splat(1.0)),
            2.0 => {
                let z = I::mul(z, I::splat(self.scale));
                (z, z)
            }
            p => {
                let power = |z: f64| (z.abs() * self.scale / self.largest).powf(p);
                (I::map(z, power), I::splat(1.0))
            }
        };
        self.sum.add_product::<A>(left, right);
    }

    #[inline(always)]
    fn rest(&mut self, columns: usize) {
        let mut epsilon = I::to_array(self.epsilon);
        epsilon[columns..].fill(0.0);
        self.epsilon = I::from_f64(&epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Distance;

    /// A few roundings of powers and roots.
    const ROUNDING: f64 = 1e-15;

    /// The smallest rows are multiples of 2⁻¹⁰⁷⁴, which distances between them are rounded to; the largest have distances beyond the numbers.
    #[test]
    fn rows_of_any_size_have_the_gradient_of_ordinary_ones() {
        let (x, y) = ([3.0, -1.0, 0.0, 7.0], [0.0, 1.0, 0.0, 6.0]);
        for p in [1.0, 1.5, 2.0, 3.0, 40.0, f64::INFINITY] {
            let gradient = |size: f64| {
                let [x, y] = [x, y].map(|row| row.map(|x: f64| x * size));
                let mut by = [[0.0; 4]; 2];
                let [dx, dy] = &mut by;
                Lp::new(p).unwrap().gradient(&x, &y, dx, dy);
                by
            };
            let ordinary = gradient(1.0);
            // 2⁻¹⁰⁷⁴ in two steps, because it is not a normal number.
            let smallest = f64::MIN_POSITIVE * f64::EPSILON;
            for size in [smallest, 1e-300, 1e-160, 1e160, 2_f64.powi(1021)] {
                for (found, exact) in gradient(size).iter().zip(&ordinary) {
                    for (found, exact) in found.iter().zip(exact) {
                        assert!((found - exact).abs() <= ROUNDING, "p = {p}, size {size:e}");
                    }
                }
            }
        }
    }
}
