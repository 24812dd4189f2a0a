//! The gradient: scores become weights in place, and two products carry them to both of their sides.

use std::ops::Range;

use ndarray::ArrayViewMut3;

use super::block::Left;
use super::engine::Engine;
use super::lanes::Lanes;
use super::layout::Chunk;
use super::pack::PackRows;
use super::products::{Part, column_panels};
use super::score::Count;
use super::sinks::Sinks;
use super::tiles::{Columns, Softmaxes, Weigh};
use crate::blocks::{Units, for_each};
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
        let (lanes, panels) = (Lanes::new(self, queries), column_panels::<A>(&[self.dim()]));
        for left in self.lefts() {
            self.pack_rows(left, queries, &lanes.scales, &panels, workspace);
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
            let Workspace {
                scores,
                panels: packed,
                gradients,
                ..
            } = &mut *workspace;
            let part = Part {
                columns: 0..self.dim(),
                tiles: scores.take(self.numbers(queries, &slab)),
            };
            self.add_products(queries, &slab, &[part], &panels, packed, gradients, sinks);
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

    /// Packs what stands for a block of queries, normalised and times their scale, as panels `[column panel][query][column]`.
    pub(super) fn pack_rows(
        &self,
        left: Left,
        queries: &Range<usize>,
        scales: &[f64],
        panels: &[Range<usize>],
        workspace: &mut Workspace<A>,
    ) {
        let rows = self.left_rows(left, queries);
        let embeddings = &self.matrices.of(left.side()).embeddings;
        let len = panels.len() * scales.len() * A::PANEL;
        let out = workspace.panels[left as usize].take(len);
        let out = ArrayViewMut3::from_shape((panels.len(), scales.len(), A::PANEL), out);
        let out = out.expect("as long as its shape");
        let threads = Self::threads(queries.len() * self.dim() * 50);
        let out = out.permuted_axes([1, 0, 2]);
        for_each(
            threads,
            scales.len(),
            A::PANEL,
            out,
            &|first, count, out| {
                dispatch(PackRows {
                    left: embeddings,
                    rows: &rows[first.min(rows.len())..],
                    panels,
                    scales: &scales[first..first + count],
                    out,
                });
            },
        );
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
                let matrix = self.matrices.of(block.right);
                let mut positives = Vec::new();
                if block.has_positives() {
                    let queries = queries.start + panel * A::PANEL..queries.end;
                    self.weigh_positives(&chunk.rows, queries, panel, lanes, &mut positives);
                }
                dispatch(Weigh {
                    tile: &mut tile.slice[..chunk.rows.len() * A::PANEL],
                    factors: &matrix.factors[chunk.rows.clone()],
                    softmaxes: self.softmaxes(chunk, panel, lanes),
                    positives: &positives,
                    idle: &lanes.idle_in(panel),
                });
            },
        );
    }

    /// What makes weights of the scores of a chunk against a panel of queries.
    pub(super) fn softmaxes<'s>(
        &'s self,
        chunk: &Chunk,
        panel: usize,
        lanes: &'s Lanes<A>,
    ) -> Softmaxes<'s, A> {
        let range = panel * A::PANEL..(panel + 1) * A::PANEL;
        let columns = self.blocks[chunk.block].columns;
        Softmaxes {
            shifts: &lanes.shifts[range.clone()],
            weights: &lanes.weights[range.clone()],
            row_weights: self.weights_in_tiles(),
            columns: columns.then(|| Columns {
                shifts: &self.column_shifts[chunk.rows.clone()],
                weights: &self.column_weights[chunk.rows.clone()],
                undo: self.undo(chunk),
            }),
            sigmoid: self.loss.bias.map(A::narrow),
            offsets: lanes.offsets.as_ref().map(|offsets| &offsets[range]),
        }
    }

    /// What the positives of a panel of queries weigh among some rows: row, lane, value.
    pub(super) fn weigh_positives(
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
                // A quotient of two that may be subnormal, and not a product with a reciprocal that may overflow.
                let value = match lanes.pull_scales[at] {
                    0.0 => 0.0,
                    scale => -entry.pull / scale,
                };
                positives.push((entry.row - rows.start, lane, value));
            }
        }
    }
}
