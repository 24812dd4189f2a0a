//! The sweeps over a tile of a prefix: what its lanes are multiplied with, and its weights with their sums.

use std::ops::Range;

use crate::info_nce::block::Side;
use crate::info_nce::engine::Engine;
use crate::info_nce::lanes::Lanes;
use crate::info_nce::tiles::Softmaxes;
use crate::kernels::Aligned;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, LANES};

/// Inner products of rows as they are, times a factor for each lane.
pub(super) struct ByLane<'a, A> {
    /// `None` for what the tile holds.
    pub(super) products: Option<&'a [A]>,
    pub(super) factors: &'a [A],
    pub(super) tile: &'a mut [A],
}

impl<A: Scalar> Kernel for ByLane<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for at in (0..self.tile.len()).step_by(LANES) {
            let factors = group(self.factors, at % A::PANEL);
            let tile = group_mut(self.tile, at);
            let mut products = self.products.map_or(*tile, |products| *group(products, at));
            for lane in 0..LANES {
                products[lane] *= factors[lane];
            }
            *tile = products;
        }
    }
}

/// What weights are multiplied with on their way to the gradients, lane by lane.
pub(super) struct LaneFactors<A> {
    /// What is still to be multiplied into weights.
    scales: Vec<A>,
    /// The same, and the query's factor.
    products: Vec<A>,
}

impl<A: Scalar> LaneFactors<A> {
    pub(super) fn new(level: &Engine<'_, '_, A>, queries: &Range<usize>, lanes: &Lanes<A>) -> Self {
        let factors = &level.matrices.of(Side::Queries).embeddings.factors[queries.clone()];
        let products = lanes.scales.iter().zip(factors);
        let products = products.map(|(scale, factor)| A::narrow(scale * factor));
        let mut products: Vec<A> = products.collect();
        products.resize(lanes.scales.len(), A::zero());
        Self {
            scales: lanes.scales.iter().map(|&scale| A::narrow(scale)).collect(),
            products,
        }
    }

    /// Scales and products of a panel.
    pub(super) fn of(&self, panel: usize) -> [&[A]; 2] {
        [&self.scales, &self.products].map(|lanes| &lanes[panel * A::PANEL..][..A::PANEL])
    }
}

/// What weights are multiplied with before they are summed: gradients have the row itself in them as often.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// No sums: dot products.
    Nothing,
    /// The scores: cosines.
    Scores,
    /// 1: distances.
    Weights,
}

/// A positive in a tile.
pub(super) struct Positive {
    pub(super) row: usize,
    pub(super) lane: usize,
    /// The gradient by its score, without the scale of its lane.
    pub(super) weight: f64,
    pub(super) score: f64,
}

/// Turns the scores of a prefix into the gradient by the inner products, and adds that of the next longer prefix.
pub(super) struct WeighPrefix<'a, A> {
    pub(super) tile: &'a mut [A],
    /// The tile of the next longer prefix, which has its gradient.
    pub(super) longer: Option<&'a [A]>,
    /// The document's factor over τ.
    pub(super) factors: &'a [A],
    /// Scales and products, see [`LaneFactors`].
    pub(super) lanes: [&'a [A]; 2],
    pub(super) softmaxes: Softmaxes<'a, A>,
    pub(super) positives: &'a [Positive],
    /// Lanes that have no weight, whatever they hold.
    pub(super) idle: &'a [usize],
    pub(super) moment: Moment,
    /// The moments of a panel of lanes, without their scale, then those of the rows.
    pub(super) out: &'a mut [f64],
}

/// Rows of a tile that are weighed at a time: what one loop makes of them has left the store buffers when the next one reads it.
const ROWS: usize = 16;

impl<A: Scalar> Kernel for WeighPrefix<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        // 128 bytes hold a panel of either type; the weights are as many as those of the wider panel.
        let mut weights = Aligned([A::zero(); ROWS * 32]);
        self.out[..A::PANEL].fill(0.0);
        for first in (0..self.factors.len()).step_by(ROWS) {
            let rows = first..self.factors.len().min(first + ROWS);
            let weights = &mut weights.0[..rows.len() * A::PANEL];
            self.weigh::<I>(rows.clone(), weights);
            if self.moment != Moment::Nothing {
                self.add_moments::<I>(rows.clone(), weights);
            }
            self.write(rows, weights);
        }
        self.add_positives();
    }
}

impl<A: Scalar> WeighPrefix<'_, A> {
    /// The weights of some rows. Scores of what has none become 0, so that they can be multiplied with it.
    #[inline(always)]
    fn weigh<I: Isa>(&mut self, rows: Range<usize>, weights: &mut [A]) {
        let scores = &mut self.tile[rows.start * A::PANEL..rows.end * A::PANEL];
        for row in scores.chunks_exact_mut(A::PANEL) {
            let idle = self.idle.iter();
            idle.for_each(|&lane| row[lane] = A::neg_infinity());
        }
        for (weight, z) in weights.iter_mut().zip(scores) {
            *weight = *z;
            *z = if *z == A::neg_infinity() {
                A::zero()
            } else {
                *z
            };
        }
        for (row, weights) in rows.zip(weights.chunks_exact_mut(A::PANEL)) {
            self.softmaxes.weigh::<I>(row, weights, A::one());
        }
    }

    /// Adds up what gradients have of the rows themselves.
    #[inline(always)]
    fn add_moments<I: Isa>(&mut self, rows: Range<usize>, weights: &[A]) {
        let (of_lanes, of_rows) = self.out.split_at_mut(A::PANEL);
        let by_scores = self.moment == Moment::Scores;
        for lane in (0..A::PANEL).step_by(LANES) {
            let scale = A::lanes::<I>(group(self.lanes[0], lane));
            let of_group: &mut [f64; LANES] = group_mut(of_lanes, lane);
            let mut sum = I::from_f64(of_group);
            for (local, row) in rows.clone().enumerate() {
                let mut moments = A::lanes::<I>(group(weights, local * A::PANEL + lane));
                if by_scores {
                    let scores = group(self.tile, row * A::PANEL + lane);
                    moments = I::mul(moments, A::lanes::<I>(scores));
                }
                sum = I::add(sum, moments);
                let of_group = I::sum(I::mul(moments, scale));
                let before = if lane == 0 { 0.0 } else { of_rows[row] };
                of_rows[row] = before + of_group;
            }
            *of_group = I::to_array(sum);
        }
    }

    /// The weights on their way to the gradients, and those of the longer prefixes.
    #[inline(always)]
    fn write(&mut self, rows: Range<usize>, weights: &[A]) {
        for (local, row) in rows.enumerate() {
            let factor = self.factors[row];
            for lane in (0..A::PANEL).step_by(LANES) {
                let at = row * A::PANEL + lane;
                let product = group(self.lanes[1], lane);
                let weights = group(weights, local * A::PANEL + lane);
                let mut sums = self
                    .longer
                    .map_or([A::zero(); LANES], |longer| *group(longer, at));
                for lane in 0..LANES {
                    sums[lane] += weights[lane] * factor * product[lane];
                }
                *group_mut(self.tile, at) = sums;
            }
        }
    }

    #[inline(always)]
    fn add_positives(self) {
        let (of_lanes, of_rows) = self.out.split_at_mut(A::PANEL);
        let [scales, products] = self.lanes;
        for &Positive {
            row,
            lane,
            weight,
            score,
        } in self.positives
        {
            let x = &mut self.tile[row * A::PANEL + lane];
            let product = products[lane].wide() * self.factors[row].wide();
            *x = A::narrow(x.wide() + weight * product);
            let moment = match self.moment {
                Moment::Nothing => continue,
                Moment::Scores => weight * score,
                Moment::Weights => weight,
            };
            of_lanes[lane] += moment;
            of_rows[row] += moment * scales[lane].wide();
        }
    }
}

/// The lanes from `first` on.
#[inline(always)]
fn group<A>(lanes: &[A], first: usize) -> &[A; LANES] {
    lanes[first..]
        .first_chunk()
        .expect("panels are whole groups")
}

/// The same, to be written.
#[inline(always)]
fn group_mut<A>(lanes: &mut [A], first: usize) -> &mut [A; LANES] {
    let group = lanes[first..].first_chunk_mut();
    group.expect("panels are whole groups")
}
