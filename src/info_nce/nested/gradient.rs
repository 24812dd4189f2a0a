//! The gradient of all prefixes: the sums of their weights, carried to both sides by shared products, less what is along each row.

use std::ops::Range;

use super::finish::FinishPrefixes;
use super::pass::Prefixes;
use super::weigh::{LaneFactors, Moment, Positive, WeighPrefix};
use crate::blocks::{Units, for_each};
use crate::info_nce::block::{Left, Side};
use crate::info_nce::engine::Engine;
use crate::info_nce::lanes::Lanes;
use crate::info_nce::layout::Chunk;
use crate::info_nce::listed::times;
use crate::info_nce::products::{Part, column_panels};
use crate::info_nce::sinks::Sinks;
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::similarity::Similarity;
use crate::workspace::Workspace;

impl<A: Scalar> Prefixes<'_, '_, A> {
    /// The gradient of a block of queries, and what it adds to those of the documents.
    pub(super) fn apply(
        &mut self,
        queries: &Range<usize>,
        held: bool,
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
        parts: &mut [Workspace<A>],
    ) {
        let lanes = self.levels.iter().map(|level| Lanes::new(level, queries));
        let lanes: Vec<Lanes<A>> = lanes.collect();
        let panels = column_panels::<A>(&self.ends);
        let mut ones = vec![1.0; queries.len()];
        ones.resize(lanes[0].scales.len(), 0.0);
        self.products
            .pack_rows(Left::Queries, queries, &ones, &panels, workspace);
        for slab in self.products.layout.slabs() {
            if !held {
                self.score(queries, &slab, workspace, parts);
            }
            self.weigh(queries, &slab, &lanes, parts);
            self.add_moments(queries, &slab, &lanes, parts);
            let numbers = self.products.numbers(queries, &slab);
            let starts = std::iter::once(&0).chain(&self.ends);
            let columns = starts.zip(&self.ends).map(|(&start, &end)| start..end);
            let shares = columns.zip(&mut *parts).map(|(columns, part)| Part {
                columns,
                tiles: part.scores.take(numbers),
            });
            let shares: Vec<Part<A>> = shares.collect();
            let (packed, gradients) = (&mut workspace.panels, &mut workspace.gradients);
            self.products
                .add_products(queries, &slab, &shares, &panels, packed, gradients, sinks);
        }
        self.finish_left(queries, sinks, workspace);
    }

    /// Turns a slab of scores into the gradient by the inner products, summed over the prefixes from each one on.
    fn weigh(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        lanes: &[Lanes<A>],
        parts: &mut [Workspace<A>],
    ) {
        let layout = &self.products.layout;
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), layout.tile::<A>());
        let (count, len) = (slab.len() * panels, A::PANEL + layout.chunk);
        let factors = self.levels.iter().zip(lanes);
        let factors = factors.map(|(level, lanes)| LaneFactors::new(level, queries, lanes));
        let factors: Vec<LaneFactors<A>> = factors.collect();
        let work = parts.iter_mut().map(|part| {
            let tiles = Units {
                slice: part.scores.take(count * tile),
                len: tile,
            };
            let sums = Units {
                slice: part.sums.take(count * len),
                len,
            };
            (tiles, sums)
        });
        let threads = Engine::<A>::threads(count * tile * 40 * self.levels.len());
        let weigh = |first: usize, _, mut work: Vec<(Units<A>, Units<f64>)>| {
            let (chunk, panel) = (&layout.chunks[slab.start + first / panels], first % panels);
            let used = chunk.rows.len() * A::PANEL;
            for (index, level) in self.levels.iter().enumerate().rev() {
                let (shorter, longer) = work.split_at_mut(index + 1);
                let (tile, sums) = &mut shorter[index];
                let right = level.matrices.of(level.blocks[chunk.block].right);
                let lanes = &lanes[index];
                dispatch(WeighPrefix {
                    tile: &mut tile.slice[..used],
                    longer: longer.first().map(|(tile, _)| &tile.slice[..used]),
                    factors: &right.factors[chunk.rows.clone()],
                    lanes: factors[index].of(panel),
                    softmaxes: level.softmaxes(chunk, panel, lanes),
                    positives: &positives(level, chunk, queries, panel, lanes),
                    idle: &lanes.idle_in(panel),
                    moment: moment(level),
                    out: sums.slice,
                });
            }
        };
        for_each(threads, count, 1, work.collect(), &weigh);
    }

    /// Adds up the moments of the tiles of a slab.
    fn add_moments(
        &mut self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        lanes: &[Lanes<A>],
        parts: &mut [Workspace<A>],
    ) {
        let layout = &self.products.layout;
        let panels = queries.len().div_ceil(A::PANEL);
        let len = A::PANEL + layout.chunk;
        let levels = self.levels.iter().zip(lanes).zip(parts);
        for (((level, lanes), part), moments) in levels.zip(&mut self.moments) {
            if moment(level) == Moment::Nothing {
                continue;
            }
            let sums = part.sums.take(slab.len() * panels * len);
            for (index, sums) in sums.chunks_exact(len).enumerate() {
                let chunk = &layout.chunks[slab.start + index / panels];
                let first = index % panels * A::PANEL;
                let (of_lanes, of_rows) = sums.split_at(A::PANEL);
                let scaled = of_lanes.iter().zip(&lanes.scales[first..]);
                let own = &mut moments[Side::Queries as usize][queries.clone()][first..];
                own.iter_mut()
                    .zip(scaled)
                    .for_each(|(moment, (sum, scale))| *moment += times(*scale, *sum));
                let right = level.blocks[chunk.block].right;
                let rows = moments[right as usize][chunk.rows.clone()].iter_mut();
                rows.zip(of_rows).for_each(|(moment, sum)| *moment += sum);
            }
        }
    }

    /// The gradient of a block of queries, written to their rows.
    fn finish_left(
        &self,
        queries: &Range<usize>,
        sinks: &mut Sinks<'_, A>,
        workspace: &mut Workspace<A>,
    ) {
        let (engine, dim) = (&self.products, self.products.dim());
        let Some(view) = sinks.view(Side::Queries) else {
            return;
        };
        let len = queries.len().div_ceil(A::PANEL) * A::PANEL * dim;
        let sums = &*workspace.gradients[Left::Queries as usize].take(len);
        let along = self.along(Side::Queries, queries);
        let view = view.slice_mut(ndarray::s![queries.clone(), ..]);
        let threads = Engine::<A>::threads(queries.len() * dim * 50);
        let finish = |first: usize, _: usize, rows| {
            dispatch(FinishPrefixes {
                embeddings: engine.matrices.of(Side::Queries).embeddings.rows(),
                first: queries.start + first,
                ends: &self.ends,
                along: &along[first * self.ends.len()..],
                sums: Some(&sums[first * dim..]),
                rows,
            });
        };
        for_each(threads, queries.len(), A::PANEL, view, &finish);
    }

    /// Takes what is along each row off the gradients of documents and pool.
    pub(super) fn finish_right(&self, sinks: &mut Sinks<'_, A>) {
        for block in &self.products.blocks {
            let embeddings = &self.products.matrices.of(block.right).embeddings;
            let Some(view) = sinks.view(block.right) else {
                continue;
            };
            let along = self.along(block.right, &(0..view.nrows()));
            if along.iter().all(|&along| along == 0.0) {
                continue;
            }
            let threads = Engine::<A>::threads(view.len() * 20);
            let finish = |first: usize, _: usize, rows| {
                dispatch(FinishPrefixes {
                    embeddings: embeddings.rows(),
                    first,
                    ends: &self.ends,
                    along: &along[first * self.ends.len()..],
                    sums: None,
                    rows,
                });
            };
            for_each(threads, view.nrows(), 32, view.view_mut(), &finish);
        }
    }

    /// How much of some rows themselves is taken off their gradients, row by row: in the columns up to the end of each prefix, those of the longer ones
    /// with it.
    fn along(&self, side: Side, rows: &Range<usize>) -> Vec<f64> {
        let count = self.levels.len();
        let mut along = vec![0.0; rows.len() * count];
        for (index, (level, moments)) in self.levels.iter().zip(&self.moments).enumerate() {
            let per_norm = &level.matrices.of(side).embeddings.per_norm;
            for (along, row) in along.chunks_exact_mut(count).zip(rows.clone()) {
                let own = match level.loss.similarity {
                    Similarity::Cosine => {
                        moments[side as usize][row] * per_norm[row] * per_norm[row]
                    }
                    Similarity::Dot => 0.0,
                    Similarity::SquaredEuclidean => {
                        2.0 * level.listed.per_temperature * moments[side as usize][row]
                    }
                };
                along[..=index].iter_mut().for_each(|sum| *sum += own);
            }
        }
        along
    }
}

/// What the gradients of a prefix have of the rows themselves.
fn moment<A>(level: &Engine<'_, '_, A>) -> Moment {
    match level.loss.similarity {
        Similarity::Cosine => Moment::Scores,
        Similarity::Dot => Moment::Nothing,
        Similarity::SquaredEuclidean => Moment::Weights,
    }
}

/// The positives of a panel of queries in a tile.
fn positives<A: Scalar>(
    level: &Engine<'_, '_, A>,
    chunk: &Chunk,
    queries: &Range<usize>,
    panel: usize,
    lanes: &Lanes<A>,
) -> Vec<Positive> {
    let mut found = Vec::new();
    if level.blocks[chunk.block].has_positives() {
        let first = queries.start + panel * A::PANEL;
        level.weigh_positives(&chunk.rows, first..queries.end, panel, lanes, &mut found);
    }
    let first = panel * A::PANEL;
    // Of a query that does not take part the weight may be NaN.
    let found = found
        .into_iter()
        .filter(|&(_, lane, _)| lanes.scales[first + lane] != 0.0);
    let found = found.map(|(row, lane, weight)| Positive {
        row,
        lane,
        weight,
        score: level.queries[queries.start + first + lane].positive.u,
    });
    found.collect()
}
