//! Values and gradients against those that sentence-transformers and pytorch-metric-learning computed in f64.
//!
//! The numbers are in `tests/golden/mining.json`; `generate_mining.py` beside it writes them. Inputs are exact in f32.

use std::collections::HashMap;

use contrastive::{
    BatchDistance, BatchTripletInput, BatchTripletLoss, DistanceWeighted, Loss, Reduction, Scalar,
    TripletMining,
};
use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::batch::wide;

/// Relative to the largest entry. Their distances, by ‖x‖² + ‖y‖² − 2x·y, lose a few bits to cancellation in f64.
const DOUBLE: f64 = 1e-12;
/// In f32: a few roundings of the product, up to eightfold where it cancels.
const SINGLE: f64 = 1e-5;

fn file() -> Value {
    serde_json::from_str(include_str!("../golden/mining.json")).unwrap()
}

fn number<A: Scalar>(x: &Value) -> A {
    A::from(x.as_f64().unwrap()).unwrap()
}

fn matrix<A: Scalar>(json: &Value) -> Array2<A> {
    let rows: Vec<&Vec<Value>> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_array().unwrap())
        .collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| {
        number(&rows[row][column])
    })
}

fn labels(json: &Value) -> Array1<u64> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|label| label.as_u64().unwrap())
        .collect()
}

fn loss(options: &Value) -> BatchTripletLoss {
    let strategy = match options["strategy"].as_str().unwrap() {
        "all" => TripletMining::BatchAll,
        "hard" => TripletMining::BatchHard,
        "semi_hard" => TripletMining::BatchSemiHard,
        "easy_hard" => TripletMining::EasyPositiveHard,
        "easy_semi_hard" => TripletMining::EasyPositiveSemiHard,
        other => panic!("strategy {other}"),
    };
    let distance = match options["distance"].as_str().unwrap() {
        "euclidean" => BatchDistance::Euclidean,
        "squared_euclidean" => BatchDistance::SquaredEuclidean,
        "cosine" => BatchDistance::Cosine,
        other => panic!("distance {other}"),
    };
    let reduction = match options["reduction"].as_str().unwrap() {
        "mean" => Reduction::Mean,
        "active" => Reduction::MeanActive,
        "sum" => Reduction::Sum,
        other => panic!("reduction {other}"),
    };
    let margin = options["margin"].as_f64().unwrap();
    let loss = if options["soft"].as_bool().unwrap() {
        BatchTripletLoss::soft(strategy, margin)
    } else {
        BatchTripletLoss::new(strategy, margin)
    };
    loss.unwrap()
        .with_distance(distance)
        .with_reduction(reduction)
        .unwrap()
}

fn check<A: Scalar>(tolerance: f64) {
    let file = file();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let inputs = &case["inputs"];
        let (anchors, own) = (matrix::<A>(&inputs["anchors"]), labels(&inputs["labels"]));
        let separate = inputs
            .get("candidates")
            .map(|rows| (matrix::<A>(rows), labels(&inputs["candidate_labels"])));
        let mut input = BatchTripletInput::new(anchors.view(), own.view());
        if let Some((rows, labels)) = &separate {
            input = input.with_candidates(rows.view(), labels.view());
        }
        let (value, gradient) = loss(&case["options"]).value_and_gradient(input).unwrap();
        let expected = case["value"].as_f64().unwrap();
        let what = format!("{} {}", case["name"], case["options"]);
        assert!(
            (wide(value) - expected).abs() <= tolerance * expected,
            "{what}: {value}, not {expected}"
        );
        let found = [Some(gradient.anchors), gradient.candidates];
        for (found, expected) in found
            .into_iter()
            .flatten()
            .zip(case["gradient"].as_array().unwrap())
        {
            let expected: Array2<f64> = matrix(expected);
            let scale = expected
                .iter()
                .fold(0.0, |scale: f64, x| scale.max(x.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                let off = (wide(*found) - expected).abs();
                assert!(
                    off <= tolerance * scale,
                    "{what}: {found} for {expected} of {scale}"
                );
            }
        }
    }
}

#[test]
fn mined_losses_equal_the_libraries_in_f64() {
    check::<f64>(DOUBLE);
}

#[test]
fn mined_losses_equal_the_libraries_in_f32() {
    check::<f32>(SINGLE);
}

#[test]
fn negatives_are_drawn_with_the_probabilities_of_pytorch_metric_learning() {
    /// Draws of each pair, and the standard deviations that a count may be off by.
    const DRAWS: u64 = 3000;
    const DEVIATIONS: f64 = 5.0;
    let file = file();
    let sampling = &file["sampling"];
    let (anchors, labels) = (
        matrix::<f64>(&sampling["anchors"]),
        labels(&sampling["labels"]),
    );
    let probabilities: Array2<f64> = matrix(&sampling["probabilities"]);
    let input = BatchTripletInput::new(anchors.view(), labels.view());
    let (mut counts, mut pairs) = (HashMap::new(), HashMap::new());
    for seed in 0..DRAWS {
        let strategy = TripletMining::DistanceWeighted(DistanceWeighted::new(seed));
        for t in BatchTripletLoss::new(strategy, 1.0)
            .unwrap()
            .triplets(input)
            .unwrap()
        {
            *counts.entry((t.anchor, t.negative)).or_insert(0.0) += 1.0;
            *pairs.entry(t.anchor).or_insert(0.0) += 1.0;
        }
    }
    assert!(pairs.len() > 4, "some anchors have negatives to draw");
    for ((anchor, negative), &probability) in probabilities.indexed_iter() {
        let draws = pairs.get(&anchor).copied().unwrap_or(0.0);
        let expected = draws * probability;
        let found = counts.get(&(anchor, negative)).copied().unwrap_or(0.0);
        let deviation = (expected * (1.0 - probability)).sqrt().max(1.0);
        assert!(
            (found - expected).abs() <= DEVIATIONS * deviation,
            "{anchor} {negative}: {found}, not {expected}"
        );
    }
}
