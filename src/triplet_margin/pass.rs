//! One row of triplets: distances, loss, and the gradient while the rows are in the cache.

use ndarray::{ArrayView1, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis};

use super::gradient::{Differences, Gradients, OneNegative, Triplet};
use super::{TripletMarginInput, TripletMarginLoss};
use crate::distance::{BothGradients, Chosen, Measured, Side, Slope};
use crate::kernels::Groups;
use crate::rows::{Out, Outcome, RowLoss, Scratch, contiguous};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::store::{Stores, Wide, add_to, write_row, write_rows};

pub(super) struct Pass<'l, 'a, A> {
    pub(super) loss: &'l TripletMarginLoss<Chosen<'l, A>>,
    pub(super) input: TripletMarginInput<'a, A>,
}

/// The gradient views of a block of triplets.
type Views<'g, A> = (
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
        scratch: &mut Scratch,
    ) -> Outcome {
        let input = &self.input;
        let (mut anchor_spare, mut positive_spare) = (Vec::new(), Vec::new());
        let anchor = contiguous(input.anchor.row(row), &mut anchor_spare);
        let positive = contiguous(input.positive.row(row), &mut positive_spare);
        let k = input.negatives.dim().1;
        let mut negative_spare = Vec::new();
        let ((near, slope), mut measured) = if k == 0 {
            (self.measure::<I>(anchor, positive), None)
        } else {
            let negative = contiguous(self.negative(row, 0), &mut negative_spare);
            let [near, far] = self.measure_two::<I>(anchor, positive, negative);
            (near, Some(far))
        };
        let mut outcome = Outcome {
            loss: 0.0,
            tally: [0.0, near, 0.0, 0.0],
        };

        let scale = out.as_ref().map_or(0.0, |out| out.scale);
        let (mut one, mut several) = ([const { None }; 1], Vec::new());
        let far: &mut [Option<Far<A::Real>>] = if k == 1 {
            &mut one
        } else {
            several.resize_with(k, || None);
            &mut several
        };
        let mut pull = 0.0;
        for (k, slot) in far.iter_mut().enumerate() {
            let mut spare = Vec::new();
            let negative = contiguous(self.negative(row, k), &mut spare);
            let measured = match measured.take() {
                Some(first) => first,
                None => self.measure::<I>(anchor, negative),
            };
            let far = self.far::<I>(measured, positive, negative, near, scale, &mut outcome);
            pull -= far.factor;
            *slot = Some(far);
        }
        if let Some(out) = out {
            self.write::<I>(
                row,
                [anchor, positive],
                Near { slope, pull },
                far,
                out,
                scratch,
            );
        }
        outcome
    }
}

/// The positive of a row, measured, and the factor of its gradient.
#[derive(Clone, Copy)]
struct Near<R> {
    slope: Slope<R>,
    pull: f64,
}

/// A negative of a row, measured, and the factor of its gradient.
#[derive(Clone, Copy)]
struct Far<R> {
    slope: Slope<R>,
    factor: f64,
    /// Whether its distance is that to the positive.
    swapped: bool,
}

impl<A: Scalar> Pass<'_, '_, A> {
    #[inline(always)]
    fn negative(&self, row: usize, k: usize) -> ArrayView1<'_, A> {
        let negatives = self.input.negatives;
        negatives
            .index_axis_move(Axis(0), row)
            .index_axis_move(Axis(0), k)
    }

    /// The distance of x to y.
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> Measured<A> {
        self.loss.distance.measure::<I>(x, y)
    }

    /// The distances of x to y and to z.
    #[inline(always)]
    fn measure_two<I: Isa>(&self, x: &[A], y: &[A], z: &[A]) -> [Measured<A>; 2] {
        self.loss.distance.measure_two::<I>(x, y, z)
    }

    /// Adds the triplet of a negative, measured from the anchor, to the outcome.
    #[inline(always)]
    fn far<I: Isa>(
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

    /// Writes the gradients of a row while the rows are in the cache.
    #[inline(always)]
    fn write<I: Isa>(
        &self,
        row: usize,
        pair: [&[A]; 2],
        near: Near<A::Real>,
        far: &[Option<Far<A::Real>>],
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    ) {
        match far {
            [Some(one)] if !near.slope.comes_in_rows() => {
                self.write_one::<I>(row, pair, near, one, out)
            }
            _ => I::call(WriteSeveral {
                pass: self,
                row,
                pair,
                near,
                far,
                out,
                scratch,
            }),
        }
    }

    /// One negative: the three rows at the same time.
    #[inline(always)]
    fn write_one<I: Isa>(
        &self,
        row: usize,
        [anchor, positive]: [&[A]; 2],
        near: Near<A::Real>,
        far: &Far<A::Real>,
        out: Out<'_, Views<'_, A>>,
    ) {
        let mut spare = Vec::new();
        let negative = contiguous(self.negative(row, 0), &mut spare);
        let ahead = [
            out.ahead(self.input.anchor),
            out.ahead(self.input.positive),
            out.ahead(self.input.negatives.index_axis_move(Axis(1), 0)),
        ];
        let (to_anchor, to_positive, to_negatives) = out.views;
        let rows = [
            to_anchor.as_mut().map(|view| view.row_mut(out.row)),
            to_positive.as_mut().map(|view| view.row_mut(out.row)),
            to_negatives
                .as_mut()
                .map(|views| negative_mut(views, out.row, 0)),
        ];
        let triplet = Triplet {
            rows: [
                Groups::new(anchor),
                Groups::new(positive),
                Groups::new(negative),
            ],
            ahead,
        };
        let pull = near.slope.coordinates::<A, I>(near.pull);
        let push = far.slope.coordinates::<A, I>(far.factor);
        match (pull.difference(), push.difference()) {
            (Some((epsilon, pull)), Some((_, push))) if !far.swapped => {
                let gradient = Differences::<A, I> {
                    triplet,
                    epsilon: (epsilon != 0.0).then(|| I::splat(epsilon)),
                    pull: I::splat(pull),
                    push: I::splat(push),
                    to_positive: I::splat(-pull),
                    to_negative: I::splat(-push),
                };
                write_rows::<A, I, 3>(rows, out.stores, gradient);
            }
            _ => I::call(WriteOne {
                triplet,
                near,
                far: *far,
                rows,
                stores: out.stores,
            }),
        }
    }

    /// `scale` times both gradients of a measured pair.
    #[inline(always)]
    fn gradients<'r, I: Isa>(
        &self,
        slope: Slope<A::Real>,
        scale: f64,
        rows: [&'r [A]; 2],
        [dx, dy]: [&'r mut [f64]; 2],
    ) -> Gradients<'r, A, I> {
        // An inactive triplet has gradient 0 whatever its rows hold, and its distance is not asked.
        if slope.comes_in_rows() && scale != 0.0 {
            self.loss.distance.gradient(rows[0], rows[1], dx, dy);
            return Gradients::Rows([Groups::new(dx), Groups::new(dy)], I::splat(scale));
        }
        Gradients::Coordinates(BothGradients {
            coordinates: slope.coordinates::<A, I>(scale),
            rows: [Groups::new(rows[0]), Groups::new(rows[1])],
        })
    }
}

/// Writes the gradients of a triplet of any distance of the crate.
struct WriteOne<'r, 'v, A: Scalar> {
    triplet: Triplet<'r, A>,
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
        let gradient = OneNegative::<A, I> {
            triplet: self.triplet,
            active: near.pull != 0.0 || far.factor != 0.0,
            pull: near.slope.coordinates(near.pull),
            push: far.slope.coordinates(far.factor),
            swapped: far.swapped,
        };
        write_rows::<A, I, 3>(self.rows, self.stores, gradient);
    }
}

/// Writes the gradients for several negatives, or of a distance whose gradient comes in rows: the sums for anchor and positive are kept in `f64`.
struct WriteSeveral<'w, 'l, 'a, 'g, A: Scalar> {
    pass: &'w Pass<'l, 'a, A>,
    row: usize,
    pair: [&'w [A]; 2],
    near: Near<A::Real>,
    far: &'w [Option<Far<A::Real>>],
    out: Out<'w, Views<'g, A>>,
    scratch: &'w mut Scratch,
}

impl<A: Scalar> Kernel for WriteSeveral<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            pass, near, out, ..
        } = self;
        let [anchor, positive] = self.pair;
        let (to_anchor, to_positive, to_negatives) = out.views;
        let [to_a, to_p, dx, dy] = self.scratch.rows(anchor.len());
        to_a.fill(0.0);
        to_p.fill(0.0);
        let mut spare = Vec::new();
        // The positive first, then the negatives.
        for k in 0..=self.far.len() {
            let (slope, factor, swapped, other) = if k == 0 {
                (near.slope, near.pull, false, positive)
            } else if let Some(far) = &self.far[k - 1] {
                let negative = contiguous(pass.negative(self.row, k - 1), &mut spare);
                (far.slope, far.factor, far.swapped, negative)
            } else {
                continue;
            };
            let x = if swapped { positive } else { anchor };
            let both = &mut pass.gradients::<I>(slope, factor, [x, other], [&mut *dx, &mut *dy]);
            for side in 0..2 {
                let sum = match (k, side) {
                    (0, 1) => &mut *to_p,
                    (_, 1) => break,
                    _ if swapped => &mut *to_p,
                    _ => &mut *to_a,
                };
                add_to::<I>(
                    sum,
                    Side {
                        both: &mut *both,
                        side,
                    },
                );
            }
            if let Some(views) = to_negatives.as_mut().filter(|_| k > 0) {
                let view = negative_mut(views, out.row, k - 1);
                write_row::<A, I>(view, out.stores, Side { both, side: 1 });
            }
        }
        for (view, sum) in [(to_anchor, to_a), (to_positive, to_p)] {
            if let Some(view) = view {
                write_row::<A, I>(view.row_mut(out.row), out.stores, Wide::new(sum));
            }
        }
    }
}

/// The gradient row of negative `k` of a row.
#[inline(always)]
fn negative_mut<'v, A>(
    views: &'v mut ArrayViewMut3<'_, A>,
    row: usize,
    k: usize,
) -> ArrayViewMut1<'v, A> {
    views
        .index_axis_mut(Axis(0), row)
        .index_axis_move(Axis(0), k)
}
