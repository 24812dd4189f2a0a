//! Weights of anchors: of zero, and at the ends of the range of the rows' type.

use contrastive::{BatchTripletInput, BatchTripletLoss, Loss, Reduction, TripletMining};
use ndarray::{Array1, Array2, Axis, array};

use crate::batch::{Batch, Options, all_options, largest, wide};

/// Relative to the largest entry: products of f32 rows, of which some cancel, and sums of some dozen of them.
const SINGLE: f64 = 2e-5;

/// Every option, with a reduction and without weights.
fn batches(reduction: Reduction) -> impl Iterator<Item = Batch<f32>> {
    all_options().into_iter().map(move |options| {
        let options = Options {
            reduction,
            weighted: false,
            ..options
        };
        Batch::new(options, 12, 5, 2, 3).narrow()
    })
}

fn close(found: &Array2<f64>, expected: &Array2<f64>, options: Options) {
    let off = largest(&(found - expected));
    assert!(
        off <= SINGLE * largest(expected),
        "off by {off}: {options:?}"
    );
}

#[test]
fn weights_near_the_largest_number_and_below_the_least_normal_one_leave_a_mean_what_it_is() {
    for mut batch in batches(Reduction::Mean) {
        let expected = batch.solve();
        for weight in [2e38, 1e-40] {
            batch.weights = Some(Array1::from_elem(12, weight));
            let found = batch.solve();
            let off = wide(found.value - expected.value).abs();
            assert!(off <= SINGLE * wide(expected.value), "{:?}", batch.options);
            for (found, expected) in found.gradient.iter().zip(&expected.gradient) {
                close(&found.mapv(wide), &expected.mapv(wide), batch.options);
            }
        }
    }
}

/// Of the anchors, of which none is a candidate, each has the gradient of its own weight.
#[test]
fn small_weights_beside_large_ones_keep_their_digits() {
    let weights = [1e34_f32, 1.0, 1e-30, 0.0];
    for mut batch in batches(Reduction::Sum).filter(|batch| batch.options.separate) {
        let expected = batch.solve().gradient.swap_remove(0);
        batch.weights = Some(Array1::from_shape_fn(12, |anchor| weights[anchor % 4]));
        let found = batch.solve().gradient.swap_remove(0);
        for anchor in 0..12 {
            let row = |rows: &Array2<f32>| rows.row(anchor).mapv(wide).insert_axis(Axis(0));
            let expected = row(&expected) * wide(weights[anchor % 4]);
            close(&row(&found), &expected, batch.options);
        }
    }
}

#[test]
fn heavy_anchors_of_all_triplets_have_the_gradient_of_light_ones() {
    let (rows, labels) = (array![[1.0_f32], [1.4], [2.0]], array![0, 0, 1]);
    let weights = Array1::from_elem(3, 2e38);
    let loss = BatchTripletLoss::new(TripletMining::BatchAll, 10.0).unwrap();
    let input = BatchTripletInput::new(rows.view(), labels.view());
    let (value, gradient) = loss
        .value_and_gradient(input.with_weights(weights.view()))
        .unwrap();
    // The triplets (0, 1, 2) and (1, 0, 2), with d⁺ = 0.4 and d⁻ = 1 and 0.6, halved.
    assert!((value - 9.6).abs() < 1e-5);
    let off = gradient.anchors - array![[-0.5], [1.5], [-1.0]];
    assert!(off.iter().all(|off| off.abs() < 1e-6), "{off}");
}

#[test]
fn row_losses_are_unweighted_also_of_anchors_of_weight_zero() {
    for mut batch in batches(Reduction::Sum) {
        let expected = batch.solve();
        assert!(expected.rows.iter().any(|&row| row != 0.0));
        for period in [1, 2, 3] {
            let weight = |anchor| if anchor % period == 0 { 0.0 } else { 2.0 };
            batch.weights = Some(Array1::from_shape_fn(12, weight));
            let found = batch.solve();
            for (&found, &expected) in found.rows.iter().zip(&expected.rows) {
                let off = wide(found - expected).abs();
                assert!(
                    off <= SINGLE * wide(expected).max(1.0),
                    "{:?}",
                    batch.options
                );
            }
            // They are seen in nothing else.
            let value = batch.options.loss().forward(batch.input()).unwrap();
            assert_eq!(found.value.to_bits(), value.to_bits());
            let counted = (0..12).filter(|&anchor| weight(anchor) != 0.0).count();
            assert!(found.report.anchors <= counted as u64);
            if period == 1 {
                let mut gradient = found.gradient.iter().flatten();
                assert!(found.value == 0.0 && gradient.all(|&x| x == 0.0));
            }
        }
    }
}
