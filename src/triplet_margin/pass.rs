//! One row of triplets: distances, loss, and the gradient while the rows are in the cache.

use ndarray::{ArrayView1, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis};

use super::gradient::{Differences, Gradients, OneNegative, Triplet};
use super::{TripletMarginInput, TripletMarginLoss};
use crate::distance::{BothGradients, Metric, Side, Slope};
use crate::kernels::Groups;
use crate::rows::{Out, Outcome, RowLoss, Scratch, contiguous};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::store::{Wide, add_to, write_row, write_rows};

pub(super) struct Pass<'l, 'a, A, D> {
    pub(super) loss: &'l TripletMarginLoss<D>,
    pub(super) input: TripletMarginInput<'a, A>,
}

/// The gradient views of a block of triplets.
type Views<'g, A> = (
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut3<'g, A>>,
);

impl<'g, A: Scalar, D: Metric<A>> RowLoss<A, Views<'g, A>> for Pass<'_, '_, A, D> {
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
struct Near<R> {
    slope: Slope<R>,
    pull: f64,
}

/// A negative of a row, measured, and the factor of its gradient.
struct Far<R> {
    slope: Slope<R>,
    factor: f64,
    /// Whether its distance is that to the positive.
    swapped: bool,
}

impl<A: Scalar, D: Metric<A>> Pass<'_, '_, A, D> {
    #[inline(always)]
    fn negative(&self, row: usize, k: usize) -> ArrayView1<'_, A> {
        let negatives = self.input.negatives;
        negatives
            .index_axis_move(Axis(0), row)
            .index_axis_move(Axis(0), k)
    }

    /// The distance of x to y.
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let (distance, slope) = self.loss.distance.measure::<I>(x, y);
        (fair(distance, [x, y]), slope)
    }

    /// The distances of x to y and to z.
    #[inline(always)]
    fn measure_two<I: Isa>(&self, x: &[A], y: &[A], z: &[A]) -> [(f64, Slope<A::Real>); 2] {
        let [to_y, to_z] = self.loss.distance.measure_two::<I>(x, y, z);
        [
            (fair(to_y.0, [x, y]), to_y.1),
            (fair(to_z.0, [x, z]), to_z.1),
        ]
    }

    /// Adds the triplet of a negative, measured from the anchor, to the outcome.
    #[inline(always)]
    fn far<I: Isa>(
        &self,
        measured: (f64, Slope<A::Real>),
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
            _ => self.write_several::<I>(row, pair, near, far, out, scratch),
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
            _ => {
                let gradient = OneNegative {
                    triplet,
                    active: near.pull != 0.0 || far.factor != 0.0,
                    pull,
                    push,
                    swapped: far.swapped,
                };
                write_rows::<A, I, 3>(rows, out.stores, gradient);
            }
        }
    }

    /// Several negatives, or a distance whose gradient comes in rows: the sums for anchor and positive are kept in `f64`.
    #[inline(always)]
    fn write_several<I: Isa>(
        &self,
        row: usize,
        [anchor, positive]: [&[A]; 2],
        near: Near<A::Real>,
        far: &[Option<Far<A::Real>>],
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    ) {
        let (to_anchor, to_positive, to_negatives) = out.views;
        let [to_a, to_p, dx, dy] = scratch.rows(anchor.len());
        to_a.fill(0.0);
        to_p.fill(0.0);
        {
            let rows = [anchor, positive];
            let mut both = self.gradients::<I>(near.slope, near.pull, rows, [&mut *dx, &mut *dy]);
            for (side, sum) in [&mut *to_a, &mut *to_p].into_iter().enumerate() {
                add_to::<I>(
                    sum,
                    Side {
                        both: &mut both,
                        side,
                    },
                );
            }
        }
        let mut spare = Vec::new();
        for (k, far) in far.iter().flatten().enumerate() {
            let negative = contiguous(self.negative(row, k), &mut spare);
            let (x, sum) = if far.swapped {
                (positive, &mut *to_p)
            } else {
                (anchor, &mut *to_a)
            };
            let rows = [x, negative];
            let both = &mut self.gradients::<I>(far.slope, far.factor, rows, [&mut *dx, &mut *dy]);
            add_to::<I>(
                sum,
                Side {
                    both: &mut *both,
                    side: 0,
                },
            );
            if let Some(views) = to_negatives {
                let view = negative_mut(views, out.row, k);
                write_row::<A, I>(
                    view,
                    out.stores,
                    Side {
                        both: &mut *both,
                        side: 1,
                    },
                );
            }
        }
        for (view, sum) in [(to_anchor, to_a), (to_positive, to_p)] {
            if let Some(view) = view {
                write_row::<A, I>(view.row_mut(out.row), out.stores, Wide::new(sum));
            }
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

/// A distance of two rows; NaN where it is infinite because a row is, and not by overflow.
#[inline(always)]
fn fair<A: Scalar>(distance: f64, rows: [&[A]; 2]) -> f64 {
    if distance.is_finite() || rows.iter().all(|row| row.iter().all(|x| x.is_finite())) {
        distance
    } else {
        f64::NAN
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
