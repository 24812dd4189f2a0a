//! The gradient: scores become weights in place, and two products carry them to queries and documents.

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut2, ShapeBuilder, s};

use super::InfoNceGradient;
use super::candidates::Askers;
use super::engine::Engine;
use super::lanes::Lanes;
use super::pack::{FinishRows, PackRows};
use super::score::{Count, panel_view};
use super::tiles::{Columns, Weigh};
use crate::blocks::{Units, for_each};
use crate::gemm::{Write, product, segmented_product};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::similarity::Similarity;
use crate::workspace::Workspace;

impl<A: Scalar> Engine<'_, '_, A> {
    pub(super) fn apply(
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
            self.pack_queries(queries, workspace);
        }
        let lanes = Lanes::new(self, queries);
        self.pack_rows(queries, &lanes, workspace);
        for slab in self.layout.slabs() {
            if !held {
                self.score(queries, &slab, Count::No, workspace);
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
    pub(super) fn pack_rows(
        &self,
        queries: &Range<usize>,
        lanes: &Lanes<A>,
        workspace: &mut Workspace<A>,
    ) {
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
    pub(super) fn weigh(
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
                let idle = lanes.idle.iter().filter(|lane| range.contains(lane));
                let idle: Vec<usize> = idle.map(|lane| lane - range.start).collect();
                dispatch(Weigh {
                    tile: &mut tile.slice[..chunk.rows.len() * A::PANEL],
                    factors: &block.factors[chunk.rows.clone()],
                    shifts: &lanes.shifts[range.clone()],
                    weights: &lanes.weights[range.clone()],
                    offsets: lanes.offsets.as_ref().map(|offsets| &offsets[range]),
                    columns: (self.loss.symmetric && block.has_positives).then(|| Columns {
                        shifts: &self.column_shifts[chunk.rows.clone()],
                        weights: &self.column_weights[chunk.rows.clone()],
                    }),
                    row_weights: self.weights_in_tiles(),
                    positives: &positives[..found],
                    idle: &idle,
                });
            },
        );
    }

    /// Adds scoresᵀ · documents to the query gradient `[panel][dim][lane]`.
    pub(super) fn add_to_queries(
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
    pub(super) fn add_to_documents(
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
    pub(super) fn finish_queries(
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
    pub(super) fn finish_documents(&self, gradient: &mut InfoNceGradient<'_, A>) {
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
}
