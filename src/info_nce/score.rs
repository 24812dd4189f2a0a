//! Scores of a matrix against a block of queries or their positives, tile by tile.

use std::ops::Range;
use std::sync::atomic::Ordering;

use ndarray::{ArrayView2, ArrayViewMut3, ShapeBuilder, s};

use super::block::{Block, Judge, Left, Mine, Rules};
use super::embeddings::Embeddings;
use super::engine::Engine;
use super::layout::Chunk;
use super::pack::PackTransposed;
use super::tile_rules::{Compared, Rule};
use super::tiles::Scale;
use crate::blocks::{Units, for_each};
use crate::gemm::{Packed, Write, product};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::{Buffer, Workspace};

impl<A: Scalar> Engine<'_, '_, A> {
    /// The rows that stand for a block of queries.
    pub(super) fn left_rows(&self, left: Left, queries: &Range<usize>) -> Vec<usize> {
        match left {
            Left::Queries => queries.clone().collect(),
            // Blocks of positives are refused where a query has not exactly one.
            Left::Positives => queries
                .clone()
                .map(|query| self.listed.positives.of(query).next().unwrap_or(0))
                .collect(),
        }
    }

    /// Packs what stands for a block of queries, and the same of a guide.
    pub(super) fn pack_queries(&self, queries: &Range<usize>, workspace: &mut Workspace<A>) {
        for left in self.lefts() {
            let rows = self.left_rows(left, queries);
            let embeddings = &self.matrices.of(left.side()).embeddings;
            pack_transposed(embeddings, &rows, &mut workspace.packed[left as usize]);
            if let Some(guides) = &self.guides {
                let guide = guides.of(left.side());
                pack_transposed(guide, &rows, &mut workspace.guide[left as usize]);
            }
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
        let guide_dim = self.guides.as_ref().map_or(0, |guides| guides.dim());
        workspace.drop_parts();
        let packed = workspace.packed.each_mut();
        let packed = packed.map(|buffer| &*buffer.take(panels * dim * A::PANEL));
        let guide = workspace.guide.each_mut();
        let guide = guide.map(|buffer| &*buffer.take(panels * guide_dim * A::PANEL));
        let tiles = Units {
            slice: workspace.scores.take(count * tile),
            len: panels * tile,
        };
        let max = Units {
            slice: workspace.lanes.take(count * A::PANEL),
            len: panels * A::PANEL,
        };
        let threads = self.product_threads(queries, slab);
        for_each(threads, slab.len(), 1, (tiles, max), &|index, _, work| {
            let chunk = &self.layout.chunks[slab.start + index];
            let block = &self.blocks[chunk.block];
            let (packed, guide) = (packed[block.left as usize], guide[block.left as usize]);
            let rows = self.matrices.of(block.right).embeddings.rows();
            let rows = rows.slice(s![chunk.rows.clone(), ..]);
            let (tiles, max) = work;
            let work = (tiles.of(tile), max.of(A::PANEL));
            for_each(threads, panels, PANELS, work, &|first, count, work| {
                let (tiles, max) = work;
                let from = Packed::panels(packed, dim).skip_panels(first);
                inner_products(rows, &(0..dim), from, tiles.slice, tile);
                let tiles = tiles.slice.chunks_exact_mut(tile);
                let tiles = tiles.zip(max.slice.chunks_exact_mut(A::PANEL));
                for (panel, (tile, max)) in (first..first + count).zip(tiles) {
                    let lanes = queries.start + panel * A::PANEL..queries.end;
                    self.scale_tile(block, lanes.clone(), chunk, tile, max);
                    let Some(rules) = &block.rules else {
                        continue;
                    };
                    let guide = Packed::panels(guide, guide_dim).skip_panels(panel);
                    let left_out = self.rule_tile(block, rules, lanes, chunk, guide, tile, max);
                    if count_left_out == Count::Yes {
                        self.listed.left_out.fetch_add(left_out, Ordering::Relaxed);
                    }
                }
            });
        });
    }

    /// Turns inner products with the normalised queries into scores.
    pub(super) fn scale_tile(
        &self,
        block: &Block<A>,
        queries: Range<usize>,
        chunk: &Chunk,
        tile: &mut [A],
        max: &mut [A],
    ) {
        let matrix = self.matrices.of(block.right);
        let mut mine = Vec::new();
        self.mine_in(chunk, &queries, |row, lane, _| mine.push((row, lane)));
        let mut by_lane = [A::zero(); 32];
        if !matrix.offsets.is_empty() {
            let end = queries.end.min(queries.start + A::PANEL);
            let rows = self.left_rows(block.left, &(queries.start..end));
            let left = self.matrices.of(block.left.side());
            by_lane
                .iter_mut()
                .zip(rows)
                .for_each(|(to, row)| *to = left.offsets[row]);
        }
        dispatch(Scale {
            tile: &mut tile[..chunk.rows.len() * A::PANEL],
            factors: &matrix.factors[chunk.rows.clone()],
            offsets: matrix
                .offsets
                .get(chunk.rows.clone())
                .filter(|rows| !rows.is_empty())
                .map(|rows| (rows, &by_lane[..A::PANEL])),
            mine: &mine,
            lanes: queries.len().min(A::PANEL),
            max,
        });
    }

    /// Turns the scores of a tile into what the softmax is taken of. Returns how many candidates were left out.
    #[expect(clippy::too_many_arguments, reason = "what a tile is made from")]
    fn rule_tile(
        &self,
        block: &Block<A>,
        rules: &Rules<A>,
        queries: Range<usize>,
        chunk: &Chunk,
        guide: Packed<'_, A>,
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
        let compared =
            rules
                .judge
                .zip(Some(self))
                .map(|(judge, engine)| match (judge, &engine.guides) {
                    (Judge::Guide, Some(guides)) => {
                        let embeddings = guides.of(block.named);
                        products.resize(rows.len() * A::PANEL, A::zero());
                        let documents = embeddings.rows();
                        let documents = documents.slice(s![rows.clone(), ..]);
                        let all = 0..documents.ncols();
                        let len = products.len();
                        inner_products(documents, &all, guide, &mut products, len);
                        Compared::Guide(&products, &embeddings.factors[rows.clone()])
                    }
                    _ => Compared::Own,
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
                .map(|documents| (&ids[..], &documents[rows])),
            ceilings: compared.map(|compared| (compared, &ceilings[..])),
            max,
        })
    }

    /// Visits what is a query's own among the scores of a chunk, for a panel of queries: row, lane, query.
    #[inline]
    pub(super) fn mine_in(
        &self,
        chunk: &Chunk,
        queries: &Range<usize>,
        mut visit: impl FnMut(usize, usize, usize),
    ) {
        let mine = self.blocks[chunk.block].mine;
        if mine == Mine::Nothing {
            return;
        }
        let (rows, start) = (&chunk.rows, chunk.rows.start);
        for (lane, query) in queries.clone().take(A::PANEL).enumerate() {
            if matches!(
                mine,
                Mine::Positives | Mine::PositivesAndItself | Mine::Documents
            ) {
                let positives = self.listed.positives.among(query, rows);
                positives.for_each(|row| visit(row - start, lane, query));
            }
            if matches!(mine, Mine::Itself | Mine::PositivesAndItself) && rows.contains(&query) {
                visit(query - start, lane, query);
            }
            if let (Mine::Negatives, Some(own)) = (mine, &self.listed.own) {
                let own = own.of(query);
                let own = own.start.max(rows.start)..own.end.min(rows.end);
                own.for_each(|row| visit(row - start, lane, query));
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

/// Packs some rows, normalised, as panels `[panel][dim][lane]`.
fn pack_transposed<A: Scalar>(left: &Embeddings<'_, A>, rows: &[usize], packed: &mut Buffer<A>) {
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
                let start = panel * A::PANEL;
                dispatch(PackTransposed {
                    left,
                    rows: &rows[start..rows.len().min(start + A::PANEL)],
                    packed,
                });
            }
        },
    );
}

/// Documents times panels of queries, over some columns: the first ones, or more to add to what they gave; into a tile for each panel, each `len` numbers
/// after the one before. Long products in pieces: the partial sums stay small, and with them their rounding errors.
pub(super) fn inner_products<A: Scalar>(
    documents: ArrayView2<'_, A>,
    columns: &Range<usize>,
    packed: Packed<'_, A>,
    tiles: &mut [A],
    len: usize,
) {
    if columns.end == 0 {
        tiles.fill(A::zero());
    }
    let shape = (tiles.len() / len.max(1), documents.nrows(), A::PANEL);
    let shape = shape.strides((len, A::PANEL, 1));
    let tiles = ArrayViewMut3::from_shape(shape, tiles);
    let mut tiles = tiles.expect("a tile holds its rows");
    for start in columns.clone().step_by(DEPTH) {
        let depth = start..columns.end.min(start + DEPTH);
        let write = if start == 0 { Write::Set } else { Write::Add };
        let documents = documents.slice(s![.., depth]);
        product(documents, packed.skip_rows(start), tiles.view_mut(), write);
    }
}

/// How much of its inner dimension a long product adds up at a time: what it reads of panels in a piece stays near.
pub(super) const DEPTH: usize = 256;

/// How many panels are scored at a time: as many as a tile of the product has.
const PANELS: usize = 2;
