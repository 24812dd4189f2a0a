//! Where gradients go, and the way back through the normalisation.

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};

use super::askers::Askers;
use super::block::{Left, Side};
use super::engine::Engine;
use super::finish::{AddSums, Along, FinishRows};
use super::lanes::Lanes;
use super::layout::Chunk;
use super::listed::times;
use super::own::{OwnRows, Starts};
use super::tiles::WeightSums;
use crate::blocks::{Units, for_each};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::similarity::Similarity;
use crate::workspace::Workspace;

/// The gradient views of all matrices.
///
/// A matrix that is on the right of some block receives sums of gradients by its normalised rows, block of queries by block of queries; they are
/// carried back through the normalisation at the end. What is on the left alone is finished with its block of queries.
pub(super) struct Sinks<'g, A> {
    views: [Option<ArrayViewMut2<'g, A>>; 4],
    /// Views that held zeros before the first product.
    cleared: [bool; 4],
    /// The first of the queries whose products came first.
    first_queries: Option<usize>,
    /// The sum of the weights of each row, for distances.
    sums: [Vec<f64>; 4],
}

impl<'g, A: Scalar> Sinks<'g, A> {
    pub(super) fn new(
        queries: Option<ArrayViewMut2<'g, A>>,
        documents: Option<ArrayViewMut2<'g, A>>,
        negatives: Option<ArrayViewMut2<'g, A>>,
        pool: Option<ArrayViewMut2<'g, A>>,
    ) -> Self {
        Self {
            views: [queries, documents, negatives, pool],
            cleared: [false; 4],
            first_queries: None,
            sums: Default::default(),
        }
    }

    pub(super) fn wants(&self, side: Side) -> bool {
        self.views[side as usize].is_some()
    }

    pub(super) fn view(&mut self, side: Side) -> Option<&mut ArrayViewMut2<'g, A>> {
        self.views[side as usize].as_mut()
    }

    pub(super) fn is_cleared(&self, side: Side) -> bool {
        self.cleared[side as usize]
    }

    /// Whether a block of queries is the first whose products come here.
    pub(super) fn is_first(&mut self, queries: &Range<usize>) -> bool {
        *self.first_queries.get_or_insert(queries.start) == queries.start
    }

    /// Makes ready what receives sums from several places: zeros.
    pub(super) fn clear(&mut self, side: Side) {
        if let Some(view) = self.view(side) {
            view.fill(A::zero());
        }
        self.cleared[side as usize] = true;
    }

    /// Makes room for the sums of weights of a matrix.
    pub(super) fn sum_weights(&mut self, side: Side, rows: usize) {
        self.sums[side as usize] = vec![0.0; rows];
    }

    /// The views of what is listed for some queries.
    pub(super) fn listed<'v, 's>(
        &'v mut self,
        queries: &Range<usize>,
        starts: Option<Starts<'s>>,
    ) -> (Option<ArrayViewMut2<'v, A>>, Option<OwnRows<'v, 's, A>>) {
        let [to_queries, _, to_negatives, _] = &mut self.views;
        let to_queries = to_queries
            .as_mut()
            .map(|view| view.slice_mut(s![queries.clone(), ..]));
        let to_negatives = to_negatives.as_mut().zip(starts).map(|(rows, starts)| {
            let all = OwnRows {
                rows: rows.view_mut(),
                starts,
                query: 0,
            };
            all.some(queries)
        });
        (to_queries, to_negatives)
    }

    /// Brings everything to another size.
    pub(super) fn scale(&mut self, scale: f64) {
        for view in self.views.iter_mut().flatten() {
            view.map_inplace(|x| *x = A::narrow(x.wide() * scale));
        }
    }
}

impl<A: Scalar> Engine<'_, '_, A> {
    /// Whether a matrix is on the right of some block.
    pub(super) fn is_right(&self, side: Side) -> bool {
        self.blocks.iter().any(|block| block.right == side)
    }

    /// Whether gradients have the row itself in them, times the sum of its weights.
    pub(super) fn is_distance(&self) -> bool {
        self.loss.similarity == Similarity::SquaredEuclidean
    }

    pub(super) fn prepare(&self, sinks: &mut Sinks<'_, A>) {
        // What is listed is added to these between the products.
        for side in [Side::Queries, Side::Negatives] {
            if self.is_right(side) {
                sinks.clear(side);
            }
        }
        for side in Side::ALL {
            if self.is_right(side) && self.is_distance() {
                sinks.sum_weights(side, self.matrices.of(side).factors.len());
            }
        }
    }

    /// Adds up the weights of a slab: those of each query to `own_sums`, those of each row to the sinks.
    pub(super) fn sum_weights(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        lanes: &Lanes<A>,
        own_sums: &mut [Vec<f64>; 2],
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), self.layout.tile::<A>());
        let (count, len) = (slab.len() * panels, A::PANEL + self.layout.chunk);
        let tiles = &*workspace.scores.take(count * tile);
        let sums = Units {
            slice: workspace.sums.take(count * len),
            len,
        };
        for_each(
            Self::threads(count * tile * 10),
            count,
            1,
            sums,
            &|first, _, out: Units<f64>| {
                let chunk = &self.layout.chunks[slab.start + first / panels];
                let lane = first % panels * A::PANEL;
                dispatch(WeightSums {
                    tile: &tiles[first * tile..][..chunk.rows.len() * A::PANEL],
                    scales: &lanes.scales[lane..lane + A::PANEL],
                    out: out.slice,
                });
            },
        );
        let sums = workspace.sums.take(count * len);
        for (index, sums) in sums.chunks_exact(len).enumerate() {
            let chunk = &self.layout.chunks[slab.start + index / panels];
            let block = &self.blocks[chunk.block];
            let lanes = own_sums[block.left as usize][index % panels * A::PANEL..].iter_mut();
            lanes.zip(&sums[..A::PANEL]).for_each(|(sum, x)| *sum += x);
            let rows = sinks.sums[block.right as usize][chunk.rows.clone()].iter_mut();
            rows.zip(&sums[A::PANEL..]).for_each(|(sum, x)| *sum += x);
        }
    }

    /// The gradient of the left side of a block of queries: back through the normalisation to the caller's rows, or added to the sums there.
    pub(super) fn finish_left(
        &self,
        left: Left,
        queries: &Range<usize>,
        lanes: &Lanes<A>,
        own_sums: &[f64],
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        let (dim, panels, side) = (self.dim(), queries.len().div_ceil(A::PANEL), left.side());
        if !sinks.wants(side) {
            return;
        }
        let sums = workspace.gradients[left as usize].take(panels * dim * A::PANEL);
        let scored = |chunk: &Chunk| self.blocks[chunk.block].left == left;
        if !self.layout.chunks.iter().any(scored) {
            sums.fill(A::zero());
        }
        let sums = &*sums;
        let embeddings = &self.matrices.of(side).embeddings;
        if self.is_right(side) {
            let rows = self.left_rows(left, queries);
            if self.is_distance() {
                let scaled = own_sums.iter().zip(&lanes.scales);
                for (&row, (sum, scale)) in rows.iter().zip(scaled) {
                    sinks.sums[side as usize][row] += times(*scale, *sum);
                }
            }
            let Some(view) = sinks.view(side) else {
                return;
            };
            // Two queries may have the same positive: the rows are written one after the other.
            return dispatch(AddSums {
                embeddings,
                sums,
                scales: &lanes.scales,
                rows: &rows,
                to: view.view_mut(),
            });
        }
        let along: Vec<f64>;
        let along = match self.loss.similarity {
            Similarity::Cosine => Along::Projection,
            Similarity::Dot => Along::Nothing,
            Similarity::SquaredEuclidean => {
                let scaled = own_sums.iter().zip(&lanes.scales);
                along = scaled.map(|(sum, scale)| times(*scale, *sum)).collect();
                Along::Sums(&along)
            }
        };
        let Some(view) = sinks.view(side) else {
            return;
        };
        let view = view.slice_mut(s![queries.clone(), ..]);
        let threads = Self::threads(queries.len() * dim * 50);
        for_each(
            threads,
            queries.len(),
            A::PANEL,
            view,
            &|first, count, rows| {
                dispatch(FinishRows {
                    embeddings,
                    first: queries.start + first,
                    along: along.some(first..first + count),
                    sums: Some((&sums[first * dim..], &lanes.scales[first..])),
                    add: self.lists_candidates(),
                    rows,
                });
            },
        );
    }

    /// The gradients of what is on the right back through the normalisation; those of documents that are nothing but positives; zeros for an
    /// empty batch.
    pub(super) fn finish_right(&self, sinks: &mut Sinks<'_, A>) {
        for side in Side::ALL.into_iter().filter(|&side| self.is_right(side)) {
            let sums = std::mem::take(&mut sinks.sums[side as usize]);
            let along = match self.loss.similarity {
                Similarity::Cosine => Along::Projection,
                Similarity::Dot => Along::Nothing,
                Similarity::SquaredEuclidean => Along::Sums(&sums),
            };
            let Some(view) = sinks.view(side) else {
                continue;
            };
            if self.queries.is_empty() {
                view.fill(A::zero());
                continue;
            }
            if matches!(along, Along::Nothing) {
                continue;
            }
            let threads = Self::threads(view.len() * 20);
            let embeddings = &self.matrices.of(side).embeddings;
            for_each(
                threads,
                view.nrows(),
                32,
                view.view_mut(),
                &|first, count, rows| {
                    dispatch(FinishRows {
                        embeddings,
                        first,
                        along: along.some(first..first + count),
                        sums: None,
                        add: false,
                        rows,
                    });
                },
            );
        }
        let named = if self.listed.input.within {
            Side::Queries
        } else {
            Side::Documents
        };
        if let (false, Some(view)) = (self.loss.in_batch_negatives, sinks.view(named)) {
            self.write_documents(view.view_mut());
        }
    }

    fn write_documents(&self, view: ArrayViewMut2<'_, A>) {
        let askers = Askers::new(self.listed.positives, self.queries.len(), view.nrows());
        let pull = |query: usize, row: usize| {
            let entries = self.pairs.of(query);
            match entries.binary_search_by_key(&row, |entry| entry.row) {
                Ok(at) => entries[at].pull,
                Err(_) => self.queries[query].settled.pull,
            }
        };
        self.listed.write_documents(&askers, &pull, view);
    }
}
