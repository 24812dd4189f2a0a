//! Triplets, values, row losses and reports as the definitions have them.

use std::collections::HashSet;

use contrastive::{Triplet, TripletMining};

use crate::batch::{Batch, all_options, wide};
use crate::naive;

/// Relative to 1 and the value: distances below 4 with a few roundings each, up to eight times those where the product cancels, and
/// sums of some hundred of them.
const DOUBLE: f64 = 1e-12;
/// The same for f32.
const SINGLE: f64 = 2e-5;

/// Few rows keep weights in a matrix; many rows of small classes list them, and cross panels.
const SIZES: [(usize, usize, usize); 4] = [(3, 2, 2), (9, 5, 3), (14, 33, 2), (45, 8, 20)];

fn batches() -> impl Iterator<Item = Batch<f64>> {
    let options = all_options().into_iter().enumerate();
    options.map(|(index, options)| {
        let (n, dim, classes) = SIZES[index % 4];
        Batch::new(options, n, dim, classes, index as u64)
    })
}

fn as_set(triplets: &[Triplet]) -> HashSet<Triplet> {
    let set: HashSet<Triplet> = triplets.iter().copied().collect();
    assert_eq!(set.len(), triplets.len(), "no triplet twice");
    set
}

/// What the crate must list: of all triplets those with a loss.
fn expected_list(batch: &Batch<f64>, found: &[Triplet]) -> Vec<Triplet> {
    let mut expected = naive::triplets(batch, found);
    if batch.options.strategy == TripletMining::BatchAll {
        expected.retain(|t| naive::triplet_loss(batch, t) > 0.0);
    }
    expected
}

#[test]
fn triplets_are_those_of_the_definition_in_order() {
    for batch in batches() {
        let found = batch.triplets();
        let mut sorted = found.clone();
        sorted.sort_by_key(|t| (t.anchor, t.positive));
        assert_eq!(found, sorted, "{:?}", batch.options);
        let expected = expected_list(&batch, &found);
        assert_eq!(as_set(&found), as_set(&expected), "{:?}", batch.options);
    }
}

#[test]
fn triplets_of_f32_rows_are_those_of_the_definition() {
    for batch in batches() {
        let narrow = batch.narrow();
        let found = narrow.triplets();
        let expected = expected_list(&narrow.map(f64::from), &found);
        assert_eq!(as_set(&found), as_set(&expected), "{:?}", batch.options);
    }
}

fn check(batch: &Batch<f64>, value: f64, rows: &[f64], triplets: &[Triplet], tolerance: f64) {
    let expected = naive::value(batch, triplets);
    let close = (value - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(close, "value {value}, not {expected}: {:?}", batch.options);
    // Row losses are unweighted: anchors of weight zero have one as well.
    let unweighted = batch.unweighted();
    let triplets = naive::triplets(&unweighted, &unweighted.triplets());
    for (row, expected) in rows.iter().zip(naive::rows(&unweighted, &triplets)) {
        let close = (row - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(close, "row {row}, not {expected}: {:?}", batch.options);
    }
}

#[test]
fn values_and_row_losses_are_those_of_the_listed_triplets() {
    for batch in batches() {
        let solved = batch.solve();
        let triplets = naive::triplets(&batch, &batch.triplets());
        check(
            &batch,
            solved.value,
            &solved.rows.to_vec(),
            &triplets,
            DOUBLE,
        );
    }
}

#[test]
fn f32_values_and_row_losses_are_those_of_the_listed_triplets() {
    for batch in batches().map(|batch| batch.narrow()) {
        let solved = batch.solve();
        let wide_batch = batch.map(f64::from);
        let triplets = naive::triplets(&wide_batch, &batch.triplets());
        let rows: Vec<f64> = solved.rows.iter().copied().map(wide).collect();
        check(&wide_batch, wide(solved.value), &rows, &triplets, SINGLE);
    }
}

#[test]
fn forward_alone_gives_the_bits_of_the_value_with_a_gradient() {
    use contrastive::Loss;
    for batch in batches() {
        let value = batch.options.loss().forward(batch.input()).unwrap();
        assert_eq!(value.to_bits(), batch.solve().value.to_bits());
        let batch = batch.narrow();
        let value = batch.options.loss().forward(batch.input()).unwrap();
        assert_eq!(value.to_bits(), batch.solve().value.to_bits());
    }
}

#[test]
fn reports_count_the_triplets_and_average_their_distances() {
    for batch in batches() {
        let report = batch.solve().report;
        let triplets = naive::triplets(&batch, &batch.triplets());
        let anchors: HashSet<usize> = triplets.iter().map(|t| t.anchor).collect();
        let active = triplets
            .iter()
            .filter(|t| naive::triplet_loss(&batch, t) > 0.0)
            .count();
        assert_eq!(report.anchors, anchors.len() as u64);
        assert_eq!(report.triplets, triplets.len() as u64);
        assert_eq!(report.active, active as u64, "{:?}", batch.options);
        assert_eq!(report.list, Some(batch.triplets()));
        let rows = batch
            .candidates
            .as_ref()
            .map_or(&batch.anchors, |(rows, _)| rows);
        let mean = |other: &dyn Fn(&Triplet) -> usize| {
            let distance = |t: &Triplet| {
                let (x, y) = (batch.anchors.row(t.anchor), rows.row(other(t)));
                naive::distance(batch.options.distance, x, y)
            };
            triplets.iter().map(distance).sum::<f64>() / triplets.len() as f64
        };
        let expected = [mean(&|t| t.positive), mean(&|t| t.negative)];
        let found = [report.positive_distance, report.negative_distance];
        for (found, expected) in found.into_iter().zip(expected) {
            let equal = (found - expected).abs() <= DOUBLE * expected
                || found.is_nan() && expected.is_nan();
            assert!(equal, "{found} {expected}");
        }
    }
}
