//! Losses read from a file are those that were written, and what the constructors refuse is refused in their words.
#![cfg(feature = "serde")]

use contrastive::{
    CosineDistance, CosineEmbeddingLoss, Directions, FalseNegatives, InfoNceLoss, Lp,
    PartitionMode, Reduction, SeveralPositives, Similarity, Sources, SquaredEuclidean,
    TripletMarginLoss,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(written: T) {
    let json = serde_json::to_string(&written).unwrap();
    let read: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(read, written, "{json}");
}

#[test]
fn every_option_survives_a_file() {
    let cosine = CosineEmbeddingLoss::new(0.25).unwrap();
    survives(cosine);
    survives(
        cosine
            .with_positive_margin(0.9)
            .unwrap()
            .with_epsilon(1e-12)
            .unwrap(),
    );
    survives(cosine.with_reduction(Reduction::Over(8.0)).unwrap());
    let triplet = TripletMarginLoss::soft(-0.5).unwrap().with_swap(true);
    survives(triplet);
    survives(triplet.with_distance(SquaredEuclidean));
    survives(triplet.with_distance(CosineDistance));
    survives(triplet.with_distance(Lp::infinity().with_epsilon(1e-6).unwrap()));
    let info_nce = InfoNceLoss::new(0.05)
        .unwrap()
        .with_similarity(Similarity::Dot);
    survives(info_nce);
    survives(
        info_nce
            .with_symmetric(true)
            .with_reduction(Reduction::MeanActive)
            .unwrap(),
    );
    let given = info_nce.with_in_batch_negatives(false).with_decoupled(true);
    let given = given.with_hardness(2.0, Sources::OWN).unwrap();
    let given = given
        .with_false_negatives(FalseNegatives::Relative(0.05), Sources::ALL)
        .unwrap();
    survives(given.with_label_smoothing(0.1).unwrap());
    survives(info_nce.with_directions(Directions::ALL, PartitionMode::Joint));
    survives(
        info_nce
            .with_pooled_negatives(true)
            .with_several_positives(SeveralPositives::Apart),
    );
    survives(InfoNceLoss::sigmoid(0.1, -10.0).unwrap());
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let read: InfoNceLoss = serde_json::from_str(r#"{"temperature": 0.05}"#).unwrap();
    assert_eq!(read, InfoNceLoss::new(0.05).unwrap());
    let read: CosineEmbeddingLoss = serde_json::from_str(r#"{"margin": 0.5}"#).unwrap();
    assert_eq!(read, CosineEmbeddingLoss::new(0.5).unwrap());
    let json = r#"{"margin": 1, "distance": {"p": "infinity"}}"#;
    let read: TripletMarginLoss = serde_json::from_str(json).unwrap();
    assert_eq!(
        read,
        TripletMarginLoss::new(1.0)
            .unwrap()
            .with_distance(Lp::infinity())
    );
}

fn refusal<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
    serde_json::from_str::<T>(json).expect_err(json).to_string()
}

#[test]
fn what_the_constructors_refuse_is_refused_in_their_words() {
    for (found, json, error) in [
        (
            refusal::<InfoNceLoss>(r#"{"temperature": -0.5}"#),
            "temperature",
            "temperature: expected a positive, finite number, found -0.5",
        ),
        (
            refusal::<InfoNceLoss>(r#"{"temperature": 1, "reduction": {"Over": 0}}"#),
            "divisor",
            "reduction: expected a positive, finite divisor, found 0",
        ),
        (
            refusal::<CosineEmbeddingLoss>(r#"{"margin": 2}"#),
            "margin",
            "margin: expected a number in [-1, 1], found 2",
        ),
        (
            refusal::<TripletMarginLoss>(r#"{"margin": 0, "distance": {"p": 2}}"#),
            "hinge",
            "margin: expected a positive, finite number, found 0",
        ),
        (
            refusal::<Lp>(r#"{"p": 0.5}"#),
            "exponent",
            "p: expected a number of at least 1, found 0.5",
        ),
    ] {
        assert!(found.starts_with(error), "{json}: {found}");
    }
}

#[test]
fn misspelt_options_are_refused() {
    let found = refusal::<InfoNceLoss>(r#"{"temperature": 1, "symetric": true}"#);
    assert!(found.contains("symetric"), "{found}");
}
