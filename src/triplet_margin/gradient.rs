//! The gradients of a triplet, sixteen columns at a time.

use crate::distance::{BothGradients, Coordinates};
use crate::kernels::Groups;
use crate::rows::Ahead;
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::store::Columns;

/// The rows of a triplet.
pub(super) struct Triplet<'r, A> {
    pub(super) rows: [Groups<'r, A>; 3],
    pub(super) ahead: [Ahead<'r, A>; 3],
}

impl<A: Scalar> Triplet<'_, A> {
    #[inline(always)]
    fn group<I: Isa>(&self, group: usize) -> [I::Wide; 3] {
        let [anchor, positive, negative] = &self.rows;
        [
            anchor.at::<I>(group),
            positive.at::<I>(group),
            negative.at::<I>(group),
        ]
    }

    #[inline(always)]
    fn prefetch(&self, group: usize) {
        self.ahead.iter().for_each(|row| row.prefetch(group));
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
        self.triplet.prefetch(group);
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
        self.triplet.prefetch(group);
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
