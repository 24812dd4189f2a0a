//! One row of triplets: distances, loss, and the gradient while the rows are in the cache.

use ndarray::{ArrayView1, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis};

use super::gradient::{Differences, OneNegative, SingleDifferences, Triplet};
use super::several::{Several, WriteSeveral};
use super::{TripletMarginInput, TripletMarginLoss};
use crate::distance::{Chosen, Measured, Slope};
use crate::kernels::{Begun, Coming, Groups};
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::singles::{write_ahead, write_zeros};
use crate::staging::{Held, Scratch, singles};
use crate::store::{Stores, write_rows};

pub(super) struct Pass<'l, 'a, A> {
    pub(super) loss: &'l TripletMarginLoss<Chosen<'l, A>>,
    pub(super) input: TripletMarginInput<'a, A>,
}

/// The gradient views of a block of triplets.
pub(super) type Views<'g, A> = (
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut3<'g, A>>,
);

impl<'g, A: Scalar> RowLoss<A, Views<'g, A>> for Pass<'_, '_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let Held {
            staging,
            scratch,
            begun,
        } = held;
        if self.input.negatives.dim().1 == 1 {
            self.one::<I>(row, staging.triplet(self.triplet(row)), out, scratch, begun)
        } else {
            let pair = staging.pair([self.input.anchor.row(row), self.input.positive.row(row)]);
            I::call(Several {
                pass: self,
                row,
                pair,
                out,
                scratch,
            })
        }
    }
}

/// The positive of a row, measured, and the factor of its gradient.
#[derive(Clone, Copy)]
pub(super) struct Near<R> {
    pub(super) slope: Slope<R>,
    pub(super) pull: f64,
}

/// A negative of a row, measured, and the factor of its gradient.
#[derive(Clone, Copy)]
pub(super) struct Far<R> {
    pub(super) slope: Slope<R>,
    pub(super) factor: f64,
    /// Whether its distance is that to the positive.
    pub(super) swapped: bool,
}

impl<A: Scalar> Pass<'_, '_, A> {
    /// A row of one negative, as it lies.
    #[inline(always)]
    fn triplet(&self, row: usize) -> [ArrayView1<'_, A>; 3] {
        let TripletMarginInput {
            anchor, positive, ..
        } = &self.input;
        [anchor.row(row), positive.row(row), self.negative(row, 0)]
    }

    /// A row of one negative.
    #[inline(always)]
    fn one<I: Isa>(
        &self,
        row: usize,
        triplet: [&[A]; 3],
        out: Option<Out<'_, Views<'_, A>>>,
        scratch: &mut Scratch,
        begun: &mut Begun,
    ) -> Outcome {
        let [anchor, positive, negative] = triplet;
        let two = self
            .loss
            .distance
            .measure_two::<I>(begun, anchor, positive, negative);
        begun.clear();
        let [(near, slope), far] = two.measured;
        let mut outcome = Outcome::new(0.0, [0.0, near, 0.0, 0.0]);
        let scale = out.as_ref().map_or(0.0, |out| out.scale);
        let far = self.far::<I>(far, positive, negative, near, scale, &mut outcome);
        if let Some(out) = out {
            let near = Near {
                slope,
                pull: -far.factor,
            };
            if slope.comes_in_rows() {
                let far = &[far];
                I::call(WriteSeveral {
                    pass: self,
                    row,
                    pair: [anchor, positive],
                    near,
                    far,
                    out,
                    scratch,
                });
            } else {
                self.write_one::<I>(triplet, near, far, two.differences, out, begun);
            }
        }
        outcome
    }

    /// The same as slices of `f32`, where they are that.
    #[inline(always)]
    fn singles(&self, row: Option<usize>) -> Option<[&[f32]; 3]> {
        singles(self.triplet(row?))
    }

    #[inline(always)]
    pub(super) fn negative(&self, row: usize, k: usize) -> ArrayView1<'_, A> {
        let negatives = self.input.negatives;
        negatives
            .index_axis_move(Axis(0), row)
            .index_axis_move(Axis(0), k)
    }

    /// The distance of x to y.
    #[inline(always)]
    pub(super) fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> Measured<A> {
        self.loss.distance.measure::<I>(x, y)
    }

    /// Adds the triplet of a negative, measured from the anchor, to the outcome.
    #[inline(always)]
    pub(super) fn far<I: Isa>(
        &self,
        measured: Measured<A>,
        positive: &[A],
        negative: &[A],
        near: f64,
        scale: f64,
        outcome: &mut Outcome,
    ) -> Far<A::Real> {
        let per_negative = 1.0 / self.input.negatives.dim().1 as f64;
        let (mut distance, mut slope) = measured;
        let mut swapped = false;
        if self.loss.swap {
            let (other, other_slope) = self.measure::<I>(positive, negative);
            if other < distance || other.is_nan() {
                (distance, slope, swapped) = (other, other_slope, true);
            }
        }
        let (loss, weight) = self.loss.of(near, distance);
        outcome.loss += loss * per_negative;
        outcome.active = outcome.loss != 0.0;
        outcome.tally[0] += f64::from(loss != 0.0);
        outcome.tally[2] += distance;
        Far {
            slope,
            factor: if scale == 0.0 {
                0.0
            } else {
                -scale * weight * per_negative
            },
            swapped,
        }
    }

    /// One negative: the gradients of its three rows. Meanwhile prepares for the rows that come next.
    #[inline(always)]
    fn write_one<I: Isa>(
        &self,
        triplet: [&[A]; 3],
        near: Near<A::Real>,
        far: Far<A::Real>,
        differences: Option<[f64; 3]>,
        out: Out<'_, Views<'_, A>>,
        begun: &mut Begun,
    ) {
        let (to_anchor, to_positive, to_negatives) = out.views;
        let mut rows = [
            to_anchor.as_mut().map(|view| view.row_mut(out.row)),
            to_positive.as_mut().map(|view| view.row_mut(out.row)),
            to_negatives
                .as_mut()
                .map(|views| negative_mut(views, out.row, 0)),
        ];
        let stores = out.stores;
        if A::SINGLE
            && let [Some(anchor), Some(positive), Some(negative)] = triplet.map(A::singles)
        {
            // Other distances take no sums of squares, which could begin.
            let Coming { next, later } = match differences {
                Some(_) => out.coming,
                None => Coming::default(),
            };
            let coming = Coming {
                next: self.singles(next),
                later: self.singles(later),
            };
            let next = (coming, begun);
            if near.pull == 0.0 && far.factor == 0.0 {
                return write_zeros::<A, I, 3, 3>(rows, stores, next);
            }
            if let Some(gradient) = single_differences::<A, I>(near, far, differences) {
                let triplet = [anchor, positive, negative];
                return write_ahead::<A, I, 3, 3, 3>(&mut rows, triplet, stores, &gradient, next);
            }
        }
        I::call(WriteOne {
            triplet,
            near,
            far,
            rows,
            stores,
        });
    }
}

/// The gradients of a triplet in the precision of `f32` rows, where that is possible.
#[inline(always)]
fn single_differences<A: Scalar, I: Isa>(
    near: Near<A::Real>,
    far: Far<A::Real>,
    differences: Option<[f64; 3]>,
) -> Option<SingleDifferences<I>> {
    let pull = near.slope.difference(near.pull);
    match pull.zip(far.slope.difference(far.factor)) {
        Some(((0.0, pull), (0.0, push))) if !far.swapped => {
            SingleDifferences::new([pull, push], differences?)
        }
        _ => None,
    }
}

/// Writes the gradients of a triplet of any distance of the crate, in `f64`.
struct WriteOne<'r, 'v, A: Scalar> {
    triplet: [&'r [A]; 3],
    near: Near<A::Real>,
    far: Far<A::Real>,
    rows: [Option<ArrayViewMut1<'v, A>>; 3],
    stores: Stores,
}

impl<A: Scalar> Kernel for WriteOne<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { near, far, .. } = self;
        let triplet = Triplet(self.triplet.map(Groups::new));
        let factors = near.slope.difference(near.pull);
        let factors = factors.zip(far.slope.difference(far.factor));
        match factors.filter(|_| !far.swapped) {
            Some(((epsilon, pull), (_, push))) => {
                let gradient = Differences::<A, I> {
                    triplet,
                    epsilon: (epsilon != 0.0).then(|| I::splat(epsilon)),
                    pull: I::splat(pull),
                    push: I::splat(push),
                    to_positive: I::splat(-pull),
                    to_negative: I::splat(-push),
                };
                write_rows::<A, I, 3>(self.rows, self.stores, gradient);
            }
            None => {
                let gradient = OneNegative::<A, I> {
                    triplet,
                    active: near.pull != 0.0 || far.factor != 0.0,
                    pull: near.slope.coordinates(near.pull),
                    push: far.slope.coordinates(far.factor),
                    swapped: far.swapped,
                };
                write_rows::<A, I, 3>(self.rows, self.stores, gradient);
            }
        }
    }
}

/// The gradient row of negative `k` of a row.
#[inline(always)]
pub(super) fn negative_mut<'v, A>(
    views: &'v mut ArrayViewMut3<'_, A>,
    row: usize,
    k: usize,
) -> ArrayViewMut1<'v, A> {
    views
        .index_axis_mut(Axis(0), row)
        .index_axis_move(Axis(0), k)
}
