//! One labelled pair over several prefixes of its rows: each row is read once, and each gradient written once.
//!
//! The cosines of longer prefixes go on with the sums of the shorter ones. The prefixes of a pair all pull it together or all push it apart, so in the
//! columns between two lengths the gradients of all prefixes that have them sum to one that is written like any other.

use ndarray::Axis;

use super::pass::{Pass, Views, tally, write};
use crate::kernels::{Begun, Coming};
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::similarity::{Cosine, cosines, join};
use crate::staging::Held;
use crate::store::Stores;

/// The most prefixes that are measured at a time.
pub(super) const MOST: usize = 16;

/// The weighted sum over prefixes, at most [`MOST`] and rising. The tally is that of the longest.
pub(super) struct Nested<'a, A> {
    /// That of the longest.
    pub(super) pass: Pass<'a, A>,
    pub(super) lengths: Vec<usize>,
    pub(super) weights: Vec<f64>,
}

impl<'g, A: Scalar> RowLoss<A, Views<'g, A>> for Nested<'_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let Pass { loss, input } = &self.pass;
        let rows = held.staging.pair([input.x.row(row), input.y.row(row)]);
        let label = input.labels[row];
        let (mut pairs, mut factors) = ([Cosine::none(); MOST], [0.0; MOST]);
        let count = self.lengths.len();
        let (pairs, factors) = (&mut pairs[..count], &mut factors[..count]);
        cosines::<A, I>(rows[0], rows[1], loss.epsilon, &self.lengths, pairs);
        let scale = out.as_ref().map_or(0.0, |out| out.scale);
        let mut outcome = Outcome::default();
        let mut sum = 0.0;
        for ((pair, weight), factor) in pairs.iter().zip(&self.weights).zip(&mut *factors) {
            let (loss, slope) = self.pass.hinge(label, pair.cosine, pair.distance);
            outcome = Outcome::new(loss, tally(label, pair.cosine));
            sum += weight * loss;
            *factor = slope * (scale * weight);
        }
        if let Some(out) = out {
            self.write::<I>(rows, pairs, factors, out);
        }
        Outcome {
            loss: sum,
            ..outcome
        }
    }
}

impl<A: Scalar> Nested<'_, A> {
    /// Writes the gradients column by column, each once; those of one prefix after the other where they cannot be summed before.
    #[inline(always)]
    fn write<I: Isa>(
        &self,
        [x, y]: [&[A]; 2],
        pairs: &mut [Cosine<A::Real>],
        factors: &mut [f64],
        out: Out<'_, Views<'_, A>>,
    ) {
        let joined = join(pairs, factors);
        let (to_x, to_y) = out.views;
        let (last, mut from) = (pairs.len() - 1, 0);
        let mut begun = Begun::NOTHING;
        for step in 0..=last {
            let (prefix, stores) = match (joined, step) {
                (true, _) => (step, out.stores),
                (false, 0) => (last, Stores::Cached),
                (false, _) => (last - step, Stores::Added),
            };
            let columns = from..self.lengths[prefix];
            let mut views = [None, None];
            for (part, view) in views.iter_mut().zip([&mut *to_x, &mut *to_y]) {
                if let Some(view) = view {
                    let (row, _) = view.row_mut(out.row).split_at(Axis(0), columns.end);
                    *part = Some(row.split_at(Axis(0), columns.start).1);
                }
            }
            let rows = [&x[columns.clone()], &y[columns.clone()]];
            let next = (Coming::default(), &mut begun);
            write::<A, I>(rows, pairs[prefix], factors[prefix], views, stores, next);
            if joined {
                from = columns.end;
            }
        }
    }
}
