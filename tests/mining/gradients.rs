//! Gradients against central differences of the loss over the listed triplets, and f32 against f64.

use crate::batch::{Batch, Options, all_options, largest, wide};
use crate::cases::at_most;
use crate::naive;
use contrastive::Triplet;
use proptest::prelude::*;

/// Relative to the largest of 1, the value and the gradient. The third derivative of a distance is at most 3/ℓ³ for cosines of rows as long as ℓ, and
/// 1.2/ℓ² for a Euclidean distance of ℓ. With a step of h = ℓ·∛ε and two distances a triplet, h²f'''/6 and ε|f|/h are some ε^⅔/ℓ each: 4e-9 where ℓ
/// is [`SHORT`].
const TOLERANCE: f64 = 2e-8;
/// The least ℓ of batches that are compared.
const SHORT: f64 = 0.01;
/// Farther from every kink than a step moves any distance.
const CLEAR: f64 = 1e-4;
/// f32 against f64, relative to the largest entry: a few roundings of the product, up to eightfold where it cancels.
const SINGLE: f64 = 2e-5;

/// Checks every coordinate, if the batch is clear of kinks; whether it was.
fn check(batch: &Batch<f64>) -> bool {
    let triplets = naive::triplets(batch, &batch.triplets());
    let length = naive::length(batch, &triplets);
    if length < SHORT || naive::clearance(batch, &triplets) < CLEAR {
        return false;
    }
    let step = length * f64::EPSILON.cbrt();
    let solved = batch.solve();
    for (part, gradient) in solved.gradient.iter().enumerate() {
        let scale = largest(gradient).max(solved.value.abs()).max(1.0);
        for (index, &found) in gradient.indexed_iter() {
            let expected = slope(batch, &triplets, part, index, step);
            assert!(
                (found - expected).abs() <= TOLERANCE * scale,
                "part {part} {index:?}: {found}, slope {expected}: {:?}",
                batch.options
            );
        }
    }
    true
}

fn slope(
    batch: &Batch<f64>,
    triplets: &[Triplet],
    part: usize,
    index: (usize, usize),
    step: f64,
) -> f64 {
    let mut moved = batch.clone();
    let mut at = |step: f64| {
        moved.parts()[part][index] += step;
        let value = naive::value(&moved, triplets);
        moved.parts()[part][index] -= step;
        value
    };
    (at(step) - at(-step)) / (2.0 * step)
}

fn first_clear(options: Options, n: usize, dim: usize, classes: usize, seed: u64) {
    let clear =
        (0..50).any(|attempt| check(&Batch::new(options, n, dim, classes, 100 * seed + attempt)));
    assert!(clear, "no batch clear of kinks: {options:?}");
}

#[test]
fn gradient_is_the_slope_for_every_option() {
    for (index, options) in all_options().into_iter().enumerate() {
        first_clear(options, 6, 3, 2, index as u64);
    }
}

/// Classes so small that weights are listed, and more anchors than a panel.
#[test]
fn gradient_is_the_slope_where_weights_are_listed() {
    let options = all_options().into_iter().enumerate();
    for (index, options) in options.filter(|(index, _)| index % 5 == 0) {
        first_clear(
            Options {
                soft: true,
                ..options
            },
            36,
            2,
            18,
            index as u64,
        );
    }
}

proptest! {
    #![proptest_config(at_most(200))]

    #[test]
    fn gradient_is_the_slope(
        option in 0..all_options().len(), n in 1..9_usize, dim in 1..19_usize, classes in 1..5_usize, seed: u64,
    ) {
        let batch = Batch::new(all_options()[option], n, dim, classes, seed);
        // A cosine in one dimension jumps at zero.
        prop_assume!(dim > 1 || batch.options.distance != contrastive::BatchDistance::Cosine);
        prop_assume!(check(&batch));
    }
}

/// Where all pairs are nearer than what a product resolves, whole classes shrunk to points about far-away centres.
fn collapsed(options: Options, seed: u64) -> Batch<f64> {
    let mut batch = Batch::new(options, 12, 6, 3, seed);
    for part in batch.parts() {
        part.mapv_inplace(|x| 1.0 + x / 1024.0);
    }
    batch
}

#[test]
fn f32_gradients_agree_with_f64() {
    let options = all_options().into_iter().enumerate();
    agree(options.map(|(index, options)| {
        let (n, dim, classes) = [(12, 7, 3), (70, 40, 4), (70, 5, 33)][index % 3];
        Batch::new(options, n, dim, classes, index as u64)
    }));
}

#[test]
fn f32_gradients_of_collapsed_batches_lose_nothing_to_cancellation() {
    let options = all_options().into_iter().enumerate();
    agree(options.map(|(index, options)| collapsed(options, index as u64)));
}

/// The f32 answers to batches against the f64 answers to the same numbers.
fn agree(batches: impl Iterator<Item = Batch<f64>>) {
    let compared: Vec<bool> = batches.map(|batch| agrees(&batch)).collect();
    let passed_over = compared.iter().filter(|compared| !**compared).count();
    // A tie or a kink in f32 is rare.
    assert!(
        passed_over <= compared.len() / 10,
        "{passed_over} of {}",
        compared.len()
    );
}

/// Checks a batch, unless its triplets are others in f32; whether it did.
fn agrees(batch: &Batch<f64>) -> bool {
    let narrow = batch.narrow();
    let exact = narrow.map(f64::from).solve();
    let found = narrow.solve();
    if found.report.list != exact.report.list {
        return false;
    }
    let value = wide(found.value);
    assert!((value - exact.value).abs() <= SINGLE * exact.value.abs().max(1.0));
    for (found, exact) in found.gradient.iter().zip(&exact.gradient) {
        let scale = largest(exact).max(1e-3);
        for (found, exact) in found.iter().zip(exact) {
            let off = (wide(*found) - exact).abs();
            assert!(
                off <= SINGLE * scale,
                "{found} {exact} of {scale}: {:?}",
                batch.options
            );
        }
    }
    true
}
