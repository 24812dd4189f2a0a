//! Arithmetic wider than the rows': `f64` for `f32` rows, double-double for `f64` rows.
//!
//! The sum of D products of f32 numbers is exact to 2⁻⁵³·√D in `f64`, because each product is exact. For `f64` rows the same
//! headroom comes from a pair of numbers `hi + lo`, built from error-free transformations (Knuth's two-sum, and
//! the product's rounding error by fused multiply-add; Ogita, Rump & Oishi 2005, <https://doi.org/10.1137/030601818>).

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::simd::LANES;

/// A number with about twice the digits of the rows that it was computed from.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn new(hi: f64, lo: f64) -> Self;
    fn sqrt(self) -> Self;
    /// The nearest `f64`.
    fn value(self) -> f64;
}

impl Real for f64 {
    #[inline(always)]
    fn new(hi: f64, lo: f64) -> Self {
        hi + lo
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn value(self) -> f64 {
        self
    }
}

/// The unevaluated sum `hi + lo` with |lo| ≤ ulp(hi)/2: about 106 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoubleDouble {
    hi: f64,
    lo: f64,
}

impl DoubleDouble {
    pub(crate) fn parts(self) -> (f64, f64) {
        (self.hi, self.lo)
    }

    /// The sum of the numbers `hi + lo`, halves added to halves. A function of its own: each reduction ends with it, and it is long.
    #[inline(never)]
    pub(crate) fn sum(mut hi: [f64; LANES], mut lo: [f64; LANES]) -> Self {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                let (sum, error) = two_sum(hi[lane], hi[lane + width]);
                hi[lane] = sum;
                lo[lane] += lo[lane + width] + error;
            }
            width /= 2;
        }
        // With an infinite partial sum the rounding errors are NaN and mean nothing.
        Self::new(hi[0], if hi[0].is_finite() { lo[0] } else { 0.0 })
    }
}

/// `a + b` and the rounding error of that sum, exactly.
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a · b` and the rounding error of that product, exactly.
#[inline(always)]
pub(crate) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl Real for DoubleDouble {
    #[inline(always)]
    fn new(hi: f64, lo: f64) -> Self {
        let (hi, lo) = two_sum(hi, lo);
        // The rounding error of an overflow is NaN and means nothing.
        Self {
            hi,
            lo: if hi.is_finite() { lo } else { 0.0 },
        }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let root = self.hi.sqrt();
        if root == 0.0 || !root.is_finite() {
            return Self { hi: root, lo: 0.0 };
        }
        // One Newton step from the rounded root: r + (x − r²) / 2r.
        let (square, error) = two_product(root, root);
        let rest = (self.hi - square) - error + self.lo;
        Self::new(root, rest / (2.0 * root))
    }
    #[inline(always)]
    fn value(self) -> f64 {
        self.hi + self.lo
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (hi, error) = two_sum(self.hi, other.hi);
        let (lo, lo_error) = two_sum(self.lo, other.lo);
        let (hi, error) = two_sum(hi, error + lo);
        Self::new(hi, error + lo_error)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (hi, error) = two_product(self.hi, other.hi);
        Self::new(
            hi,
            self.hi.mul_add(other.lo, self.lo.mul_add(other.hi, error)),
        )
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let quotient = self.hi / other.hi;
        if !quotient.is_finite() {
            return Self {
                hi: quotient,
                lo: 0.0,
            };
        }
        let (product, error) = two_product(quotient, other.hi);
        let rest = quotient.mul_add(-other.lo, (self.hi - product) - error + self.lo);
        Self::new(quotient, rest / other.hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Double-double carries 106 bits; each operation here may lose the last few.
    const DIGITS: f64 = 1e-30;

    fn close(x: DoubleDouble, y: DoubleDouble) -> bool {
        (x - y).value().abs() <= DIGITS * y.value().abs()
    }

    #[test]
    fn third_times_three_is_one() {
        let three = DoubleDouble::new(3.0, 0.0);
        let one = DoubleDouble::new(1.0, 0.0);
        assert!(close(one / three * three, one));
        assert!(
            (one / three).parts().1 != 0.0,
            "a third has digits past the first 53 bits"
        );
    }

    #[test]
    fn square_of_a_root_gives_the_number_back() {
        for x in [2.0, 3.0, 1e-200, 7e150] {
            let x = DoubleDouble::new(x, x * 1e-17);
            assert!(close(x.sqrt() * x.sqrt(), x));
        }
    }

    #[test]
    fn difference_of_neighbours_keeps_its_digits() {
        let x = DoubleDouble::new(1.0, 3e-20);
        let y = DoubleDouble::new(1.0, 0.0);
        assert_eq!((x - y).value(), 3e-20);
    }
}
