//! The fold: scores of a block of queries, tile by tile, summed into the softmaxes of its rows and columns.

use std::ops::Range;

use ndarray::{ArrayViewMut2, ShapeBuilder, s};

use super::engine::Engine;
use super::layout::Chunk;
use super::pack::PackTransposed;
use super::softmax::Partition;
use super::tiles::{ColumnSums, Scale, Sums};
use crate::blocks::{Units, for_each};
use crate::gemm::{Write, product};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::Workspace;

impl<A: Scalar> Engine<'_, '_, A> {
    pub(super) fn fold(&mut self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
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
    pub(super) fn pack_transposed(&self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
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
    pub(super) fn score(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        workspace: &mut Workspace<A>,
    ) {
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

    pub(super) fn score_tile(
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
    pub(super) fn positives_in(
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
        let mut positives = vec![A::infinity(); width];
        if self.count_above {
            let scores = self.queries[queries.clone()]
                .iter()
                .map(|query| A::narrow(self.listed.tie(query)));
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
                        tile: &tile[..out.slice.len() * A::PANEL],
                        out: out.slice,
                    });
                }
            },
        );
    }
}

/// How much of the inner dimension a product of scores adds up at a time.
const DEPTH: usize = 256;

/// Rows of one panel.
pub(super) fn panel_view<A: Scalar>(tile: &mut [A], rows: usize) -> ArrayViewMut2<'_, A> {
    let shape = (rows, A::PANEL).strides((A::PANEL, 1));
    ArrayViewMut2::from_shape(shape, tile).expect("a tile holds its rows")
}
