//! The fold: scores of a block of queries, tile by tile, summed into the softmaxes of its rows and columns.

use std::ops::Range;

use super::engine::Engine;
use super::layout::Chunk;
use super::score::Count;
use super::sigmoid::{SigmoidSums, Sigmoids};
use super::softmax::{Partition, Totals};
use super::tile_rules::{PlainSums, Undo};
use super::tiles::{ColumnSums, Sums};
use crate::blocks::{Units, for_each};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::Workspace;

/// Sums of each lane of a tile.
const SUMS: usize = 4;

impl<A: Scalar> Engine<'_, '_, A> {
    pub(super) fn fold(&mut self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
        if self.blocks.is_empty() {
            return;
        }
        self.pack_queries(queries, workspace);
        for slab in self.layout.slabs() {
            self.score(queries, &slab, Count::Yes, workspace);
            self.sum(queries, &slab, workspace);
            if self.loss.directions.document_to_query {
                self.sum_columns(queries, &slab, workspace);
            }
        }
    }

    /// Adds a slab of scores to the softmaxes of its queries.
    pub(super) fn sum(
        &mut self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        workspace: &mut Workspace<A>,
    ) {
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
        let nowhere = vec![A::infinity(); width];
        let mut positives = nowhere.clone();
        if self.reports {
            let queries = self.queries[queries.clone()].iter();
            for (positive, query) in positives.iter_mut().zip(queries) {
                if query.has_positive {
                    *positive = A::narrow(self.listed.tie(query));
                }
            }
        }
        let bias = self.loss.bias.map(A::narrow);
        let tiles = &*workspace.scores.take(count * tile);
        let sums = workspace.sums.take(count * SUMS * A::PANEL);
        let units = Units {
            slice: sums,
            len: SUMS * A::PANEL,
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
                let ranked = self.blocks[chunk.block].is_ranked();
                let positives = if ranked { &positives } else { &nowhere };
                let positives = &positives[lanes.clone()];
                let undo = self.undo(chunk);
                let tile = &tiles[first * tile..first * tile + chunk.rows.len() * A::PANEL];
                let out = out.slice;
                match bias {
                    None => dispatch(Sums {
                        undo,
                        tile,
                        shifts: &finite[lanes],
                        positives,
                        out,
                    }),
                    Some(bias) => dispatch(SigmoidSums {
                        undo,
                        tile,
                        bias,
                        positives,
                        out,
                    }),
                }
            },
        );
        let sums = workspace.sums.take(count * SUMS * A::PANEL);
        for (i, query) in self.queries[queries.clone()].iter_mut().enumerate() {
            let (panel, lane) = (i / A::PANEL, i % A::PANEL);
            let mut part = Partition {
                max: shifts[i].wide(),
                ..Partition::EMPTY
            };
            for chunk in 0..slab.len() {
                let sums = &sums[(chunk * panels + panel) * SUMS * A::PANEL..];
                let [first, second, third, above] =
                    [0, 1, 2, 3].map(|kind| sums[kind * A::PANEL + lane]);
                query.above += above;
                if bias.is_some() {
                    query.sigmoids.merge(Sigmoids {
                        loss: first,
                        share: second,
                        moment: third,
                    });
                } else {
                    part.sum += first;
                    part.moment += second;
                }
            }
            query.others = query.others.merge(part);
        }
        if self.loss.label_smoothing > 0.0 || self.reports {
            self.sum_plainly(queries, slab, tiles);
        }
    }

    /// The sums for smoothed labels, and for the report.
    fn sum_plainly(&mut self, queries: &Range<usize>, slab: &Range<usize>, tiles: &[A]) {
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), self.layout.tile::<A>());
        let mut totals: Vec<Totals> = self.queries[queries.clone()]
            .iter()
            .map(|query| query.totals)
            .collect();
        let units = Units {
            slice: &mut totals,
            len: A::PANEL,
        };
        let threads = Self::threads(slab.len() * panels * tile * 40);
        for_each(
            threads,
            panels,
            1,
            units,
            &|panel, _, out: Units<Totals>| {
                for (index, chunk) in self.layout.chunks[slab.clone()].iter().enumerate() {
                    let scores = &tiles[(index * panels + panel) * tile..];
                    dispatch(PlainSums {
                        undo: self.undo(chunk),
                        tile: &scores[..chunk.rows.len() * A::PANEL],
                        out: &mut *out.slice,
                    });
                }
            },
        );
        let queries = self.queries[queries.clone()].iter_mut();
        queries
            .zip(totals)
            .for_each(|(query, totals)| query.totals = totals);
    }

    pub(super) fn undo(&self, chunk: &Chunk) -> Option<Undo<'_, A>> {
        let rules = self.blocks[chunk.block].rules.as_ref();
        rules.map(|rules| rules.undo(chunk.rows.clone()))
    }

    /// Adds a slab of scores to the softmaxes of its documents.
    pub(super) fn sum_columns(
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
                        undo: self.blocks[0].rules.as_ref().map(|rules| {
                            let first = (held.start + index) * chunk;
                            rules.undo(first..first + out.slice.len())
                        }),
                        tile: &tile[..out.slice.len() * A::PANEL],
                        out: out.slice,
                    });
                }
            },
        );
    }
}
