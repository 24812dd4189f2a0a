//! The exponentials of a row of scores, relative to the largest, with their sums.

use crate::exponential::exp;
use crate::kernels::Stripe;
use crate::simd::{Isa, Kernel, LANES};

/// e^((s − max)/τ) of the candidates of a row, summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exponentials {
    /// The largest score; −∞ over nothing, NaN where a score is NaN or +∞.
    pub(super) max: f64,
    /// Σ e^d, with d = (s − max)/τ
    pub(super) sum: f64,
    /// Σ e^d·d
    pub(super) moment: f64,
    /// Σ d over the candidates that are not left out
    pub(super) total: f64,
    /// How many those are.
    pub(super) count: f64,
}

impl Exponentials {
    /// log Σ e^d
    pub(super) fn log_sum(&self) -> f64 {
        self.sum.ln()
    }

    /// d of a score.
    #[inline(always)]
    pub(super) fn shifted(&self, score: f64, per_temperature: f64) -> f64 {
        (score - self.max) * per_temperature
    }
}

/// Puts e^((s − max)/τ) in the place of every score s of the row. Of −∞, which is a candidate that is left out, that is 0.
#[inline(always)]
pub(super) fn exponentiate<I: Isa>(row: &mut [f64], per_temperature: f64) -> Exponentials {
    I::call(Exponentiate {
        row,
        per_temperature,
    })
}

struct Exponentiate<'r> {
    row: &'r mut [f64],
    per_temperature: f64,
}

impl Kernel for Exponentiate<'_> {
    type Output = Exponentials;

    #[inline(always)]
    fn run<I: Isa>(self) -> Exponentials {
        replace::<I>(self.row, self.per_temperature)
    }
}

#[inline(always)]
fn replace<I: Isa>(row: &mut [f64], per_temperature: f64) -> Exponentials {
    let largest = largest(row);
    let max = if largest == f64::INFINITY {
        f64::NAN
    } else {
        largest
    };
    let shift = if max == f64::NEG_INFINITY { 0.0 } else { max };
    let mut sums: [Stripe<I>; 4] = std::array::from_fn(|_| Stripe::zero());
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let mut last = [f64::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let last_count = usize::from(!rest.is_empty());
    // One call of `add` in the code: it is long.
    for chunk in chunks
        .iter_mut()
        .chain([&mut last].into_iter().take(last_count))
    {
        add::<I>(chunk, shift, per_temperature, &mut sums);
    }
    rest.copy_from_slice(&last[..rest.len()]);
    let [sum, moment, total, count] = sums.map(|sum| {
        use crate::wide::Real;
        sum.sum::<f64>().value()
    });
    Exponentials {
        // A NaN is no larger than anything, but it is in the sum.
        max: if sum.is_nan() { sum } else { max },
        sum,
        moment,
        total,
        count,
    }
}

/// One step of [`exponentiate`].
#[inline(always)]
fn add<I: Isa>(
    chunk: &mut [f64; LANES],
    shift: f64,
    per_temperature: f64,
    [sum, moment, total, count]: &mut [Stripe<I>; 4],
) {
    let (mut there, mut down) = ([0.0; LANES], [0.0; LANES]);
    for ((x, there), down) in chunk.iter_mut().zip(&mut there).zip(&mut down) {
        let left_out = *x == f64::NEG_INFINITY;
        let d = (*x - shift) * per_temperature;
        *there = if left_out { 0.0 } else { 1.0 };
        *x = exp::<f64, I>(d);
        *down = if left_out { 0.0 } else { d };
    }
    // Where the exponential has vanished so has its product, even with an infinite distance.
    let finite = down.map(|d| if d < -1e300 { 0.0 } else { d });
    let (e, one) = (I::from_f64(chunk), I::splat(1.0));
    sum.add_product::<f64>(e, one);
    moment.add_product::<f64>(e, I::from_f64(&finite));
    total.add_product::<f64>(I::from_f64(&down), one);
    count.add_product::<f64>(I::from_f64(&there), one);
}

/// The largest number that is not NaN.
#[inline(always)]
fn largest(row: &[f64]) -> f64 {
    let mut lanes = [f64::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (best, &x) in lanes.iter_mut().zip(chunk) {
            *best = if x > *best { x } else { *best };
        }
    }
    let rest = rest.iter().chain(&lanes);
    rest.fold(
        f64::NEG_INFINITY,
        |best, &x| if x > best { x } else { best },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{available, dispatch_at};

    /// Exponentials are within 1.5 ulp, sums and moments of up to forty of them a little more.
    const ROUNDING: f64 = 1e-13;

    struct Of<'a>(&'a mut [f64], f64);
    impl Kernel for Of<'_> {
        type Output = Exponentials;
        #[inline(always)]
        fn run<I: Isa>(self) -> Exponentials {
            exponentiate::<I>(self.0, self.1)
        }
    }

    #[test]
    fn sums_agree_with_naive_ones_at_every_length_with_some_left_out() {
        for len in 0..=2 * LANES + 1 {
            let scores: Vec<f64> = (0..len)
                .map(|i| match i % 5 {
                    3 => f64::NEG_INFINITY,
                    _ => (i as f64 * 0.7).sin() * 9.0,
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let present = || {
                scores
                    .iter()
                    .filter(|s| s.is_finite())
                    .map(|s| (s - max) * 2.5)
            };
            let expected = [
                present().map(f64::exp).sum(),
                present().map(|d| d.exp() * d).sum(),
                present().sum(),
                present().count() as f64,
            ];
            for level in available() {
                let mut row = scores.clone();
                let found = dispatch_at(level, Of(&mut row, 2.5));
                assert_eq!(found.max, max);
                let sums = [found.sum, found.moment, found.total, found.count];
                for (found, expected) in sums.into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= ROUNDING * expected.abs(),
                        "{level:?} {len}"
                    );
                }
                for (e, s) in row.iter().zip(&scores) {
                    assert!((e - ((s - max) * 2.5).exp()).abs() < ROUNDING);
                }
            }
        }
    }

    #[test]
    fn nan_and_infinity_make_everything_nan_and_nothing_is_nothing() {
        for bad in [f64::NAN, f64::INFINITY] {
            for level in available() {
                let found = dispatch_at(level, Of(&mut [f64::NEG_INFINITY, bad, 1.0], 1.0));
                assert!(found.max.is_nan() && found.sum.is_nan() && found.moment.is_nan());
                let found = dispatch_at(level, Of(&mut [f64::NEG_INFINITY; 3], 1.0));
                assert_eq!(
                    (found.max, found.sum, found.count),
                    (f64::NEG_INFINITY, 0.0, 0.0)
                );
            }
        }
    }

    #[test]
    fn scores_at_the_ends_of_the_numbers_neither_overflow_nor_vanish() {
        for level in available() {
            let found = dispatch_at(level, Of(&mut [f64::MAX, f64::MAX, -f64::MAX], 1e3));
            assert_eq!((found.sum, found.moment, found.count), (2.0, 0.0, 3.0));
        }
    }
}
