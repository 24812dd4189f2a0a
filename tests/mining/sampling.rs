//! Distance-weighted sampling: what is drawn, and how often.

use std::collections::HashMap;

use contrastive::{BatchDistance, BatchTripletLoss, DistanceWeighted, TripletMining};
use ndarray::Array1;

use crate::batch::{Batch, Options, all_options};
use crate::naive;

fn weighted_options() -> impl Iterator<Item = Options> {
    let weighted =
        |options: &Options| matches!(options.strategy, TripletMining::DistanceWeighted(_));
    all_options().into_iter().filter(weighted)
}

#[test]
fn every_pair_of_anchor_and_positive_draws_one_negative() {
    for options in weighted_options() {
        let batch = Batch::new(
            Options {
                weighted: false,
                ..options
            },
            16,
            6,
            3,
            2,
        );
        let mut pairs: Vec<_> = naive::all_triplets(&batch)
            .iter()
            .map(|t| (t.anchor, t.positive))
            .collect();
        pairs.dedup();
        let drawn: Vec<_> = batch
            .triplets()
            .iter()
            .map(|t| (t.anchor, t.positive))
            .collect();
        assert_eq!(drawn, pairs);
    }
}

#[test]
fn seed_decides_what_is_drawn() {
    let options = weighted_options().next().unwrap();
    let with_seed = |seed| {
        let strategy = TripletMining::DistanceWeighted(
            DistanceWeighted::new(seed).with_cutoffs(0.1, 1.99).unwrap(),
        );
        Batch::new(
            Options {
                strategy,
                weighted: false,
                ..options
            },
            16,
            6,
            3,
            2,
        )
        .triplets()
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
}

/// log 1/q of Wu et al. 2017 by the normalised rows of an anchor and a candidate, with the paper's cutoffs.
fn weight(batch: &Batch<f64>, anchor: usize, candidate: usize) -> f64 {
    let dim = batch.anchors.ncols() as f64;
    let unit = |row: usize| {
        let row = batch.anchors.row(row);
        &row / row.dot(&row).sqrt()
    };
    let r = naive::distance(
        BatchDistance::Euclidean,
        unit(anchor).view(),
        unit(candidate).view(),
    )
    .max(0.5);
    if r >= 1.4 {
        return 0.0;
    }
    r.powf(2.0 - dim) * (1.0 - r * r / 4.0).powf(0.5 * (3.0 - dim))
}

#[test]
fn negatives_are_drawn_as_often_as_their_weights_say_whatever_the_distance() {
    /// Draws of each pair.
    const DRAWS: u64 = 4000;
    /// Standard deviations of a count that is allowed to be off by chance; of some hundred counts none is by so many.
    const DEVIATIONS: f64 = 5.0;
    for distance in [
        BatchDistance::Euclidean,
        BatchDistance::SquaredEuclidean,
        BatchDistance::Cosine,
    ] {
        let options = Options {
            distance,
            weighted: false,
            separate: false,
            ..weighted_options().next().unwrap()
        };
        let mut batch = Batch::new(options, 9, 4, 3, 4);
        // Into one half of the sphere, so that many are near enough to be drawn.
        batch.anchors.column_mut(0).mapv_inplace(|x| 0.5 + x.abs());
        batch.labels = Array1::from_iter((0..9).map(|row| row % 3));
        let mut counts = HashMap::new();
        for seed in 0..DRAWS {
            batch.options.strategy = TripletMining::DistanceWeighted(DistanceWeighted::new(seed));
            for t in batch.triplets() {
                *counts
                    .entry((t.anchor, t.positive, t.negative))
                    .or_insert(0.0) += 1.0;
            }
        }
        for t in naive::all_triplets(&batch) {
            let others = (0..9).filter(|&other| batch.labels[other] != batch.labels[t.anchor]);
            let total: f64 = others.map(|other| weight(&batch, t.anchor, other)).sum();
            let share = weight(&batch, t.anchor, t.negative) / total;
            let expected = DRAWS as f64 * share;
            let found = counts
                .get(&(t.anchor, t.positive, t.negative))
                .copied()
                .unwrap_or(0.0);
            let deviation = (expected * (1.0 - share)).sqrt().max(1.0);
            assert!(
                (found - expected).abs() <= DEVIATIONS * deviation,
                "{found} {expected} {distance:?}"
            );
        }
    }
}

#[test]
fn anchors_without_a_negative_below_the_cutoff_have_no_triplet() {
    let (rows, labels) = (
        ndarray::array![[1.0, 0.0], [0.9, 0.1], [-1.0, 0.1]],
        ndarray::array![1, 1, 2],
    );
    let input = contrastive::BatchTripletInput::new(rows.view(), labels.view());
    let strategy = TripletMining::DistanceWeighted(DistanceWeighted::new(3));
    let loss = BatchTripletLoss::new(strategy, 1.0).unwrap();
    assert!(loss.triplets(input).unwrap().is_empty());
}
