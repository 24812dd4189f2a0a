//! The pass over the anchors: distances, triplets, losses, and what each distance weighs in the loss.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewMut1};

use super::all::{AllTriplets, Hinge, list_active, soft, softplus};
use super::groups::Groups;
use super::select::{Chosen, Neighbours};
use super::totals::{Outcome, Totals};
use super::weights::Sink;
use super::{BatchTripletLoss, Triplet, TripletMining, sampling};
use crate::batch_distance::{BatchDistance, Measure, MeasureSome, Panels, Pull, Side};
use crate::blocks::{Threads, Units, map_merge};
use crate::distance::{CosineDistance, Distance};
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::staging::with_buffer;

/// The batch, ready for the pass.
pub(super) struct Pass<'p, 'a, A> {
    pub(super) loss: &'p BatchTripletLoss,
    pub(super) anchors: &'p Side<'a, A>,
    pub(super) candidates: &'p Side<'a, A>,
    pub(super) panels: &'p Panels<'p, 'a, A>,
    pub(super) groups: &'p Groups,
    pub(super) weights: Option<ArrayView1<'a, A>>,
    /// Whether triplets are so many that their distances are taken as the product gives them, and weights are kept in a matrix. Otherwise
    /// they are measured from the rows, and weights are listed.
    pub(super) many: bool,
    pub(super) gradient: bool,
    pub(super) listing: bool,
}

/// The weights of some anchors, `[anchor, candidate]`, and the row losses of the same.
type Written<'w, A> = (Option<Units<'w, A>>, Option<ArrayViewMut1<'w, A>>);

impl<A: Scalar> Pass<'_, '_, A> {
    /// All anchors. `weights` `[n, m]` receives what each distance weighs, divided by it for the Euclidean distance and doubled for its square:
    /// the factor of the difference of the rows in the gradient.
    pub(super) fn run(
        &self,
        weights: Option<&mut [A]>,
        rows: Option<ArrayViewMut1<'_, A>>,
    ) -> Totals {
        let (n, dim) = self.anchors.rows.dim();
        let m = self.candidates.rows.nrows();
        let threads = Threads::for_products((n * m) as f64 * dim as f64);
        let weights = weights.map(|slice| Units { slice, len: m });
        let leaf = |first, count, written: Written<'_, A>| {
            with_buffer(|buffer| self.panel(first..first + count, written, buffer))
        };
        map_merge(threads, n, A::PANEL, (weights, rows), &leaf, &Totals::merge)
    }

    fn panel(
        &self,
        anchors: Range<usize>,
        (weights, mut rows): Written<'_, A>,
        buffer: &mut Vec<A>,
    ) -> Totals {
        let mut totals = Totals::default();
        let m = self.candidates.rows.nrows();
        let mut weights = weights.map(|weights| weights.slice);
        if let Some(weights) = &mut weights {
            weights.fill(A::zero());
        }
        let asked = rows.is_some();
        let distances = if anchors.clone().any(|anchor| self.counts(anchor, asked)) {
            self.panels.distances(anchors.clone(), 0, buffer)
        } else {
            Default::default()
        };
        let mut near = Vec::new();
        for (lane, anchor) in anchors.enumerate() {
            let mut outcome = Outcome::default();
            if self.counts(anchor, asked) {
                let distances = &mut distances[lane * m..][..m];
                outcome = if self.weight(anchor) == 0.0 {
                    // For its row alone: what it would list is dropped.
                    let mut dropped = Totals::default();
                    self.anchor(anchor, distances, None, &mut near, &mut dropped)
                } else {
                    let weights = weights
                        .as_mut()
                        .map(|weights| &mut weights[lane * m..][..m]);
                    self.anchor(anchor, distances, weights, &mut near, &mut totals)
                };
            }
            totals.plus(outcome, self.weight(anchor), self.loss.per_anchor);
            if let Some(rows) = &mut rows {
                rows[lane] = A::narrow(outcome.row(self.loss.per_anchor));
            }
        }
        totals
    }

    fn weight(&self, anchor: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[anchor].wide())
    }

    /// Whether the loss of an anchor is of interest; row losses are unweighted.
    fn counts(&self, anchor: usize, rows: bool) -> bool {
        (rows || self.weight(anchor) != 0.0) && self.groups.has_triplets(anchor)
    }

    fn anchor(
        &self,
        anchor: usize,
        distances: &mut [A],
        weights: Option<&mut [A]>,
        near: &mut Vec<u32>,
        totals: &mut Totals,
    ) -> Outcome {
        near.clear();
        let itself = self.groups.itself(anchor);
        let poison = dispatch(Measure {
            anchors: self.anchors,
            candidates: self.candidates,
            anchor,
            itself,
            distances: &mut *distances,
            near: &mut *near,
        });
        if let Some(candidate) = poison {
            return self.poisoned(anchor, candidate, totals);
        }
        let mut neighbours = Neighbours::new(distances, self.groups.same(anchor), itself);
        let listed = totals.pulls.len();
        let mut sink = Sink {
            anchor,
            weight: self.weight(anchor),
            weights,
            pulls: &mut totals.pulls,
            wanted: self.gradient && self.weight(anchor) != 0.0,
        };
        let outcome = match self.loss.strategy {
            TripletMining::BatchAll => self.all(anchor, &neighbours, &mut sink, &mut totals.list),
            strategy => {
                let cosine = |row, distance| self.cosine(anchor, row, distance);
                let setting = sampling::Setting {
                    anchor,
                    dim: self.anchors.rows.ncols(),
                    cosine: &cosine,
                };
                let chosen = neighbours.choose(strategy, &setting);
                self.chosen(anchor, &chosen, &mut sink, &mut totals.list)
            }
        };
        sink.settle(listed, self.loss.distance, distances, near);
        outcome
    }

    /// An anchor with a distance that is NaN: its loss and gradient are, too.
    fn poisoned(&self, anchor: usize, candidate: u32, totals: &mut Totals) -> Outcome {
        if self.gradient {
            totals.pulls.push(Pull {
                anchor: anchor as u32,
                candidate,
                weight: f64::NAN,
            });
        }
        Outcome {
            loss: f64::NAN,
            triplets: 1.0,
            active: 1.0,
            poisoned: true,
            ..Outcome::default()
        }
    }

    /// The triplets that a strategy chose.
    fn chosen(
        &self,
        anchor: usize,
        chosen: &[Chosen<A>],
        sink: &mut Sink<'_, A>,
        list: &mut Vec<Triplet>,
    ) -> Outcome {
        let measured = self.distances_of(anchor, chosen);
        let mut outcome = Outcome {
            triplets: chosen.len() as f64,
            ..Outcome::default()
        };
        let share = self.share(outcome.triplets);
        sink.keep_in_range(share);
        for (chosen, distances) in chosen.iter().zip(measured.chunks_exact(2)) {
            let excess = self.loss.margin + (distances[0] - distances[1]);
            let (loss, slope) = if self.loss.soft {
                softplus(excess)
            } else if excess <= 0.0 {
                (0.0, 0.0)
            } else {
                (excess, 1.0)
            };
            outcome.loss += loss;
            outcome.active += if loss == 0.0 { 0.0 } else { 1.0 };
            outcome.distances[0] += distances[0];
            outcome.distances[1] += distances[1];
            sink.pull(chosen.positive.row, slope * share);
            sink.pull(chosen.negative.row, -slope * share);
        }
        if self.listing {
            list.extend(chosen.iter().map(|chosen| Triplet {
                anchor,
                positive: chosen.positive.row as usize,
                negative: chosen.negative.row as usize,
            }));
        }
        outcome
    }

    /// d⁺ and d⁻ of each triplet in turn.
    fn distances_of(&self, anchor: usize, chosen: &[Chosen<A>]) -> Vec<f64> {
        if self.many {
            let pairs = chosen.iter().flat_map(|c| [c.positive, c.negative]);
            return pairs.map(|candidate| candidate.distance.wide()).collect();
        }
        let some: Vec<u32> = chosen
            .iter()
            .flat_map(|chosen| [chosen.positive.row, chosen.negative.row])
            .collect();
        let mut out = Vec::with_capacity(some.len());
        dispatch(MeasureSome {
            anchors: self.anchors,
            candidates: self.candidates,
            anchor,
            some: &some,
            out: &mut out,
        });
        out
    }

    /// All triplets of an anchor.
    fn all(
        &self,
        anchor: usize,
        neighbours: &Neighbours<'_, A>,
        sink: &mut Sink<'_, A>,
        list: &mut Vec<Triplet>,
    ) -> Outcome {
        let margin = self.loss.margin;
        let AllTriplets {
            loss,
            active,
            pulls,
            pushes,
        } = if self.loss.soft {
            soft(neighbours, margin)
        } else {
            dispatch(Hinge { neighbours, margin })
        };
        let (positives, negatives) = (&neighbours.positives, &neighbours.negatives);
        let counts = [positives.len() as f64, negatives.len() as f64];
        let triplets = counts[0] * counts[1];
        let share = self.share(triplets);
        sink.keep_in_range(share);
        for (positive, pull) in positives.iter().zip(&pulls) {
            sink.pull(positive.row, pull.wide() * share);
        }
        sink.push_negatives(neighbours.same, &pushes, share);
        if self.listing {
            list_active(
                anchor,
                neighbours,
                (!self.loss.soft).then_some(margin),
                list,
            );
        }
        let near: f64 = positives.iter().map(|x| x.distance.wide()).sum();
        let far: f64 = negatives.iter().map(|x| x.wide()).sum();
        Outcome {
            loss,
            triplets,
            active,
            distances: [near * counts[1], far * counts[0]],
            poisoned: false,
        }
    }

    /// What a triplet weighs among the anchor's.
    fn share(&self, triplets: f64) -> f64 {
        if self.loss.per_anchor {
            1.0 / triplets
        } else {
            1.0
        }
    }

    /// The cosine of an anchor and a candidate, from their distance where that has the digits.
    fn cosine(&self, anchor: usize, row: u32, distance: f64) -> f64 {
        let candidate = row as usize;
        let squares = [
            self.anchors.square(anchor),
            self.candidates.square(candidate),
        ];
        if squares.iter().any(|square| square.is_nan()) {
            let x = self.anchors.rows.row(anchor).to_vec();
            let y = self.candidates.rows.row(candidate).to_vec();
            return 1.0 - CosineDistance.distance(&x, &y);
        }
        let square = match self.loss.distance {
            BatchDistance::Cosine => return 1.0 - distance,
            BatchDistance::Euclidean => distance * distance,
            BatchDistance::SquaredEuclidean => distance,
        };
        let norms = squares[0].sqrt() * squares[1].sqrt();
        0.5 * (squares[0] + squares[1] - square) / norms
    }
}
