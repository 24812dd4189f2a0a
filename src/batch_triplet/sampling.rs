//! Distance-weighted sampling of negatives, from a generator whose numbers depend on the seed and the pair alone.

use super::select::{Candidate, Chosen, Neighbours};
use crate::error::{Error, check};
use crate::scalar::Scalar;

/// How negatives are drawn by their distance.
///
/// Between points drawn evenly from the sphere in `dim` dimensions the distance r has the density q(r) ∝ r^(dim−2)·(1 − r²/4)^((dim−3)/2), which for
/// many dimensions is concentrated at √2. Drawn with weight 1/q(max(r, cutoff)), the distances of the negatives are spread evenly instead. r is the
/// distance of the normalised rows, whatever the distance of the loss.
///
/// Source: Wu et al. 2017, <https://arxiv.org/abs/1706.07567>; `DistanceWeightedMiner` of pytorch-metric-learning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::DistanceWeighted")
)]
pub struct DistanceWeighted {
    seed: u64,
    cutoff: f64,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde::extended"))]
    nonzero_loss_cutoff: f64,
}

impl DistanceWeighted {
    /// The cutoffs of the paper: no negative weighs more than one at distance 0.5, and none at 1.4 or beyond is drawn.
    ///
    /// The same seed draws the same negatives, on any number of threads; give every step another one.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cutoff: 0.5,
            nonzero_loss_cutoff: 1.4,
        }
    }

    /// Other cutoffs: distances below the first weigh as much as there, those from the second on are not drawn. An anchor without a
    /// negative below it has no triplet.
    ///
    /// # Errors
    /// If not 0 < `cutoff` < `nonzero_loss_cutoff`.
    pub fn with_cutoffs(self, cutoff: f64, nonzero_loss_cutoff: f64) -> Result<Self, Error> {
        check("cutoff", "a positive number", cutoff, cutoff > 0.0)?;
        check(
            "nonzero_loss_cutoff",
            "a number above the cutoff",
            nonzero_loss_cutoff,
            nonzero_loss_cutoff > cutoff,
        )?;
        Ok(Self {
            cutoff,
            nonzero_loss_cutoff,
            ..self
        })
    }

    /// log 1/q at the distance that belongs to a cosine; −∞ for what is not drawn.
    fn log_weight(&self, cosine: f64, dim: f64) -> f64 {
        let distance = (2.0 - 2.0 * cosine.clamp(-1.0, 1.0)).sqrt();
        let distance = distance.max(self.cutoff);
        if distance >= self.nonzero_loss_cutoff {
            return f64::NEG_INFINITY;
        }
        let log_weight = (2.0 - dim) * distance.ln()
            - 0.5 * (dim - 3.0) * (1.0 - 0.25 * distance * distance).ln();
        // Beyond the end of the sphere, where a cutoff of 2 or more leads.
        if log_weight.is_finite() {
            log_weight
        } else {
            f64::NEG_INFINITY
        }
    }
}

/// What sampling needs to know of an anchor besides its distances.
pub(super) struct Setting<'s> {
    pub(super) anchor: usize,
    pub(super) dim: usize,
    /// The cosine between the anchor and a candidate, for the candidate and its distance.
    pub(super) cosine: &'s dyn Fn(u32, f64) -> f64,
}

/// A negative for each positive, drawn with replacement.
pub(super) fn choose<A: Scalar>(
    neighbours: &Neighbours<'_, A>,
    rule: DistanceWeighted,
    setting: &Setting<'_>,
) -> Vec<Chosen<A>> {
    let dim = setting.dim as f64;
    let log_weight = |index| {
        let Candidate { row, distance } = neighbours.negative(index);
        rule.log_weight((setting.cosine)(row, distance.wide()), dim)
    };
    let mut sums: Vec<f64> = (0..neighbours.negatives.len()).map(log_weight).collect();
    let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return Vec::new();
    }
    let mut total = 0.0;
    for sum in &mut sums {
        total += (*sum - largest).exp();
        *sum = total;
    }
    let draw = |positive: &Candidate<A>| {
        let point = total * uniform(rule.seed, setting.anchor as u64, u64::from(positive.row));
        // Sums do not grow where the weight is zero, so the first sum beyond the point belongs to a negative that has some.
        let index = sums.partition_point(|&sum| sum <= point);
        Chosen {
            positive: *positive,
            negative: neighbours.negative(index.min(sums.len() - 1)),
        }
    };
    neighbours.positives.iter().map(draw).collect()
}

/// A number in [0, 1) for a pair: three rounds of SplitMix64 (Steele et al. 2014).
fn uniform(seed: u64, anchor: u64, positive: u64) -> f64 {
    let bits = mix(mix(mix(seed) ^ anchor) ^ positive);
    (bits >> 11) as f64 * 2f64.powi(-53)
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly_over_anchors_and_positives() {
        /// Of a count of 1000 draws with probability 1/10: 5 standard deviations of 9.5.
        const SPREAD: i32 = 48;
        let mut counts = [[0_i32; 10]; 3];
        for index in 0..1000 {
            let draws = [
                uniform(index, 3, 5),
                uniform(3, index, 5),
                uniform(3, 5, index),
            ];
            for (counts, draw) in counts.iter_mut().zip(draws) {
                counts[(10.0 * draw) as usize] += 1;
            }
        }
        let even = counts
            .iter()
            .flatten()
            .all(|count| (count - 100).abs() < SPREAD);
        assert!(even, "{counts:?}");
    }

    #[test]
    fn weights_are_those_of_the_formula_between_the_cutoffs() {
        /// A few roundings of logarithms near 1.
        const ROUNDING: f64 = 1e-14;
        let rule = DistanceWeighted::new(0);
        // r² = 2 − 2c = 1, in five dimensions: 1/q = r^−3·(3/4)^−1.
        let expected = (4.0_f64 / 3.0).ln();
        assert!((rule.log_weight(0.5, 5.0) - expected).abs() < ROUNDING);
        assert_eq!(rule.log_weight(1.0, 5.0), rule.log_weight(0.9, 5.0));
        assert_eq!(rule.log_weight(0.0, 5.0), f64::NEG_INFINITY);
        let wide = rule.with_cutoffs(0.5, 3.0).unwrap();
        assert_eq!(wide.log_weight(-1.0, 5.0), f64::NEG_INFINITY);
    }

    #[test]
    fn cutoffs_out_of_order_are_refused() {
        let rule = DistanceWeighted::new(0);
        for (cutoff, end) in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, 1.0), (0.5, f64::NAN)] {
            assert!(rule.with_cutoffs(cutoff, end).is_err());
        }
    }
}
