//! The sweeps over a tile for what only some losses ask of their scores: rules for candidates, and smoothed labels.

use super::softmax::Totals;
use super::tiles::score_bound;
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
    /// The ids of a panel of lanes, and of rows; a row is left out for the lanes of its id.
    pub(super) ids: Option<(&'a [u64], &'a [u64])>,
    /// A ceiling for each lane of a panel; a candidate above it is left out.
    pub(super) ceilings: Option<(Compared<'a, A>, &'a [A])>,
    /// Receives the largest score of each lane.
    pub(super) max: &'a mut [A],
}

impl<A: Scalar> Kernel for Rule<'_, A> {
    /// How many candidates were left out.
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let bound = score_bound::<A>();
        let out = A::neg_infinity();
        let max = &mut self.max[..A::PANEL];
        max.fill(out);
        // Of each lane. Tiles are far too small for a count to be rounded.
        let mut counts = [A::zero(); 32];
        let counts = &mut counts[..A::PANEL];
        let leave_out = |z: &mut A, count: &mut A, leave: bool| {
            let left = leave && *z != out;
            *count += if left { A::one() } else { A::zero() };
            *z = if leave { out } else { *z };
        };
        let moves = self.boost != A::one() || self.log_weights.is_some();
        for (row, scores) in self.tile.chunks_exact_mut(A::PANEL).enumerate() {
            // Every rule is a loop of its own over the lanes, without a branch, so that it is done many lanes at a time.
            let lanes = scores.iter_mut().zip(&mut *counts);
            if let Some((queries, documents)) = self.ids {
                let (queries, document) = (&queries[..A::PANEL], documents[row]);
                for ((z, count), &query) in lanes.zip(queries) {
                    leave_out(z, count, query == document);
                }
            }
            let lanes = scores.iter_mut().zip(&mut *counts);
            match self.ceilings {
                None => {}
                Some((Compared::Own, ceilings)) => {
                    for ((z, count), &ceiling) in lanes.zip(&ceilings[..A::PANEL]) {
                        let leave = *z > ceiling;
                        leave_out(z, count, leave);
                    }
                }
                Some((Compared::Guide(products, factors), ceilings)) => {
                    let factor = A::narrow(factors[row]);
                    let products = &products[row * A::PANEL..][..A::PANEL];
                    let products = products.iter().zip(&ceilings[..A::PANEL]);
                    for ((z, count), (&product, &ceiling)) in lanes.zip(products) {
                        leave_out(z, count, product * factor > ceiling);
                    }
                }
            }
            if moves {
                let log_weight = self.log_weights.map_or(A::zero(), |weights| weights[row]);
                for z in scores.iter_mut() {
                    let moved = *z * self.boost + log_weight;
                    let moved = if moved > bound { bound } else { moved };
                    let moved = if moved < -bound { -bound } else { moved };
                    *z = if *z == out { out } else { moved };
                }
            }
            for (&mut z, max) in scores.iter_mut().zip(&mut *max) {
                *max = if z > *max { z } else { *max };
            }
        }
        let counts = counts[..self.lanes.min(A::PANEL)].iter();
        counts.map(|count| count.wide() as usize).sum()
    }
}

/// What undoes a [`Rule`], where sums want u and the tile holds z.
#[derive(Clone, Copy)]
pub(super) struct Undo<'a, A> {
    pub(super) per_boost: A,
    pub(super) log_weights: Option<&'a [A]>,
}

impl<A: Scalar> Undo<'_, A> {
    /// What turns a score z of a row into u: u = (z − weight)·factor.
    #[inline(always)]
    pub(super) fn of_row(undo: Option<Self>, row: usize) -> Unscaled<A> {
        let none = (A::zero(), A::one());
        let (weight, factor) = undo.map_or(none, |undo| {
            let weight = undo.log_weights.map_or(A::zero(), |weights| weights[row]);
            (weight, undo.per_boost)
        });
        Unscaled { weight, factor }
    }
}

/// An [`Undo`] for one row; it leaves the scores of tiles without rules as they are.
#[derive(Clone, Copy)]
pub(super) struct Unscaled<A> {
    weight: A,
    factor: A,
}

impl<A: Scalar> Unscaled<A> {
    #[inline(always)]
    pub(super) fn of(self, z: A) -> A {
        (z - self.weight) * self.factor
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
        let (mut u_sums, mut z_sums, mut counts) = ([0.0; 32], [0.0; 32], [0.0; 32]);
        for (index, row) in self.tile.chunks_exact(A::PANEL).enumerate() {
            let undo = Undo::of_row(self.undo, index);
            for lane in 0..A::PANEL {
                let z = row[lane];
                let there = z != A::neg_infinity();
                u_sums[lane] += if there { undo.of(z).wide() } else { 0.0 };
                z_sums[lane] += if there { z.wide() } else { 0.0 };
                counts[lane] += if there { 1.0 } else { 0.0 };
            }
        }
        for (lane, out) in self.out.iter_mut().enumerate() {
            out.u += u_sums[lane];
            out.z += z_sums[lane];
            out.count += counts[lane];
        }
    }
}
