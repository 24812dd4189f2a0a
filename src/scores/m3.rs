//! The recipe of M3-Embedding: three heads trained together, and each by what they say together.

use super::m3_input::{M3Gradient, M3Input, M3OwnedGradient, M3Report};
use super::m3_pass::Pass;
use super::row::{check_mask, check_view, over_learners};
use super::slopes::{Slopes, extent};
use crate::error::{Error, check, check_temperature};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::rows::{self, check_shape};
use crate::scalar::Scalar;
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
/// positives are judged as [`SeveralPositives::Together`](crate::SeveralPositives::Together); rows without one are left out of the mean.
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
    pub(super) temperature: f64,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::heads"))]
    pub(super) score_weights: [f64; 3],
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::heads"))]
    pub(super) loss_weights: [f64; 3],
    pub(super) self_distillation: bool,
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
