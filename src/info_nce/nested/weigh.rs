//! The sweeps over a tile of a prefix: what its lanes are multiplied with, and its weights with their sums.

use std::ops::Range;

use crate::info_nce::block::Side;
use crate::info_nce::engine::Engine;
use crate::info_nce::lanes::Lanes;
use crate::info_nce::tiles::Softmaxes;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};

/// Multiplies every lane of a tile.
pub(super) struct ByLane<'a, A> {
    pub(super) tile: &'a mut [A],
    pub(super) factors: &'a [A],
}

impl<A: Scalar> Kernel for ByLane<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in self.tile.chunks_exact_mut(A::PANEL) {
            row.iter_mut()
                .zip(self.factors)
                .for_each(|(x, &factor)| *x = *x * factor);
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

/// Terms that are added in the precision of the scores before they go to a sum in `f64`.
const RUN: usize = 8;

impl<A: Scalar> Kernel for WeighPrefix<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (of_lanes, of_rows) = self.out.split_at_mut(A::PANEL);
        of_lanes.fill(0.0);
        let [scales, products] = self.lanes.map(|lanes| &lanes[..A::PANEL]);
        // 128 bytes hold a panel of either type; the arrays are as long as the wider panel.
        let [mut scores, mut weights, mut sums] = [[A::zero(); 32]; 3];
        let (scores, weights) = (&mut scores[..A::PANEL], &mut weights[..A::PANEL]);
        let sums = &mut sums[..A::PANEL];
        let runs = self.tile.chunks_mut(RUN * A::PANEL);
        for (first, run) in runs.enumerate() {
            sums.fill(A::zero());
            for (row, tile) in (first * RUN..).zip(run.chunks_exact_mut(A::PANEL)) {
                scores.copy_from_slice(tile);
                let idle = self.idle.iter();
                idle.for_each(|&lane| scores[lane] = A::neg_infinity());
                weights.copy_from_slice(scores);
                self.softmaxes.weigh::<I>(row, weights, A::one());
                for lane in 0..A::PANEL {
                    tile[lane] = weights[lane] * self.factors[row] * products[lane];
                }
                if let Some(longer) = self.longer {
                    let longer = &longer[row * A::PANEL..][..A::PANEL];
                    let both = tile.iter_mut().zip(longer);
                    both.for_each(|(x, &longer)| *x += longer);
                }
                match self.moment {
                    Moment::Nothing => continue,
                    Moment::Scores => by_scores(weights, scores),
                    Moment::Weights => {}
                }
                for lane in 0..A::PANEL {
                    sums[lane] += weights[lane];
                    weights[lane] *= scales[lane];
                }
                of_rows[row] = sum(weights);
            }
            let lanes = of_lanes.iter_mut().zip(&*sums);
            lanes.for_each(|(to, x)| *to += x.wide());
        }
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

/// Multiplies weights with their scores.
#[inline(always)]
fn by_scores<A: Scalar>(weights: &mut [A], scores: &[A]) {
    for (weight, &score) in weights.iter_mut().zip(scores) {
        // Where a weight is 0 the score may be −∞, and the product NaN.
        let product = *weight * score;
        *weight = if *weight == A::zero() {
            *weight
        } else {
            product
        };
    }
}

/// The sum of the lanes of a panel: eight sums, in `f64`, and theirs in pairs.
#[inline(always)]
fn sum<A: Scalar>(lanes: &[A]) -> f64 {
    let mut sums = [0.0; 8];
    for lanes in lanes.chunks_exact(8) {
        let sums = sums.iter_mut().zip(lanes);
        sums.for_each(|(sum, x)| *sum += x.wide());
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}
