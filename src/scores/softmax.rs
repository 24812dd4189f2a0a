//! Softmax cross-entropy over a matrix of scores of the caller's own.

use ndarray::{ArrayViewMut2, Axis};

use super::cross_entropy::Rule;
use super::row::{check_mask, check_view, fill, over_learners, protect, times, write};
use super::slopes::{Slopes, extent};
use super::softmax_input::{
    SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyOwnedGradient,
    SoftmaxCrossEntropyReport,
};
use crate::blocks::Units;
use crate::error::{Error, check, check_temperature};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::rows::{self, Out, Outcome, RowLoss, check_shape};
use crate::scalar::Scalar;
use crate::several_positives::SeveralPositives;
use crate::simd::Isa;
use crate::staging::Held;
use crate::workspace::Workspace;

/// Asks of every row of scores that its positives score higher than its other candidates: InfoNCE for any similarity.
///
/// With scores s `[n, m]`, the candidates C(i) of row i (all columns but those left out), its positive t and the temperature τ:
///
/// * ℓᵢ = log Σ_{j ∈ C(i)} exp(sᵢⱼ/τ) − sᵢₜ/τ
/// * several positives, or none: see [`Positives`](crate::Positives) and [`SeveralPositives`]
///
/// Gradient: with p the softmax over C(i), ∂ℓᵢ/∂sᵢⱼ = (pᵢⱼ − [j = t])/τ, and ∂ℓᵢ/∂log τ = −Σⱼ (pᵢⱼ − [j = t])·sᵢⱼ/τ.
///
/// Scores may come from anything: [`DenseScores`](crate::DenseScores), [`SparseDot`](crate::SparseDot), [`MaxSim`](crate::MaxSim), a cross-encoder. A
/// [`ScoreFunction`](crate::ScoreFunction) carries the gradient on to its inputs. For dense embeddings alone [`InfoNceLoss`](crate::InfoNceLoss) is the
/// same without the matrix.
///
/// The loss is log1p of the others' share over the positive's, and 1 − p is the sum of the others' probabilities, so that neither loses
/// its digits when the positive is far ahead. A score of −∞ leaves a candidate out; a positive at −∞ has infinite loss. A row without a positive is
/// left out of the mean; a row without any candidate but its positive has loss 0. NaN or +∞ in a candidate gives NaN. Probabilities
/// below e⁻⁷⁰⁸ of the largest count as 0.
///
/// Source: van den Oord et al. 2018, <https://arxiv.org/abs/1807.03748>; `torch.nn.CrossEntropyLoss`.
///
/// ```
/// use contrastive::{Loss, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss};
/// use ndarray::array;
///
/// let scores = array![[1.0, 0.0], [0.0, 1.0]];
/// let (value, gradient) = SoftmaxCrossEntropyLoss::new(0.5)?
///     .value_and_gradient(SoftmaxCrossEntropyInput::new(scores.view()))?;
///
/// assert!((value - (-2.0_f64).exp().ln_1p()).abs() < 1e-15); // ln(e² + e⁰) − 2
/// let p = 1.0 / (1.0 + 2.0_f64.exp()); // of the other candidate; over τ = 0.5 and n = 2
/// assert!((gradient.scores[[0, 1]] - p / 0.5 / 2.0).abs() < 1e-15);
/// assert!((gradient.log_temperature - 2.0 * p).abs() < 1e-15); // p·(1 − 0)/τ, in each row
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::SoftmaxCrossEntropy")
)]
pub struct SoftmaxCrossEntropyLoss {
    temperature: f64,
    several_positives: SeveralPositives,
    label_smoothing: f64,
    reduction: Reduction,
}

impl SoftmaxCrossEntropyLoss {
    /// The loss with a temperature; 1 for scores that are logits already.
    ///
    /// # Errors
    /// If the temperature is not positive and finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        Ok(Self {
            temperature: check_temperature("temperature", temperature)?,
            several_positives: SeveralPositives::default(),
            label_smoothing: 0.0,
            reduction: Reduction::default(),
        })
    }

    /// What several positives make of the loss of their row.
    #[must_use]
    pub fn with_several_positives(self, several_positives: SeveralPositives) -> Self {
        Self {
            several_positives,
            ..self
        }
    }

    /// Spreads a share ε of the label over all candidates of a softmax alike, the positive among them:
    /// (1 − ε)·ℓᵢ + ε·mean of −log p over the candidates. Where positives are `Apart` each has a softmax of its own.
    ///
    /// ```
    /// use contrastive::{Loss, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss};
    /// use ndarray::array;
    ///
    /// let scores = array![[1.0, 0.0]];
    /// let loss = SoftmaxCrossEntropyLoss::new(1.0)?.with_label_smoothing(0.2)?;
    /// let value: f64 = loss.forward(SoftmaxCrossEntropyInput::new(scores.view()))?;
    /// let logs = [1.0 - (1.0_f64.exp() + 1.0).ln(), -(1.0_f64.exp() + 1.0).ln()]; // of softmax(1, 0)
    /// assert!((value + 0.9 * logs[0] + 0.1 * logs[1]).abs() < 1e-15);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ε is not in [0, 1].
    pub fn with_label_smoothing(self, share: f64) -> Result<Self, Error> {
        let in_range = (0.0..=1.0).contains(&share);
        Ok(Self {
            label_smoothing: check("label smoothing", "a number in [0, 1]", share, in_range)?,
            ..self
        })
    }

    /// How the row losses become one number; the mean over the rows with a positive by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
            ..self
        })
    }

    /// The temperature τ.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }
}

type Wanted<'w, 'g, A> = Want<'w, A, SoftmaxCrossEntropyGradient<'g, A>, SoftmaxCrossEntropyReport>;

impl<A: Scalar> Loss<A> for SoftmaxCrossEntropyLoss {
    type Input<'a> = SoftmaxCrossEntropyInput<'a, A>;
    type Gradient<'a> = SoftmaxCrossEntropyGradient<'a, A>;
    type OwnedGradient = SoftmaxCrossEntropyOwnedGradient<A>;
    type Report = SoftmaxCrossEntropyReport;

    fn evaluate(
        &self,
        input: SoftmaxCrossEntropyInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::softmax_cross_entropy(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &SoftmaxCrossEntropyLoss,
    input: SoftmaxCrossEntropyInput<'_, A>,
    want: Wanted<'_, '_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check_call(&input, &want)?;
    let (n, m) = input.scores.dim();
    let (skipped, reduction) = over_learners(loss.reduction, n, input.weights, |row| {
        input.positives.of(row).len() > 0
    });
    let pass = Pass {
        rule: Rule {
            per_temperature: 1.0 / loss.temperature,
            smoothing: loss.label_smoothing,
            form: loss.several_positives,
        },
        input,
        report: want.report.is_some(),
    };
    let SoftmaxCrossEntropyGradient {
        scores,
        log_temperature,
    } = want.gradient.unwrap_or_default();
    let mut slopes = Slopes::new(&mut workspace.sums, log_temperature.is_some(), n);
    let wanted = scores.is_some() || log_temperature.is_some();
    let gradient = wanted.then(|| (scores, slopes.units()));
    let extent = extent::<A>(n, m, 1);
    let (value, totals) =
        rows::evaluate(&pass, extent, reduction, input.weights, gradient, want.rows);
    slopes.sum_to(log_temperature);
    if let Some(report) = want.report {
        let [hits, reciprocal_ranks, probabilities, left_out] = totals.tally;
        let with_positive = (n - skipped) as f64;
        *report = SoftmaxCrossEntropyReport {
            accuracy: hits / with_positive,
            reciprocal_rank: reciprocal_ranks / with_positive,
            positive_probability: probabilities / with_positive,
            left_out: left_out as usize,
            without_positive: skipped,
        };
    }
    Ok(value)
}

impl SoftmaxCrossEntropyLoss {
    fn check_call<A: Scalar>(
        &self,
        input: &SoftmaxCrossEntropyInput<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        let (n, m) = input.scores.dim();
        input.positives.check(n, m)?;
        check_mask(&[n, m], input.left_out)?;
        self.reduction.check_weights("scores", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        let scores = want
            .gradient
            .as_ref()
            .and_then(|gradient| gradient.scores.as_ref());
        check_view("gradient.scores", &[n, m], scores)
    }
}

struct Pass<'a, A> {
    rule: Rule,
    input: SoftmaxCrossEntropyInput<'a, A>,
    report: bool,
}

/// The gradient views of a block of rows: scores, and the rows' shares of the gradient by log τ.
type Views<'g, 's, A> = (Option<ArrayViewMut2<'g, A>>, Option<Units<'s, f64>>);

impl<'g, 's, A: Scalar> RowLoss<A, Views<'g, 's, A>> for Pass<'_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, 's, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let [scores, gradient] = held.scratch.rows(self.input.scores.ncols());
        let positives = self.input.positives.of(row);
        let given = self.input.scores.index_axis(Axis(0), row);
        let mask = self.input.left_out;
        let mask = mask.as_ref().map(|mask| mask.index_axis(Axis(0), row));
        fill(scores, given, mask);
        let left_out = protect(scores, given, mask, positives);
        let judged = self.rule.judge::<I>(scores, positives, gradient);
        if let Some(out) = out {
            let (row, scale) = (out.row, out.scale);
            if let Some(slopes) = &mut out.views.1 {
                slopes.slice[row] = times(scale, judged.slope);
            }
            let factor = scale * self.rule.per_temperature;
            write::<A, I>(&mut out.views.0, row, out.stores, gradient, factor);
        }
        let mut tally = [0.0, 0.0, judged.probability, left_out];
        if self.report && positives.len() > 0 {
            let better = scores.iter().filter(|&&score| score > judged.best).count();
            tally[0] = f64::from(u8::from(better == 0));
            tally[1] = 1.0 / (1.0 + better as f64);
        }
        Outcome::new(judged.loss, tally)
    }
}
