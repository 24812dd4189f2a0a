//! What the losses over rows of scores share: scores as wide numbers, candidates left out, rows without anything to learn.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use super::positives::Members;
use crate::error::Error;
use crate::reduction::Reduction;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::store::{Stores, Wide, write_row};

/// Copies a row of scores. Those that are left out become −∞.
#[inline(always)]
pub(super) fn fill<A: Scalar>(
    wide: &mut [f64],
    scores: ArrayView1<'_, A>,
    left_out: Option<ArrayView1<'_, bool>>,
) {
    match scores.to_slice() {
        Some(scores) => {
            for (wide, score) in wide.iter_mut().zip(scores) {
                *wide = score.wide();
            }
        }
        None => {
            for (wide, score) in wide.iter_mut().zip(scores) {
                *wide = score.wide();
            }
        }
    }
    for (wide, &left_out) in wide.iter_mut().zip(left_out.into_iter().flatten()) {
        if left_out {
            *wide = f64::NEG_INFINITY;
        }
    }
}

/// Puts the positives of a row back that were left out with others, and says how many candidates stay out.
#[inline(always)]
pub(super) fn protect<A: Scalar>(
    wide: &mut [f64],
    scores: ArrayView1<'_, A>,
    left_out: Option<ArrayView1<'_, bool>>,
    positives: Members<'_>,
) -> f64 {
    let Some(left_out) = left_out else {
        return 0.0;
    };
    let mut count = left_out.iter().filter(|&&left_out| left_out).count();
    for t in positives.iter() {
        wide[t] = scores[t].wide();
        count -= usize::from(left_out[t]);
    }
    count as f64
}

/// Writes `factor` times a row of a gradient, where wanted; zeros for a factor of zero, whatever the row holds.
#[inline(always)]
pub(super) fn write<A: Scalar, I: Isa>(
    view: &mut Option<ArrayViewMut2<'_, A>>,
    row: usize,
    stores: Stores,
    gradient: &mut [f64],
    factor: f64,
) {
    if let Some(view) = view {
        I::call(Write {
            view: view.row_mut(row),
            stores,
            gradient,
            factor,
        });
    }
}

struct Write<'v, 's, A> {
    view: ArrayViewMut1<'v, A>,
    stores: Stores,
    gradient: &'s mut [f64],
    factor: f64,
}

impl<A: Scalar> Kernel for Write<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.factor == 0.0 {
            self.gradient.fill(0.0);
        } else {
            self.gradient.iter_mut().for_each(|x| *x *= self.factor);
        }
        write_row::<A, I>(self.view, self.stores, Wide::new(self.gradient));
    }
}

/// A product that is 0 where the factor is: a row of weight zero does not take part, not even with a NaN.
#[inline(always)]
pub(super) fn times(factor: f64, x: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * x }
}

/// How many rows have nothing to learn from, and the reduction over the others: they are not divided by.
pub(super) fn over_learners<A: Scalar>(
    reduction: Reduction,
    rows: usize,
    weights: Option<ArrayView1<'_, A>>,
    learns: impl Fn(usize) -> bool,
) -> (usize, Reduction) {
    let skipped = (0..rows).filter(|&row| !learns(row)).count();
    if skipped == 0 || reduction != Reduction::Mean {
        return (skipped, reduction);
    }
    let z = match weights {
        None => (rows - skipped) as f64,
        Some(weights) => (0..rows)
            .filter(|&row| learns(row))
            .fold(crate::reduction::Sum::default(), |sum, row| {
                sum.plus(weights[row].wide())
            })
            .value(),
    };
    (skipped, Reduction::Over(z))
}

/// Refuses gradient views `[n, m]` of another shape than the scores'.
pub(super) fn check_view<A>(
    name: &'static str,
    shape: &[usize],
    view: Option<&ArrayViewMut2<'_, A>>,
) -> Result<(), Error> {
    view.map_or(Ok(()), |view| check_shape(name, shape, view.shape()))
}

/// Refuses a mask of another shape than the scores'.
pub(super) fn check_mask(
    shape: &[usize],
    left_out: Option<ArrayView2<'_, bool>>,
) -> Result<(), Error> {
    left_out.map_or(Ok(()), |mask| check_shape("left_out", shape, mask.shape()))
}
