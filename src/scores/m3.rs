//! The recipe of M3-Embedding: three heads trained together, and each by what they say together.

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use super::cross_entropy::{Judged, Rule};
use super::divergence::{Compared, Divergence, Softened};
use super::m3_input::{M3Gradient, M3Input, M3OwnedGradient, M3Report};
use super::positives::Members;
use super::row::{check_mask, check_view, fill, over_learners, protect, times, write};
use super::slopes::{Slopes, extent};
use super::softmax::check_temperature;
use crate::blocks::Units;
use crate::error::{Error, check};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::rows::{self, Out, Outcome, RowLoss, Scratch, check_shape};
use crate::scalar::Scalar;
use crate::several_positives::SeveralPositives;
use crate::simd::Isa;
use crate::workspace::Workspace;

/// A number for each of the three heads.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct M3Weights {
    /// Of the dense embeddings.
    pub dense: f64,
    /// Of the sparse (lexical) embeddings.
    pub sparse: f64,
    /// Of the multi-vector embeddings.
    pub multi_vector: f64,
}

impl M3Weights {
    fn checked(self, name: &'static str) -> Result<[f64; 3], Error> {
        let weights = [self.dense, self.sparse, self.multi_vector];
        for weight in weights {
            let in_range = weight >= 0.0 && weight.is_finite();
            check(name, "finite numbers, not negative", weight, in_range)?;
        }
        Ok(weights)
    }
}

/// Trains dense, sparse and multi-vector scores together, with their weighted sum as the teacher of each (M3-Embedding).
///
/// With the scores of the heads over the temperature, s_dense, s_lex, s_mul, and CE the softmax cross-entropy of a row:
///
/// * s_inter = w₁·s_dense + w₂·s_lex + w₃·s_mul
/// * L = (λ₁·CE(s_dense) + λ₂·CE(s_lex) + λ₃·CE(s_mul) + CE(s_inter)) / 4
/// * L' = (λ₁·D(s_dense) + λ₂·D(s_lex) + λ₃·D(s_mul)) / 3, with D(s) = −Σⱼ pⱼ log softmax(s)ⱼ and p = softmax(s_inter), a constant
/// * ℓᵢ = (L + L') / 2, or L alone without self-distillation
///
/// The paper's weights are the defaults: w = (1, 0.3, 1), λ = (1, 0.1, 1).
///
/// Gradient: for the dense scores, with q = softmax(s_dense), y the label, and over τ:
/// ½ (λ₁ (q − y) + w₁ (p − y)) / 4 + ½ λ₁ (q − p) / 3; likewise for the other heads. For log τ the teacher is a constant as well.
///
/// Scores of a head that are −∞ leave a candidate out of that head and of the sum; the mask leaves it out of everything. Rows with several
/// positives are judged as [`SeveralPositives::Together`]; rows without one are left out of the mean.
///
/// Source: Chen et al. 2024, <https://arxiv.org/abs/2402.03216>; the divisors are those of FlagEmbedding, its training code.
///
/// # End to end
///
/// The scores come from [`DenseScores`](crate::DenseScores), [`SparseDot`](crate::SparseDot) and [`MaxSim`](crate::MaxSim), and the gradient goes
/// back through them:
///
/// ```
/// use contrastive::{
///     Csr, DenseScores, Loss, M3Input, M3Loss, MaxSim, ScoreFunction, Sides, Similarity, SparseDot, Tokens,
/// };
/// use ndarray::{Array1, Array2, array};
///
/// // Two queries and two documents: an embedding, the weights of its words, and an embedding for each token.
/// let (q, d) = (array![[1.0, 0.0], [0.0, 1.0]], array![[1.0, 0.0], [0.0, 1.0]]);
/// let (indptr, words, q_values, d_values) = (array![0, 1, 2], array![7, 9], array![1.0, 1.0], array![1.0, 1.0]);
/// let (q_tokens, d_tokens, offsets) = (array![[1.0, 0.0], [0.0, 1.0]], array![[1.0, 0.0], [0.0, 1.0]], array![0, 1, 2]);
/// let dense = Sides { queries: q.view(), documents: d.view() };
/// let csr = |values| Csr::new(indptr.view(), words.view(), values);
/// let sparse = Sides { queries: csr(q_values.view()), documents: csr(d_values.view()) };
/// let multi = Sides {
///     queries: Tokens::new(q_tokens.view(), offsets.view()),
///     documents: Tokens::new(d_tokens.view(), offsets.view()),
/// };
///
/// let [mut s_dense, mut s_sparse, mut s_multi] = std::array::from_fn(|_| Array2::zeros((2, 2)));
/// DenseScores::new(Similarity::Dot).forward(dense, s_dense.view_mut())?;
/// SparseDot.forward(sparse, s_sparse.view_mut())?;
/// MaxSim::mean().forward(multi, s_multi.view_mut())?;
/// let input = M3Input::new(s_dense.view(), s_sparse.view(), s_multi.view());
/// let (value, gradient) = M3Loss::new(1.0)?.value_and_gradient(input)?;
///
/// let (mut to_q, mut to_words, mut to_tokens) = (Array2::zeros((2, 2)), Array1::zeros(2), Array2::zeros((2, 2)));
/// let to = Sides { queries: Some(to_q.view_mut()), documents: None };
/// DenseScores::new(Similarity::Dot).backward(dense, gradient.dense.view(), to)?;
/// let to = Sides { queries: Some(to_words.view_mut()), documents: None };
/// SparseDot.backward(sparse, gradient.sparse.view(), to)?;
/// let to = Sides { queries: Some(to_tokens.view_mut()), documents: None };
/// MaxSim::mean().backward(multi, gradient.multi_vector.view(), to)?;
///
/// // Every head scores 1 with the own document and 0 with the other, together 2.3.
/// let ce = (-1.0_f64).exp().ln_1p();
/// let (inter, p) = ((-2.3_f64).exp().ln_1p(), 1.0 / (1.0 + 2.3_f64.exp()));
/// let contrastive = (2.1 * ce + inter) / 4.0;
/// let distilled = 2.1 * (ce + p) / 3.0; // −(1 − p)·log q − p·log(1 − q), and log(1 − q) = log q − 1
/// assert!((value - (contrastive + distilled) / 2.0).abs() < 1e-15);
/// assert!(to_q[[0, 0]] < 0.0 && to_tokens == to_q && to_words[0] < 0.0);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::M3")
)]
pub struct M3Loss {
    temperature: f64,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::heads"))]
    score_weights: [f64; 3],
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::heads"))]
    loss_weights: [f64; 3],
    self_distillation: bool,
    reduction: Reduction,
}

impl M3Loss {
    /// The loss with the paper's weights and with self-distillation.
    ///
    /// # Errors
    /// If the temperature is not positive and finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        Ok(Self {
            temperature: check_temperature("temperature", temperature)?,
            score_weights: [1.0, 0.3, 1.0],
            loss_weights: [1.0, 0.1, 1.0],
            self_distillation: true,
            reduction: Reduction::default(),
        })
    }

    /// w, the weights of the heads in the integrated score.
    ///
    /// # Errors
    /// If a weight is negative or not finite.
    pub fn with_score_weights(self, weights: M3Weights) -> Result<Self, Error> {
        Ok(Self {
            score_weights: weights.checked("score weights")?,
            ..self
        })
    }

    /// λ, the weights of the heads' losses.
    ///
    /// # Errors
    /// If a weight is negative or not finite.
    pub fn with_loss_weights(self, weights: M3Weights) -> Result<Self, Error> {
        Ok(Self {
            loss_weights: weights.checked("loss weights")?,
            ..self
        })
    }

    /// Whether the integrated scores teach the heads. On by default; FlagEmbedding turns it on after some steps.
    #[must_use]
    pub fn with_self_distillation(self, self_distillation: bool) -> Self {
        Self {
            self_distillation,
            ..self
        }
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

    fn check_call<A: Scalar>(
        &self,
        input: &M3Input<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        let (n, m) = input.dense.dim();
        check_shape("sparse", &[n, m], input.sparse.shape())?;
        check_shape("multi_vector", &[n, m], input.multi_vector.shape())?;
        input.positives.check(n, m)?;
        check_mask(&[n, m], input.left_out)?;
        self.reduction.check_weights("dense", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        let Some(gradient) = &want.gradient else {
            return Ok(());
        };
        check_view("gradient.dense", &[n, m], gradient.dense.as_ref())?;
        check_view("gradient.sparse", &[n, m], gradient.sparse.as_ref())?;
        check_view(
            "gradient.multi_vector",
            &[n, m],
            gradient.multi_vector.as_ref(),
        )
    }
}

type Wanted<'w, 'g, A> = Want<'w, A, M3Gradient<'g, A>, M3Report>;

impl<A: Scalar> Loss<A> for M3Loss {
    type Input<'a> = M3Input<'a, A>;
    type Gradient<'a> = M3Gradient<'a, A>;
    type OwnedGradient = M3OwnedGradient<A>;
    type Report = M3Report;

    fn evaluate(
        &self,
        input: M3Input<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::m3(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &M3Loss,
    input: M3Input<'_, A>,
    want: Wanted<'_, '_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check_call(&input, &want)?;
    let (n, m) = input.dense.dim();
    let (skipped, reduction) = over_learners(loss.reduction, n, input.weights, |row| {
        input.positives.of(row).len() > 0
    });
    let gradient = want.gradient.unwrap_or_default();
    let views = (gradient.dense, gradient.sparse, gradient.multi_vector);
    let slope_wanted = gradient.log_temperature.is_some();
    let mut slopes = Slopes::new(&mut workspace.sums, slope_wanted, n);
    let wanted = slope_wanted || views.0.is_some() || views.1.is_some() || views.2.is_some();
    let views = wanted.then(|| (views, slopes.units()));
    let pass = Pass { loss, input };
    let extent = extent::<A>(n, m, 7);
    let (value, totals) = rows::evaluate(&pass, extent, reduction, input.weights, views, want.rows);
    slopes.sum_to(gradient.log_temperature);
    if let Some(report) = want.report {
        let [dense, sparse, multi_vector, integrated] =
            totals.tally.map(|sum| sum / (n - skipped) as f64);
        *report = M3Report {
            dense,
            sparse,
            multi_vector,
            integrated,
            without_positive: skipped,
        };
    }
    Ok(value)
}

struct Pass<'l, 'a, A> {
    loss: &'l M3Loss,
    input: M3Input<'a, A>,
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
        scratch: &mut Scratch,
    ) -> Outcome {
        let [d, s, m, inter, spare, work, to_d, to_s, to_m] =
            scratch.rows(self.input.dense.ncols());
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
        Outcome {
            loss: heads.value,
            tally,
        }
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
                *inter += times(weight, score);
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
        for head in 0..3 {
            let (teacher, student) = (softened(inter), softened(self.scores[head]));
            let Compared { loss, slope, .. } =
                Divergence::CrossEntropy.compare::<I>(&teacher, &student, spare, work);
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
