//! The two products that carry the weights of scores to the gradients of both of their sides.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, Axis, ShapeBuilder, s};

use super::block::Left;
use super::engine::Engine;
use super::layout::Chunk;
use super::pack::CopyColumns;
use super::score::DEPTH;
use super::sinks::Sinks;
use crate::blocks::for_each;
use crate::gemm::{Packed, Write, product, segmented_product};
use crate::scalar::Scalar;
use crate::simd::{dispatch, prefetch};
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
        gradients: &mut [Buffer<A>; 2],
        sinks: &mut Sinks<'_, A>,
    ) {
        let width = queries.len().div_ceil(A::PANEL) * A::PANEL;
        for left in self.lefts() {
            if sinks.wants(left.side()) {
                let gradient = gradients[left as usize].take(width * self.dim());
                self.add_to_left(left, queries, slab, parts, gradient);
            }
        }
        self.add_to_right(queries, slab, parts, panels, packed, sinks);
    }

    /// Adds scoresᵀ · rows of the right side to the gradient of the left side, `[query, dim]`.
    fn add_to_left(
        &self,
        left: Left,
        queries: &Range<usize>,
        slab: &Range<usize>,
        parts: &[Part<'_, A>],
        gradient: &mut [A],
    ) {
        /// Bytes of a row that a leaf makes: it goes down all documents, so the wider it is, the fewer times their scores are read.
        const COLUMNS: usize = 768;
        /// Leaves that there are at least, if there are as many panels: for as many threads.
        const LEAVES: usize = 8;
        /// Panels that share a copy of a chunk of documents, at least.
        const PANELS: usize = 4;
        let (dim, panels) = (self.dim(), queries.len().div_ceil(A::PANEL));
        let of_left = |chunk: &Chunk| self.blocks[chunk.block].left == left;
        // The chunks of a side follow each other.
        let Some(first_chunk) = self.layout.chunks.iter().position(of_left) else {
            return;
        };
        let chunks = slab.clone().zip(&self.layout.chunks[slab.clone()]);
        let chunks: Vec<_> = chunks.filter(|(_, chunk)| of_left(chunk)).collect();
        let threads = self.product_threads(queries, slab);
        let columns = COLUMNS / size_of::<A>();
        let grain = (panels * dim.div_ceil(columns)).div_ceil(LEAVES);
        let grain = grain.max(PANELS) * A::PANEL;
        let shape = (panels * A::PANEL, dim);
        let out = ArrayViewMut2::from_shape(shape, gradient).expect("as long as its shape");
        for_each(threads, panels * A::PANEL, grain, out, &|first, _, out| {
            let out = out.reversed_axes();
            for_each(threads, dim, columns, out, &|start, count, out| {
                let mut out = out.reversed_axes();
                let mut copy = Buffer::default();
                let (mut from, end) = (start, start + count);
                while from < end {
                    let part = Part::of(parts, from);
                    let to = part.columns.end.min(end);
                    let next = chunks.iter().skip(1).map(Some).chain([None]);
                    for (&(index, chunk), next) in chunks.iter().zip(next) {
                        let write = if index == first_chunk {
                            Write::Set
                        } else {
                            Write::Add
                        };
                        let copy = self.copy_columns(chunk, from..to, &mut copy);
                        let tile = self.layout.tile::<A>();
                        let tiles = &part.tiles[(index - slab.start) * panels * tile..];
                        let tiles = tiles[first / A::PANEL * tile..].chunks(tile);
                        let out = out.slice_mut(s![.., from - start..to - start]);
                        let ahead = next.map(|(_, chunk)| self.columns_of(chunk, from..to));
                        add_weighed(chunk.rows.len(), tiles, copy, out, write, ahead);
                    }
                    from = to;
                }
            });
        });
    }

    /// Copies some columns of a chunk of rows to panels `[column panel][row][column]`.
    fn copy_columns<'c>(
        &self,
        chunk: &Chunk,
        columns: Range<usize>,
        copy: &'c mut Buffer<A>,
    ) -> &'c [A] {
        let len = chunk.rows.len() * columns.len().div_ceil(A::PANEL) * A::PANEL;
        let copy = copy.take(len);
        dispatch(CopyColumns {
            rows: self.columns_of(chunk, columns),
            copy: &mut *copy,
        });
        copy
    }

    /// Some columns of a chunk of rows.
    fn columns_of(&self, chunk: &Chunk, columns: Range<usize>) -> ArrayView2<'_, A> {
        let matrix = self.matrices.of(self.blocks[chunk.block].right);
        let rows = matrix.embeddings.rows();
        rows.slice_move(s![chunk.rows.clone(), columns])
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
        let is_first = sinks.is_first(queries);
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
            let set = is_first && !earlier && !sinks.is_cleared(block.right);
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
        let grain = self.layout.chunk;
        let deep = (DEPTH / A::PANEL).max(1);
        for_each(
            self.product_threads(queries, slab),
            view.nrows(),
            grain,
            view,
            &|start, count, mut view| {
                let chunk = first + start / grain;
                let shape = (panels, count, A::PANEL).strides((tile, A::PANEL, 1));
                for strip in strips(column_panels, parts) {
                    let columns =
                        column_panels[strip.start].start..column_panels[strip.end - 1].end;
                    let tiles = Part::of(parts, columns.start).tiles;
                    let tiles = &tiles[chunk * panels * tile..(chunk + 1) * panels * tile];
                    let scores = ArrayView3::from_shape(shape, tiles);
                    let scores = scores.expect("a slab holds its tiles");
                    let packed = Packed::panels(packed, panels * A::PANEL).skip_panels(strip.start);
                    let mut view = view.slice_mut(s![.., columns]);
                    for first in (0..panels).step_by(deep) {
                        let some = scores.slice(s![first..panels.min(first + deep), .., ..]);
                        let write = if first == 0 { write } else { Write::Add };
                        let packed = packed.skip_rows(first * A::PANEL);
                        segmented_product(some, packed, view.view_mut(), write);
                    }
                }
            },
        );
    }
}

/// The panels of columns that are made by the same weights.
fn strips<A: Scalar>(panels: &[Range<usize>], parts: &[Part<'_, A>]) -> Vec<Range<usize>> {
    let mut start = 0;
    let strips = parts.iter().map(|part| {
        let end = panels.partition_point(|panel| panel.end <= part.columns.end);
        std::mem::replace(&mut start, end)..end
    });
    strips.filter(|strip| !strip.is_empty()).collect()
}

/// Adds rows `[column panel][row][column]` to each query, as the tiles of the queries weigh them. Meanwhile what is copied next comes from memory.
fn add_weighed<'t, A: Scalar + 't>(
    rows: usize,
    tiles: impl Iterator<Item = &'t [A]>,
    copy: &[A],
    mut out: ArrayViewMut2<'_, A>,
    write: Write,
    ahead: Option<ArrayView2<'_, A>>,
) {
    let panels = out.nrows().div_ceil(A::PANEL);
    let outs = out.axis_chunks_iter_mut(Axis(0), A::PANEL);
    for (panel, (out, tile)) in outs.zip(tiles).enumerate() {
        if let Some(ahead) = &ahead {
            prefetch_share(ahead, panel, panels);
        }
        let weights = ArrayView2::from_shape((rows, A::PANEL), &tile[..rows * A::PANEL]);
        let weights = weights.expect("as long as its shape").reversed_axes();
        product(weights, Packed::panels(copy, rows), out, write);
    }
}

/// Asks for one of so many shares of the rows, where these can be asked for.
fn prefetch_share<A: Scalar>(rows: &ArrayView2<'_, A>, share: usize, shares: usize) {
    let [start, end] = [share, share + 1].map(|share| share * rows.nrows() / shares);
    for row in rows.slice(s![start..end, ..]).outer_iter() {
        row.to_slice().into_iter().for_each(prefetch);
    }
}
