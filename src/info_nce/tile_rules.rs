//! The sweeps over a tile for what only some losses ask of their scores: rules for candidates, and smoothed labels.

use super::softmax::{Score, Totals};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};

/// What candidates are compared with their ceilings by.
#[derive(Clone, Copy)]
pub(super) enum Compared<'a, A> {
    /// Their scores u, which the tile holds.
    Own,
    /// Inner products with a guide's queries, laid out as the tile, times a factor for each row.
    Guide(&'a [A], &'a [f64]),
}

/// From similarities over the temperature to what the softmax is taken of: candidates that are left out get −∞.
pub(super) struct Rule<'a, A> {
    pub(super) tile: &'a mut [A],
    /// Lanes that hold a query.
    pub(super) lanes: usize,
    /// What the scores are multiplied with, by hardness.
    pub(super) boost: A,
    /// What is added to each row.
    pub(super) log_weights: Option<&'a [A]>,
    /// The ids of lanes and rows; a row is left out for the lanes of its id.
    pub(super) ids: Option<(&'a [u64], &'a [u64])>,
    /// A ceiling for each lane; a candidate above it is left out.
    pub(super) ceilings: Option<(Compared<'a, A>, &'a [A])>,
    /// Receives the largest score of each lane.
    pub(super) max: &'a mut [A],
}

impl<A: Scalar> Kernel for Rule<'_, A> {
    /// How many candidates were left out.
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let bound = A::max_value() / (A::one() + A::one());
        let (lanes, max) = (self.lanes.min(A::PANEL), &mut self.max[..A::PANEL]);
        max.fill(A::neg_infinity());
        let mut left_out = 0;
        for (row, scores) in self.tile.chunks_exact_mut(A::PANEL).enumerate() {
            let before = scores[..lanes]
                .iter()
                .filter(|&&z| z == A::neg_infinity())
                .count();
            if let Some((queries, documents)) = self.ids {
                for (z, &query) in scores.iter_mut().zip(queries) {
                    *z = if query == documents[row] {
                        A::neg_infinity()
                    } else {
                        *z
                    };
                }
            }
            if let Some((compared, ceilings)) = self.ceilings {
                match compared {
                    Compared::Own => {
                        for (z, &ceiling) in scores.iter_mut().zip(ceilings) {
                            *z = if *z > ceiling { A::neg_infinity() } else { *z };
                        }
                    }
                    Compared::Guide(products, factors) => {
                        let factor = A::narrow(factors[row]);
                        let products = products[row * A::PANEL..].iter().zip(ceilings);
                        for (z, (&product, &ceiling)) in scores.iter_mut().zip(products) {
                            let above = product * factor > ceiling;
                            *z = if above { A::neg_infinity() } else { *z };
                        }
                    }
                }
            }
            left_out += scores[..lanes]
                .iter()
                .filter(|&&z| z == A::neg_infinity())
                .count()
                - before;
            let log_weight = self.log_weights.map_or(A::zero(), |weights| weights[row]);
            for (z, max) in scores.iter_mut().zip(max.iter_mut()) {
                let moved = *z * self.boost + log_weight;
                let moved = if moved > bound { bound } else { moved };
                let out = *z == A::neg_infinity();
                *z = if out {
                    *z
                } else if moved < -bound {
                    -bound
                } else {
                    moved
                };
                *max = if *z > *max { *z } else { *max };
            }
        }
        left_out
    }
}

/// What undoes a [`Rule`], where sums want u and the tile holds z.
#[derive(Clone, Copy)]
pub(super) struct Undo<'a, A> {
    pub(super) per_boost: A,
    pub(super) log_weights: Option<&'a [A]>,
}

impl<A: Scalar> Undo<'_, A> {
    /// u of a score z in a row.
    #[inline(always)]
    pub(super) fn of(self, z: A, row: usize) -> A {
        (z - self.log_weights.map_or(A::zero(), |weights| weights[row])) * self.per_boost
    }
}

/// The plain sums of a tile, lane by lane, over the candidates that are not left out.
pub(super) struct PlainSums<'a, A> {
    pub(super) tile: &'a [A],
    pub(super) undo: Option<Undo<'a, A>>,
    /// Receives them for each lane that holds a query.
    pub(super) out: &'a mut [Totals],
}

impl<A: Scalar> Kernel for PlainSums<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (index, row) in self.tile.chunks_exact(A::PANEL).enumerate() {
            for (out, &z) in self.out.iter_mut().zip(row) {
                if z == A::neg_infinity() {
                    continue;
                }
                let u = self.undo.map_or(z, |undo| undo.of(z, index));
                out.add(Score {
                    u: u.wide(),
                    z: z.wide(),
                });
            }
        }
    }
}
