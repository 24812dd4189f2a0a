//! The gradients of a triplet, sixteen columns at a time.

use crate::distance::{BothGradients, Coordinates};
use crate::kernels::Groups;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::similarity::ORDINARY;
use crate::singles::Singles;
use crate::store::Columns;

/// The rows of a triplet.
pub(super) struct Triplet<'r, A>(pub(super) [Groups<'r, A>; 3]);

impl<A: Scalar> Triplet<'_, A> {
    #[inline(always)]
    fn group<I: Isa>(&self, group: usize) -> [I::Wide; 3] {
        let [anchor, positive, negative] = &self.0;
        [
            anchor.at::<I>(group),
            positive.at::<I>(group),
            negative.at::<I>(group),
        ]
    }
}

/// The gradients of anchor, positive and negative.
pub(super) struct OneNegative<'r, A: Scalar, I: Isa> {
    pub(super) triplet: Triplet<'r, A>,
    pub(super) active: bool,
    pub(super) pull: Coordinates<A, I>,
    pub(super) push: Coordinates<A, I>,
    pub(super) swapped: bool,
}

impl<A: Scalar, I: Isa> Columns<I, 3> for OneNegative<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 3] {
        if !self.active {
            return [I::splat(0.0); 3];
        }
        let [anchor, positive, negative] = self.triplet.group::<I>(group);
        let [by_anchor, by_positive] = self.pull.at(anchor, positive);
        let near = if self.swapped { positive } else { anchor };
        let [further, by_negative] = self.push.at(near, negative);
        if self.swapped {
            [by_anchor, I::add(by_positive, further), by_negative]
        } else {
            [I::add(by_anchor, further), by_positive, by_negative]
        }
    }
}

/// The same where every gradient is a multiple of a difference: the Euclidean distance, without the choices of the others.
pub(super) struct Differences<'r, A: Scalar, I: Isa> {
    pub(super) triplet: Triplet<'r, A>,
    pub(super) epsilon: Option<I::Wide>,
    pub(super) pull: I::Wide,
    pub(super) push: I::Wide,
    /// −pull and −push: the products go to other ports than differences and conversions, which are what this waits for.
    pub(super) to_positive: I::Wide,
    pub(super) to_negative: I::Wide,
}

impl<A: Scalar, I: Isa> Columns<I, 3> for Differences<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 3] {
        let [anchor, positive, negative] = self.triplet.group::<I>(group);
        let [mut near, mut far] = [I::sub(anchor, positive), I::sub(anchor, negative)];
        if let Some(epsilon) = self.epsilon {
            (near, far) = (I::add(near, epsilon), I::add(far, epsilon));
        }
        [
            I::wide_mul_add(near, self.pull, I::mul(far, self.push)),
            I::mul(near, self.to_positive),
            I::mul(far, self.to_negative),
        ]
    }
}

/// The same for `f32` rows, in `f32`: a coordinate of positive or negative has three roundings, one of the anchor, their sum, a few more.
pub(super) struct SingleDifferences<I: Isa> {
    pull: I::Single,
    push: I::Single,
    to_positive: I::Single,
    to_negative: I::Single,
}

impl<I: Isa> SingleDifferences<I> {
    /// The gradients with these factors for differences of these squares and product. `None` where they are out of the range of `f32`, where a multiply-add
    /// would cost a call, and where the anchor's gradient loses more than two binary digits because positive and negative lie in the same direction.
    #[inline(always)]
    pub(super) fn new([pull, push]: [f64; 2], [near, far, product]: [f64; 3]) -> Option<Self> {
        let ordinary = |factor: f64| (1e-30..1e30).contains(&factor.abs());
        let positive = pull * pull * near;
        let negative = push * push * far;
        let anchor = positive + negative + 2.0 * pull * push * product;
        let keeps_digits = anchor * 16.0 >= positive + negative && ORDINARY.contains(&(near + far));
        if !(I::FMA && ordinary(pull) && ordinary(push) && keeps_digits) {
            return None;
        }
        Some(Self {
            pull: I::single(pull as f32),
            push: I::single(push as f32),
            to_positive: I::single(-pull as f32),
            to_negative: I::single(-push as f32),
        })
    }
}

impl<I: Isa> Singles<I, 3, 3> for SingleDifferences<I> {
    #[inline(always)]
    fn at(&self, [anchor, positive, negative]: [I::Single; 3]) -> [I::Single; 3] {
        let near = I::single_sub(anchor, positive);
        let far = I::single_sub(anchor, negative);
        let further = I::single_mul(far, self.push);
        [
            I::single_fused(near, self.pull, further),
            I::single_mul(near, self.to_positive),
            I::single_mul(far, self.to_negative),
        ]
    }
}

/// Both gradients of a pair of rows.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Gradients<'r, A: Scalar, I: Isa> {
    /// As the user's distance wrote them, to be scaled.
    Rows([Groups<'r, f64>; 2], I::Wide),
    Coordinates(BothGradients<'r, A, I>),
}

impl<A: Scalar, I: Isa> Columns<I, 2> for Gradients<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 2] {
        match self {
            Self::Rows([dx, dy], scale) => [
                I::mul(dx.at::<I>(group), *scale),
                I::mul(dy.at::<I>(group), *scale),
            ],
            Self::Coordinates(both) => both.group(group),
        }
    }
}
