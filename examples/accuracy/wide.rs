//! Double-double arithmetic for the reference: about 31 digits, from sums and products whose rounding errors are known exactly.
//!
//! Dekker 1971 and Knuth's two-sum; it shares nothing with the crate.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// The unevaluated sum of two numbers, of which the second is at most half a unit in the last place of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Wide {
    hi: f64,
    lo: f64,
}

/// ln 2
const LN_2: Wide = Wide {
    hi: std::f64::consts::LN_2,
    lo: 2.319_046_813_846_299_6e-17,
};

fn exact_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

impl Wide {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    pub(crate) const ONE: Self = Self { hi: 1.0, lo: 0.0 };

    pub(crate) fn new(x: f64) -> Self {
        Self { hi: x, lo: 0.0 }
    }

    fn of((hi, lo): (f64, f64)) -> Self {
        let (hi, lo) = exact_sum(hi, lo);
        Self { hi, lo }
    }

    /// The nearest `f64`.
    pub(crate) fn value(self) -> f64 {
        self.hi
    }

    pub(crate) fn abs(self) -> Self {
        if self.hi < 0.0 { -self } else { self }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    pub(crate) fn sqrt(self) -> Self {
        if self.hi <= 0.0 {
            return Self::ZERO;
        }
        // Two steps of Newton's method from the rounded root.
        (0..2).fold(Self::new(self.hi.sqrt()), |root, _| {
            (root + self / root) * Self::new(0.5)
        })
    }

    /// 2ⁿ times the number, in steps that do not leave the finite numbers on the way.
    pub(crate) fn scaled(self, power: i32) -> Self {
        let half = power / 2;
        [half, power - half].into_iter().fold(self, |x, power| {
            let factor = 2_f64.powi(power);
            Self {
                hi: x.hi * factor,
                lo: x.lo * factor,
            }
        })
    }

    pub(crate) fn exp(self) -> Self {
        if self.hi < -745.0 {
            return Self::ZERO;
        }
        let power = (self.hi / LN_2.hi).round();
        let rest = (self - LN_2 * Self::new(power)).scaled(-9);
        // eʳ − 1 for |r| < 2⁻¹⁰, then (1 + y)² − 1 = y(2 + y) nine times.
        let series = (1..=12).rev().fold(Self::ZERO, |sum, n| {
            (sum + Self::ONE) * rest / Self::new(f64::from(n))
        });
        let small = (0..9).fold(series, |y, _| y * (y + Self::new(2.0)));
        (small + Self::ONE).scaled(power as i32)
    }

    pub(crate) fn ln(self) -> Self {
        // One step of Newton's method for eʸ = x doubles the digits of the rounded logarithm.
        let y = Self::new(self.hi.ln());
        y + self * (-y).exp() - Self::ONE
    }

    /// ln(1 + x) to the digits of x.
    pub(crate) fn ln_1p(self) -> Self {
        if self.hi > 1e-2 {
            return (self + Self::ONE).ln();
        }
        // 2·artanh(x/(2 + x))
        let z = self / (self + Self::new(2.0));
        let square = z * z;
        let series = (0..10).rev().fold(Self::ZERO, |sum, n| {
            sum * square + Self::ONE / Self::new(f64::from(2 * n + 1))
        });
        series * z * Self::new(2.0)
    }

    pub(crate) fn powf(self, exponent: Self) -> Self {
        if self.hi == 0.0 {
            Self::ZERO
        } else {
            (self.ln() * exponent).exp()
        }
    }
}

impl Add for Wide {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (hi, error) = exact_sum(self.hi, other.hi);
        let (lo, lo_error) = exact_sum(self.lo, other.lo);
        let first = Self::of((hi, error + lo));
        Self::of((first.hi, first.lo + lo_error))
    }
}

impl AddAssign for Wide {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Neg for Wide {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for Wide {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Wide {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = self.hi * other.hi;
        let error = self.hi.mul_add(other.hi, -product);
        Self::of((product, error + (self.hi * other.lo + self.lo * other.hi)))
    }
}

impl Div for Wide {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        let rest = self - other * Self::new(first);
        let second = rest.hi / other.hi;
        let rest = rest - other * Self::new(second);
        Self::of((first, second)) + Self::new(rest.hi / other.hi)
    }
}

impl std::iter::Sum for Wide {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::ZERO, Self::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few units in the last place of 106 bits.
    const ROUNDING: f64 = 1e-30;

    fn close(found: Wide, expected: Wide) {
        let off = ((found - expected) / expected).value().abs();
        assert!(off < ROUNDING, "{found:?}, not {expected:?}: {off:e}");
    }

    #[test]
    fn functions_undo_each_other_to_thirty_digits() {
        for x in [1e-9, 0.003, 0.7, 1.0 / 3.0, 41.0, 680.0] {
            let x = Wide::new(x) / Wide::new(3.0);
            close(x.sqrt() * x.sqrt(), x);
            close(x.exp() * (-x).exp(), Wide::ONE);
            close((x + Wide::ONE).ln().exp(), x + Wide::ONE);
            close(x.powf(Wide::new(1.5)), x * x.sqrt());
        }
    }

    #[test]
    fn logarithm_near_one_is_its_series() {
        let x = Wide::new(2_f64.powi(-40));
        let series = x - x * x / Wide::new(2.0) + x * x * x / Wide::new(3.0);
        close(x.ln_1p(), series);
        let x = Wide::new(0.01);
        close(x.ln_1p(), (x + Wide::ONE).ln());
    }
}
