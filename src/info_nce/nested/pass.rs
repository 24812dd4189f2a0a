//! The pass: products that are shared, and what each prefix makes of them.

use std::ops::Range;

use ndarray::s;

use super::weigh::ByLane;
use crate::blocks::{Units, for_each};
use crate::gemm::Packed;
use crate::info_nce::block::{Left, Side};
use crate::info_nce::engine::Engine;
use crate::info_nce::score::inner_products;
use crate::info_nce::sinks::Sinks;
use crate::reduction::Sum;
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::workspace::Workspace;

/// All prefixes of a batch.
pub(super) struct Prefixes<'l, 'a, A> {
    /// The longest prefix, whose rows are multiplied as they are.
    pub(super) products: Engine<'l, 'a, A>,
    /// The scores and softmaxes of each prefix.
    pub(super) levels: Vec<Engine<'l, 'a, A>>,
    /// The columns of each prefix.
    pub(super) ends: Vec<usize>,
    /// Of each prefix and side, what gradients have of the row itself: sums over its weights.
    pub(super) moments: Vec<[Vec<f64>; 4]>,
}

impl<'l, 'a, A: Scalar> Prefixes<'l, 'a, A> {
    /// `None` where some embeddings are not multiplied as they are, or weights times their factors might overflow before they are.
    pub(super) fn new(
        products: Engine<'l, 'a, A>,
        mut levels: Vec<Engine<'l, 'a, A>>,
    ) -> Option<Self> {
        let in_place = |engine: &Engine<'_, '_, A>| {
            sides(engine).all(|side| engine.matrices.of(side).embeddings.are_in_place())
        };
        if !in_place(&products)
            || !levels
                .iter()
                .all(|level| in_place(level) && is_moderate(level))
        {
            return None;
        }
        levels
            .iter_mut()
            .for_each(|level| level.layout = products.layout.clone());
        Some(Self {
            ends: levels.iter().map(|level| level.dim()).collect(),
            moments: levels.iter().map(|_| Default::default()).collect(),
            products,
            levels,
        })
    }

    /// The sum of something over the prefixes.
    pub(super) fn sum(&self, of: impl Fn(&Engine<'l, 'a, A>) -> f64) -> A {
        let sum = self.levels.iter().map(of).fold(Sum::ZERO, Sum::plus);
        A::narrow(sum.value())
    }

    /// Settles the softmaxes of all prefixes, and writes the gradient to the sinks if it is wanted. `to_active` divides it by the weight of the losses that are
    /// not zero.
    pub(super) fn run(
        &mut self,
        to_active: bool,
        sinks: &mut Sinks<'_, A>,
        wanted: bool,
        workspace: &mut Workspace<A>,
    ) {
        let all = 0..self.products.queries.len();
        let mut parts = workspace.take_parts(self.levels.len());
        if wanted {
            self.make_room();
        }
        for level in &mut self.levels {
            level.pairs.prepare(level.listed.positives, &all);
        }
        let layout = &self.products.layout;
        let two_directions = self.products.loss.directions.document_to_query;
        let at_once = !to_active && !two_directions;
        let held = layout.holds_rows() && (at_once || all.len() <= layout.queries::<A>());
        for queries in self.products.query_blocks() {
            self.fold(&queries, workspace, &mut parts);
            if at_once {
                self.settle(&queries, sinks);
                if wanted {
                    self.apply(&queries, held, sinks, workspace, &mut parts);
                }
            }
        }
        if !at_once {
            self.settle(&all, sinks);
            if to_active {
                self.levels.iter_mut().for_each(divide_by_active);
            }
            for queries in self.products.query_blocks().filter(|_| wanted) {
                if !held {
                    self.products.pack_queries(&queries, workspace);
                }
                self.apply(&queries, held, sinks, workspace, &mut parts);
            }
        }
        if wanted {
            self.finish_right(sinks);
        }
        workspace.keep_parts(parts);
    }
}

impl<A: Scalar> Prefixes<'_, '_, A> {
    fn make_room(&mut self) {
        for (level, moments) in self.levels.iter().zip(&mut self.moments) {
            for side in sides(level) {
                moments[side as usize] = vec![0.0; level.matrices.of(side).factors.len()];
            }
        }
    }

    /// Lets a block of queries into the softmaxes of all prefixes.
    fn fold(
        &mut self,
        queries: &Range<usize>,
        workspace: &mut Workspace<A>,
        parts: &mut [Workspace<A>],
    ) {
        self.products.pack_queries(queries, workspace);
        for level in &mut self.levels {
            level.score_positives(queries);
        }
        for slab in self.products.layout.slabs() {
            self.score(queries, &slab, workspace, parts);
            for (level, part) in self.levels.iter_mut().zip(&mut *parts) {
                level.sum(queries, &slab, part);
                if level.loss.directions.document_to_query {
                    level.sum_columns(queries, &slab, part);
                }
            }
        }
    }

    fn settle(&mut self, queries: &Range<usize>, sinks: &mut Sinks<'_, A>) {
        for level in &mut self.levels {
            let two_directions = level.loss.directions.document_to_query;
            if two_directions && level.loss.joint() {
                level.join_columns();
            }
            level.settle(queries, sinks);
            if two_directions {
                level.settle_columns();
            }
        }
    }

    /// Scores a slab of chunks against a block of queries, for each prefix into tiles of its own.
    pub(super) fn score(
        &self,
        queries: &Range<usize>,
        slab: &Range<usize>,
        workspace: &mut Workspace<A>,
        parts: &mut [Workspace<A>],
    ) {
        let (engine, dim) = (&self.products, self.products.dim());
        let (panels, tile) = (queries.len().div_ceil(A::PANEL), engine.layout.tile::<A>());
        let count = slab.len() * panels;
        let packed = &*workspace.packed[Left::Queries as usize].take(panels * dim * A::PANEL);
        let factors: Vec<Vec<A>> = self
            .levels
            .iter()
            .map(|level| {
                let factors =
                    level.matrices.of(Side::Queries).embeddings.factors[queries.clone()].iter();
                let factors = factors.map(|&factor| A::narrow(factor));
                factors
                    .chain(std::iter::repeat(A::zero()))
                    .take(panels * A::PANEL)
                    .collect()
            })
            .collect();
        let work: Vec<_> = parts
            .iter_mut()
            .map(|part| {
                let tiles = Units {
                    slice: part.scores.take(count * tile),
                    len: tile,
                };
                let max = Units {
                    slice: part.lanes.take(count * A::PANEL),
                    len: A::PANEL,
                };
                (tiles, max)
            })
            .collect();
        let score = |first: usize, _, mut work: Vec<(Units<A>, Units<A>)>| {
            let (chunk, panel) = (
                &engine.layout.chunks[slab.start + first / panels],
                first % panels,
            );
            let rows = engine
                .matrices
                .of(engine.blocks[chunk.block].right)
                .embeddings
                .rows();
            let rows = rows.slice(s![chunk.rows.clone(), ..]);
            let packed = Packed::panels(packed, dim).skip_panels(panel);
            let lanes = panel * A::PANEL..(panel + 1) * A::PANEL;
            let used = chunk.rows.len() * A::PANEL;
            let Some(((sums, last_max), shorter)) = work.split_last_mut() else {
                return;
            };
            let mut start = 0;
            for ((index, level), &end) in self.levels.iter().enumerate().zip(&self.ends) {
                let len = sums.slice.len();
                inner_products(rows, &(start..end), packed, sums.slice, len);
                start = end;
                let (products, tile, max) = match shorter.get_mut(index) {
                    Some((tile, max)) => (Some(&sums.slice[..used]), tile, max),
                    None => (None, &mut *sums, &mut *last_max),
                };
                dispatch(ByLane {
                    products,
                    factors: &factors[index][lanes.clone()],
                    tile: &mut tile.slice[..used],
                });
                let (tile, max) = (&mut *tile.slice, &mut *max.slice);
                let block = &level.blocks[chunk.block];
                level.scale_tile(
                    block,
                    queries.start + lanes.start..queries.end,
                    chunk,
                    tile,
                    max,
                );
            }
        };
        for_each(
            engine.product_threads(queries, slab),
            count,
            1,
            work,
            &score,
        );
    }
}

/// Whether weights times the factors of both their rows stay far from overflow.
fn is_moderate<A: Scalar>(level: &Engine<'_, '_, A>) -> bool {
    let factor = |side| {
        let factors = level.matrices.of(side).factors.iter();
        factors.fold(0.0, |largest: f64, factor| largest.max(factor.wide()))
    };
    let queries = factor(Side::Queries) / level.listed.per_temperature;
    let others = level.blocks.iter().map(|block| factor(block.right));
    let others = others.fold(0.0, f64::max);
    let weights = (0..level.queries.len()).map(|query| level.listed.weight(query).abs());
    let weight = weights.fold(0.0, f64::max);
    weight * queries * others < A::max_value().wide() * A::epsilon().wide()
}

/// The matrices of a batch.
pub(super) fn sides<A>(engine: &Engine<'_, '_, A>) -> impl Iterator<Item = Side> {
    let right = engine.blocks.iter().map(|block| block.right);
    std::iter::once(Side::Queries).chain(right)
}

/// Brings what the gradient is multiplied with from the sum of the losses to their mean over those that are not zero.
fn divide_by_active<A: Scalar>(level: &mut Engine<'_, '_, A>) {
    level.listed.scale *= level.per_active_weight(&level.losses());
    if level.loss.directions.document_to_query {
        level.settle_columns();
    }
}
