//! InfoNCE: a query against its positive document and whatever else competes with it.

mod apply;
mod block;
mod candidates;
mod checks;
mod columns;
mod engine;
mod fold;
mod input;
mod lanes;
mod layout;
mod listed;
mod pack;
mod query;
mod rules;
mod score;
mod settle;
mod softmax;
mod tile_rules;
mod tiles;

use crate::blocks::on_pool;
use crate::error::{Error, check};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::similarity::Similarity;
use crate::workspace::Workspace;
use checks::check_want;
use engine::Engine;
use rules::Hardness;

pub use candidates::Targets;
pub use input::{InfoNceGradient, InfoNceInput, InfoNceOwnedGradient, InfoNceReport};
pub use rules::{FalseNegatives, Guide, Ids, LogWeights, Sources};

/// Asks of every query that its document score higher than all other candidates: softmax cross-entropy over similarities.
///
/// With queries qᵢ `[n, dim]`, documents dⱼ `[m, dim]` of which t(i) is the positive of query i, a similarity s and the temperature τ:
///
/// * ℓᵢ = log Σ_{j ∈ C(i)} exp(s(qᵢ, dⱼ)/τ) − s(qᵢ, d_t(i))/τ
/// * C(i): the own positive; every other row of the documents (in-batch negatives, on by default); the query's own negatives `[n, K, dim]`;
///   a pool shared by all queries `[p, dim]`
/// * symmetric: ½ (ℓᵢ + ℓᵢ'), where ℓᵢ' = log Σ_{i'} exp(s(q_{i'}, d_t(i))/τ) − s(qᵢ, d_t(i))/τ lets the queries of the batch compete for
///   the document (CLIP)
///
/// Gradient: with p the softmax, ∂ℓᵢ/∂s(qᵢ, dⱼ) = (pᵢⱼ − [j = t(i)])/τ, carried to the embeddings by the product rule and, for the cosine,
/// back through the normalisation: ∂cos/∂q = (d̂ − cos·q̂)/‖q‖. For the logarithm of the temperature: ∂ℓᵢ/∂log τ = −Σⱼ (pᵢⱼ − [j = t(i)])·s(qᵢ, dⱼ)/τ;
/// for τ itself divide by τ, for the logit scale 1/τ in logarithms change the sign.
///
/// The n×m scores are never held: see [`Workspace`]. The loss is log1p of the others' share over the positive's, and 1 − p is the sum of
/// the others' probabilities, so that neither loses its digits when the positive is far ahead. A query without any candidate but its positive
/// has loss 0. A zero row has cosine 0 to everything, and gradient 0. Probabilities below e⁻⁸⁷ (f32) or e⁻⁷⁰⁸ (f64) of the largest count as 0.
///
/// Source: van den Oord et al. 2018, <https://arxiv.org/abs/1807.03748>; in-batch negatives: Henderson et al. 2017,
/// <https://arxiv.org/abs/1705.00652>; symmetric: Radford et al. 2021, <https://arxiv.org/abs/2103.00020>.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
/// use ndarray::array;
///
/// let queries = array![[1.0, 0.0], [0.0, 3.0]];
/// let documents = array![[2.0, 0.0], [0.0, 0.5]];
/// let (value, gradient) = InfoNceLoss::new(0.5)?
///     .value_and_gradient(InfoNceInput::new(queries.view(), documents.view()))?;
///
/// // Scores are 1/0.5 = 2 for the own document and 0 for the other.
/// assert!((value - (-2.0_f64).exp().ln_1p()).abs() < 1e-15);
/// // The own document loses 1 − p = 1/(1 + e²), the other gains it, on both queries; over τ = 0.5 and n = 2 …
/// let p = 1.0 / (1.0 + 2.0_f64.exp());
/// assert!((gradient.queries[[0, 1]] - p / 0.5 / 2.0).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfoNceLoss {
    temperature: f64,
    similarity: Similarity,
    in_batch_negatives: bool,
    symmetric: bool,
    false_negatives: Option<(FalseNegatives, Sources)>,
    hardness: Option<Hardness>,
    label_smoothing: f64,
    decoupled: bool,
    reduction: Reduction,
}

impl InfoNceLoss {
    /// The loss with cosine similarity and in-batch negatives.
    ///
    /// # Errors
    /// If the temperature is not positive and finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        let in_range = temperature > 0.0 && temperature.is_finite();
        let temperature = check(
            "temperature",
            "a positive, finite number",
            temperature,
            in_range,
        )?;
        Ok(Self {
            temperature,
            similarity: Similarity::Cosine,
            in_batch_negatives: true,
            symmetric: false,
            false_negatives: None,
            hardness: None,
            label_smoothing: 0.0,
            decoupled: false,
            reduction: Reduction::default(),
        })
    }

    /// Another similarity.
    #[must_use]
    pub fn with_similarity(self, similarity: Similarity) -> Self {
        Self { similarity, ..self }
    }

    /// Whether the documents that are not a query's positive are its negatives. On by default; without them the input must bring own
    /// negatives or a pool.
    #[must_use]
    pub fn with_in_batch_negatives(self, in_batch_negatives: bool) -> Self {
        Self {
            in_batch_negatives,
            ..self
        }
    }

    /// Whether the queries of the batch also compete for each document. Needs in-batch negatives.
    #[must_use]
    pub fn with_symmetric(self, symmetric: bool) -> Self {
        Self { symmetric, ..self }
    }

    /// Leaves out candidates of some sources that are too similar to the query to be negatives. With a guide in the input its cosines are
    /// compared, and the sources are those that it has embeddings of. A query that loses all its negatives has loss 0.
    ///
    /// ```
    /// use contrastive::{FalseNegatives, InfoNceInput, InfoNceLoss, InfoNceReport, Loss, Sources, Want, Workspace};
    /// use ndarray::array;
    ///
    /// let queries = array![[1.0, 0.0], [0.0, 1.0]];
    /// let documents = array![[0.6, 0.8], [0.8, 0.6]]; // each query is closer to the other's document
    /// let loss = InfoNceLoss::new(0.5)?.with_false_negatives(FalseNegatives::Absolute(0.0), Sources::ALL)?;
    /// let mut report = InfoNceReport::default();
    /// let input = InfoNceInput::new(queries.view(), documents.view());
    /// let value = loss.evaluate(input, Want::value().with_report(&mut report), &mut Workspace::new())?;
    /// assert_eq!((value, report.left_out), (0.0, 2));
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn with_false_negatives(
        self,
        rule: FalseNegatives,
        sources: Sources,
    ) -> Result<Self, Error> {
        Ok(Self {
            false_negatives: Some((rule.checked()?, sources)),
            ..self
        })
    }

    /// Weighs candidates of some sources up the more similar they are: α·s is added to their scores, as a constant that no gradient passes
    /// through. So the gradient of candidate j is that of a softmax in which it counts e^(α·s) times.
    ///
    /// Source: sentence-transformers' `hardness_mode` and `hardness_strength`; Robinson et al. 2021, <https://arxiv.org/abs/2010.04592>.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Sources};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.6, 0.8]]);
    /// let loss = InfoNceLoss::new(0.5)?.with_hardness(5.0, Sources::IN_BATCH)?;
    /// let value: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
    /// assert!((value - (4.2_f64 - 2.0).exp().ln_1p()).abs() < 1e-15); // 0.6/0.5 + 5·0.6 against 1/0.5
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the strength α is negative or not finite.
    pub fn with_hardness(self, strength: f64, sources: Sources) -> Result<Self, Error> {
        let in_range = strength >= 0.0 && strength.is_finite();
        let expected = "a finite number, not negative";
        let strength = check("hardness strength", expected, strength, in_range)?;
        Ok(Self {
            hardness: Some(Hardness { strength, sources }),
            ..self
        })
    }

    /// Spreads a share ε of the label over all candidates of a query alike, the positive among them:
    /// (1 − ε)·ℓᵢ + ε·mean of −log p over the candidates that are not left out. Not for the symmetric form.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.0, 1.0]]);
    /// let loss = InfoNceLoss::new(1.0)?.with_label_smoothing(0.2)?;
    /// let value: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
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

    /// Whether the positive is left out of the denominator (DCL): log Σ_{j ≠ t(i)} exp(s(qᵢ, dⱼ)/τ) − s(qᵢ, d_t(i))/τ, which can be negative and
    /// whose gradient does not fade when the positive is ahead. Not for the symmetric form.
    ///
    /// Source: Yeh et al. 2022, <https://arxiv.org/abs/2110.06848>.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (queries, documents) = (array![[1.0, 0.0]], array![[1.0, 0.0], [0.0, 1.0]]);
    /// let loss = InfoNceLoss::new(0.5)?.with_decoupled(true);
    /// assert_eq!(loss.forward(InfoNceInput::new(queries.view(), documents.view()))?, -2.0); // 0 − 1/0.5
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_decoupled(self, decoupled: bool) -> Self {
        Self { decoupled, ..self }
    }

    /// How the row losses become one number; the mean by default.
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

impl<A: Scalar> Loss<A> for InfoNceLoss {
    type Input<'a> = InfoNceInput<'a, A>;
    type Gradient<'a> = InfoNceGradient<'a, A>;
    type OwnedGradient = InfoNceOwnedGradient<A>;
    type Report = InfoNceReport;

    fn evaluate(
        &self,
        input: InfoNceInput<'_, A>,
        want: Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::info_nce(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &InfoNceLoss,
    input: InfoNceInput<'_, A>,
    want: Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check_input(&input)?;
    check_want(&input, &want)?;
    let products = 6 * input.queries.len() * input.documents.nrows().max(1);
    let threads = Engine::<A>::threads(products);
    Ok(on_pool(threads, || {
        engine::evaluate(loss, input, want, workspace)
    }))
}
