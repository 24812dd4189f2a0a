//! What each distance weighs in the loss: in a matrix where most pairs do, in a list where few do.

use std::ops::RangeInclusive;

use crate::batch_distance::{BatchDistance, Pull};
use crate::scalar::Scalar;

/// Where the weights of an anchor's distances go.
pub(super) struct Sink<'w, A> {
    pub(super) anchor: usize,
    /// Of the anchor.
    pub(super) weight: f64,
    pub(super) weights: Option<&'w mut [A]>,
    pub(super) pulls: &'w mut Vec<Pull>,
    /// Whether weights are wanted at all.
    pub(super) wanted: bool,
}

impl<A: Scalar> Sink<'_, A> {
    /// Lists the weights of an anchor whose triplets have shares of its weight that the type of the rows can't be trusted with.
    pub(super) fn keep_in_range(&mut self, share: f64) {
        if !trusted_weights::<A>().contains(&(self.weight * share).abs()) {
            self.weights = None;
        }
    }

    pub(super) fn pull(&mut self, candidate: u32, weight: f64) {
        let weight = self.weight * weight;
        if weight == 0.0 {
            return;
        }
        if let Some(weights) = &mut self.weights {
            weights[candidate as usize] += A::narrow(weight);
        } else if self.wanted {
            self.list(candidate, weight);
        }
    }

    fn list(&mut self, candidate: u32, weight: f64) {
        self.pulls.push(Pull {
            anchor: self.anchor as u32,
            candidate,
            weight,
        });
    }

    /// The weights of all negatives: those of the candidates that are not in `same`.
    pub(super) fn push_negatives(&mut self, same: &[u32], pushes: &[A], share: f64) {
        let Some(weights) = &mut self.weights else {
            if self.wanted {
                self.list_negatives(same, pushes, share);
            }
            return;
        };
        let factor = A::narrow(-self.weight * share);
        let (mut start, mut rest) = (0, pushes);
        let ends = same.iter().map(|&row| row as usize);
        for end in ends.chain([weights.len()]) {
            let (run, others) = rest.split_at(end - start);
            for (weight, &push) in weights[start..end].iter_mut().zip(run) {
                *weight = factor * push;
            }
            (start, rest) = (end + 1, others);
        }
    }

    fn list_negatives(&mut self, same: &[u32], pushes: &[A], share: f64) {
        let rows = 0..(same.len() + pushes.len()) as u32;
        let negatives = rows.filter(|row| same.binary_search(row).is_err());
        for (row, push) in negatives.zip(pushes) {
            self.pull(row, -push.wide() * share);
        }
    }

    /// Ends an anchor whose list begins at `start`.
    ///
    /// In a matrix, the weights of distances become those of the differences of rows; near pairs, whose differences are taken row by row, are
    /// listed instead. In a list, equal candidates become one.
    pub(super) fn settle(
        &mut self,
        start: usize,
        distance: BatchDistance,
        distances: &[A],
        near: &[u32],
    ) {
        let Some(weights) = self.weights.take() else {
            return join_pulls(self.pulls, start);
        };
        for &candidate in near {
            let weight = std::mem::replace(&mut weights[candidate as usize], A::zero());
            if !weight.is_zero() {
                self.list(candidate, weight.wide());
            }
        }
        match distance {
            BatchDistance::Euclidean => {
                for (weight, &distance) in weights.iter_mut().zip(distances) {
                    *weight = if weight.is_zero() {
                        A::zero()
                    } else {
                        *weight / distance
                    };
                }
            }
            BatchDistance::SquaredEuclidean => weights.iter_mut().for_each(|x| *x += *x),
            BatchDistance::Cosine => {}
        }
    }
}

/// Weights of a triplet that leave room in the type of the rows: for the number of triplets that a distance is in, and for the division by it. Distances
/// come from [trusted squares](crate::gemm::trusted_squares), so in `f32` they are 2⁻⁴³ to 2⁴², and the ends are 2⁻⁶³ and 2³².
fn trusted_weights<A: Scalar>() -> RangeInclusive<f64> {
    A::min_positive_value().wide().sqrt()..=A::max_value().wide().sqrt().sqrt()
}

/// Adds up the listed weights of equal candidates, from some entry on, which all belong to one anchor.
fn join_pulls(pulls: &mut Vec<Pull>, start: usize) {
    pulls[start..].sort_by_key(|pull| pull.candidate);
    let mut kept = start;
    for index in start..pulls.len() {
        let pull = pulls[index];
        if kept > start && pulls[kept - 1].candidate == pull.candidate {
            pulls[kept - 1].weight += pull.weight;
        } else {
            pulls[kept] = pull;
            kept += 1;
        }
    }
    pulls.truncate(kept);
}
