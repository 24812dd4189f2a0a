use super::*;
use crate::simd::{Kernel, available, dispatch_at};
use crate::wide::Real;

/// `f64` sums of exact products of `f32`, and compensated sums of `f64`: a few roundings of the result in f64, with the terms' magnitudes.
const SUM: f64 = 4.0 * f64::EPSILON;

struct MomentsOf<'a, A>(&'a [A], &'a [A]);
impl<A: Scalar> Kernel for MomentsOf<'_, A> {
    type Output = [f64; 4];
    #[inline(always)]
    fn run<I: Isa>(self) -> [f64; 4] {
        let Moments { xx, xy, yy } = moments::<A, I>(self.0, self.1);
        [xx.value(), xy.value(), yy.value(), largest(self.0)]
    }
}

fn check_moments<A: Scalar>() {
    let x: Vec<A> = (0..75)
        .map(|i| A::narrow((f64::from(i) * 0.7).sin()))
        .collect();
    let y: Vec<A> = (0..75)
        .map(|i| A::narrow((f64::from(i) * 0.3 + 1.0).cos()))
        .collect();
    for length in 0..=2 * LANES + 1 {
        naive_agrees(&x[..length], &y[..length]);
    }
    naive_agrees(&x, &y);
}

fn naive_agrees<A: Scalar>(x: &[A], y: &[A]) {
    let pairs = || x.iter().zip(y).map(|(x, y)| (x.wide(), y.wide()));
    let expected = [
        pairs().map(|(x, _)| x * x).sum::<f64>(),
        pairs().map(|(x, y)| x * y).sum(),
        pairs().map(|(_, y)| y * y).sum(),
        pairs().map(|(x, _)| x.abs()).fold(0.0, f64::max),
    ];
    for level in available() {
        let found = dispatch_at(level, MomentsOf(x, y));
        for (found, expected) in found.into_iter().zip(expected) {
            let scale = x.len() as f64;
            assert!(
                (found - expected).abs() <= SUM * scale,
                "{level:?}, length {}: {found} {expected}",
                x.len()
            );
        }
    }
}

#[test]
fn moments_agree_with_naive_sums_at_every_length() {
    check_moments::<f32>();
    check_moments::<f64>();
}

struct DistancesOf<'a, A>([&'a [A]; 3], bool);
impl<A: Scalar> Kernel for DistancesOf<'_, A> {
    type Output = [f64; 3];
    #[inline(always)]
    fn run<I: Isa>(self) -> [f64; 3] {
        square_distances::<A, I>(&Begun::NOTHING, self.0, self.1).map(|sum| sum.value())
    }
}

fn check_square_distances<A: Scalar>() {
    let row = |step: f64, start: f64| -> Vec<A> {
        let numbers = (0..2 * LANES + 1).map(|i| (i as f64 * step + start).sin());
        numbers.map(A::narrow).collect()
    };
    let rows = [row(0.7, 0.0), row(0.3, 1.0), row(0.9, 2.0)];
    for length in 0..=2 * LANES + 1 {
        let [x, y, z] = rows.each_ref().map(|row| &row[..length]);
        let sum = |first: &[A], second: &[A]| -> f64 {
            let difference = |i: usize, row: &[A]| x[i].wide() - row[i].wide();
            let products = (0..length).map(|i| difference(i, first) * difference(i, second));
            products.sum()
        };
        let [squares, other_squares, products] = [sum(y, y), sum(z, z), sum(y, z)];
        for level in available() {
            for (with_product, product) in [(true, products), (false, 0.0)] {
                let found = dispatch_at(level, DistancesOf([x, y, z], with_product));
                for (found, expected) in found.into_iter().zip([squares, other_squares, product]) {
                    // Differences are at most 2, and their products 4.
                    let tolerance = 4.0 * SUM * length as f64;
                    assert!(
                        (found - expected).abs() <= tolerance,
                        "{level:?}, length {length}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn square_distances_agree_with_naive_sums_at_every_length() {
    check_square_distances::<f32>();
    check_square_distances::<f64>();
}

/// The bits of the moments of two rows and of the distances of three, where sums of so many groups were begun before.
struct CarriedOn<'a>([&'a [f32]; 3], usize);
impl Kernel for CarriedOn<'_> {
    type Output = [u64; 6];
    #[inline(always)]
    fn run<I: Isa>(self) -> [u64; 6] {
        let Self([x, y, z], groups) = self;
        let (mut pair, mut triplet) = (Begun::NOTHING, Begun::NOTHING);
        let mut ahead = Ahead::<I, 2>::new(Coming {
            next: Some([x, y]),
            later: None,
        });
        for _ in 0..groups {
            ahead.advance();
        }
        ahead.leave(&mut pair);
        let mut ahead = Ahead::<I, 3>::new(Coming {
            next: Some([x, y, z]),
            later: Some([z, y, x]),
        });
        for _ in 0..groups {
            ahead.advance();
        }
        ahead.leave(&mut triplet);
        let Moments { xx, xy, yy } = begun_moments::<f32, I>(&pair, x, y);
        let [to_y, to_z, product] = square_distances::<f32, I>(&triplet, [x, y, z], true);
        [xx, xy, yy, to_y, to_z, product].map(f64::to_bits)
    }
}

#[test]
fn begun_sums_carried_on_have_the_bits_of_sums_taken_at_once() {
    let row = |step: f64| -> Vec<f32> {
        let numbers = (0..3 * LANES + 5).map(|i| (i as f64 * step).sin() as f32);
        numbers.collect()
    };
    let rows = [row(0.7), row(0.3), row(0.9)];
    for level in available() {
        for length in 0..=rows[0].len() {
            let rows = rows.each_ref().map(|row| &row[..length]);
            let at_once = dispatch_at(level, CarriedOn(rows, 0));
            // More than there are, too: those are not there to be begun.
            for groups in 1..=5 {
                let carried_on = dispatch_at(level, CarriedOn(rows, groups));
                assert_eq!(carried_on, at_once, "{level:?}, {length}, {groups}");
            }
        }
    }
}

#[test]
fn compensated_moments_keep_digits_that_a_plain_sum_loses() {
    let x = [1.0, 1e16, 1.0, -1e16];
    let y = [1.0; 4];
    for level in available() {
        assert_eq!(dispatch_at(level, MomentsOf(&x, &y))[1], 2.0);
    }
}

#[test]
fn nan_is_never_lost_in_a_maximum() {
    for at in 0..20 {
        let mut x = [1.0_f32; 20];
        x[at] = f32::NAN;
        assert!(largest(&x).is_nan());
    }
}
