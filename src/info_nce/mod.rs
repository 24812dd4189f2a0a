//! InfoNCE: a query against its positive document and whatever else competes with it.

mod apply;
mod askers;
mod block;
mod checks;
mod chunks;
mod columns;
mod directions;
mod embeddings;
mod engine;
mod finish;
mod fold;
mod input;
mod lanes;
mod layout;
mod listed;
mod listed_rules;
mod nested;
mod options;
mod own;
mod own_gradient;
mod pack;
mod pairs;
mod positives;
mod presets;
mod products;
mod query;
mod results;
mod rules;
mod score;
mod settle;
mod sigmoid;
mod sinks;
mod softmax;
mod states;
mod tile_rules;
mod tiles;

use crate::blocks::on_pool;
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::several_positives::SeveralPositives;
use crate::similarity::Similarity;
use crate::workspace::Workspace;
use checks::check_want;
use engine::Engine;
use rules::Hardness;

pub use chunks::{InfoNceChunk, InfoNceTotal};
pub(crate) use chunks::{apply, observe};
pub use directions::{Directions, PartitionMode};
pub use input::{InfoNceGradient, InfoNceInput, InfoNceOwnedGradient, InfoNceReport};
pub(crate) use nested::evaluate as evaluate_prefixes;
pub(crate) use positives::Positives;
pub use positives::Targets;
pub use rules::{FalseNegatives, Guide, Ids, LogWeights, Sources};
pub use states::InfoNceStates;

/// Asks of every query that its document score higher than all other candidates: softmax cross-entropy over similarities.
///
/// With queries qᵢ `[n, dim]`, documents dⱼ `[m, dim]` of which t(i) is the positive of query i, a similarity s and the temperature τ:
///
/// * ℓᵢ = log Σ_{j ∈ C(i)} exp(s(qᵢ, dⱼ)/τ) − s(qᵢ, d_t(i))/τ
/// * C(i): the own positive; every other row of the documents (in-batch negatives, on by default); the query's own negatives `[n, K, dim]` or ragged,
///   and those of the others if they are pooled; a pool shared by all queries `[p, dim]`; queries and documents by their likeness to the query or to its
///   positive ([`Directions`])
/// * symmetric: ½ (ℓᵢ + ℓᵢ'), where ℓᵢ' = log Σ_{i'} exp(s(q_{i'}, d_t(i))/τ) − s(qᵢ, d_t(i))/τ lets the queries of the batch compete for
///   the document (CLIP)
/// * several positives of a query: [`SeveralPositives`]; none: the query is left out, but for the sigmoid loss ([`Targets`])
/// * candidates that are left out, weighed up or corrected: [`Ids`], [`FalseNegatives`], [`Guide`], [`Sources`], [`LogWeights`]
///
/// The losses that the field knows by name (multiple negatives ranking, CLIP, GTE, SimCSE, NT-Xent, SupCon, DCL, SigLIP, GIST) are constructors below.
///
/// Gradient: with p the softmax, ∂ℓᵢ/∂s(qᵢ, dⱼ) = (pᵢⱼ − [j = t(i)])/τ, carried to the embeddings by the product rule and, for the cosine,
/// back through the normalisation: ∂cos/∂q = (d̂ − cos·q̂)/‖q‖. For the logarithm of the temperature: ∂ℓᵢ/∂log τ = −Σⱼ (pᵢⱼ − [j = t(i)])·s(qᵢ, dⱼ)/τ;
/// for τ itself divide by τ, for the logit scale 1/τ in logarithms change the sign.
///
/// The n×m scores are never held: see [`Workspace`]. The loss is log1p of the others' share over the positive's, and 1 − p is the sum of
/// the others' probabilities, so that neither loses its digits when the positive is far ahead. A zero row has cosine 0 to everything, and gradient 0.
/// Probabilities below e⁻⁸⁷ (f32) or e⁻⁷⁰⁸ (f64) of the largest count as 0.
///
/// A query without any candidate but its one positive has loss 0. Where document → query joins the softmax, the positive is in it twice, and the loss is log 2
/// (log(1 + e⁻ʷ) with the log weight w). Several positives together are rivals of each other, also where there is no other. The sigmoid loss asks of the
/// positive by itself that it scores high, and is log(1 + exp(−s/τ − b)).
///
/// Accuracy, with the ε of the element type and cosines: scores are rounded, s/τ to ε/τ, and a probability is off by as much of itself. The loss is within
/// 4ε(1 + 1/τ) of itself (decoupled: within 4ε/τ besides 4ε of itself); a row of the gradient is within 4ε(1 + 1/τ) of the sum of what pulls and what
/// pushes it, Σⱼ |pᵢⱼ − [j = t(i)]|/(τ‖q‖) for a query, of which it may be a fraction where the two cancel. For dot products 1/τ in the
/// parentheses is the largest ‖q‖‖d‖/τ, and 1/‖q‖ is ‖d‖. The example `accuracy` measures it.
///
/// Squared distances from whole matrices (documents, pooled negatives, the pool, other queries) come from ‖q‖² − 2 q·d + ‖d‖² in the precision of the rows.
/// Their scores are off by about ε(‖q‖² + ‖d‖²)/τ, which may be more than all of a small distance; those of positives and of own negatives come from the
/// differences, and are exact to rounding. So a copy of the positive among the documents need not tie with it: its score may be off by as much, and with dot
/// products by about ε‖q‖‖d‖/τ, where reports and [`FalseNegatives`] take no more than 16 ε of the score, or of 1 if that is more, for a tie.
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
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::InfoNce")
)]
pub struct InfoNceLoss {
    temperature: f64,
    similarity: Similarity,
    in_batch_negatives: bool,
    pooled_negatives: bool,
    directions: Directions,
    partition_mode: PartitionMode,
    several_positives: SeveralPositives,
    false_negatives: Option<(FalseNegatives, Sources)>,
    hardness: Option<Hardness>,
    label_smoothing: f64,
    decoupled: bool,
    /// Of the sigmoid loss; `None` for softmaxes.
    bias: Option<f64>,
    reduction: Reduction,
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
    let positives = Positives::new(&input.targets, input.queries.nrows(), input.within);
    loss.check_positives(&input, &positives)?;
    check_want(&input, &want)?;
    let products = 6.0 * input.queries.len() as f64 * input.documents.nrows().max(1) as f64;
    let threads = Engine::<A>::threads(products as usize);
    Ok(on_pool(threads, || {
        engine::evaluate(loss, input, &positives, want, workspace)
    }))
}
