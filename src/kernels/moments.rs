//! Three sums from one read of the rows: the moments of two rows, and the squares of two distances of one. Either may have [begun](super::ahead) before.

use std::marker::PhantomData;

use super::ahead::Begun;
use super::{Stripe, Visit, after, pad, striped, striped_from};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, LANES};

/// The parts of three sums.
#[inline(always)]
fn parts<I: Isa>(sums: &mut [Stripe<I>; 3]) -> ([&mut I::Wide; 3], [&mut I::Wide; 3]) {
    let [a, b, c] = sums;
    (
        [&mut a.hi, &mut b.hi, &mut c.hi],
        [&mut a.lo, &mut b.lo, &mut c.lo],
    )
}

/// The sums that were begun. A loop, as in [`simd`](crate::simd): a closure would take registers through memory.
#[inline(always)]
fn carried_on<I: Isa>(begun: &Begun) -> [Stripe<I>; 3] {
    let mut sums = [Stripe::zero(), Stripe::zero(), Stripe::zero()];
    for (sum, begun) in sums.iter_mut().zip(&begun.sums) {
        sum.hi = I::from_f64(&begun.0);
    }
    sums
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

/// The same, carried on from what was begun.
#[inline(always)]
pub(crate) fn begun_moments<A: Scalar, I: Isa>(
    begun: &Begun,
    x: &[A],
    y: &[A],
) -> Moments<A::Real> {
    let products = ThreeProducts::<A, I>(carried_on(begun), PhantomData);
    striped_from::<A, I, _>(begun.groups, x, y, products).moments()
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

/// ‖x − y‖² and ‖x − z‖² from one read of each row, and (x − y)·(x − z) where that is asked for, carried on from what was begun.
#[inline(always)]
pub(crate) fn square_distances<A: Scalar, I: Isa>(
    begun: &Begun,
    rows: [&[A]; 3],
    with_product: bool,
) -> [A::Real; 3] {
    if begun.is_nothing() {
        let sums = [Stripe::zero(), Stripe::zero(), Stripe::zero()];
        square_distances_from::<A, I>(sums, 0, rows, with_product)
    } else {
        I::call(BegunDistances {
            begun,
            rows,
            with_product,
        })
    }
}

/// In a function of its own, since most rows have nothing begun.
struct BegunDistances<'r, A> {
    begun: &'r Begun,
    rows: [&'r [A]; 3],
    with_product: bool,
}

impl<A: Scalar> Kernel for BegunDistances<'_, A> {
    type Output = [A::Real; 3];

    #[inline(always)]
    fn run<I: Isa>(self) -> Self::Output {
        let Self {
            begun,
            rows,
            with_product,
        } = self;
        square_distances_from::<A, I>(carried_on(begun), begun.groups, rows, with_product)
    }
}

#[inline(always)]
fn square_distances_from<A: Scalar, I: Isa>(
    mut sums: [Stripe<I>; 3],
    first: usize,
    [x, y, z]: [&[A]; 3],
    with_product: bool,
) -> [A::Real; 3] {
    // One by one: the `map` of this array is not inlined.
    let (x_whole, x_rest) = x.as_chunks::<LANES>();
    let (y_whole, y_rest) = y.as_chunks::<LANES>();
    let (z_whole, z_rest) = z.as_chunks::<LANES>();
    let mut rest = [[A::zero(); LANES]; 3];
    let [x_last, y_last, z_last] = &mut rest;
    pad(x_last, x_rest);
    pad(y_last, y_rest);
    pad(z_last, z_rest);
    let rest_count = usize::from(!x_rest.is_empty());
    // As in `striped`.
    let mut part = (
        after(x_whole, first),
        after(y_whole, first),
        after(z_whole, first),
    );
    let mut is_rest = false;
    loop {
        for ((x, y), z) in part.0.iter().zip(part.1).zip(part.2) {
            let (hi, lo) = parts(&mut sums);
            A::add_difference_moments::<I>(hi, lo, [x, y, z], with_product);
        }
        if is_rest {
            break;
        }
        is_rest = true;
        part = (
            &rest[..rest_count],
            &rest[1..][..rest_count],
            &rest[2..][..rest_count],
        );
    }
    let [squares, products, other_squares] = sums;
    [
        squares.sum::<A>(),
        other_squares.sum::<A>(),
        products.sum::<A>(),
    ]
}
