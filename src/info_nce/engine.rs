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

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, ShapeBuilder, s};

use super::candidates::{Askers, Embeddings};
use super::listed::{Listed, Query, times};
use super::softmax::Partition;
use super::tiles::{Chunk, ColumnSums, Columns, Layout, Scale, Sums, Weigh};
use super::{InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport};
use crate::blocks::{Threads, Units, for_each};
use crate::gemm::{Write, product, segmented_product};
use crate::kernels::dot;
use crate::loss::Want;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};
use crate::rows::{Stores, write_row};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::Similarity;
use crate::wide::Real;
use crate::workspace::Workspace;

/// Value, gradients and the rest, for input that has been checked.
pub(super) fn evaluate<A: Scalar>(
    loss: &InfoNceLoss,
    input: InfoNceInput<'_, A>,
    want: Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
    workspace: &mut Workspace<A>,
) -> A {
    let n = input.queries.nrows();
    // Where the divisor depends on the losses, the gradient is made for 1 and divided at the end.
    let scale = loss.reduction.scale(n, input.weights);
    let Want {
        gradient,
        rows,
        report,
    } = want;
    let wanted = gradient.is_some();
    let mut gradient = gradient.unwrap_or_default();
    let mut engine = Engine::new(
        loss,
        input,
        scale.unwrap_or(1.0),
        workspace.limit(),
        report.is_some(),
    );
    engine.run(&mut gradient, wanted, workspace);

    let losses = engine.losses();
    if let Some(mut rows) = rows {
        rows.iter_mut()
            .zip(&losses)
            .for_each(|(row, &loss)| *row = A::narrow(loss));
    }
    let scale = scale.unwrap_or_else(|| {
        let divisor = engine.active_weight(&losses);
        scale_gradient(&mut gradient, reciprocal_or_zero(divisor));
        reciprocal_or_zero(divisor)
    });
    if let Some(report) = report {
        *report = engine.report();
    }
    if let Some(log_temperature) = gradient.log_temperature {
        let divide = if matches!(loss.reduction, Reduction::MeanActive) {
            scale
        } else {
            1.0
        };
        *log_temperature = A::narrow(engine.log_temperature_gradient() * divide);
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

/// One matrix that is scored against the queries.
struct Block<'a, A> {
    embeddings: Embeddings<'a, A>,
    /// Factors over τ, in the precision of the scores.
    factors: Vec<A>,
    /// Whether the positives are among its rows, and the symmetric form's other softmax is over its columns.
    has_positives: bool,
}

struct Engine<'l, 'a, A> {
    loss: &'l InfoNceLoss,
    listed: Listed<'a, A>,
    left: Embeddings<'a, A>,
    blocks: Vec<Block<'a, A>>,
    layout: Layout,
    queries: Vec<Query>,
    /// The softmax over the queries of each document, without those whose positive it is. Symmetric form only.
    columns: Vec<Partition>,
    column_shifts: Vec<A>,
    column_weights: Vec<A>,
    count_above: bool,
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
        let matrices = [(input.documents, true, loss.in_batch_negatives)];
        let matrices = matrices
            .into_iter()
            .chain(input.pool.map(|pool| (pool, false, true)));
        let blocks: Vec<Block<'a, A>> = matrices
            .filter(|&(_, _, scored)| scored)
            .map(|(rows, has_positives, _)| {
                let embeddings = Embeddings::new(rows, loss.similarity);
                let factors = embeddings
                    .factors
                    .iter()
                    .map(|factor| A::narrow(factor * per_temperature))
                    .collect();
                Block {
                    embeddings,
                    factors,
                    has_positives,
                }
            })
            .collect();
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
                positive_in_tiles: loss.in_batch_negatives,
                scale: if loss.symmetric { 0.5 * scale } else { scale },
            },
            left: Embeddings::new(input.queries, loss.similarity),
            blocks,
            layout: Layout::new::<A>(n, &sizes, limit, loss.symmetric),
            queries: vec![Query::NEW; n],
            columns: vec![Partition::EMPTY; m],
            column_shifts: vec![A::zero(); m],
            column_weights: vec![A::zero(); m],
            count_above,
        }
    }

    fn input(&self) -> &InfoNceInput<'a, A> {
        &self.listed.input
    }

    fn dim(&self) -> usize {
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
    fn threads(flops: usize) -> Threads {
        const PER_NANOSECOND: f64 = 50.0;
        Threads::for_nanoseconds(flops as f64 / PER_NANOSECOND)
    }

    fn product_threads(&self, queries: &Range<usize>, chunks: &Range<usize>) -> Threads {
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

    // ---- fold: scores into softmaxes

    fn fold(&mut self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
        if self.blocks.is_empty() {
            return;
        }
        self.pack_transposed(queries, workspace);
        for slab in self.layout.slabs() {
            self.score(queries, &slab, workspace);
            self.sum(queries, &slab, workspace);
            if self.loss.symmetric {
                self.sum_columns(queries, &slab, workspace);
            }
        }
    }

    /// Packs a block of queries, normalised, as panels `[panel][dim][lane]`.
    fn pack_transposed(&self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
        let (dim, panels) = (self.dim(), queries.len().div_ceil(A::PANEL));
        let packed = Units {
            slice: workspace.packed.take(panels * dim * A::PANEL),
            len: dim * A::PANEL,
        };
        for_each(
            Self::threads(queries.len() * dim * 50),
            panels,
            1,
            packed,
            &|first, count, packed: Units<A>| {
                for (panel, packed) in (first..first + count)
                    .zip(packed.slice.chunks_exact_mut((dim * A::PANEL).max(1)))
                {
                    let start = queries.start + panel * A::PANEL;
                    dispatch(PackTransposed {
                        left: &self.left,
                        rows: start..queries.end.min(start + A::PANEL),
                        packed,
                    });
                }
            },
        );
    }

    /// Scores a slab of chunks against a block of queries, into tiles `[chunk][panel][document][lane]`.
    fn score(&self, queries: &Range<usize>, slab: &Range<usize>, workspace: &mut Workspace<A>) {
        let (panels, tile, dim) = (
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
            self.dim(),
        );
        let count = slab.len() * panels;
        let packed = &*workspace.packed.take(panels * dim * A::PANEL);
        let tiles = Units {
            slice: workspace.scores.take(count * tile),
            len: tile,
        };
        let max = Units {
            slice: workspace.lanes.take(count * A::PANEL),
            len: A::PANEL,
        };
        for_each(
            self.product_threads(queries, slab),
            count,
            1,
            (tiles, max),
            &|first, _, (tile, max)| {
                let (chunk, panel) = (
                    &self.layout.chunks[slab.start + first / panels],
                    first % panels,
                );
                let packed = &packed[panel * dim * A::PANEL..(panel + 1) * dim * A::PANEL];
                self.score_tile(
                    queries.start + panel * A::PANEL..queries.end,
                    chunk,
                    packed,
                    tile.slice,
                    max.slice,
                );
            },
        );
    }

    fn score_tile(
        &self,
        queries: Range<usize>,
        chunk: &Chunk,
        packed: &[A],
        tile: &mut [A],
        max: &mut [A],
    ) {
        let block = &self.blocks[chunk.block];
        let tile = &mut tile[..chunk.rows.len() * A::PANEL];
        let documents = block
            .embeddings
            .rows()
            .slice_move(s![chunk.rows.clone(), ..]);
        if self.dim() == 0 {
            tile.fill(A::zero());
        }
        // Long products in pieces: the partial sums stay small, and with them their rounding errors.
        for start in (0..self.dim()).step_by(DEPTH) {
            let depth = start..self.dim().min(start + DEPTH);
            let write = if start == 0 { Write::Set } else { Write::Add };
            let panel = &packed[start * A::PANEL..];
            product(
                documents.slice(s![.., depth]),
                panel,
                panel_view(tile, chunk.rows.len()),
                write,
            );
        }
        let (mut positives, mut found) = ([(0, 0); 32], 0);
        self.positives_in(chunk, &queries, |row, lane, _| {
            positives[found] = (row, lane);
            found += 1;
        });
        dispatch(Scale {
            tile,
            factors: &block.factors[chunk.rows.clone()],
            positives: &positives[..found],
            lanes: queries.len().min(A::PANEL),
            max,
        });
    }

    /// Visits the positives of a panel of queries that lie in a chunk: row, lane, query.
    #[inline]
    fn positives_in(
        &self,
        chunk: &Chunk,
        queries: &Range<usize>,
        mut visit: impl FnMut(usize, usize, usize),
    ) {
        if !self.blocks[chunk.block].has_positives {
            return;
        }
        for (lane, query) in queries.clone().take(A::PANEL).enumerate() {
            let target = self.input().targets.of(query);
            if chunk.rows.contains(&target) {
                visit(target - chunk.rows.start, lane, query);
            }
        }
    }

    /// Adds a slab of scores to the softmaxes of its queries.
    fn sum(&mut self, queries: &Range<usize>, slab: &Range<usize>, workspace: &mut Workspace<A>) {
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), self.layout.tile::<A>());
        let (count, width) = (slab.len() * panels, panels * A::PANEL);
        let mut shifts = vec![A::neg_infinity(); width];
        for max in workspace.lanes.take(count * A::PANEL).chunks_exact(width) {
            shifts
                .iter_mut()
                .zip(max)
                .for_each(|(shift, &max)| *shift = if max > *shift { max } else { *shift });
        }
        let finite: Vec<A> = shifts
            .iter()
            .map(|&x| if x == A::neg_infinity() { A::zero() } else { x })
            .collect();
        let mut positives = vec![A::infinity(); width];
        if self.count_above {
            let scores = self.queries[queries.clone()]
                .iter()
                .map(|query| A::narrow(query.positive));
            positives
                .iter_mut()
                .zip(scores)
                .for_each(|(positive, score)| *positive = score);
        }
        let tiles = &*workspace.scores.take(count * tile);
        let sums = workspace.sums.take(count * 3 * A::PANEL);
        let units = Units {
            slice: sums,
            len: 3 * A::PANEL,
        };
        for_each(
            Self::threads(count * tile * 40),
            count,
            1,
            units,
            &|first, _, out: Units<f64>| {
                let (chunk, panel) = (
                    &self.layout.chunks[slab.start + first / panels],
                    first % panels,
                );
                let lanes = panel * A::PANEL..(panel + 1) * A::PANEL;
                dispatch(Sums {
                    tile: &tiles[first * tile..first * tile + chunk.rows.len() * A::PANEL],
                    shifts: &finite[lanes.clone()],
                    positives: &positives[lanes],
                    out: out.slice,
                });
            },
        );
        let sums = workspace.sums.take(count * 3 * A::PANEL);
        for (i, query) in self.queries[queries.clone()].iter_mut().enumerate() {
            let (panel, lane) = (i / A::PANEL, i % A::PANEL);
            let mut part = Partition {
                max: shifts[i].wide(),
                ..Partition::EMPTY
            };
            for chunk in 0..slab.len() {
                let sums = &sums[(chunk * panels + panel) * 3 * A::PANEL..][..3 * A::PANEL];
                part.sum += sums[lane];
                part.moment += sums[A::PANEL + lane];
                query.above += sums[2 * A::PANEL + lane];
            }
            query.others = query.others.merge(part);
        }
    }

    /// Adds a slab of scores to the softmaxes of its documents.
    fn sum_columns(
        &mut self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        workspace: &mut Workspace<A>,
    ) {
        let (panels, tile, chunk) = (
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
            self.layout.chunk,
        );
        // The documents are the first block, the pool has no positives.
        let held = slab.start..slab.end.min(self.columns.len().div_ceil(chunk));
        if held.is_empty() {
            return;
        }
        let tiles = &*workspace.scores.take(slab.len() * panels * tile);
        let rows = held.start * chunk..self.columns.len().min(held.end * chunk);
        let columns = Units {
            slice: &mut self.columns[rows],
            len: chunk,
        };
        let threads = Self::threads(held.len() * panels * tile * 40);
        for_each(
            threads,
            held.len(),
            1,
            columns,
            &|index, _, out: Units<Partition>| {
                for tile in tiles[index * panels * tile..].chunks(tile).take(panels) {
                    dispatch(ColumnSums {
                        tile: &tile[..out.slice.len() * A::PANEL],
                        out: out.slice,
                    });
                }
            },
        );
    }

    // ---- settle: losses, and what the gradient needs of each softmax

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
    fn lists_candidates(&self) -> bool {
        self.input().negatives.is_some() || !self.loss.in_batch_negatives
    }

    /// Settles the softmax over the queries of each document that is somebody's positive.
    fn settle_columns(&mut self) {
        let askers = Askers::new(
            &self.input().targets,
            self.queries.len(),
            self.columns.len(),
        );
        for document in 0..self.columns.len() {
            self.settle_column(document, askers.of(document));
        }
    }

    /// Each of the `askers` has this document as its positive, and the other askers' scores among the others.
    fn settle_column(&mut self, document: usize, askers: &[usize]) {
        let base = self.columns[document];
        let shift = shift_of::<A>(base.max);
        let positive = |engine: &Self, i: usize| Partition::of(engine.queries[i].positive);
        // All askers after each one; with those before it, all but itself.
        let mut after = vec![base; askers.len()];
        for k in (1..askers.len()).rev() {
            after[k - 1] = after[k].merge(positive(self, askers[k]));
        }
        let (mut before, mut share, mut weight) = (Partition::EMPTY, 0.0, 0.0);
        for (k, &i) in askers.iter().enumerate() {
            let others = before.merge(after[k]);
            before = before.merge(positive(self, i));
            let settled = others.against(self.queries[i].positive);
            self.queries[i].column = settled;
            weight += self.listed.weight(i);
            if base.max > f64::NEG_INFINITY || base.sum.is_nan() {
                share += times(
                    self.listed.weight(i),
                    settled.per_sum * (shift.wide() - others.max).exp(),
                );
            }
        }
        for &i in askers {
            let (own, others) = (self.listed.weight(i), self.queries[i].column.others);
            // The other askers pull their own score up and this one down.
            let pushed = if askers.len() > 1 {
                (weight - own) * (1.0 - others)
            } else {
                0.0
            };
            self.queries[i].column_positive = pushed - times(own, others);
        }
        self.column_shifts[document] = shift;
        self.column_weights[document] = A::narrow(share);
    }

    // ---- apply: gradients

    fn apply(
        &self,
        queries: &Range<usize>,
        held: bool,
        gradient: &mut InfoNceGradient<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        if self.blocks.is_empty() {
            return;
        }
        if !held && self.loss.symmetric {
            self.pack_transposed(queries, workspace);
        }
        let lanes = Lanes::new(self, queries);
        self.pack_rows(queries, &lanes, workspace);
        for slab in self.layout.slabs() {
            if !held {
                self.score(queries, &slab, workspace);
            }
            self.weigh(queries, &slab, &lanes, workspace);
            if gradient.queries.is_some() {
                self.add_to_queries(queries, &slab, workspace);
            }
            self.add_to_documents(queries, &slab, gradient, workspace);
        }
        if let Some(view) = &mut gradient.queries {
            self.finish_queries(
                queries,
                &lanes,
                view.slice_mut(s![queries.clone(), ..]),
                workspace,
            );
        }
    }

    /// Packs a block of queries, normalised and times their scale, as panels `[dim panel][query][dim]`.
    fn pack_rows(&self, queries: &Range<usize>, lanes: &Lanes<A>, workspace: &mut Workspace<A>) {
        let (dim, width) = (self.dim(), lanes.scales.len());
        let len = width * A::PANEL;
        let panels = workspace.panels.take(dim.div_ceil(A::PANEL) * len);
        let threads = Self::threads(queries.len() * dim * 50);
        let units = Units { slice: panels, len };
        for_each(threads, dim.div_ceil(A::PANEL), 1, units, &|panel,
                                                              _,
                                                              out: Units<
            A,
        >| {
            let columns = panel * A::PANEL..dim.min((panel + 1) * A::PANEL);
            let rows = self.left.rows().slice_move(s![queries.clone(), columns]);
            dispatch(PackRows {
                rows,
                factors: &self.left.factors[queries.clone()],
                scales: &lanes.scales,
                out: out.slice,
            });
        });
    }

    /// Turns a slab of scores into the gradient by the inner products, in place.
    fn weigh(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        lanes: &Lanes<A>,
        workspace: &mut Workspace<A>,
    ) {
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), self.layout.tile::<A>());
        let count = slab.len() * panels;
        let tiles = Units {
            slice: workspace.scores.take(count * tile),
            len: tile,
        };
        for_each(
            Self::threads(count * tile * 40),
            count,
            1,
            tiles,
            &|first, _, tile: Units<A>| {
                let (chunk, panel) = (
                    &self.layout.chunks[slab.start + first / panels],
                    first % panels,
                );
                let block = &self.blocks[chunk.block];
                let (mut positives, mut found) = ([(0, 0, 0.0); 32], 0);
                self.positives_in(
                    chunk,
                    &(queries.start + panel * A::PANEL..queries.end),
                    |row, lane, query| {
                        positives[found] = (row, lane, lanes.positives[query - queries.start]);
                        found += 1;
                    },
                );
                let range = panel * A::PANEL..(panel + 1) * A::PANEL;
                dispatch(Weigh {
                    tile: &mut tile.slice[..chunk.rows.len() * A::PANEL],
                    factors: &block.factors[chunk.rows.clone()],
                    shifts: &lanes.shifts[range.clone()],
                    weights: &lanes.weights[range],
                    columns: (self.loss.symmetric && block.has_positives).then(|| Columns {
                        shifts: &self.column_shifts[chunk.rows.clone()],
                        weights: &self.column_weights[chunk.rows.clone()],
                    }),
                    row_weights: self.loss.symmetric,
                    positives: &positives[..found],
                });
            },
        );
    }

    /// Adds scoresᵀ · documents to the query gradient `[panel][dim][lane]`.
    fn add_to_queries(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        workspace: &mut Workspace<A>,
    ) {
        const DIMS: usize = 192;
        let (dim, panels, tile) = (
            self.dim(),
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
        );
        let tiles = &*workspace.scores.take(slab.len() * panels * tile);
        let out = Units {
            slice: workspace.turned.take(panels * dim * A::PANEL),
            len: A::PANEL,
        };
        for_each(
            self.product_threads(queries, slab),
            panels * dim,
            DIMS,
            out,
            &|first, count, out: Units<A>| {
                let mut rest = out.slice;
                let mut row = first;
                while row < first + count {
                    let (panel, from) = (row / dim, row % dim);
                    let to = dim.min(from + first + count - row);
                    let (piece, others) = rest.split_at_mut((to - from) * A::PANEL);
                    rest = others;
                    row += to - from;
                    for (index, chunk) in self.layout.chunks[slab.clone()].iter().enumerate() {
                        let documents = self.blocks[chunk.block]
                            .embeddings
                            .rows()
                            .slice_move(s![chunk.rows.clone(), from..to]);
                        let scores = &tiles[(index * panels + panel) * tile..]
                            [..chunk.rows.len() * A::PANEL];
                        let write = if slab.start + index == 0 {
                            Write::Set
                        } else {
                            Write::Add
                        };
                        product(
                            documents.reversed_axes(),
                            scores,
                            panel_view(piece, to - from),
                            write,
                        );
                    }
                }
            },
        );
    }

    /// Adds scores · queries to the document gradients.
    fn add_to_documents(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        gradient: &mut InfoNceGradient<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        let write = if queries.start == 0 {
            Write::Set
        } else {
            Write::Add
        };
        let (dim, panels, tile) = (
            self.dim(),
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
        );
        let tiles = &*workspace.scores.take(slab.len() * panels * tile);
        let packed = &*workspace
            .panels
            .take(dim.div_ceil(A::PANEL) * panels * A::PANEL * A::PANEL);
        for (index, block) in self.blocks.iter().enumerate() {
            let view = if block.has_positives {
                &mut gradient.documents
            } else {
                &mut gradient.pool
            };
            let Some(view) = view else { continue };
            let held: Vec<usize> = slab
                .clone()
                .filter(|&chunk| self.layout.chunks[chunk].block == index)
                .collect();
            let (Some(&first), Some(&last)) = (held.first(), held.last()) else {
                continue;
            };
            let rows = self.layout.chunks[first].rows.start..self.layout.chunks[last].rows.end;
            let threads = self.product_threads(queries, slab);
            let (count, view) = (rows.len(), view.slice_mut(s![rows, ..]));
            for_each(
                threads,
                count,
                self.layout.chunk,
                view,
                &|start, count, mut view| {
                    let chunk = first - slab.start + start / self.layout.chunk;
                    let shape = (panels, count, A::PANEL).strides((tile, A::PANEL, 1));
                    let scores = &tiles[chunk * panels * tile..(chunk + 1) * panels * tile];
                    let scores =
                        ArrayView3::from_shape(shape, scores).expect("a slab holds its tiles");
                    for (index, panel) in packed
                        .chunks_exact(panels * A::PANEL * A::PANEL)
                        .enumerate()
                    {
                        let columns = index * A::PANEL..dim.min((index + 1) * A::PANEL);
                        segmented_product(scores, panel, view.slice_mut(s![.., columns]), write);
                    }
                },
            );
        }
    }

    /// The query gradient back through the normalisation, to the caller's rows.
    fn finish_queries(
        &self,
        queries: &Range<usize>,
        lanes: &Lanes<A>,
        view: ArrayViewMut2<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        let (dim, panels) = (self.dim(), queries.len().div_ceil(A::PANEL));
        let turned = &*workspace.turned.take(panels * dim * A::PANEL);
        let threads = Self::threads(queries.len() * dim * 50);
        for_each(threads, queries.len(), A::PANEL, view, &|first, _, rows| {
            dispatch(FinishRows {
                embeddings: &self.left,
                first: queries.start + first,
                project: self.loss.similarity == Similarity::Cosine,
                turned: Some((
                    &turned[first * dim..][..dim * A::PANEL],
                    &lanes.scales[first..],
                )),
                add: self.lists_candidates(),
                rows,
            });
        });
    }

    /// The document gradients back through the normalisation; those of documents that are nothing but positives; zeros for an empty batch.
    fn finish_documents(&self, gradient: &mut InfoNceGradient<'_, A>) {
        if let (false, Some(view)) = (self.loss.in_batch_negatives, &mut gradient.documents) {
            let askers = Askers::new(&self.input().targets, self.queries.len(), view.nrows());
            self.listed
                .write_documents(&askers, &self.queries, view.view_mut());
        }
        for block in &self.blocks {
            let view = if block.has_positives {
                &mut gradient.documents
            } else {
                &mut gradient.pool
            };
            let Some(view) = view else { continue };
            if self.queries.is_empty() {
                view.fill(A::zero());
            } else if self.loss.similarity == Similarity::Cosine {
                let threads = Self::threads(view.len() * 20);
                let embeddings = &block.embeddings;
                for_each(
                    threads,
                    view.nrows(),
                    32,
                    view.view_mut(),
                    &|first, _, rows| {
                        dispatch(FinishRows {
                            embeddings,
                            first,
                            project: true,
                            turned: None,
                            add: false,
                            rows,
                        });
                    },
                );
            }
        }
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
            positive_similarity: mean(|query| query.positive) / self.listed.per_temperature,
        }
    }
}

/// A maximum as what is subtracted from scores: the nearest number of their precision; 0 for that of nothing.
fn shift_of<A: Scalar>(max: f64) -> A {
    if max == f64::NEG_INFINITY {
        A::zero()
    } else {
        A::narrow(max)
    }
}

/// What the gradient of a block of queries needs, lane by lane; zero beyond the last query.
struct Lanes<A> {
    shifts: Vec<A>,
    /// What a lane's exponentials are multiplied with, where two softmaxes share a tile.
    weights: Vec<A>,
    /// What a lane's products are multiplied with, where one softmax has the tile to itself.
    scales: Vec<f64>,
    /// The value at the positive, before the document's factor.
    positives: Vec<f64>,
}

impl<A: Scalar> Lanes<A> {
    fn new(engine: &Engine<'_, '_, A>, queries: &Range<usize>) -> Self {
        let width = queries.len().div_ceil(A::PANEL) * A::PANEL;
        let mut lanes = Self {
            shifts: vec![A::zero(); width],
            weights: vec![A::zero(); width],
            scales: vec![0.0; width],
            positives: vec![0.0; width],
        };
        for (lane, i) in queries.clone().enumerate() {
            let (weight, query) = (engine.listed.weight(i), &engine.queries[i]);
            let shift = shift_of::<A>(query.others.max);
            // The shift is the maximum rounded; what the rounding does to the exponentials is undone here.
            let rounding = if query.others.max == f64::NEG_INFINITY {
                0.0
            } else {
                shift.wide() - query.others.max
            };
            let share = times(weight, query.settled.per_sum * rounding.exp());
            lanes.shifts[lane] = shift;
            if engine.loss.symmetric {
                lanes.weights[lane] = A::narrow(share);
                lanes.scales[lane] = 1.0;
                lanes.positives[lane] = query.column_positive - times(weight, query.settled.others);
            } else {
                lanes.scales[lane] = share;
                lanes.positives[lane] = -query.others.sum * (-rounding).exp();
            }
        }
        lanes
    }
}

/// How much of the inner dimension a product of scores adds up at a time.
const DEPTH: usize = 256;

/// Rows of one panel.
fn panel_view<A: Scalar>(tile: &mut [A], rows: usize) -> ArrayViewMut2<'_, A> {
    let shape = (rows, A::PANEL).strides((A::PANEL, 1));
    ArrayViewMut2::from_shape(shape, tile).expect("a tile holds its rows")
}

/// Packs rows, normalised, as one panel `[dim][lane]`; lanes without a row are zero.
struct PackTransposed<'e, 'a, A> {
    left: &'e Embeddings<'a, A>,
    rows: Range<usize>,
    packed: &'e mut [A],
}

impl<A: Scalar> Kernel for PackTransposed<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.rows.len() < A::PANEL {
            self.packed.fill(A::zero());
        }
        let rows = self.left.rows();
        let mut spare = Vec::new();
        // A few columns of all rows at a time, so that the lines of the panel are written while they are in the cache.
        for (index, packed) in self.packed.chunks_mut(TURN * A::PANEL).enumerate() {
            let columns = index * TURN..rows.ncols().min((index + 1) * TURN);
            for (lane, row) in self.rows.clone().enumerate() {
                let factor = self.left.factors[row];
                let row = crate::rows::contiguous(rows.slice(s![row, columns.clone()]), &mut spare);
                for (to, &x) in packed.chunks_exact_mut(A::PANEL).zip(row) {
                    to[lane] = A::narrow(x.wide() * factor);
                }
            }
        }
    }
}

/// How many columns are transposed at a time: 64 bytes of a row of `f32`, two kilobytes of a panel.
const TURN: usize = 16;

/// Packs some columns of rows, normalised and scaled, as one panel `[row][column]`; what is beyond the rows and columns is zero.
struct PackRows<'e, 'a, A> {
    rows: ArrayView2<'a, A>,
    factors: &'e [f64],
    scales: &'e [f64],
    out: &'e mut [A],
}

impl<A: Scalar> Kernel for PackRows<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if self.rows.ncols() < A::PANEL || self.rows.nrows() < self.scales.len() {
            self.out.fill(A::zero());
        }
        let mut spare = Vec::new();
        for (index, out) in self
            .out
            .chunks_exact_mut(A::PANEL)
            .take(self.rows.nrows())
            .enumerate()
        {
            let factor = self.factors[index] * self.scales[index];
            let row = crate::rows::contiguous(self.rows.row(index), &mut spare);
            out.iter_mut()
                .zip(row)
                .for_each(|(out, &x)| *out = A::narrow(x.wide() * factor));
        }
    }
}

/// Carries gradients by normalised rows back to the rows: (g − (x̂·g)·x̂)/‖x‖.
struct FinishRows<'e, 'a, 'g, A> {
    embeddings: &'e Embeddings<'a, A>,
    /// The embedding that belongs to the first of `rows`.
    first: usize,
    project: bool,
    /// g as a panel `[dim][lane]` with a scale for each lane; otherwise it is what the rows hold, with the document's factor in it.
    turned: Option<(&'e [A], &'e [f64])>,
    /// Whether to add to the rows.
    add: bool,
    rows: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for FinishRows<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let dim = self.rows.ncols();
        let matrix = self.embeddings.rows();
        let mut gradients = vec![
            A::zero();
            if self.turned.is_some() {
                dim * A::PANEL
            } else {
                0
            }
        ];
        if let Some((turned, _)) = self.turned {
            turn(turned, &mut gradients, self.rows.nrows());
        }
        let (mut spare, mut gradient_spare) = (Vec::new(), Vec::new());
        for local in 0..self.rows.nrows() {
            let factor = self.embeddings.factors[self.first + local];
            let mut outer = self.embeddings.per_norm[self.first + local];
            let x = crate::rows::contiguous(matrix.row(self.first + local), &mut spare);
            let gradient = if let Some((_, scales)) = self.turned {
                outer *= scales[local];
                &gradients[local * dim..][..dim]
            } else {
                outer = if factor == 0.0 { 0.0 } else { outer / factor };
                gradient_spare.clear();
                match self.rows.row(local).to_slice() {
                    Some(row) => gradient_spare.extend_from_slice(row),
                    None => gradient_spare.extend(self.rows.row(local)),
                }
                &gradient_spare
            };
            let along = if self.project {
                dot::<A, I>(gradient, x).value() * factor * factor
            } else {
                0.0
            };
            let add = self.add;
            let mut row = self.rows.row_mut(local);
            if add {
                for ((to, &g), &x) in row.iter_mut().zip(gradient).zip(x) {
                    *to = A::narrow(to.wide() + outer * (g.wide() - along * x.wide()));
                }
            } else {
                write_row(row, Stores::Cached, |range, out| {
                    let rows = gradient[range.clone()].iter().zip(&x[range]);
                    out.iter_mut().zip(rows).for_each(|(out, (&g, &x))| {
                        *out = A::narrow(outer * (g.wide() - along * x.wide()))
                    });
                });
            }
        }
    }
}

/// Turns a panel `[dim][lane]` into rows `[lane][dim]`, the first `rows` of them.
#[inline(always)]
fn turn<A: Scalar>(panel: &[A], rows_out: &mut [A], rows: usize) {
    let dim = panel.len() / A::PANEL;
    for start in (0..dim).step_by(TURN) {
        let columns = start..dim.min(start + TURN);
        for lane in 0..rows {
            let row = &mut rows_out[lane * dim..][columns.clone()];
            let lanes = &panel[columns.start * A::PANEL..columns.end * A::PANEL];
            for (to, from) in row.iter_mut().zip(lanes.chunks_exact(A::PANEL)) {
                *to = from[lane];
            }
        }
    }
}
