//! Lane-striped arithmetic over slices: sums of products. Safe, generic, compiled once per instruction set.
//!
//! A sum is kept in sixteen independent partial sums, in registers, and folded in a fixed order. The number of lanes does not depend on the
//! instruction set, so neither does the order of the additions.

mod ahead;
mod moments;

use std::marker::PhantomData;

pub(crate) use ahead::{Advance, Ahead, Begun, Coming, groups};
pub(crate) use moments::{
    Moments, ThreeProducts, begun_moments, moments, moments_with, scaled_moments, square_distances,
};

use crate::scalar::Scalar;
use crate::simd::{Isa, LANES};

/// One reduction in progress: partial sums `hi + lo`.
pub(crate) struct Stripe<I: Isa> {
    hi: I::Wide,
    lo: I::Wide,
}

impl<I: Isa> Stripe<I> {
    #[inline(always)]
    pub(crate) fn zero() -> Self {
        Self {
            hi: I::splat(0.0),
            lo: I::splat(0.0),
        }
    }

    /// Adds `x·y` to the partial sums.
    #[inline(always)]
    pub(crate) fn add_product<A: Scalar>(&mut self, x: I::Wide, y: I::Wide) {
        A::add_product::<I>(&mut self.hi, &mut self.lo, x, y);
    }

    /// The sum of all lanes.
    #[inline(always)]
    pub(crate) fn sum<A: Scalar>(self) -> A::Real {
        A::fold::<I>(self.hi, self.lo)
    }
}

/// A reduction over two rows, sixteen columns at a time.
///
/// A trait and not a closure, because only a method can be `#[inline(always)]`, which all code of a [`Kernel`](crate::simd::Kernel) must be.
pub(crate) trait Visit<A: Scalar, I: Isa> {
    /// Takes sixteen columns of each row.
    fn visit(&mut self, x: I::Wide, y: I::Wide);

    /// Takes them as they lie.
    #[inline(always)]
    fn group(&mut self, x: &[A; LANES], y: &[A; LANES]) {
        self.visit(A::lanes::<I>(x), A::lanes::<I>(y));
    }

    /// Announces that of the columns that come next, the last ones, only so many are there; the others are zeros.
    #[inline(always)]
    fn rest(&mut self, _columns: usize) {}
}

/// Walks two slices of equal length.
#[inline(always)]
pub(crate) fn striped<A: Scalar, I: Isa, V: Visit<A, I>>(x: &[A], y: &[A], visitor: V) -> V {
    striped_from::<A, I, V>(0, x, y, visitor)
}

/// Walks them from a group on.
#[inline(always)]
fn striped_from<A: Scalar, I: Isa, V: Visit<A, I>>(
    first: usize,
    x: &[A],
    y: &[A],
    mut visitor: V,
) -> V {
    let (x_whole, x_rest) = x.as_chunks::<LANES>();
    let (y_whole, y_rest) = y.as_chunks::<LANES>();
    let mut rest = [[A::zero(); LANES]; 2];
    let [x_last, y_last] = &mut rest;
    pad(x_last, x_rest);
    pad(y_last, y_rest);
    let rest_count = usize::from(!x_rest.is_empty());
    // One call of `group` in the code, for the whole groups and for the rest: each is a copy of all that it inlines.
    let mut part = (after(x_whole, first), after(y_whole, first));
    let mut is_rest = false;
    loop {
        for (x, y) in part.0.iter().zip(part.1) {
            visitor.group(x, y);
        }
        if is_rest {
            return visitor;
        }
        is_rest = true;
        visitor.rest(x_rest.len());
        part = (&rest[..rest_count], &rest[1..][..rest_count]);
    }
}

/// The groups from one on.
#[inline(always)]
fn after<A>(groups: &[[A; LANES]], first: usize) -> &[[A; LANES]] {
    groups.get(first..).unwrap_or_default()
}

/// Numbers that begin at a cache line, so that no store is split between two.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// A row in groups of sixteen columns.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'r, A> {
    whole: &'r [[A; LANES]],
    /// What is left, and zeros.
    rest: [A; LANES],
}

impl<'r, A: Scalar> Groups<'r, A> {
    #[inline(always)]
    pub(crate) fn new(row: &'r [A]) -> Self {
        let (whole, rest) = row.as_chunks();
        Self {
            whole,
            rest: padded(rest),
        }
    }

    /// A whole group, or the rest for any other.
    #[inline(always)]
    pub(crate) fn at<I: Isa>(&self, group: usize) -> I::Wide {
        A::lanes::<I>(self.whole.get(group).unwrap_or(&self.rest))
    }
}

#[inline(always)]
pub(crate) fn padded<A: Scalar>(rest: &[A]) -> [A; LANES] {
    let mut lanes = [A::zero(); LANES];
    pad(&mut lanes, rest);
    lanes
}

/// Copies what is left of a row to the first of so many zeros.
#[inline(always)]
fn pad<A: Scalar>(lanes: &mut [A; LANES], rest: &[A]) {
    // Most rows have no rest, and a copy of nothing would be a call all the same.
    if !rest.is_empty() {
        lanes[..rest.len()].copy_from_slice(rest);
    }
}

/// x·y.
#[inline(always)]
pub(crate) fn dot<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> A::Real {
    let product = Product::<A, I>(Stripe::zero(), PhantomData);
    striped::<A, I, _>(x, y, product).0.sum::<A>()
}

struct Product<A, I: Isa>(Stripe<I>, PhantomData<A>);

impl<A: Scalar, I: Isa> Visit<A, I> for Product<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        self.0.add_product::<A>(x, y);
    }
}

/// ‖x − y‖²
#[inline(always)]
pub(crate) fn square_distance<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> A::Real {
    let square = Square::<A, I>(Stripe::zero(), PhantomData);
    striped::<A, I, _>(x, y, square).0.sum::<A>()
}

struct Square<A, I: Isa>(Stripe<I>, PhantomData<A>);

impl<A: Scalar, I: Isa> Visit<A, I> for Square<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let z = I::difference(x, y);
        self.0.add_product::<A>(z, z);
    }
}

/// The largest magnitude; NaN if there is one.
#[inline(always)]
pub(crate) fn largest<A: Scalar>(x: &[A]) -> f64 {
    // In the order of the bit patterns a NaN is above infinity, and so stays.
    f64::from_bits(
        x.iter()
            .fold(0, |best, x| best.max(x.wide().abs().to_bits())),
    )
}

#[cfg(test)]
mod tests;
