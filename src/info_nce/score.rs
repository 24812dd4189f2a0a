//! Scores of documents against a block of queries, tile by tile.

use std::ops::Range;
use std::sync::atomic::Ordering;

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, s};

use super::block::{Judge, Rules};
use super::candidates::Embeddings;
use super::engine::Engine;
use super::layout::Chunk;
use super::pack::PackTransposed;
use super::tile_rules::{Compared, Rule};
use super::tiles::Scale;
use crate::blocks::{Units, for_each};
use crate::gemm::{Write, product};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::{Buffer, Workspace};

impl<A: Scalar> Engine<'_, '_, A> {
    /// Packs a block of queries, and those of a guide.
    pub(super) fn pack_queries(&self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
        pack_transposed(&self.left, queries, &mut workspace.packed);
        if let Some(guide) = &self.guide {
            pack_transposed(guide, queries, &mut workspace.guide);
        }
    }

    /// Scores a slab of chunks against a block of queries, into tiles `[chunk][panel][document][lane]`.
    pub(super) fn score(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        count_left_out: Count,
        workspace: &mut Workspace<A>,
    ) {
        let (panels, tile, dim) = (
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
            self.dim(),
        );
        let count = slab.len() * panels;
        let packed = &*workspace.packed.take(panels * dim * A::PANEL);
        let guide_dim = self.guide.as_ref().map_or(0, |guide| guide.rows().ncols());
        let guide = &*workspace.guide.take(panels * guide_dim * A::PANEL);
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
                let panel_of = |dim: usize| {
                    let len = dim * A::PANEL;
                    panel * len..(panel + 1) * len
                };
                let lanes = queries.start + panel * A::PANEL..queries.end;
                let (tile, max) = (tile.slice, max.slice);
                self.score_tile(lanes.clone(), chunk, &packed[panel_of(dim)], tile, max);
                let Some(rules) = &self.blocks[chunk.block].rules else {
                    return;
                };
                let guide = &guide[panel_of(guide_dim)];
                let left_out = self.rule_tile(rules, lanes, chunk, guide, tile, max);
                if count_left_out == Count::Yes {
                    self.left_out.fetch_add(left_out, Ordering::Relaxed);
                }
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
        inner_products(documents, packed, tile);
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

    /// Turns the scores of a tile into what the softmax is taken of. Returns how many candidates were left out.
    fn rule_tile(
        &self,
        rules: &Rules<'_, A>,
        queries: Range<usize>,
        chunk: &Chunk,
        guide: &[A],
        tile: &mut [A],
        max: &mut [A],
    ) -> usize {
        let rows = chunk.rows.clone();
        let lanes = queries.len().min(A::PANEL);
        let queries = &self.queries[queries.start..queries.start + lanes];
        let (mut ids, mut ceilings) = ([0; 32], [A::infinity(); 32]);
        for (lane, query) in queries.iter().enumerate() {
            (ids[lane], ceilings[lane]) = (query.id, A::narrow(query.ceiling));
        }
        let mut products = Vec::new();
        let compared = rules.judge.as_ref().map(|judge| match judge {
            Judge::Own => Compared::Own,
            Judge::Guide(embeddings) => {
                products.resize(rows.len() * A::PANEL, A::zero());
                let documents = embeddings.rows().slice_move(s![rows.clone(), ..]);
                inner_products(documents, guide, &mut products);
                Compared::Guide(&products, &embeddings.factors[rows.clone()])
            }
        });
        dispatch(Rule {
            tile: &mut tile[..rows.len() * A::PANEL],
            lanes,
            boost: rules.boost,
            log_weights: rules
                .log_weights
                .as_ref()
                .map(|weights| &weights[rows.clone()]),
            ids: rules
                .ids
                .as_ref()
                .map(|documents| (&ids[..lanes], &documents[rows])),
            ceilings: compared.map(|compared| (compared, &ceilings[..lanes])),
            max,
        })
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
}

/// Whether candidates that are left out are counted: only the first time that they are scored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Yes,
    No,
}

/// Packs a block of rows, normalised, as panels `[panel][dim][lane]`.
fn pack_transposed<A: Scalar>(
    left: &Embeddings<'_, A>,
    rows: &Range<usize>,
    packed: &mut Buffer<A>,
) {
    let (dim, panels) = (left.rows().ncols(), rows.len().div_ceil(A::PANEL));
    let packed = Units {
        slice: packed.take(panels * dim * A::PANEL),
        len: dim * A::PANEL,
    };
    let threads = Engine::<A>::threads(rows.len() * dim * 50);
    for_each(
        threads,
        panels,
        1,
        packed,
        &|first, count, packed: Units<A>| {
            let panels = packed.slice.chunks_exact_mut((dim * A::PANEL).max(1));
            for (panel, packed) in (first..first + count).zip(panels) {
                let start = rows.start + panel * A::PANEL;
                dispatch(PackTransposed {
                    left,
                    rows: start..rows.end.min(start + A::PANEL),
                    packed,
                });
            }
        },
    );
}

/// Documents times a panel of queries. Long products in pieces: the partial sums stay small, and with them their rounding errors.
fn inner_products<A: Scalar>(documents: ArrayView2<'_, A>, packed: &[A], tile: &mut [A]) {
    let dim = documents.ncols();
    if dim == 0 {
        tile.fill(A::zero());
    }
    for start in (0..dim).step_by(DEPTH) {
        let depth = start..dim.min(start + DEPTH);
        let write = if start == 0 { Write::Set } else { Write::Add };
        let panel = &packed[start * A::PANEL..];
        let rows = documents.nrows();
        product(
            documents.slice(s![.., depth]),
            panel,
            panel_view(tile, rows),
            write,
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
