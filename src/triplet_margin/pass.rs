//! One row of triplets: distances, loss, and the gradient while the rows are in the cache.

use ndarray::{ArrayView1, ArrayViewMut2, ArrayViewMut3, Axis};

use super::{TripletMarginInput, TripletMarginLoss};
use crate::distance::{Distance, Side, Slope, Term};
use crate::rows::{Out, Outcome, RowLoss, Scratch, contiguous, write_columns};
use crate::scalar::Scalar;
use crate::simd::Isa;

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

impl<'g, A: Scalar, D: Distance<A>> RowLoss<A, Views<'g, A>> for Pass<'_, '_, A, D> {
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
        let (near, slope) = self.measure::<I>(anchor, positive);
        let mut outcome = Outcome {
            loss: 0.0,
            tally: [0.0, near, 0.0, 0.0],
        };

        let k = input.negatives.dim().1;
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
            let far = self.far::<I>(anchor, positive, negative, near, scale, &mut outcome);
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

impl<A: Scalar, D: Distance<A>> Pass<'_, '_, A, D> {
    #[inline(always)]
    fn negative(&self, row: usize, k: usize) -> ArrayView1<'_, A> {
        let negatives = self.input.negatives;
        negatives
            .index_axis_move(Axis(0), row)
            .index_axis_move(Axis(0), k)
    }

    /// The distance; NaN where it is infinite because a row is.
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let (distance, slope) = self.loss.distance.measure::<I>(x, y);
        let finite = distance.is_finite() || x.iter().chain(y).all(|x| x.is_finite());
        (if finite { distance } else { f64::NAN }, slope)
    }

    /// Measures a negative and adds its triplet to the outcome.
    #[inline(always)]
    fn far<I: Isa>(
        &self,
        anchor: &[A],
        positive: &[A],
        negative: &[A],
        near: f64,
        scale: f64,
        outcome: &mut Outcome,
    ) -> Far<A::Real> {
        let per_negative = 1.0 / self.input.negatives.dim().1 as f64;
        let (mut distance, mut slope) = self.measure::<I>(anchor, negative);
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

    /// Writes the gradients of a row, some columns at a time, while the rows are in the cache.
    #[inline(always)]
    fn write<I: Isa>(
        &self,
        row: usize,
        [anchor, positive]: [&[A]; 2],
        near: Near<A::Real>,
        far: &[Option<Far<A::Real>>],
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    ) {
        let (distance, dim) = (&self.loss.distance, anchor.len());
        let Out {
            views: (to_anchor, to_positive, to_negatives),
            row: local,
            stores,
            ..
        } = out;
        let step = distance.columns_at_a_time(dim).clamp(1, dim.max(1));
        let [sum, dx, dy] = scratch.rows(step);
        for start in (0..dim).step_by(step) {
            let columns = start..dim.min(start + step);
            let [sum, dx, dy] =
                [&mut *sum, &mut *dx, &mut *dy].map(|row| &mut row[..columns.len()]);
            let (mut spare, mut other_spare) = ([dx, dy], Vec::new());
            let (anchor, positive) = (&anchor[columns.clone()], &positive[columns.clone()]);
            for (view, side, with_swapped) in [
                (&mut *to_anchor, Side::X, false),
                (&mut *to_positive, Side::Y, true),
            ] {
                let Some(view) = view else { continue };
                add::<A, D, I>(
                    distance,
                    near.slope,
                    side,
                    near.pull,
                    [anchor, positive],
                    Term::First,
                    sum,
                    &mut spare,
                );
                let far = far
                    .iter()
                    .flatten()
                    .enumerate()
                    .filter(|(_, far)| far.swapped == with_swapped);
                for (k, far) in far {
                    let rows = [
                        if far.swapped { positive } else { anchor },
                        &contiguous(self.negative(row, k), &mut other_spare)[columns.clone()],
                    ];
                    add::<A, D, I>(
                        distance,
                        far.slope,
                        Side::X,
                        far.factor,
                        rows,
                        Term::Further,
                        sum,
                        &mut spare,
                    );
                }
                write_columns(view.row_mut(local), columns.clone(), stores, sum);
            }
            let Some(views) = to_negatives else { continue };
            for (k, far) in far.iter().flatten().enumerate() {
                let rows = [
                    if far.swapped { positive } else { anchor },
                    &contiguous(self.negative(row, k), &mut other_spare)[columns.clone()],
                ];
                add::<A, D, I>(
                    distance,
                    far.slope,
                    Side::Y,
                    far.factor,
                    rows,
                    Term::First,
                    sum,
                    &mut spare,
                );
                write_columns(
                    views
                        .index_axis_mut(Axis(0), local)
                        .index_axis_move(Axis(0), k),
                    columns.clone(),
                    stores,
                    sum,
                );
            }
        }
    }
}

/// [`Distance::add_slope`], which is not asked where the factor is zero: an inactive triplet has gradient 0 whatever its rows hold.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "those of add_slope")]
fn add<A: Scalar, D: Distance<A>, I: Isa>(
    distance: &D,
    slope: Slope<A::Real>,
    side: Side,
    factor: f64,
    [x, y]: [&[A]; 2],
    term: Term,
    out: &mut [f64],
    spare: &mut [&mut [f64]; 2],
) {
    if factor != 0.0 {
        distance.add_slope::<I>(slope, side, factor, x, y, term, out, spare);
    } else if term == Term::First {
        out.fill(0.0);
    }
}
