//! The Lp distance.

use std::marker::PhantomData;

use super::{Kind, Measured, Slope};
use crate::error::{Error, check};
use crate::kernels::{Stripe, Visit, square_distance, striped};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
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
        let distance = self.norm::<A, I>(x, y);
        (distance, Slope(self.slope(x, y, distance)))
    }

    /// The plain norm from its square, which [`Self::is_plain`] says.
    #[inline(always)]
    pub(super) fn rooted<A: Scalar, I: Isa>(
        self,
        square: A::Real,
        x: &[A],
        y: &[A],
    ) -> Measured<A> {
        let distance = self.root::<A, I>(square, x, y);
        (distance, Slope(self.slope(x, y, distance)))
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

    #[inline(always)]
    fn norm<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> f64 {
        if !self.is_plain() {
            return I::call(Norm { lp: self, x, y });
        }
        self.root::<A, I>(square_distance::<A, I>(x, y), x, y)
    }

    /// The norm from its plain square, or anew where that may have lost digits to the range.
    #[inline(always)]
    fn root<A: Scalar, I: Isa>(self, square: A::Real, x: &[A], y: &[A]) -> f64 {
        let square = square.value();
        if in_range::<A>(square) {
            square.sqrt()
        } else {
            I::call(Norm { lp: self, x, y })
        }
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

/// Whether a sum of squares has lost no digits to the range of the numbers.
#[inline(always)]
fn in_range<A: Scalar>(sum: f64) -> bool {
    SAFE.contains(&sum) || sum == 0.0 && size_of::<A>() < size_of::<f64>()
}

/// The norm for every exponent, ε and range.
#[derive(Clone, Copy)]
struct Norm<'r, A> {
    lp: Lp,
    x: &'r [A],
    y: &'r [A],
}

impl<A: Scalar> Kernel for Norm<'_, A> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let Self { lp, x, y } = self;
        let p = lp.p;
        if p == 1.0 || p == 2.0 {
            let sum = I::call(PowerSum {
                norm: self,
                unit: 1.0,
            });
            if p == 1.0 {
                return sum;
            }
            if in_range::<A>(sum) {
                return sum.sqrt();
            }
        }
        let largest = lp.largest(x, y);
        if largest == 0.0 || !largest.is_finite() || p == f64::INFINITY {
            return largest;
        }
        let unit = match p {
            2.0 if largest < 1.0 => 2f64.powi(-500),
            2.0 => 2f64.powi(600),
            _ => largest,
        };
        let sum = I::call(PowerSum { norm: self, unit });
        unit * match p {
            2.0 => sum.sqrt(),
            _ => sum.powf(1.0 / p),
        }
    }
}

/// Σ (|zᵢ|/unit)ᵖ, of which the unit is 1 for p = 1 and a power of two for p = 2.
struct PowerSum<'r, A> {
    norm: Norm<'r, A>,
    unit: f64,
}

impl<A: Scalar> Kernel for PowerSum<'_, A> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let Norm { lp, x, y } = self.norm;
        let powers = Powers::<A, I> {
            p: lp.p,
            unit: self.unit,
            epsilon: I::splat(lp.epsilon),
            sum: Stripe::zero(),
            element: PhantomData,
        };
        striped::<A, I, _>(x, y, powers).sum.sum::<A>().value()
    }
}

struct Powers<A, I: Isa> {
    p: f64,
    unit: f64,
    /// 0 in the lanes beyond the rows.
    epsilon: I::Wide,
    sum: Stripe<I>,
    element: PhantomData<A>,
}

impl<A: Scalar, I: Isa> Visit<I> for Powers<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let z = I::add(I::difference(x, y), self.epsilon);
        let (left, right) = match self.p {
            1.0 => (I::map(z, f64::abs), I::splat(1.0)),
            2.0 => {
                let z = I::mul(z, I::splat(1.0 / self.unit));
                (z, z)
            }
            p => (I::map(z, |z| (z.abs() / self.unit).powf(p)), I::splat(1.0)),
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
