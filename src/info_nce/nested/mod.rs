//! InfoNCE over several prefixes of the same embeddings: a softmax for each prefix, on products that all of them share.
//!
//! With prefixes 1 … K, Sₖ the inner products of the first mₖ columns, and aₖ and bₖ what they are multiplied with by query and by document (1/‖q‖ and
//! 1/(‖d‖τ) within the prefix, for cosines), the scores of prefix k are zₖ = aₖ·Sₖ·bₖ. Two things make one pass of all prefixes:
//!
//! * Sₖ₊₁ is Sₖ and the products of the columns between the two, so that the products of the longest prefix pass through those of the others.
//! * The gradient of a query in the columns between prefix k − 1 and prefix k is Σ_{l ≥ k} Σ_d aₗ·wₗ·bₗ·d − (Σ_{l ≥ k} cₗ)·q, with the weights
//!   wₗ = ∂L/∂zₗ: one product, of the sum of the weights of all prefixes that have these columns. The part along the query, which takes back what
//!   changes its norm, is a number for each prefix, cₗ = Σ_d wₗ·zₗ/‖q‖² for cosines: summed in the sweep that makes the weights. For documents likewise.
//!
//! So the products cost what those of the longest prefix cost. What each prefix adds is two sweeps over its scores.

mod finish;
mod gradient;
mod pass;
mod weigh;

use ndarray::{ArrayView1, ArrayViewMut2, Axis};

use super::block::{Block, Left, Side};
use super::checks::check_want;
use super::engine::Engine;
use super::positives::Positives;
use super::query::Query;
use super::sinks::Sinks;
use super::{InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport};
use crate::blocks::on_pool;
use crate::error::Error;
use crate::loss::Want;
use crate::scalar::Scalar;
use crate::similarity::Similarity;
use crate::workspace::Workspace;
use pass::Prefixes;

/// The batch cut short, and its weight.
type Prefix<'a, A> = (InfoNceInput<'a, A>, f64);

/// The weighted sum of the loss over prefixes, which get longer. `None`, and `want` as it was, where they [share](shares_products) nothing.
pub(crate) fn evaluate<A: Scalar>(
    loss: &InfoNceLoss,
    input: &InfoNceInput<'_, A>,
    prefixes: &[Prefix<'_, A>],
    want: &mut Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> Result<Option<A>, Error> {
    let Some((longest, _)) = prefixes.last() else {
        return Ok(None);
    };
    if !shares_products(loss, prefixes, workspace.limit()) {
        return Ok(None);
    }
    loss.check_input(longest)?;
    let n = longest.queries.nrows();
    let positives = Positives::new(&longest.targets, n, longest.within);
    loss.check_positives(longest, &positives)?;
    check_want(input, want)?;
    if (0..n).any(|query| positives.count(query) > 1) {
        return Ok(None);
    }
    let products = 6.0 * longest.queries.len() as f64 * longest.documents.nrows() as f64;
    let threads = Engine::<A>::threads(products as usize);
    Ok(on_pool(threads, || {
        run(loss, prefixes, &positives, want, workspace)
    }))
}

/// Whether prefixes can be scored by the same products: those of queries with documents and a pool, which no rule changes.
fn shares_products<A: Scalar>(
    loss: &InfoNceLoss,
    prefixes: &[Prefix<'_, A>],
    limit: usize,
) -> bool {
    /// The least that a pass needs.
    const LEAST: usize = 1 << 16;
    let plain = |block: &Block<A>| {
        let right = matches!(block.right, Side::Documents | Side::Pool);
        block.left == Left::Queries && right && block.rules.is_none()
    };
    let Some((input, _)) = prefixes.last() else {
        return false;
    };
    let longer = |pair: &[Prefix<'_, A>]| pair[0].0.queries.ncols() < pair[1].0.queries.ncols();
    prefixes.len() > 1
        && prefixes.windows(2).all(longer)
        && limit / prefixes.len() >= LEAST
        && !(input.queries.is_empty() || input.documents.is_empty())
        && input.negatives.is_none()
        && loss.in_batch_negatives
        && Block::all(loss, input).iter().all(plain)
}

/// Value, gradients and the rest, for input that has been checked. `None` where embeddings must be normalised prefix by prefix.
fn run<A: Scalar>(
    loss: &InfoNceLoss,
    prefixes: &[Prefix<'_, A>],
    positives: &Positives,
    want: &mut Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> Option<A> {
    let (longest, _) = &prefixes[prefixes.len() - 1];
    let (n, dim) = longest.queries.dim();
    let weights = loss.effective_weights(longest, positives);
    let weights = weights.as_ref().map(|weights| weights.view());
    let weights = weights.or(longest.weights.map(|weights| weights.reborrow()));
    let scale = loss.reduction.scale(n, weights);
    let limit = workspace.limit() / prefixes.len();
    let dots = loss.with_similarity(Similarity::Dot);
    let batch = weighted(longest, weights);
    let products = Engine::new(&dots, batch, positives, None, None, 1.0, limit);
    let levels = prefixes.iter().map(|(input, weight)| {
        let scale = weight * scale.unwrap_or(1.0);
        let batch = weighted(input, weights);
        Engine::new(loss, batch, positives, None, None, scale, limit)
    });
    let mut pass = Prefixes::new(products, levels.collect())?;
    if let Some(level) = pass.levels.last_mut() {
        level.reports = want.report.is_some();
    }

    let gradient = want.gradient.take();
    let wanted = gradient.is_some();
    let InfoNceGradient {
        queries,
        documents,
        negatives: _,
        pool,
        log_temperature,
        bias,
    } = gradient.unwrap_or_default();
    let [queries, documents, pool] = [queries, documents, pool].map(|view| within(view, dim));
    let mut sinks = Sinks::new(queries, documents, None, pool);
    pass.run(scale.is_none(), &mut sinks, wanted, workspace);

    if let Some(log_temperature) = log_temperature {
        *log_temperature = pass.sum(|level| level.weighted(Query::by_log_temperature));
    }
    if let Some(bias) = bias {
        *bias = pass.sum(|level| level.weighted(|query| query.tilt));
    }
    let (mut value, mut row_sums) = (0.0, vec![0.0; n]);
    for (level, &(_, weight)) in pass.levels.iter().zip(prefixes) {
        let losses = level.losses();
        let sums = row_sums.iter_mut().zip(&losses);
        sums.for_each(|(sum, loss)| *sum += weight * loss);
        let scale = scale.unwrap_or_else(|| level.per_active_weight(&losses));
        value += weight * level.value(&losses, scale).wide();
    }
    if let Some(mut rows) = want.rows.take() {
        let rows = rows.iter_mut().zip(row_sums);
        rows.for_each(|(row, sum)| *row = A::narrow(sum));
    }
    if let (Some(report), Some(level)) = (want.report.take(), pass.levels.last()) {
        *report = level.report(&level.losses());
    }
    Some(A::narrow(value))
}

/// A batch with other weights.
fn weighted<'b, 'a: 'b, A: Scalar>(
    input: &InfoNceInput<'a, A>,
    weights: Option<ArrayView1<'b, A>>,
) -> InfoNceInput<'b, A> {
    let mut input = input.reborrow();
    input.weights = weights;
    input
}

/// The first columns of a gradient, as many as there are: that of a pool that is not there has none. The others become zero.
fn within<A: Scalar>(
    view: Option<ArrayViewMut2<'_, A>>,
    dim: usize,
) -> Option<ArrayViewMut2<'_, A>> {
    let view = view?;
    let dim = dim.min(view.ncols());
    let (within, mut beyond) = view.split_at(Axis(1), dim);
    beyond.fill(A::zero());
    Some(within)
}
