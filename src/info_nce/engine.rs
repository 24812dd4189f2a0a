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
use std::sync::atomic::AtomicUsize;

use ndarray::{ArrayView2, ArrayView3, CowArray, Ix2};

use super::block::Side;
use super::block::{Block, Guides, Left, Matrices};
use super::layout::Layout;
use super::listed::{Listed, Unfinished};
use super::listed_rules::ListedRules;
use super::own::{FlatGradient, Own};
use super::pairs::Pairs;
use super::positives::Positives;
use super::query::Query;
use super::sinks::Sinks;
use super::softmax::Partition;
use super::{InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport};
use crate::blocks::Threads;
use crate::loss::Want;
use crate::reduction::{Reduction, reciprocal_or_zero};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// Value, gradients and the rest, for input that has been checked.
pub(super) fn evaluate<A: Scalar>(
    loss: &InfoNceLoss,
    input: InfoNceInput<'_, A>,
    positives: &Positives,
    want: Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> A {
    let n = input.queries.nrows();
    let weights = loss.effective_weights(&input, positives);
    let (negatives, guided) = (
        input.negatives,
        input.guide.and_then(|guide| guide.negatives),
    );
    let (own, guided) = (negatives.as_ref().map(flat), guided.as_ref().map(flat));
    let mut input = input.reborrow();
    if let Some(weights) = &weights {
        input.weights = Some(weights.view());
    }
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
    let InfoNceGradient {
        queries,
        documents,
        negatives,
        pool,
        log_temperature,
        bias,
    } = gradient.unwrap_or_default();
    let mut negatives = negatives.map(FlatGradient::new);
    let to_negatives = negatives.as_mut().map(FlatGradient::rows);
    let documents = documents.filter(|_| !input.within);
    let mut sinks = Sinks::new(queries, documents, to_negatives, pool);

    let own = own.as_ref().map(|rows| Own {
        rows: rows.view(),
        starts: input.starts(),
    });
    let guided = guided.as_ref().map(|rows| rows.view());
    let mut engine = Engine::new(
        loss,
        input,
        positives,
        own,
        guided,
        first,
        workspace.limit(),
    );
    engine.reports = report.is_some();
    engine.run(&mut sinks, wanted, workspace);

    let losses = engine.losses();
    if let Some(mut rows) = rows {
        rows.iter_mut()
            .zip(&losses)
            .for_each(|(row, &loss)| *row = A::narrow(loss));
    }
    let scale = known.unwrap_or_else(|| engine.per_active_weight(&losses));
    let rest = if known.is_some() {
        1.0
    } else {
        scale * reciprocal_or_zero(first)
    };
    if rest != 1.0 {
        sinks.scale(rest);
    }
    if let Some(report) = report {
        *report = engine.report(&losses);
    }
    if let Some(log_temperature) = log_temperature {
        *log_temperature = A::narrow(engine.weighted(Query::by_log_temperature) * rest);
    }
    if let Some(bias) = bias {
        *bias = A::narrow(engine.weighted(|query| query.tilt) * rest);
    }
    let value = engine.value(&losses, scale);
    drop(sinks);
    if let Some(negatives) = negatives {
        negatives.finish();
    }
    value
}

/// An array `[n, K, dim]` as a matrix `[n·K, dim]`, copied if its layout asks for that.
fn flat<'r, A: Scalar>(rows: &'r ArrayView3<'_, A>) -> CowArray<'r, A, Ix2> {
    let (n, count, dim) = rows.dim();
    if count == 1 {
        return rows.index_axis(ndarray::Axis(1), 0).into();
    }
    let flat = rows.to_shape((n * count, dim));
    flat.expect("a matrix has as many numbers")
}

pub(super) struct Engine<'l, 'a, A> {
    pub(super) loss: &'l InfoNceLoss,
    pub(super) listed: Listed<'a, A>,
    pub(super) matrices: Matrices<'a, A>,
    pub(super) blocks: Vec<Block<A>>,
    pub(super) layout: Layout,
    pub(super) queries: Vec<Query>,
    pub(super) pairs: Pairs,
    /// The softmax over the queries of each document, without those whose positive it is.
    pub(super) columns: Vec<Partition>,
    pub(super) column_shifts: Vec<A>,
    pub(super) column_weights: Vec<A>,
    pub(super) reports: bool,
    pub(super) guides: Option<Guides<'a, A>>,
}

impl<'l, 'a, A: Scalar> Engine<'l, 'a, A> {
    pub(super) fn new(
        loss: &'l InfoNceLoss,
        input: InfoNceInput<'a, A>,
        positives: &'a Positives,
        own: Option<Own<'a, A>>,
        guided: Option<ArrayView2<'a, A>>,
        scale: f64,
        limit: usize,
    ) -> Self {
        let blocks = Block::all(loss, &input);
        let matrices = Matrices::new(loss, &input, own, &blocks);
        let sizes = blocks
            .iter()
            .map(|block| matrices.of(block.right).factors.len());
        let sizes: Vec<usize> = sizes.collect();
        let two_phases = loss.directions.document_to_query;
        let (n, dim) = input.queries.dim();
        let kept = Pairs::bytes_of_a_query(positives, n);
        let m = if two_phases {
            input.documents.nrows()
        } else {
            0
        };
        Self {
            loss,
            layout: Layout::new::<A>(n, &sizes, dim, limit, kept, two_phases),
            matrices,
            blocks,
            queries: vec![Query::NEW; n],
            pairs: Pairs::default(),
            columns: vec![Partition::EMPTY; m],
            column_shifts: vec![A::zero(); m],
            column_weights: vec![A::zero(); m],
            reports: false,
            guides: input.guide.as_ref().map(|guide| Guides::new(guide, guided)),
            listed: Listed {
                documents: input.documents,
                own,
                positives,
                similarity: loss.similarity,
                per_temperature: 1.0 / loss.temperature,
                rules: ListedRules::new(loss),
                positive_in_tiles: loss.in_batch_negatives,
                left_out: AtomicUsize::new(0),
                scale: if loss.averages_directions() {
                    0.5 * scale
                } else {
                    scale
                },
                input,
            },
        }
    }

    /// Whether a query's weight is multiplied into its scores, and not into the packed query: with a second softmax, or with
    /// smoothed labels.
    pub(super) fn weights_in_tiles(&self) -> bool {
        self.loss.directions.document_to_query || self.loss.label_smoothing > 0.0
    }

    pub(super) fn dim(&self) -> usize {
        self.listed.input.queries.ncols()
    }

    /// What stands for the queries in some block.
    pub(super) fn lefts(&self) -> impl Iterator<Item = Left> + '_ {
        let there = |left: &Left| self.blocks.iter().any(|block| block.left == *left);
        Left::ALL.into_iter().filter(there)
    }

    /// Blocks of queries.
    pub(super) fn query_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<A> {
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

    fn run(&mut self, sinks: &mut Sinks<'_, A>, wanted: bool, workspace: &mut Workspace<A>) {
        if wanted {
            self.prepare(sinks);
        }
        if self.loss.directions.document_to_query {
            self.run_in_two_phases(sinks, wanted, workspace);
        } else {
            // Where positives are listed, the gradient of documents asks for all of them at the end.
            let all_pairs = !self.listed.positive_in_tiles;
            if all_pairs {
                self.pairs
                    .prepare(self.listed.positives, &(0..self.queries.len()));
            }
            for queries in self.query_blocks() {
                if !all_pairs {
                    self.pairs.prepare(self.listed.positives, &queries);
                }
                self.score_positives(&queries);
                self.fold(&queries, workspace);
                self.settle(&queries, sinks);
                if wanted {
                    self.apply(&queries, self.layout.holds_rows(), sinks, workspace);
                }
            }
        }
        if wanted {
            self.finish_right(sinks);
        }
    }

    /// A softmax over queries is complete only when all of them have been scored.
    fn run_in_two_phases(
        &mut self,
        sinks: &mut Sinks<'_, A>,
        wanted: bool,
        workspace: &mut Workspace<A>,
    ) {
        let all = 0..self.queries.len();
        self.pairs.prepare(self.listed.positives, &all);
        let blocks: Vec<_> = self.query_blocks().collect();
        for queries in &blocks {
            self.score_positives(queries);
            self.fold(queries, workspace);
        }
        if self.loss.joint() {
            self.join_columns();
        }
        self.settle(&all, sinks);
        self.settle_columns();
        if wanted {
            // Backwards: the scores of the last block are still there, if they ever were all together.
            for (turn, queries) in blocks.iter().rev().enumerate() {
                let held = turn == 0 && self.layout.holds_rows();
                self.apply(queries, held, sinks, workspace);
            }
        }
    }

    pub(super) fn score_positives(&mut self, queries: &Range<usize>) {
        let pairs = self.pairs.some(queries);
        self.listed
            .score_positives(queries.start, &mut self.queries[queries.clone()], pairs);
    }

    // ---- settle

    pub(super) fn settle(&mut self, queries: &Range<usize>, sinks: &mut Sinks<'_, A>) {
        let views = if self.lists_candidates() {
            sinks.listed(queries, self.listed.own.map(|own| own.starts))
        } else {
            (None, None)
        };
        let [queries_there, negatives_there] =
            [Side::Queries, Side::Negatives].map(|side| self.is_right(side));
        let embeddings = |side| &self.matrices.of(side).embeddings;
        let unfinished = Unfinished {
            queries: queries_there.then(|| embeddings(Side::Queries)),
            negatives: negatives_there.then(|| embeddings(Side::Negatives)),
        };
        let pairs = self.pairs.some(queries);
        let some = &mut self.queries[queries.clone()];
        self.listed
            .settle(queries.start, some, pairs, views, unfinished);
    }

    /// Whether some of the query gradient comes from candidates that are listed and not scored in tiles.
    pub(super) fn lists_candidates(&self) -> bool {
        self.listed.own.is_some() || !self.listed.positive_in_tiles
    }
}
