//! InfoNCE: a query against its positive document and whatever else competes with it.

mod apply;
mod candidates;
mod columns;
mod engine;
mod fold;
mod input;
mod lanes;
mod layout;
mod listed;
mod pack;
mod softmax;
mod tiles;

use crate::blocks::on_pool;
use crate::error::{Error, check};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::similarity::Similarity;
use crate::workspace::Workspace;
use engine::Engine;

pub use candidates::Targets;
pub use input::{InfoNceGradient, InfoNceInput, InfoNceOwnedGradient, InfoNceReport};

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
        self.check_input(&input)?;
        check_want(&input, &want)?;
        let products = 6 * input.queries.len() * input.documents.nrows().max(1);
        let threads = Engine::<A>::threads(products);
        Ok(on_pool(threads, || {
            engine::evaluate(self, input, want, workspace)
        }))
    }
}

impl InfoNceLoss {
    fn check_input<A: Scalar>(&self, input: &InfoNceInput<'_, A>) -> Result<(), Error> {
        let (n, dim) = input.queries.dim();
        check_shape(
            "documents",
            &[input.documents.nrows(), dim],
            input.documents.shape(),
        )?;
        if let Some(negatives) = &input.negatives {
            check_shape(
                "negatives",
                &[n, negatives.dim().1.max(1), dim],
                negatives.shape(),
            )?;
        }
        if let Some(pool) = &input.pool {
            check_shape("pool", &[pool.nrows().max(1), dim], pool.shape())?;
        }
        input.targets.check(n, input.documents.nrows())?;
        self.reduction.check_weights("queries", n, input.weights)?;
        let others = input.negatives.is_some() || input.pool.is_some();
        if !self.in_batch_negatives && !others {
            let reason = "without in-batch negatives a query competes with nothing; give own negatives or a pool";
            return Err(Error::IllDefined { reason });
        }
        if self.symmetric && !self.in_batch_negatives {
            let reason = "the symmetric form lets the queries of the batch compete, which needs in-batch negatives";
            return Err(Error::IllDefined { reason });
        }
        Ok(())
    }
}

fn check_want<A: Scalar>(
    input: &InfoNceInput<'_, A>,
    want: &Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
) -> Result<(), Error> {
    if let Some(rows) = &want.rows {
        check_shape("rows", &[input.queries.nrows()], rows.shape())?;
    }
    let Some(gradient) = &want.gradient else {
        return Ok(());
    };
    if let Some(view) = &gradient.queries {
        check_shape("gradient.queries", input.queries.shape(), view.shape())?;
    }
    if let Some(view) = &gradient.documents {
        check_shape("gradient.documents", input.documents.shape(), view.shape())?;
    }
    if let Some(view) = &gradient.negatives {
        let shape = input
            .negatives
            .map_or(vec![0, 0, 0], |negatives| negatives.shape().to_vec());
        check_shape("gradient.negatives", &shape, view.shape())?;
    }
    if let Some(view) = &gradient.pool {
        let shape = input.pool.map_or(vec![0, 0], |pool| pool.shape().to_vec());
        check_shape("gradient.pool", &shape, view.shape())?;
    }
    Ok(())
}
