//! How the scores of a pass are cut into tiles that fit the workspace.

use std::ops::Range;

use crate::scalar::Scalar;

/// Documents `rows` of block `block`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) block: usize,
    pub(super) rows: Range<usize>,
}

/// How the scores of a pass are cut: queries in blocks of panels, documents in chunks, and as many chunks at a time as the workspace holds.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Panels of queries in a block.
    pub(super) panels: usize,
    /// Documents in a full chunk.
    pub(super) chunk: usize,
    /// All chunks of all blocks.
    pub(super) chunks: Vec<Chunk>,
    /// Chunks whose scores are held at a time.
    pub(super) slab: usize,
}

impl Layout {
    /// Panels of queries in a block, at most, unless as many as fit are asked for: enough for the packing of the queries not to count.
    const MOST_PANELS: usize = 32;
    /// Below this the documents are read too often, and scoring twice is cheaper.
    const LEAST_PANELS: usize = 2;

    /// For `queries` against blocks of `documents` of `dim` columns, within `limit` bytes, and as many again for what a block keeps of its queries, `kept` bytes of
    /// each. `whole` asks for as many queries in a block as fit.
    pub(super) fn new<A: Scalar>(
        queries: usize,
        documents: &[usize],
        dim: usize,
        limit: usize,
        kept: usize,
        whole: bool,
    ) -> Self {
        let most = documents.iter().copied().max().unwrap_or(0);
        let chunk = match (most, dim) {
            // Small batches are cut finer, for there to be work for several threads.
            (..=64, _) => 32,
            (..=256, _) => 64,
            // A chunk of documents fits the second-level cache beside the packed queries.
            (_, 512..) => 128,
            _ => 256,
        };
        let mut chunks = Vec::new();
        for (block, &documents) in documents.iter().enumerate() {
            let starts = (0..documents).step_by(chunk);
            chunks.extend(starts.map(|start| Chunk {
                block,
                rows: start..documents.min(start + chunk),
            }));
        }
        let tiles = (limit / (chunk * A::PANEL * size_of::<A>())).max(1);
        let all = queries.div_ceil(A::PANEL).max(1);
        let count = chunks.len().max(1);
        let fit = tiles / count;
        // What is packed of the queries, and their gradients, is as much as the scores at most, too.
        let packed = limit / (dim.max(1) * A::PANEL * size_of::<A>());
        let most_panels = if whole { fit.min(packed) } else { 0 }.max(Self::MOST_PANELS);
        let keeps = (limit / kept.saturating_mul(A::PANEL).max(1)).max(1);
        let panels = all.min(most_panels).min(keeps);
        if panels <= fit {
            return Self {
                panels,
                chunk,
                slab: count,
                chunks,
            };
        }
        if fit >= Self::LEAST_PANELS.min(panels) {
            return Self {
                panels: fit,
                chunk,
                slab: count,
                chunks,
            };
        }
        let panels = panels.min(8).min(tiles);
        Self {
            panels,
            chunk,
            slab: tiles / panels,
            chunks,
        }
    }

    /// Whether the scores of a block of queries are all held at a time.
    pub(super) fn holds_rows(&self) -> bool {
        self.slab >= self.chunks.len()
    }

    /// Numbers in a tile.
    pub(super) fn tile<A: Scalar>(&self) -> usize {
        self.chunk * A::PANEL
    }

    /// Queries in a block.
    pub(super) fn queries<A: Scalar>(&self) -> usize {
        self.panels * A::PANEL
    }

    /// The slabs of a block: ranges of chunks.
    pub(super) fn slabs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (slab, all) = (self.slab, self.chunks.len());
        (0..all)
            .step_by(slab)
            .map(move |start| start..all.min(start + slab))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_keeps_the_limit_and_covers_every_document_once() {
        for limit in [1 << 16, 1 << 20, 64 << 20] {
            for (queries, documents) in [
                (1, [1, 0]),
                (64, [64, 7]),
                (8192, [8192, 100]),
                (65_536, [65_536, 0]),
                (5, [3_000_000, 1]),
            ] {
                for whole in [false, true] {
                    let layout = Layout::new::<f32>(queries, &documents, 768, limit, 0, whole);
                    let bytes = layout.slab.min(layout.chunks.len())
                        * layout.panels
                        * layout.tile::<f32>()
                        * 4;
                    assert!(bytes <= limit, "{queries} {documents:?} {limit}: {bytes}");
                    for (block, &documents) in documents.iter().enumerate() {
                        let rows = layout
                            .chunks
                            .iter()
                            .filter(|chunk| chunk.block == block)
                            .flat_map(|chunk| chunk.rows.clone());
                        assert!(rows.eq(0..documents));
                    }
                    assert!(layout.slabs().flatten().eq(0..layout.chunks.len()));
                }
            }
        }
    }
}
