//! The Lp distance.

use super::{BuiltIn, Distance, Kind, Metric, Slope, both_gradients};
use crate::error::{Error, check};
use crate::kernels::{Stripe, striped};
use crate::scalar::Scalar;
use crate::simd::{Isa, LANES, Portable};
use crate::similarity::SAFE;
use crate::wide::Real;

/// The Lp distance ‖x − y‖ₚ = (Σ |zᵢ|ᵖ)^(1/p), z = x − y, for p ≥ 1 and ∞.
///
/// Gradient by x: sign(zᵢ)·(|zᵢ|/d)^(p−1); for p = ∞ sign(zᵢ) at the largest coordinate, shared equally between coordinates that tie.
/// At distance 0 it is 0. Differences and powers are scaled where they would under- or overflow.
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
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::exponent"))]
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
    fn difference<A: Scalar>(self) -> impl Fn(A, A) -> f64 {
        let epsilon = self.epsilon;
        move |x, y| x.wide() - y.wide() + epsilon
    }

    /// Sixteen coordinates of the difference, of which only `count` are there; 0 in the others.
    #[inline(always)]
    fn differences<I: Isa>(self) -> impl Fn(I::Wide, I::Wide, usize) -> I::Wide {
        let epsilon = (self.epsilon != 0.0).then(|| I::splat(self.epsilon));
        move |x, y, count| {
            let z = I::sub(x, y);
            let z = epsilon.map_or(z, |epsilon| I::add(z, epsilon));
            if count == LANES {
                return z;
            }
            let mut lanes = I::to_array(z);
            lanes[count..].fill(0.0);
            I::from_f64(&lanes)
        }
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

    /// Σ (zᵢ·scale)²
    #[inline(always)]
    pub(super) fn square_sum<A: Scalar, I: Isa>(self, x: &[A], y: &[A], scale: f64) -> f64 {
        let (mut sum, differences, scale) = (
            Stripe::<I>::zero(),
            self.differences::<I>(),
            I::splat(scale),
        );
        striped::<A, I>(x, y, |x, y, count| {
            let z = I::mul(differences(x, y, count), scale);
            sum.add_product::<A>(z, z);
        });
        sum.sum::<A>().value()
    }

    #[inline(always)]
    fn euclidean_norm<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> f64 {
        let sum = self.square_sum::<A, I>(x, y, 1.0);
        if SAFE.contains(&sum) || sum == 0.0 && size_of::<A>() < size_of::<f64>() {
            return sum.sqrt();
        }
        let largest = self.largest(x, y);
        if largest == 0.0 || !largest.is_finite() {
            return largest;
        }
        let scale = if largest < 1.0 {
            2f64.powi(500)
        } else {
            2f64.powi(-600)
        };
        self.square_sum::<A, I>(x, y, scale).sqrt() / scale
    }

    /// Σ |zᵢ|, and Σ (|zᵢ|/largest)ᵖ for the other exponents.
    #[inline(always)]
    fn power_sum<A: Scalar, I: Isa>(self, x: &[A], y: &[A], largest: f64) -> f64 {
        let (mut sum, differences, one) =
            (Stripe::<I>::zero(), self.differences::<I>(), I::splat(1.0));
        striped::<A, I>(x, y, |x, y, count| {
            let z = differences(x, y, count);
            let power = match self.p {
                1.0 => I::map(z, f64::abs),
                p => I::map(z, |z| (z.abs() / largest).powf(p)),
            };
            sum.add_product::<A>(power, one);
        });
        sum.sum::<A>().value()
    }

    #[inline(always)]
    fn norm<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> f64 {
        if self.p == 2.0 {
            return self.euclidean_norm::<A, I>(x, y);
        }
        if self.p == 1.0 {
            return self.power_sum::<A, I>(x, y, 1.0);
        }
        let largest = self.largest(x, y);
        if largest == 0.0 || !largest.is_finite() || self.p == f64::INFINITY {
            return largest;
        }
        largest * self.power_sum::<A, I>(x, y, largest).powf(1.0 / self.p)
    }

    /// What turns a coordinate of the difference into one of the gradient.
    #[inline(always)]
    fn slope<A: Scalar>(self, x: &[A], y: &[A], distance: f64) -> Kind<A::Real> {
        let epsilon = self.epsilon;
        if distance == 0.0 {
            Kind::Zero
        } else if self.p == 2.0 {
            let scale = if SAFE.contains(&distance) {
                1.0
            } else {
                2f64.powi(if distance < 1.0 { 500 } else { -600 })
            };
            Kind::Difference {
                epsilon,
                scale,
                factor: 1.0 / (distance * scale),
            }
        } else if self.p == 1.0 {
            Kind::Sign { epsilon }
        } else if self.p == f64::INFINITY {
            let difference = self.difference::<A>();
            let ties = x
                .iter()
                .zip(y)
                .filter(|&(&x, &y)| difference(x, y).abs() == distance);
            Kind::Largest {
                epsilon,
                distance,
                ties: ties.count() as f64,
            }
        } else {
            Kind::Power {
                epsilon,
                distance,
                power: self.p - 1.0,
            }
        }
    }
}

impl<A: Scalar> Distance<A> for Lp {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.measure::<Portable>(x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        both_gradients(self, x, y, dx, dy);
    }

    fn built_in(&self) -> Option<BuiltIn> {
        Some(BuiltIn::Lp(*self))
    }
}

impl<A: Scalar> Metric<A> for Lp {
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let distance = self.norm::<A, I>(x, y);
        (distance, Slope(self.slope(x, y, distance)))
    }
}
