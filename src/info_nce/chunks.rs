//! InfoNCE over documents that are never together: in chunks, or round a ring of machines.

use ndarray::{ArrayView1, ArrayViewMut1};

use super::checks::{check_gradient, check_shapes};
use super::engine::Engine;
use super::listed_rules::ListedRules;
use super::positives::{Positives, Targets};
use super::query::Query;
use super::results::total;
use super::sinks::Sinks;
use super::states::{InfoNceStates, TWICE};
use super::{Directions, InfoNceGradient, InfoNceInput, InfoNceLoss};
use crate::blocks::{Threads, on_pool};
use crate::error::Error;
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

const UNSETTLED: &str = "the states have not been settled since they last observed or were merged";
const NO_SHARE: &str =
    "the gradients by the log temperature and the bias are no sums over chunks; settle gives them";

impl InfoNceLoss {
    /// Scores a chunk of documents, and lets it into the softmaxes of the queries, which have to be settled after that.
    ///
    /// # Errors
    /// If a shape does not fit, an option needs all documents at once or a softmax where there is none, or a query met its positive before.
    pub fn observe<A: Scalar>(
        &self,
        chunk: InfoNceChunk<'_, A>,
        states: &mut InfoNceStates,
        workspace: &mut Workspace<A>,
    ) -> Result<(), Error> {
        A::info_nce_observe(self, chunk, states, workspace)
    }

    /// The value and the gradients by log τ and the bias, once all chunks have been observed; row losses `[n]` where wanted. Weights `[n]` as for the whole.
    ///
    /// # Errors
    /// If a shape or a weight does not fit, a query has not met its positive, or the reduction is [`Reduction::MeanActive`](crate::Reduction).
    pub fn settle<A: Scalar>(
        &self,
        states: &mut InfoNceStates,
        weights: Option<ArrayView1<'_, A>>,
        rows: Option<ArrayViewMut1<'_, A>>,
    ) -> Result<InfoNceTotal<A>, Error> {
        self.check_sigmoid()?;
        let n = states.queries.len();
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
        states.settled = true;
        if let Some(mut rows) = rows {
            let rows = rows.iter_mut().zip(&states.queries);
            rows.for_each(|(row, query)| *row = A::narrow(query.settled.loss));
        }
        let sum = |of: fn(&Query) -> f64| total(states.queries.iter().map(of), weights, scale);
        Ok(InfoNceTotal {
            value: sum(|query| query.settled.loss),
            log_temperature: sum(Query::by_log_temperature),
            bias: sum(|query| query.tilt),
        })
    }

    /// The share of a chunk in the gradients by the queries and by its documents, after [`settle`](Self::settle). Overwritten, as everywhere: the caller adds the
    /// shares of the queries up. The gradients by log τ and the bias are no shares of a chunk: [`settle`](Self::settle) gives them, and views for them are refused.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe), if a gradient view has another shape than its input or is of log τ or the bias, and if the states have not been settled
    /// since they last [observed](Self::observe) or were [merged](InfoNceStates::merge).
    pub fn apply<A: Scalar>(
        &self,
        chunk: InfoNceChunk<'_, A>,
        states: &InfoNceStates,
        gradient: InfoNceGradient<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<(), Error> {
        A::info_nce_apply(self, chunk, states, gradient, workspace)
    }

    /// Checks the weights. What the losses of the rows are multiplied with, besides them.
    fn chunk_scale<A: Scalar>(
        &self,
        n: usize,
        weights: Option<ArrayView1<'_, A>>,
    ) -> Result<f64, Error> {
        self.reduction.check_weights("queries", n, weights)?;
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
        self.check_sigmoid()?;
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
    on_pool(threads(&input, 2.0), || {
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
    states.settled = false;
    states.sigmoid |= loss.bias.is_some();
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
    let scale = loss.chunk_scale(states.queries.len(), chunk.input.weights)?;
    check_gradient(&chunk.input, &gradient)?;
    if gradient.log_temperature.is_some() || gradient.bias.is_some() {
        return Err(Error::IllDefined { reason: NO_SHARE });
    }
    if !states.settled {
        return Err(Error::IllDefined { reason: UNSETTLED });
    }
    let input = chunk.input.reborrow();
    on_pool(threads(&input, 4.0), || {
        let (limit, positives) = (workspace.limit(), &positives);
        let mut engine = Engine::new(loss, input, positives, None, None, scale, limit);
        engine.queries.clone_from(&states.queries);
        // Ids are the input's. States that were merged from others have not seen them.
        if let Some(ids) = input.ids {
            let queries = engine.queries.iter_mut().zip(ids.queries);
            queries.for_each(|(query, &id)| query.id = id);
        }
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

/// Threads for so many products of every query with every document. A count in `f64` does not overflow.
fn threads<A: Scalar>(input: &InfoNceInput<'_, A>, times: f64) -> Threads {
    let products = input.queries.len() as f64 * input.documents.nrows() as f64;
    Threads::for_products(times * products)
}
