//! The exponential of the softmaxes: branchless, so that the compiler takes many lanes at a time.

use crate::scalar::{Element, Scalar};
use crate::simd::Isa;

/// eˣ for x ≤ 0, within one ulp (1.5 where a multiply-add is not fused); 0 where the result would be subnormal; NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, and eʳ by its Taylor polynomial, of which the part beyond 1 + r is small enough for its rounding not
/// to count.
#[inline(always)]
pub(crate) fn exp<A: Scalar, I: Isa>(x: A) -> A {
    let shifted = I::mul_add(x, A::LOG2_E, A::ROUND);
    let n = shifted - A::ROUND;
    let r = I::mul_add(-n, A::LN_2[1], I::mul_add(-n, A::LN_2[0], x));
    let mut tail = A::zero();
    for &coefficient in <A as Element>::EXP {
        tail = I::mul_add(tail, r, coefficient);
    }
    let power = I::mul_add(tail * r, r, r) + A::one();
    if x < A::EXP_MIN {
        A::zero()
    } else {
        power * A::power_of_two(shifted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level, available, dispatch_at};

    /// What the documentation of `exp` promises, in ulp.
    fn exp_ulp(level: Level) -> f64 {
        if level == Level::Portable { 1.5 } else { 1.0 }
    }

    struct Exp<'a, A>(&'a mut [A]);
    impl<A: Scalar> Kernel for Exp<'_, A> {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            for x in self.0 {
                *x = exp::<A, I>(*x);
            }
        }
    }

    #[test]
    fn exp_is_within_one_ulp_in_f32() {
        let arguments: Vec<f32> = (0..400_000)
            .map(|i| -(i as f32) * 87.3 / 400_000.0)
            .collect();
        for level in available() {
            let mut values = arguments.clone();
            dispatch_at(level, Exp(&mut values));
            for (&x, &found) in arguments.iter().zip(&values) {
                let exact = f64::from(x).exp();
                let ulp = 2f64.powi(exact.log2().floor() as i32 - 23);
                assert!(
                    (f64::from(found) - exact).abs() <= exp_ulp(level) * ulp,
                    "{level:?}: exp({x}) = {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn exp_is_within_one_ulp_in_f64() {
        let arguments: Vec<f64> = (0..200_000)
            .map(|i| -f64::from(i) * 708.3 / 200_000.0)
            .collect();
        for level in available() {
            let mut values = arguments.clone();
            dispatch_at(level, Exp(&mut values));
            for (&x, &found) in arguments.iter().zip(&values) {
                let exact = x.exp();
                let ulp = exact.next_up() - exact;
                assert!(
                    (found - exact).abs() <= exp_ulp(level) * ulp,
                    "{level:?}: exp({x}) = {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn exp_of_the_ends_is_exact() {
        for level in available() {
            let mut values = [0.0_f32, -88.0, -1e30, f32::NEG_INFINITY, f32::NAN];
            dispatch_at(level, Exp(&mut values));
            assert_eq!(values[..4], [1.0, 0.0, 0.0, 0.0]);
            assert!(values[4].is_nan());
        }
    }
}
