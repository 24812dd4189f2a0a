//! Losses read from a file are those that were written, and what the constructors refuse is refused in their words.
#![cfg(feature = "serde")]

use contrastive::{
    AngleLoss, BatchContrastiveLoss, BatchDistance, BatchTripletLoss, CoSentLoss, ContrastiveLoss,
    CosineDistance, CosineEmbeddingLoss, CosineSimilarityLoss, DenseScores, Directions,
    DistanceWeighted, DistillationLoss, Divergence, FalseNegatives, HardNegativeMiner, InfoNceLoss,
    LogitScale, Lp, M3Loss, M3Weights, MarginMseLoss, Matryoshka, MaxSim, PartitionMode, Reduction,
    SeveralPositives, Similarity, SoftmaxCrossEntropyLoss, Sources, SparseDot, SquaredEuclidean,
    TripletMarginLoss, TripletMining,
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
fn losses_by_name_survive_a_file() {
    for loss in [
        InfoNceLoss::multiple_negatives_ranking(20.0),
        InfoNceLoss::gte(0.01),
        InfoNceLoss::clip(0.07),
        InfoNceLoss::sim_cse(0.05),
        InfoNceLoss::nt_xent(0.5),
        InfoNceLoss::sup_con(0.1),
        InfoNceLoss::dcl(0.1),
        InfoNceLoss::sig_lip(),
    ] {
        survives(loss.unwrap());
    }
}

#[test]
fn losses_of_pairs_survive_a_file() {
    let pairs = ContrastiveLoss::new(0.5).unwrap();
    survives(pairs);
    let pairs = pairs.with_distance(Lp::euclidean()).with_linear(true);
    survives(
        pairs
            .with_positive_margin(0.1)
            .unwrap()
            .with_hard_pairs(true),
    );
    survives(pairs.with_reduction(Reduction::MeanActive).unwrap());
    survives(BatchContrastiveLoss::new(pairs).with_balance(true));
    let cosine = CosineSimilarityLoss::new();
    survives(cosine.with_reduction(Reduction::Sum).unwrap());
    survives(CoSentLoss::new(20.0).unwrap());
    let manhattan = Lp::new(1.0).unwrap();
    survives(CoSentLoss::new(20.0).unwrap().with_distance(manhattan));
    survives(AngleLoss::new(20.0).unwrap());
}

#[test]
fn mining_survives_a_file() {
    let drawn = DistanceWeighted::new(u64::MAX);
    for strategy in [
        TripletMining::BatchAll,
        TripletMining::BatchHard,
        TripletMining::BatchSemiHard,
        TripletMining::EasyPositiveHard,
        TripletMining::EasyPositiveSemiHard,
        TripletMining::DistanceWeighted(drawn),
        TripletMining::DistanceWeighted(drawn.with_cutoffs(0.1, f64::INFINITY).unwrap()),
    ] {
        survives(BatchTripletLoss::new(strategy, 0.2).unwrap());
    }
    let soft = BatchTripletLoss::soft(TripletMining::BatchHard, 0.0).unwrap();
    survives(soft.with_distance(BatchDistance::Cosine).per_anchor(true));
    survives(soft.with_reduction(Reduction::Over(3.0)).unwrap());
    let miner = HardNegativeMiner::new(5).unwrap().with_skip(3);
    survives(miner.with_similarity(Similarity::Dot));
    let rule = FalseNegatives::Absolute(0.05);
    survives(miner.with_false_negatives(rule).unwrap());
}

#[test]
fn losses_over_scores_and_score_functions_survive_a_file() {
    let softmax = SoftmaxCrossEntropyLoss::new(0.02).unwrap();
    survives(
        softmax
            .with_several_positives(SeveralPositives::Apart)
            .with_label_smoothing(0.1)
            .unwrap()
            .with_reduction(Reduction::Sum)
            .unwrap(),
    );
    survives(
        DistillationLoss::new(2.0)
            .unwrap()
            .with_teacher_temperature(0.5)
            .unwrap()
            .with_divergence(Divergence::CrossEntropy)
            .with_temperature_squared(true),
    );
    let margins = MarginMseLoss::new();
    survives(margins.with_reduction(Reduction::Over(4.0)).unwrap());
    let weights = |dense| M3Weights {
        dense,
        sparse: 0.5,
        multi_vector: 0.25,
    };
    survives(
        M3Loss::new(0.02)
            .unwrap()
            .with_score_weights(weights(2.0))
            .unwrap()
            .with_loss_weights(weights(3.0))
            .unwrap()
            .with_self_distillation(false),
    );
    survives(DenseScores::new(Similarity::SquaredEuclidean));
    survives(SparseDot);
    survives(MaxSim::mean());
    survives(MaxSim::sum().with_similarity(Similarity::Cosine));
}

#[test]
fn prefixes_and_trained_temperatures_survive_a_file() {
    let loss = Matryoshka::new(InfoNceLoss::new(0.05).unwrap(), &[64, 768]).unwrap();
    survives(loss.clone());
    survives(loss.with_weights(&[0.5, 1.0]).unwrap());
    survives(LogitScale::clip());
    survives(LogitScale::from_temperature(0.01).unwrap());
    survives(LogitScale::clip().with_limits(1.0, 20.0).unwrap());
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

#[test]
fn what_a_file_leaves_out_of_newer_losses_has_its_default() {
    let read: M3Loss = serde_json::from_str(r#"{"temperature": 0.02}"#).unwrap();
    assert_eq!(read, M3Loss::new(0.02).unwrap());
    let json = r#"{"strategy": "BatchHard", "margin": 5}"#;
    let read: BatchTripletLoss = serde_json::from_str(json).unwrap();
    assert_eq!(
        read,
        BatchTripletLoss::new(TripletMining::BatchHard, 5.0).unwrap()
    );
    let read: HardNegativeMiner = serde_json::from_str(r#"{"keep": 5}"#).unwrap();
    assert_eq!(read, HardNegativeMiner::new(5).unwrap());
    let json = r#"{"loss": {"temperature": 0.05}, "dims": [2, 4]}"#;
    let read: Matryoshka<InfoNceLoss> = serde_json::from_str(json).unwrap();
    let loss = InfoNceLoss::new(0.05).unwrap();
    assert_eq!(read, Matryoshka::new(loss, &[2, 4]).unwrap());
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
            "reduction: expected a positive, finite divisor with a finite reciprocal, found 0",
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
fn newer_losses_are_refused_in_the_words_of_their_constructors() {
    let over = r#"{"reduction": {"Over": -1}}"#;
    let divisor =
        "reduction: expected a positive, finite divisor with a finite reciprocal, found -1";
    let weights = r#"{"dense": -1, "sparse": 1, "multi_vector": 1}"#;
    let m3 = |which: &str| format!(r#"{{"temperature": 1, "{which}": {weights}}}"#);
    let drawn = r#"{"DistanceWeighted": {"seed": 1, "cutoff": 0.5, "nonzero_loss_cutoff": 0.5}}"#;
    for (found, error) in [
        (
            refusal::<ContrastiveLoss>(r#"{"margin": 0, "distance": null}"#),
            "margin: expected a positive, finite number, found 0",
        ),
        (
            refusal::<BatchContrastiveLoss>(
                r#"{"pairs": {"margin": 1, "positive_margin": -1, "distance": null}}"#,
            ),
            "positive margin: expected a finite number, not negative, found -1",
        ),
        (refusal::<CosineSimilarityLoss>(over), divisor),
        (refusal::<MarginMseLoss>(over), divisor),
        (
            refusal::<CoSentLoss>(r#"{"scale": 0, "distance": null}"#),
            "scale: expected a positive number, at most 1e300, found 0",
        ),
        (
            refusal::<AngleLoss>(r#"{"scale": 1e301}"#),
            "scale: expected a positive number, at most 1e300, found 1",
        ),
        (
            refusal::<BatchTripletLoss>(r#"{"strategy": "BatchAll", "margin": -1}"#),
            "margin: expected a positive, finite number, found -1",
        ),
        (
            refusal::<TripletMining>(drawn),
            "nonzero_loss_cutoff: expected a number above the cutoff, found 0.5",
        ),
        (
            refusal::<HardNegativeMiner>(r#"{"keep": 0}"#),
            "keep: expected at least 1, found 0",
        ),
        (
            refusal::<SoftmaxCrossEntropyLoss>(r#"{"temperature": 1, "label_smoothing": 2}"#),
            "label smoothing: expected a number in [0, 1], found 2",
        ),
        (
            refusal::<DistillationLoss>(r#"{"student_temperature": 1, "teacher_temperature": 0}"#),
            "teacher temperature: expected a positive, finite number, found 0",
        ),
        (
            refusal::<M3Loss>(&m3("score_weights")),
            "score weights: expected finite numbers, not negative, found -1",
        ),
        (
            refusal::<M3Loss>(&m3("loss_weights")),
            "loss weights: expected finite numbers, not negative, found -1",
        ),
        (
            refusal::<Matryoshka<InfoNceLoss>>(r#"{"loss": {"temperature": 1}, "dims": [2, 2]}"#),
            "dims: expected lengths of prefixes that rise, from 1 on, found 2",
        ),
        (
            refusal::<LogitScale>(r#"{"log_scale": 0, "least": 2, "most": 1}"#),
            "most scale: expected a finite number, not below the least scale, found 1",
        ),
    ] {
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn misspelt_options_are_refused() {
    let found = refusal::<InfoNceLoss>(r#"{"temperature": 1, "symetric": true}"#);
    assert!(found.contains("symetric"), "{found}");
    for found in [
        refusal::<BatchContrastiveLoss>(
            r#"{"pairs": {"margin": 1, "distance": null}, "balanse": true}"#,
        ),
        refusal::<MaxSim>(r#"{"similarity": "Dot", "mean": true, "balanse": true}"#),
        refusal::<MarginMseLoss>(r#"{"balanse": 1}"#),
    ] {
        assert!(found.contains("balanse"), "{found}");
    }
}
