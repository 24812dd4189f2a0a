//! The gradient: scores become weights in place, and two products carry them to both of their sides.

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut2, ShapeBuilder, s};

use super::block::Left;
use super::engine::Engine;
use super::lanes::Lanes;
use super::pack::PackRows;
use super::score::{Count, panel_view};
use super::sinks::Sinks;
use super::tiles::{Columns, Weigh};
use crate::blocks::{Units, for_each};
use crate::gemm::{Write, product, segmented_product};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::Workspace;

impl<A: Scalar> Engine<'_, '_, A> {
    pub(super) fn apply(
        &self,
        queries: &Range<usize>,
        held: bool,
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        if self.blocks.is_empty() {
            return;
        }
        if !held && self.loss.directions.document_to_query {
            self.pack_queries(queries, workspace);
        }
        let lanes = Lanes::new(self, queries);
        for left in self.lefts() {
            self.pack_rows(left, queries, &lanes, workspace);
        }
        let mut own_sums = [(); 2].map(|()| vec![0.0; lanes.scales.len()]);
        for slab in self.layout.slabs() {
            if !held {
                self.score(queries, &slab, Count::No, workspace);
            }
            self.weigh(queries, &slab, &lanes, workspace);
            if self.is_distance() {
                self.sum_weights(queries, &slab, &lanes, &mut own_sums, sinks, workspace);
            }
            for left in self.lefts() {
                if sinks.wants(left.side()) {
                    self.add_to_left(left, queries, &slab, workspace);
                }
            }
            self.add_to_right(queries, &slab, sinks, workspace);
        }
        for left in self.lefts() {
            self.finish_left(
                left,
                queries,
                &lanes,
                &own_sums[left as usize],
                sinks,
                workspace,
            );
        }
    }

    /// Packs what stands for a block of queries, normalised and times their scale, as panels `[dim panel][query][dim]`.
    fn pack_rows(
        &self,
        left: Left,
        queries: &Range<usize>,
        lanes: &Lanes<A>,
        workspace: &mut Workspace<A>,
    ) {
        let (dim, width) = (self.dim(), lanes.scales.len());
        let rows = self.left_rows(left, queries);
        let embeddings = &self.matrices.of(left.side()).embeddings;
        let len = width * A::PANEL;
        let panels = workspace.panels[left as usize].take(dim.div_ceil(A::PANEL) * len);
        let threads = Self::threads(queries.len() * dim * 50);
        let units = Units { slice: panels, len };
        for_each(threads, dim.div_ceil(A::PANEL), 1, units, &|panel,
                                                              _,
                                                              out: Units<
            A,
        >| {
            dispatch(PackRows {
                left: embeddings,
                rows: &rows,
                columns: panel * A::PANEL..dim.min((panel + 1) * A::PANEL),
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
        let sigmoid = self.loss.bias.map(A::narrow);
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
                let matrix = self.matrices.of(block.right);
                let mut positives = Vec::new();
                if block.has_positives() {
                    let queries = queries.start + panel * A::PANEL..queries.end;
                    self.weigh_positives(&chunk.rows, queries, panel, lanes, &mut positives);
                }
                let range = panel * A::PANEL..(panel + 1) * A::PANEL;
                let idle = lanes.idle.iter().filter(|lane| range.contains(lane));
                let idle: Vec<usize> = idle.map(|lane| lane - range.start).collect();
                dispatch(Weigh {
                    tile: &mut tile.slice[..chunk.rows.len() * A::PANEL],
                    factors: &matrix.factors[chunk.rows.clone()],
                    shifts: &lanes.shifts[range.clone()],
                    weights: &lanes.weights[range.clone()],
                    offsets: lanes.offsets.as_ref().map(|offsets| &offsets[range]),
                    columns: block.columns.then(|| Columns {
                        shifts: &self.column_shifts[chunk.rows.clone()],
                        weights: &self.column_weights[chunk.rows.clone()],
                        undo: self.undo(chunk),
                    }),
                    sigmoid,
                    row_weights: self.weights_in_tiles(),
                    positives: &positives,
                    idle: &idle,
                });
            },
        );
    }

    /// What the positives of a panel of queries weigh among some rows: row, lane, value.
    fn weigh_positives(
        &self,
        rows: &Range<usize>,
        queries: Range<usize>,
        panel: usize,
        lanes: &Lanes<A>,
        positives: &mut Vec<(usize, usize, f64)>,
    ) {
        for (lane, query) in queries.take(A::PANEL).enumerate() {
            let at = panel * A::PANEL + lane;
            let entries = self.pairs.of(query);
            if entries.is_empty() {
                let single = self.listed.positives.among(query, rows);
                positives.extend(single.map(|row| (row - rows.start, lane, lanes.positives[at])));
            }
            let first = entries.partition_point(|entry| entry.row < rows.start);
            for entry in entries[first..]
                .iter()
                .take_while(|entry| entry.row < rows.end)
            {
                let value = entry.pull * lanes.per_pull[at];
                positives.push((entry.row - rows.start, lane, value));
            }
        }
    }

    /// Adds scoresᵀ · rows of the right side to the gradient of the left side, `[panel][dim][lane]`.
    fn add_to_left(
        &self,
        left: Left,
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
            slice: workspace.turned[left as usize].take(panels * dim * A::PANEL),
            len: A::PANEL,
        };
        let chunks = self.layout.chunks[slab.clone()].iter().enumerate();
        let chunks: Vec<_> = chunks
            .filter(|(_, chunk)| self.blocks[chunk.block].left == left)
            .collect();
        // The chunks of a side follow each other.
        let Some(first_chunk) = self
            .layout
            .chunks
            .iter()
            .position(|chunk| self.blocks[chunk.block].left == left)
        else {
            return;
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
                    for &(index, chunk) in &chunks {
                        let rows = self
                            .matrices
                            .of(self.blocks[chunk.block].right)
                            .embeddings
                            .rows();
                        let rows = rows.slice_move(s![chunk.rows.clone(), from..to]);
                        let scores = &tiles[(index * panels + panel) * tile..]
                            [..chunk.rows.len() * A::PANEL];
                        let write = if slab.start + index == first_chunk {
                            Write::Set
                        } else {
                            Write::Add
                        };
                        let piece = panel_view(piece, to - from);
                        product(rows.reversed_axes(), scores, piece, write);
                    }
                }
            },
        );
    }

    /// Adds scores · rows of the left side to the gradients of the right sides.
    fn add_to_right(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        for (index, block) in self.blocks.iter().enumerate() {
            let held = slab
                .clone()
                .filter(|&chunk| self.layout.chunks[chunk].block == index);
            let held: Vec<usize> = held.collect();
            let (Some(&first), Some(&last)) = (held.first(), held.last()) else {
                continue;
            };
            let earlier = self.blocks[..index]
                .iter()
                .any(|other| other.right == block.right);
            let set = queries.start == 0 && !earlier && !sinks.is_cleared(block.right);
            let write = if set { Write::Set } else { Write::Add };
            let rows = self.layout.chunks[first].rows.start..self.layout.chunks[last].rows.end;
            if let Some(view) = sinks.view(block.right) {
                let chunks = first - slab.start..last + 1 - slab.start;
                let view = view.slice_mut(s![rows, ..]);
                self.add_block(block.left, queries, slab, chunks, view, write, workspace);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one product of a pass")]
    fn add_block(
        &self,
        left: Left,
        queries: &Range<usize>,
        slab: &Range<usize>,
        chunks: Range<usize>,
        view: ArrayViewMut2<'_, A>,
        write: Write,
        workspace: &mut Workspace<A>,
    ) {
        let (dim, panels, tile) = (
            self.dim(),
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
        );
        let len = panels * A::PANEL * A::PANEL;
        let tiles = &*workspace.scores.take(slab.len() * panels * tile);
        let packed = &*workspace.panels[left as usize].take(dim.div_ceil(A::PANEL) * len);
        let grain = self.layout.chunk;
        for_each(
            self.product_threads(queries, slab),
            view.nrows(),
            grain,
            view,
            &|start, count, mut view| {
                let chunk = chunks.start + start / grain;
                let shape = (panels, count, A::PANEL).strides((tile, A::PANEL, 1));
                let scores = &tiles[chunk * panels * tile..(chunk + 1) * panels * tile];
                let scores = ArrayView3::from_shape(shape, scores).expect("a slab holds its tiles");
                for (index, panel) in packed.chunks_exact(len).enumerate() {
                    let columns = index * A::PANEL..dim.min((index + 1) * A::PANEL);
                    segmented_product(scores, panel, view.slice_mut(s![.., columns]), write);
                }
            },
        );
    }
}
