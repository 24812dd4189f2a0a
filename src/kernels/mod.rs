//! Lane-striped arithmetic over slices: sums of products. Safe, generic, compiled once per instruction set.
//!
//! A sum is kept in sixteen independent partial sums, in registers, and folded in a fixed order. The number of lanes does not depend on the
//! instruction set, so neither does the order of the additions.

use std::marker::PhantomData;

use crate::scalar::Scalar;
use crate::simd::{Isa, LANES};

/// One reduction in progress: partial sums `hi + lo`.
pub(crate) struct Stripe<I: Isa> {
    hi: I::Wide,
    lo: I::Wide,
}

/// The parts of three sums.
#[inline(always)]
fn parts<I: Isa>(sums: &mut [Stripe<I>; 3]) -> ([&mut I::Wide; 3], [&mut I::Wide; 3]) {
    let [a, b, c] = sums;
    (
        [&mut a.hi, &mut b.hi, &mut c.hi],
        [&mut a.lo, &mut b.lo, &mut c.lo],
    )
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
pub(crate) fn striped<A: Scalar, I: Isa, V: Visit<A, I>>(x: &[A], y: &[A], mut visitor: V) -> V {
    let (x_whole, x_rest) = x.as_chunks::<LANES>();
    let (y_whole, y_rest) = y.as_chunks::<LANES>();
    let rest = [padded(x_rest), padded(y_rest)];
    let rest_count = usize::from(!x_rest.is_empty());
    // One call of `group` in the code, for the whole groups and for the rest: each is a copy of all that it inlines.
    let parts = [
        (x_whole, y_whole),
        (&rest[..rest_count], &rest[1..][..rest_count]),
    ];
    for (part, (x, y)) in parts.into_iter().enumerate() {
        if part == 1 {
            visitor.rest(x_rest.len());
        }
        for (x, y) in x.iter().zip(y) {
            visitor.group(x, y);
        }
    }
    visitor
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

    /// A group; zeros beyond the end of the row.
    #[inline(always)]
    pub(crate) fn at<I: Isa>(&self, group: usize) -> I::Wide {
        A::lanes::<I>(self.whole.get(group).unwrap_or(&self.rest))
    }
}

#[inline(always)]
pub(crate) fn padded<A: Scalar>(rest: &[A]) -> [A; LANES] {
    let mut lanes = [A::zero(); LANES];
    // Most rows have no rest, and a copy of nothing would be a call all the same.
    if !rest.is_empty() {
        lanes[..rest.len()].copy_from_slice(rest);
    }
    lanes
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

/// The moments of two rows, from one read of each.
#[derive(Clone, Copy)]
pub(crate) struct Moments<R> {
    pub(crate) xx: R,
    pub(crate) xy: R,
    pub(crate) yy: R,
}

/// x·x, x·y and y·y.
#[inline(always)]
pub(crate) fn moments<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> Moments<A::Real> {
    striped::<A, I, _>(x, y, ThreeProducts::<A, I>::new()).moments()
}

/// x·y and y·y.
#[inline(always)]
pub(crate) fn moments_with<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> [A::Real; 2] {
    let products = TwoProducts::<A, I>([Stripe::zero(), Stripe::zero()], PhantomData);
    let TwoProducts([xy, yy], _) = striped::<A, I, _>(x, y, products);
    [xy.sum::<A>(), yy.sum::<A>()]
}

struct TwoProducts<A, I: Isa>([Stripe<I>; 2], PhantomData<A>);

impl<A: Scalar, I: Isa> Visit<A, I> for TwoProducts<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let [xy, yy] = &mut self.0;
        xy.add_product::<A>(x, y);
        yy.add_product::<A>(y, y);
    }
}

/// The moments of the rows times `scale`, powers of two.
#[inline(always)]
pub(crate) fn scaled_moments<A: Scalar, I: Isa>(
    x: &[A],
    y: &[A],
    scale: [f64; 2],
) -> Moments<A::Real> {
    let products = Scaled {
        scale: [I::splat(scale[0]), I::splat(scale[1])],
        products: ThreeProducts::<A, I>::new(),
    };
    striped::<A, I, _>(x, y, products).products.moments()
}

/// The sums of the moments of two rows.
pub(crate) struct ThreeProducts<A, I: Isa>([Stripe<I>; 3], PhantomData<A>);

impl<A: Scalar, I: Isa> ThreeProducts<A, I> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(
            [Stripe::zero(), Stripe::zero(), Stripe::zero()],
            PhantomData,
        )
    }

    #[inline(always)]
    pub(crate) fn copy(&self) -> Self {
        Self(
            self.0
                .each_ref()
                .map(|&Stripe { hi, lo }| Stripe { hi, lo }),
            PhantomData,
        )
    }

    #[inline(always)]
    pub(crate) fn moments(self) -> Moments<A::Real> {
        let [xx, xy, yy] = self.0;
        Moments {
            xx: xx.sum::<A>(),
            xy: xy.sum::<A>(),
            yy: yy.sum::<A>(),
        }
    }
}

impl<A: Scalar, I: Isa> Visit<A, I> for ThreeProducts<A, I> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let [xx, xy, yy] = &mut self.0;
        xx.add_product::<A>(x, x);
        xy.add_product::<A>(x, y);
        yy.add_product::<A>(y, y);
    }

    #[inline(always)]
    fn group(&mut self, x: &[A; LANES], y: &[A; LANES]) {
        let (hi, lo) = parts(&mut self.0);
        A::add_moments::<I>(hi, lo, x, y);
    }
}

/// A reduction over multiples of the rows.
struct Scaled<I: Isa, V> {
    scale: [I::Wide; 2],
    products: V,
}

impl<A: Scalar, I: Isa, V: Visit<A, I>> Visit<A, I> for Scaled<I, V> {
    #[inline(always)]
    fn visit(&mut self, x: I::Wide, y: I::Wide) {
        let [x_scale, y_scale] = self.scale;
        self.products.visit(I::mul(x, x_scale), I::mul(y, y_scale));
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

/// ‖x − y‖² and ‖x − z‖² from one read of each row, and (x − y)·(x − z) where that is asked for.
#[inline(always)]
pub(crate) fn square_distances<A: Scalar, I: Isa>(
    x: &[A],
    y: &[A],
    z: &[A],
    with_product: bool,
) -> [A::Real; 3] {
    let mut sums = [Stripe::<I>::zero(), Stripe::zero(), Stripe::zero()];
    let rows = [x, y, z].map(<[A]>::as_chunks::<LANES>);
    let rest = rows.map(|(_, rest)| [padded(rest)]);
    let rest_count = usize::from(!rows[0].1.is_empty());
    // As in `striped`.
    let parts_of_rows = [
        rows.map(|(whole, _)| whole),
        rest.each_ref().map(|rest| &rest[..rest_count]),
    ];
    for [x, y, z] in parts_of_rows {
        for ((x, y), z) in x.iter().zip(y).zip(z) {
            let (hi, lo) = parts(&mut sums);
            A::add_difference_moments::<I>(hi, lo, [x, y, z], with_product);
        }
    }
    let [squares, products, other_squares] = sums;
    [
        squares.sum::<A>(),
        other_squares.sum::<A>(),
        products.sum::<A>(),
    ]
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
