//! The passes of InfoNCE over blocks of queries: fold the scores into softmaxes, settle them, carry the gradient back.
//!
//! ```text
//! for each block of queries                       one direction                     symmetric
//!   fold:   scores = documents · queriesᵀ         softmax over documents            … and over queries
//!   settle: positives and own negatives join in   as soon as the block is folded    after all blocks
//!   apply:  queries += scoresᵀ · documents        at once, on the same scores       second loop, scores computed again
//!           documents += scores · queries                                           unless all of them are still held
//! ```
//!
//! Every product and sweep is cut at fixed places, every result has one writer, and sums are taken in a fixed order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::s;

use super::block::Block;
use super::candidates::Embeddings;
use super::layout::Layout;
use super::listed::{Listed, ListedRules};
use super::query::Query;
use super::softmax::Partition;
use super::{InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport};
use crate::blocks::Threads;
use crate::loss::Want;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};
use crate::scalar::Scalar;
use crate::similarity::Similarity;
use crate::workspace::Workspace;

/// Value, gradients and the rest, for input that has been checked.
pub(super) fn evaluate<A: Scalar>(
    loss: &InfoNceLoss,
    input: InfoNceInput<'_, A>,
    want: Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> A {
    let n = input.queries.nrows();
    let known = loss.reduction.scale(n, input.weights);
    // Where the divisor depends on the losses it is known at the end. Until then the mean over all rows stands in, which divides by no less: the
    // gradient does not overflow before it is brought to its size.
    let first = known.or_else(|| Reduction::Mean.scale(n, input.weights));
    let first = first.unwrap_or(1.0);
    let Want {
        gradient,
        rows,
        report,
    } = want;
    let wanted = gradient.is_some();
    let mut gradient = gradient.unwrap_or_default();
    let mut engine = Engine::new(loss, input, first, workspace.limit(), report.is_some());
    engine.run(&mut gradient, wanted, workspace);

    let losses = engine.losses();
    if let Some(mut rows) = rows {
        rows.iter_mut()
            .zip(&losses)
            .for_each(|(row, &loss)| *row = A::narrow(loss));
    }
    let scale = known.unwrap_or_else(|| reciprocal_or_zero(engine.active_weight(&losses)));
    let rest = scale * reciprocal_or_zero(first);
    if rest != 1.0 && known.is_none() {
        scale_gradient(&mut gradient, rest);
    }
    if let Some(report) = report {
        *report = engine.report();
    }
    if let Some(log_temperature) = gradient.log_temperature {
        let rest = if known.is_some() { 1.0 } else { rest };
        *log_temperature = A::narrow(engine.log_temperature_gradient() * rest);
    }
    A::narrow(if scale == 0.0 {
        0.0
    } else {
        engine.weighted_sum(&losses) * scale
    })
}

fn scale_gradient<A: Scalar>(gradient: &mut InfoNceGradient<'_, A>, scale: f64) {
    let by = |x: &mut A| *x = A::narrow(x.wide() * scale);
    let InfoNceGradient {
        queries,
        documents,
        negatives,
        pool,
        ..
    } = gradient;
    for view in [queries, documents, pool].into_iter().flatten() {
        view.map_inplace(by);
    }
    if let Some(view) = negatives {
        view.map_inplace(by);
    }
}

pub(super) struct Engine<'l, 'a, A> {
    pub(super) loss: &'l InfoNceLoss,
    pub(super) listed: Listed<'a, A>,
    pub(super) left: Embeddings<'a, A>,
    pub(super) blocks: Vec<Block<'a, A>>,
    pub(super) layout: Layout,
    pub(super) queries: Vec<Query>,
    /// The softmax over the queries of each document, without those whose positive it is. Symmetric form only.
    pub(super) columns: Vec<Partition>,
    pub(super) column_shifts: Vec<A>,
    pub(super) column_weights: Vec<A>,
    pub(super) count_above: bool,
    /// The queries of a guide.
    pub(super) guide: Option<Embeddings<'a, A>>,
    /// Candidates in tiles that were left out.
    pub(super) left_out: AtomicUsize,
}

impl<'l, 'a, A: Scalar> Engine<'l, 'a, A> {
    fn new(
        loss: &'l InfoNceLoss,
        input: InfoNceInput<'a, A>,
        scale: f64,
        limit: usize,
        count_above: bool,
    ) -> Self {
        let per_temperature = 1.0 / loss.temperature;
        let blocks = Block::all(loss, &input);
        let sizes: Vec<usize> = blocks.iter().map(|block| block.factors.len()).collect();
        let (n, m) = (
            input.queries.nrows(),
            if loss.symmetric {
                input.documents.nrows()
            } else {
                0
            },
        );
        Self {
            loss,
            listed: Listed {
                input,
                similarity: loss.similarity,
                per_temperature,
                rules: ListedRules::new(loss),
                positive_in_tiles: loss.in_batch_negatives,
                scale: if loss.symmetric { 0.5 * scale } else { scale },
            },
            left: Embeddings::new(input.queries, loss.similarity),
            blocks,
            layout: Layout::new::<A>(n, &sizes, input.queries.ncols(), limit, loss.symmetric),
            queries: vec![Query::NEW; n],
            columns: vec![Partition::EMPTY; m],
            column_shifts: vec![A::zero(); m],
            column_weights: vec![A::zero(); m],
            count_above,
            guide: input
                .guide
                .map(|guide| Embeddings::new(guide.queries, Similarity::Cosine)),
            left_out: AtomicUsize::new(0),
        }
    }

    /// Whether a query's weight is multiplied into its scores, and not into the packed query: with a second softmax, or with
    /// smoothed labels.
    pub(super) fn weights_in_tiles(&self) -> bool {
        self.loss.symmetric || self.loss.label_smoothing > 0.0
    }

    pub(super) fn input(&self) -> &InfoNceInput<'a, A> {
        &self.listed.input
    }

    pub(super) fn dim(&self) -> usize {
        self.input().queries.ncols()
    }

    /// Blocks of queries.
    fn query_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<A> {
        let (n, step) = (self.queries.len(), self.layout.queries::<A>());
        (0..n)
            .step_by(step)
            .map(move |start| start..n.min(start + step))
    }

    /// Threads for a phase that does `flops` floating-point operations.
    pub(super) fn threads(flops: usize) -> Threads {
        const PER_NANOSECOND: f64 = 50.0;
        Threads::for_nanoseconds(flops as f64 / PER_NANOSECOND)
    }

    pub(super) fn product_threads(&self, queries: &Range<usize>, chunks: &Range<usize>) -> Threads {
        Self::threads(2 * self.dim() * queries.len() * chunks.len() * self.layout.chunk)
    }

    fn run(
        &mut self,
        gradient: &mut InfoNceGradient<'_, A>,
        wanted: bool,
        workspace: &mut Workspace<A>,
    ) {
        let blocks = self.query_blocks();
        let all_held = self.layout.holds_rows() && self.queries.len() <= self.layout.queries::<A>();
        for queries in blocks {
            self.listed
                .score_positives(queries.start, &mut self.queries[queries.clone()]);
            self.fold(&queries, workspace);
            if !self.loss.symmetric {
                self.settle(&queries, gradient);
                if wanted {
                    self.apply(&queries, self.layout.holds_rows(), gradient, workspace);
                }
            }
        }
        if self.loss.symmetric {
            self.settle(&(0..self.queries.len()), gradient);
            self.settle_columns();
            for queries in self.query_blocks() {
                if wanted {
                    self.apply(&queries, all_held, gradient, workspace);
                }
            }
        }
        if wanted {
            self.finish_documents(gradient);
        }
    }

    // ---- settle

    fn settle(&mut self, queries: &Range<usize>, gradient: &mut InfoNceGradient<'_, A>) {
        let views = if self.lists_candidates() {
            let to_queries = gradient
                .queries
                .as_mut()
                .map(|view| view.slice_mut(s![queries.clone(), ..]));
            let to_negatives = gradient
                .negatives
                .as_mut()
                .map(|view| view.slice_mut(s![queries.clone(), .., ..]));
            (to_queries, to_negatives)
        } else {
            (None, None)
        };
        self.listed
            .settle(queries.start, &mut self.queries[queries.clone()], views);
    }

    /// Whether some of the query gradient comes from candidates that are listed and not scored in tiles.
    pub(super) fn lists_candidates(&self) -> bool {
        self.input().negatives.is_some() || !self.loss.in_batch_negatives
    }

    // ---- results

    fn losses(&self) -> Vec<f64> {
        let queries = self.queries.iter();
        if self.loss.symmetric {
            queries
                .map(|query| 0.5 * (query.settled.loss + query.column.loss))
                .collect()
        } else {
            queries.map(|query| query.settled.loss).collect()
        }
    }

    fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        let weights = self.input().weights;
        (0..self.queries.len()).map(move |i| weights.map_or(1.0, |weights| weights[i].wide()))
    }

    fn weighted_sum(&self, losses: &[f64]) -> f64 {
        let rows = losses
            .iter()
            .zip(self.weights())
            .filter(|&(_, weight)| weight != 0.0);
        rows.fold(Sum::default(), |sum, (loss, weight)| {
            sum.plus(loss * weight)
        })
        .value()
    }

    fn active_weight(&self, losses: &[f64]) -> f64 {
        let active = losses
            .iter()
            .zip(self.weights())
            .filter(|&(&loss, _)| loss != 0.0);
        active
            .fold(Sum::default(), |sum, (_, weight)| sum.plus(weight))
            .value()
    }

    /// Of the loss with the engine's scale.
    fn log_temperature_gradient(&self) -> f64 {
        let slopes = self
            .queries
            .iter()
            .enumerate()
            .map(|(i, query)| (self.listed.weight(i), query));
        let slopes = slopes.filter(|&(weight, _)| weight != 0.0);
        slopes
            .fold(Sum::default(), |sum, (weight, query)| {
                sum.plus(-weight * (query.settled.slope + query.column.slope))
            })
            .value()
    }

    fn report(&self) -> InfoNceReport {
        let n = self.queries.len() as f64;
        let mean = |of: fn(&Query) -> f64| self.queries.iter().map(of).sum::<f64>() / n;
        InfoNceReport {
            accuracy: mean(|query| f64::from(query.above == 0.0)),
            reciprocal_rank: mean(|query| 1.0 / (1.0 + query.above)),
            positive_probability: mean(|query| 1.0 - query.settled.others),
            positive_similarity: mean(|query| query.positive.u) / self.listed.per_temperature,
            left_out: self.left_out.load(Ordering::Relaxed)
                + self
                    .queries
                    .iter()
                    .map(|query| query.left_out)
                    .sum::<usize>(),
        }
    }
}
