//! The cosines of several prefixes of the same two rows: measured in one read of the rows, and their gradients summed before any is computed.

use std::ops::Range;

use super::cosine::{Cosine, cosine_of};
use crate::kernels::{ThreeProducts, striped};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, LANES};
use crate::wide::Real;

/// The cosines of prefixes of two rows, to the bit what each is by itself. The lengths of the prefixes rise.
#[inline(always)]
pub(crate) fn cosines<A: Scalar, I: Isa>(
    x: &[A],
    y: &[A],
    epsilon: f64,
    lengths: &[usize],
    cosines: &mut [Cosine<A::Real>],
) {
    I::call(Cosines {
        x,
        y,
        epsilon,
        lengths,
        cosines,
    });
}

struct Cosines<'r, A: Scalar> {
    x: &'r [A],
    y: &'r [A],
    epsilon: f64,
    lengths: &'r [usize],
    cosines: &'r mut [Cosine<A::Real>],
}

impl<A: Scalar> Kernel for Cosines<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (mut sums, mut whole) = (ThreeProducts::<A, I>::new(), 0);
        for (&length, cosine) in self.lengths.iter().zip(self.cosines) {
            let (x, y) = (&self.x[..length], &self.y[..length]);
            let groups = whole..length / LANES * LANES;
            whole = groups.end;
            sums = striped::<A, I, _>(&x[groups.clone()], &y[groups], sums);
            // Columns that are no whole group come again with the next prefix, in their group.
            let with_rest = striped::<A, I, _>(&x[whole..], &y[whole..], sums.copy());
            *cosine = cosine_of::<A, I>(with_rest.moments(), x, y, self.epsilon);
        }
    }
}

/// Makes each cosine stand for itself and all that follow, of longer prefixes: its gradient becomes the sum of theirs, each times its factor. Then the
/// factors are 1, or 0 where there is no gradient.
///
/// A sum of residuals is one, Σ fₗ·(y − sₗ·x) = F·(y − S·x) with F = Σ fₗ and S = Σ fₗ·sₗ/F, and S is a mean and loses no digits if all factors have the
/// same sign. `false`, and nothing is done, where that is not so, or numbers are so large or small that each gradient needs care of its own.
#[inline(always)]
pub(crate) fn join<R: Real>(cosines: &mut [Cosine<R>], factors: &mut [f64]) -> bool {
    let negative = |factor: &f64| *factor < 0.0;
    let same_sign = !factors.iter().any(negative) || factors.iter().all(|factor| *factor <= 0.0);
    let mut pairs = cosines.iter().zip(&*factors);
    if !(same_sign && pairs.all(|(cosine, &factor)| cosine.joins(factor))) {
        return false;
    }
    let mut sum = Cosine::none();
    for (cosine, factor) in cosines.iter_mut().zip(factors).rev() {
        sum = sum.plus(cosine.times(*factor));
        *cosine = sum;
        *factor = if sum.per_norms == 0.0 { 0.0 } else { 1.0 };
    }
    true
}

/// Factors of residuals that can be summed and divided.
const MODERATE: Range<f64> = 1e-250..1e250;

impl<R: Real> Cosine<R> {
    #[inline(always)]
    fn joins(&self, factor: f64) -> bool {
        let product = (factor * self.per_norms).abs();
        let plain = self.cosine.is_finite() && self.scale == [1.0; 2];
        factor == 0.0 || plain && (product == 0.0 || MODERATE.contains(&product))
    }

    /// What has a multiple of its gradient.
    #[inline(always)]
    fn times(self, factor: f64) -> Self {
        if factor == 0.0 {
            return Self::none();
        }
        Self {
            per_norms: factor * self.per_norms,
            ..self
        }
    }

    /// What has the sum of both gradients.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let more = self.per_norms.abs() >= other.per_norms.abs();
        let (most, least) = if more { (self, other) } else { (other, self) };
        if least.per_norms == 0.0 {
            return most;
        }
        let factor = R::new(least.per_norms, 0.0);
        let factors = R::new(most.per_norms, 0.0) + factor;
        let part = factor / factors;
        let share = |side: usize| {
            let (share, other) = (most.shares[side], least.shares[side]);
            share + part * (other - share)
        };
        let flatter = if most.square_of_sine() < least.square_of_sine() {
            most
        } else {
            least
        };
        Self {
            shares: [share(0), share(1)],
            per_norms: factors.value(),
            ordinary: most.ordinary && least.ordinary,
            ..flatter
        }
    }
}
