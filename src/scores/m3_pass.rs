//! One row of the three heads: what each is to learn from the label, and from all together.

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use super::cross_entropy::{Judged, Rule};
use super::divergence::{Compared, Divergence, Softened, Teacher};
use super::m3::M3Loss;
use super::m3_input::M3Input;
use super::positives::Members;
use super::row::{fill, protect, times, write};
use crate::blocks::Units;
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::several_positives::SeveralPositives;
use crate::simd::Isa;
use crate::staging::Held;

pub(super) struct Pass<'l, 'a, A> {
    pub(super) loss: &'l M3Loss,
    pub(super) input: M3Input<'a, A>,
}

/// The gradient views of a block of rows: the three heads, and the rows' shares of the gradient by log τ.
type Heads<'g, A> = (
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut2<'g, A>>,
);
type Views<'g, 's, A> = (Heads<'g, A>, Option<Units<'s, f64>>);

impl<'g, 's, A: Scalar> RowLoss<A, Views<'g, 's, A>> for Pass<'_, '_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, 's, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let [d, s, m, inter, spare, work, to_d, to_s, to_m] =
            held.scratch.rows(self.input.dense.ncols());
        let positives = self.input.positives.of(row);
        self.read(self.input.dense, row, positives, d);
        self.read(self.input.sparse, row, positives, s);
        self.read(self.input.multi_vector, row, positives, m);
        let mut heads = Together {
            loss: self.loss,
            positives,
            scores: [d, s, m],
            gradient: [to_d, to_s, to_m],
            value: 0.0,
            slope: 0.0,
        };
        let tally = heads.contrast::<I>(inter, work);
        if self.loss.self_distillation && positives.len() > 0 {
            heads.distil::<I>(inter, spare, work);
        }
        if let Some(out) = out {
            let factor = out.scale / self.loss.temperature;
            let (views, slopes) = out.views;
            if let Some(slopes) = slopes {
                slopes.slice[out.row] = times(out.scale, heads.slope);
            }
            let [to_d, to_s, to_m] = heads.gradient;
            write::<A, I>(&mut views.0, out.row, out.stores, to_d, factor);
            write::<A, I>(&mut views.1, out.row, out.stores, to_s, factor);
            write::<A, I>(&mut views.2, out.row, out.stores, to_m, factor);
        }
        Outcome::new(heads.value, tally)
    }
}

impl<A: Scalar> Pass<'_, '_, A> {
    #[inline(always)]
    fn read(
        &self,
        scores: ArrayView2<'_, A>,
        row: usize,
        positives: Members<'_>,
        wide: &mut [f64],
    ) {
        let given = scores.index_axis(Axis(0), row);
        let mask = self.input.left_out;
        let mask = mask.as_ref().map(|mask| mask.index_axis(Axis(0), row));
        fill(wide, given, mask);
        protect(wide, given, mask, positives);
    }
}

/// The three heads of a row.
struct Together<'l, 'p, 's> {
    loss: &'l M3Loss,
    positives: Members<'p>,
    scores: [&'s [f64]; 3],
    /// ∂ℓ/∂s of each, times τ.
    gradient: [&'s mut [f64]; 3],
    value: f64,
    slope: f64,
}

impl Together<'_, '_, '_> {
    /// L: every head against the label, and the sum of all, which is left in `inter`. Returns the four losses.
    #[inline(always)]
    fn contrast<I: Isa>(&mut self, inter: &mut [f64], work: &mut [f64]) -> [f64; 4] {
        let rule = Rule {
            per_temperature: 1.0 / self.loss.temperature,
            smoothing: 0.0,
            form: SeveralPositives::Together,
        };
        let share = if self.loss.self_distillation {
            0.5
        } else {
            1.0
        } / 4.0;
        self.integrate(inter);
        let all = rule.judge::<I>(inter, self.positives, work);
        for (gradient, weight) in self.gradient.iter_mut().zip(self.loss.score_weights) {
            for (gradient, &x) in gradient.iter_mut().zip(&*work) {
                *gradient = times(share * weight, x);
            }
        }
        let mut judged = [Judged::default(); 3];
        for (head, judged) in judged.iter_mut().enumerate() {
            *judged = rule.judge::<I>(self.scores[head], self.positives, work);
            let weight = share * self.loss.loss_weights[head];
            self.add(head, weight, judged.loss, judged.slope, work);
        }
        self.value += share * all.loss;
        self.slope += share * all.slope;
        [judged[0].loss, judged[1].loss, judged[2].loss, all.loss]
    }

    /// s_inter, not divided by the temperature.
    #[inline(always)]
    fn integrate(&self, inter: &mut [f64]) {
        inter.fill(0.0);
        for (scores, weight) in self.scores.iter().zip(self.loss.score_weights) {
            for (inter, &score) in inter.iter_mut().zip(*scores) {
                // What is left out of a head is left out of the sum, whatever the head weighs.
                let left_out = score == f64::NEG_INFINITY;
                *inter += if left_out {
                    score
                } else {
                    times(weight, score)
                };
            }
        }
    }

    /// L': every head against what they say together.
    #[inline(always)]
    fn distil<I: Isa>(&mut self, inter: &[f64], spare: &mut [f64], work: &mut [f64]) {
        let per_temperature = 1.0 / self.loss.temperature;
        let softened = |scores| Softened {
            scores,
            per_temperature,
        };
        let teacher = Teacher::new::<I>(softened(inter), spare);
        for head in 0..3 {
            let student = softened(self.scores[head]);
            let Compared { loss, slope, .. } =
                Divergence::CrossEntropy.compare::<I>(&teacher, student, work);
            let weight = 0.5 * self.loss.loss_weights[head] / 3.0;
            self.add(head, weight, loss, slope, work);
        }
    }

    /// Adds a multiple of a head's loss, slope and gradient.
    #[inline(always)]
    fn add(&mut self, head: usize, weight: f64, loss: f64, slope: f64, gradient: &[f64]) {
        self.value += times(weight, loss);
        self.slope += times(weight, slope);
        for (sum, &x) in self.gradient[head].iter_mut().zip(gradient) {
            *sum += times(weight, x);
        }
    }
}
