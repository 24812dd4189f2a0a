//! The two products that carry the weights of scores to the gradients of both of their sides.

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut2, ArrayViewMut3, ShapeBuilder, s};

use super::block::Left;
use super::engine::Engine;
use super::layout::Chunk;
use super::sinks::Sinks;
use crate::blocks::for_each;
use crate::gemm::{Write, product, segmented_product};
use crate::scalar::Scalar;
use crate::workspace::Buffer;

/// The weights of a slab of scores that make some columns of the gradients. The parts of a pass follow each other.
pub(super) struct Part<'t, A> {
    pub(super) columns: Range<usize>,
    pub(super) tiles: &'t [A],
}

impl<'t, A> Part<'t, A> {
    /// The one that makes a column.
    fn of(parts: &[Self], column: usize) -> &Self {
        let at = parts.partition_point(|part| part.columns.end <= column);
        &parts[at]
    }
}

/// Columns in panels, none of which reaches over an end.
pub(super) fn column_panels<A: Scalar>(ends: &[usize]) -> Vec<Range<usize>> {
    let (mut panels, mut start) = (Vec::new(), 0);
    for &end in ends {
        let starts = (start..end).step_by(A::PANEL);
        panels.extend(starts.map(|start| start..end.min(start + A::PANEL)));
        start = end;
    }
    panels
}

impl<A: Scalar> Engine<'_, '_, A> {
    /// Numbers in the tiles of a slab.
    pub(super) fn numbers(&self, queries: &Range<usize>, slab: &Range<usize>) -> usize {
        slab.len() * queries.len().div_ceil(A::PANEL) * self.layout.tile::<A>()
    }

    /// Carries the weights of a slab to the gradients of both sides.
    #[expect(clippy::too_many_arguments, reason = "the products of a pass")]
    pub(super) fn add_products(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        parts: &[Part<'_, A>],
        panels: &[Range<usize>],
        packed: &mut [Buffer<A>; 2],
        turned: &mut [Buffer<A>; 2],
        sinks: &mut Sinks<'_, A>,
    ) {
        let width = queries.len().div_ceil(A::PANEL) * A::PANEL;
        for left in self.lefts() {
            if sinks.wants(left.side()) {
                let turned = turned[left as usize].take(width * self.dim());
                self.add_to_left(left, queries, slab, parts, turned);
            }
        }
        self.add_to_right(queries, slab, parts, panels, packed, sinks);
    }

    /// Adds scoresᵀ · rows of the right side to the gradient of the left side, `[panel][dim][lane]`.
    fn add_to_left(
        &self,
        left: Left,
        queries: &Range<usize>,
        slab: &Range<usize>,
        parts: &[Part<'_, A>],
        turned: &mut [A],
    ) {
        /// Columns that a leaf makes: whole tiles of the product.
        const COLUMNS: usize = 192;
        /// Panels that a leaf makes at most. A leaf goes down all documents, over more pages than the processor knows the places of: the more panels
        /// share the way, the better.
        const PANELS: usize = 8;
        let (dim, panels, tile) = (
            self.dim(),
            queries.len().div_ceil(A::PANEL),
            self.layout.tile::<A>(),
        );
        let of_left = |chunk: &Chunk| self.blocks[chunk.block].left == left;
        // The chunks of a side follow each other.
        let Some(first_chunk) = self.layout.chunks.iter().position(of_left) else {
            return;
        };
        let chunks = slab.clone().zip(&self.layout.chunks[slab.clone()]);
        let chunks: Vec<_> = chunks.filter(|(_, chunk)| of_left(chunk)).collect();
        let threads = self.product_threads(queries, slab);
        /// Leaves that there are at least, if there are as many panels: for as many threads.
        const LEAVES: usize = 16;
        let blocks = dim.div_ceil(COLUMNS);
        let grain = (panels * blocks).div_ceil(LEAVES).clamp(1, PANELS);
        let out = ArrayViewMut3::from_shape((panels, dim, A::PANEL), turned);
        let by_column = out.expect("as long as its shape").permuted_axes([1, 0, 2]);
        for_each(threads, dim, COLUMNS, by_column, &|start, count, out| {
            let by_panel = out.permuted_axes([1, 0, 2]);
            for_each(threads, panels, grain, by_panel, &|first, _, mut out| {
                let (mut from, end) = (start, start + count);
                while from < end {
                    let part = Part::of(parts, from);
                    let to = part.columns.end.min(end);
                    for &(index, chunk) in &chunks {
                        let write = if index == first_chunk {
                            Write::Set
                        } else {
                            Write::Add
                        };
                        let tiles = &part.tiles[((index - slab.start) * panels + first) * tile..];
                        let out = out.slice_mut(s![.., from - start..to - start, ..]);
                        self.add_chunk(chunk, from..to, tiles, out, write);
                    }
                    from = to;
                }
            });
        });
    }

    /// Adds some columns of a chunk of rows to what panels of queries come to, `[panel][column][lane]`, by the chunk's tiles.
    fn add_chunk(
        &self,
        chunk: &Chunk,
        columns: Range<usize>,
        tiles: &[A],
        mut out: ArrayViewMut3<'_, A>,
        write: Write,
    ) {
        let matrix = self.matrices.of(self.blocks[chunk.block].right);
        let rows = matrix.embeddings.rows();
        let rows = rows.slice(s![chunk.rows.clone(), columns]);
        let tiles = tiles.chunks(self.layout.tile::<A>());
        for (out, tile) in out.outer_iter_mut().zip(tiles) {
            let weights = &tile[..chunk.rows.len() * A::PANEL];
            product(rows.reversed_axes(), weights, out, write);
        }
    }

    /// Adds scores · rows of the left side to the gradients of the right sides.
    fn add_to_right(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        parts: &[Part<'_, A>],
        panels: &[Range<usize>],
        packed: &mut [Buffer<A>; 2],
        sinks: &mut Sinks<'_, A>,
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
                let first = first - slab.start;
                let view = view.slice_mut(s![rows, ..]);
                let len = panels.len() * queries.len().div_ceil(A::PANEL) * A::PANEL * A::PANEL;
                let packed = packed[block.left as usize].take(len);
                self.add_block(queries, slab, first, parts, panels, packed, view, write);
            }
        }
    }

    /// `first` is the first chunk of the slab whose documents are rows of `view`; the others follow it.
    #[expect(clippy::too_many_arguments, reason = "one product of a pass")]
    fn add_block(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        first: usize,
        parts: &[Part<'_, A>],
        column_panels: &[Range<usize>],
        packed: &[A],
        view: ArrayViewMut2<'_, A>,
        write: Write,
    ) {
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), self.layout.tile::<A>());
        let len = panels * A::PANEL * A::PANEL;
        let grain = self.layout.chunk;
        for_each(
            self.product_threads(queries, slab),
            view.nrows(),
            grain,
            view,
            &|start, count, mut view| {
                let chunk = first + start / grain;
                let shape = (panels, count, A::PANEL).strides((tile, A::PANEL, 1));
                for (panel, columns) in packed.chunks_exact(len).zip(column_panels) {
                    let tiles = Part::of(parts, columns.start).tiles;
                    let tiles = &tiles[chunk * panels * tile..(chunk + 1) * panels * tile];
                    let scores = ArrayView3::from_shape(shape, tiles);
                    let scores = scores.expect("a slab holds its tiles");
                    let view = view.slice_mut(s![.., columns.clone()]);
                    segmented_product(scores, panel, view, write);
                }
            },
        );
    }
}
