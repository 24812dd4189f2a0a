//! InfoNCE over documents that are never together: in chunks, or round a ring of machines.

use ndarray::{ArrayView1, ArrayViewMut1};

use super::checks::{check_gradient, check_shapes};
use super::engine::Engine;
use super::listed_rules::ListedRules;
use super::positives::{Positives, Targets};
use super::query::Query;
use super::sinks::Sinks;
use super::{Directions, InfoNceGradient, InfoNceInput, InfoNceLoss};
use crate::blocks::on_pool;
use crate::error::Error;
use crate::log_sum_exp::LogSumExp;
use crate::reduction::Sum;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// Queries against some of the documents that they compete for.
///
/// Its gradient is a share: the sum over all chunks is the gradient of the whole. See [`InfoNceStates`].
#[derive(Clone, Copy, Debug)]
pub struct InfoNceChunk<'a, A> {
    /// The queries, with a chunk of the documents. Its targets count documents from the first of all.
    pub input: InfoNceInput<'a, A>,
    /// Which of all documents is the first of this chunk.
    pub first_document: usize,
}

/// The softmax of each query while documents come in chunks: what a ring carries on, a number or two for each query.
///
/// 1. [`observe`](InfoNceLoss::observe) every chunk once, in any order (on several machines, [`merge`](Self::merge) what they observed);
/// 2. [`settle`](InfoNceLoss::settle) for the value;
/// 3. [`apply`](InfoNceLoss::apply) every chunk once more for the gradients.
///
/// To rounding that is the loss of all documents at once, whatever the chunks. The options may be any that ask of a candidate nothing but its own score: no other
/// directions, own negatives, pool, false negatives by similarity, or several positives.
///
/// ```
/// use contrastive::{InfoNceChunk, InfoNceInput, InfoNceLoss, InfoNceStates, Loss, Workspace};
/// use ndarray::{array, s};
///
/// let queries = array![[1.0, 0.2], [0.3, 1.0]];
/// let documents = array![[0.9, 0.0], [0.1, 1.0], [0.5, 0.5], [-1.0, 0.0]];
/// let loss = InfoNceLoss::new(0.5)?;
/// let whole: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
///
/// let (mut states, mut workspace) = (InfoNceStates::new(2), Workspace::new());
/// for first_document in [0, 2] {
///     let chunk = documents.slice(s![first_document..first_document + 2, ..]);
///     let input = InfoNceInput::new(queries.view(), chunk);
///     loss.observe(InfoNceChunk { input, first_document }, &mut states, &mut workspace)?;
/// }
/// let total = loss.settle::<f64>(&mut states, None, None)?;
/// assert!((total.value - whole).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InfoNceStates {
    queries: Vec<Query>,
}

impl InfoNceStates {
    /// Of queries that have not seen a document.
    pub fn new(queries: usize) -> Self {
        Self {
            queries: vec![Query::NEW; queries],
        }
    }

    /// Lets in what other states of the same queries observed of other documents.
    ///
    /// # Errors
    /// If they are of another number of queries, or a query has met its positive in both.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_shape("states", &[self.queries.len()], &[other.queries.len()])?;
        let mut both = self.queries.iter().zip(&other.queries);
        if both.any(|(query, other)| query.has_positive && other.has_positive) {
            return Err(Error::IllDefined { reason: TWICE });
        }
        for (query, other) in self.queries.iter_mut().zip(&other.queries) {
            query.merge(other);
        }
        Ok(())
    }

    /// log Σ exp(z) over what a query has seen, its positive included.
    pub fn log_sum_exp(&self, query: usize) -> Option<LogSumExp> {
        let query = self.queries.get(query)?;
        let mut sum = LogSumExp::of_parts(query.others.max, query.others.sum);
        if query.has_positive {
            sum.update(query.positive.z);
        }
        Some(sum)
    }
}

const TWICE: &str = "a query has met its positive in two chunks; each document belongs to one";

/// What [`InfoNceLoss::settle`] finds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InfoNceTotal<A> {
    /// The loss.
    pub value: A,
    /// ∂L/∂log τ
    pub log_temperature: A,
    /// ∂L/∂b of the sigmoid loss; 0 for others
    pub bias: A,
}

impl InfoNceLoss {
    /// Scores a chunk of documents, and lets it into the softmaxes of the queries.
    ///
    /// # Errors
    /// If a shape does not fit, an option needs all documents at once, or a query met its positive before.
    pub fn observe<A: Scalar>(
        &self,
        chunk: InfoNceChunk<'_, A>,
        states: &mut InfoNceStates,
        workspace: &mut Workspace<A>,
    ) -> Result<(), Error> {
        A::info_nce_observe(self, chunk, states, workspace)
    }

    /// The value, once all chunks have been observed; row losses `[n]` where wanted. Weights `[n]` as for the whole.
    ///
    /// # Errors
    /// If a shape or a weight does not fit, a query has not met its positive, or the reduction is [`Reduction::MeanActive`](crate::Reduction).
    pub fn settle<A: Scalar>(
        &self,
        states: &mut InfoNceStates,
        weights: Option<ArrayView1<'_, A>>,
        rows: Option<ArrayViewMut1<'_, A>>,
    ) -> Result<InfoNceTotal<A>, Error> {
        let n = states.queries.len();
        self.reduction.check_weights("queries", n, weights)?;
        let scale = self.chunk_scale(n, weights)?;
        if let Some(rows) = &rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        if self.bias.is_none() && states.queries.iter().any(|query| !query.has_positive) {
            let reason = "a query has not met its positive in any chunk that was observed";
            return Err(Error::IllDefined { reason });
        }
        let rules = ListedRules::new(self);
        for query in &mut states.queries {
            query.settled = rules.settled(query, &mut []);
        }
        let sum = |of: fn(&Query) -> f64| {
            let weight = |i: usize| weights.map_or(1.0, |weights| weights[i].wide());
            let queries = states.queries.iter().enumerate();
            let shares = queries.map(|(i, query)| (weight(i), query));
            let shares = shares.filter(|&(weight, _)| weight != 0.0);
            let sum = shares.fold(Sum::default(), |sum, (weight, query)| {
                sum.plus(weight * of(query))
            });
            A::narrow(sum.value() * scale)
        };
        let total = InfoNceTotal {
            value: sum(|query| query.settled.loss),
            log_temperature: sum(|query| -query.settled.slope),
            bias: sum(|query| query.tilt),
        };
        if let Some(mut rows) = rows {
            let rows = rows.iter_mut().zip(&states.queries);
            rows.for_each(|(row, query)| *row = A::narrow(query.settled.loss));
        }
        Ok(total)
    }

    /// The share of a chunk in the gradients by the queries and by its documents, after [`settle`](Self::settle). Overwritten, as everywhere: the caller adds the
    /// shares of the queries up.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe), and if a gradient view has another shape than its input.
    pub fn apply<A: Scalar>(
        &self,
        chunk: InfoNceChunk<'_, A>,
        states: &InfoNceStates,
        gradient: InfoNceGradient<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<(), Error> {
        A::info_nce_apply(self, chunk, states, gradient, workspace)
    }

    fn chunk_scale<A: Scalar>(
        &self,
        n: usize,
        weights: Option<ArrayView1<'_, A>>,
    ) -> Result<f64, Error> {
        let reason = "which rows are active is known only after the gradient of the first chunk was due; take another reduction";
        self.reduction
            .scale(n, weights)
            .ok_or(Error::IllDefined { reason })
    }

    fn check_chunk<A: Scalar>(
        &self,
        chunk: &InfoNceChunk<'_, A>,
        states: &InfoNceStates,
    ) -> Result<Positives, Error> {
        let input = &chunk.input;
        let n = states.queries.len();
        check_shape(
            "queries",
            &[n, input.queries.ncols()],
            input.queries.shape(),
        )?;
        let whole = self.directions != Directions::default()
            || self.false_negatives.is_some()
            || !self.in_batch_negatives
            || input.negatives.is_some()
            || input.pool.is_some()
            || input.guide.is_some()
            || input.within;
        let one = !matches!(input.targets, Targets::Lists { .. } | Targets::Ids { .. });
        if whole || !one {
            let reason = "in chunks, a query has one positive by its number, and competes for the documents of the batch alone";
            return Err(Error::IllDefined { reason });
        }
        check_shapes(input)?;
        let m = input.documents.nrows();
        // The target of a query may lie in any chunk.
        input.targets.check(n, usize::MAX)?;
        if chunk.first_document.checked_add(m).is_none() {
            return Err(Error::Index {
                name: "first_document",
                row: 0,
                rows: usize::MAX - m,
                found: chunk.first_document,
            });
        }
        Ok(Positives::in_chunk(
            &input.targets,
            n,
            chunk.first_document,
            m,
        ))
    }
}

pub(crate) fn observe<A: Scalar>(
    loss: &InfoNceLoss,
    chunk: InfoNceChunk<'_, A>,
    states: &mut InfoNceStates,
    workspace: &mut Workspace<A>,
) -> Result<(), Error> {
    let positives = loss.check_chunk(&chunk, states)?;
    let mut queries = states.queries.iter().enumerate();
    if queries.any(|(i, query)| query.has_positive && positives.count(i) > 0) {
        return Err(Error::IllDefined { reason: TWICE });
    }
    let input = chunk.input.reborrow();
    let threads = Engine::<A>::threads(2 * input.queries.len() * input.documents.nrows());
    on_pool(threads, || {
        let (limit, positives) = (workspace.limit(), &positives);
        let mut engine = Engine::new(loss, input, positives, None, None, 1.0, limit);
        engine.queries.clone_from(&states.queries);
        for queries in engine.query_blocks() {
            engine.pairs.prepare(positives, &queries);
            engine.score_positives(&queries);
            engine.fold(&queries, workspace);
        }
        states.queries = engine.queries;
    });
    Ok(())
}

pub(crate) fn apply<A: Scalar>(
    loss: &InfoNceLoss,
    chunk: InfoNceChunk<'_, A>,
    states: &InfoNceStates,
    gradient: InfoNceGradient<'_, A>,
    workspace: &mut Workspace<A>,
) -> Result<(), Error> {
    let positives = loss.check_chunk(&chunk, states)?;
    let (n, weights) = (states.queries.len(), chunk.input.weights);
    loss.reduction.check_weights("queries", n, weights)?;
    let scale = loss.chunk_scale(n, weights)?;
    check_gradient(&chunk.input, &gradient)?;
    let input = chunk.input.reborrow();
    let threads = Engine::<A>::threads(4 * input.queries.len() * input.documents.nrows());
    on_pool(threads, || {
        let (limit, positives) = (workspace.limit(), &positives);
        let mut engine = Engine::new(loss, input, positives, None, None, scale, limit);
        engine.queries.clone_from(&states.queries);
        let mut sinks = Sinks::new(gradient.queries, gradient.documents, None, None);
        engine.prepare(&mut sinks);
        for queries in engine.query_blocks() {
            engine.pairs.prepare(positives, &queries);
            engine.pack_queries(&queries, workspace);
            engine.apply(&queries, false, &mut sinks, workspace);
        }
        engine.finish_right(&mut sinks);
    });
    Ok(())
}
