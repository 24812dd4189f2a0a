//! What other code may count on of the public types, decided when this is compiled.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use contrastive::{
    AngleLoss, BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss,
    BatchContrastiveOwnedGradient, BatchDistance, BatchTripletGradient, BatchTripletInput,
    BatchTripletLoss, BatchTripletOwnedGradient, BatchTripletReport, CoSentLoss, ContrastiveLoss,
    ContrastiveReport, CosineDistance, CosineEmbeddingGradient, CosineEmbeddingInput,
    CosineEmbeddingLoss, CosineEmbeddingOwnedGradient, CosineEmbeddingReport, CosineSimilarityLoss,
    CosineSimilarityReport, Csr, DenseScores, Directions, DistanceWeighted, DistillationGradient,
    DistillationInput, DistillationLoss, DistillationOwnedGradient, DistillationReport, Divergence,
    Error, FalseNegatives, Guide, HardNegativeInput, HardNegativeMiner, HardNegatives, Ids,
    InfoNceChunk, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, InfoNceReport,
    InfoNceStates, InfoNceTotal, LogSumExp, LogWeights, LogitScale, Lp, M3Gradient, M3Input,
    M3Loss, M3OwnedGradient, M3Report, M3Weights, MarginMseGradient, MarginMseInput, MarginMseLoss,
    MarginMseOwnedGradient, MarginMseReport, Matryoshka, MaxSim, MemoryQueue, PairGradient,
    PairInput, PairLabel, PairOwnedGradient, PartitionMode, Positives, RankingReport, Reduction,
    SeveralPositives, Sides, Similarity, SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput,
    SoftmaxCrossEntropyLoss, SoftmaxCrossEntropyOwnedGradient, SoftmaxCrossEntropyReport, Sources,
    SparseDot, SquaredEuclidean, Targets, TeacherMargins, Tokens, Triplet, TripletCandidates,
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, TripletMarginOwnedGradient,
    TripletMarginReport, TripletMining, Want, Workspace,
};

/// What any thread may hold, also behind a reference and across a panic.
trait Shared: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug {}
impl<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug> Shared for T {}

fn configuration<T: Shared + Copy + PartialEq + 'static>() {}
fn cloned<T: Shared + Clone + 'static>() {}
fn input<T: Shared + Copy>() {}
/// A mutable view is not safe to look at after a panic.
fn output<T: Send + Sync + Unpin + Debug>() {}

#[test]
fn configurations_are_plain_values_that_any_thread_may_copy_and_compare() {
    configuration::<CosineEmbeddingLoss>();
    configuration::<TripletMarginLoss>();
    configuration::<TripletMarginLoss<SquaredEuclidean>>();
    configuration::<TripletMarginLoss<CosineDistance>>();
    configuration::<InfoNceLoss>();
    configuration::<Lp>();
    configuration::<SquaredEuclidean>();
    configuration::<CosineDistance>();
    configuration::<Similarity>();
    configuration::<Reduction>();
    configuration::<PairLabel>();
    configuration::<Sources>();
    configuration::<Directions>();
    configuration::<PartitionMode>();
    configuration::<SeveralPositives>();
    configuration::<FalseNegatives>();
    configuration::<CosineEmbeddingReport>();
    configuration::<TripletMarginReport>();
    configuration::<InfoNceReport>();
    configuration::<InfoNceTotal<f32>>();
    configuration::<LogSumExp>();
    configuration::<ContrastiveLoss>();
    configuration::<ContrastiveLoss<Lp>>();
    configuration::<BatchContrastiveLoss>();
    configuration::<CosineSimilarityLoss>();
    configuration::<CoSentLoss>();
    configuration::<AngleLoss>();
    configuration::<BatchTripletLoss>();
    configuration::<BatchDistance>();
    configuration::<TripletMining>();
    configuration::<DistanceWeighted>();
    configuration::<HardNegativeMiner>();
    configuration::<SoftmaxCrossEntropyLoss>();
    configuration::<DistillationLoss>();
    configuration::<Divergence>();
    configuration::<MarginMseLoss>();
    configuration::<M3Loss>();
    configuration::<M3Weights>();
    configuration::<DenseScores>();
    configuration::<SparseDot>();
    configuration::<MaxSim>();
    configuration::<Sides<f32>>();
    configuration::<LogitScale>();
    configuration::<ContrastiveReport>();
    configuration::<CosineSimilarityReport>();
    configuration::<RankingReport>();
    configuration::<SoftmaxCrossEntropyReport>();
    configuration::<DistillationReport>();
    configuration::<MarginMseReport>();
    configuration::<M3Report>();
    configuration::<Triplet>();
}

#[test]
fn owned_results_errors_and_workspaces_can_be_cloned_and_sent() {
    cloned::<CosineEmbeddingOwnedGradient<f32>>();
    cloned::<TripletMarginOwnedGradient<f64>>();
    cloned::<InfoNceOwnedGradient<f32>>();
    cloned::<PairOwnedGradient<f32>>();
    cloned::<BatchContrastiveOwnedGradient<f32>>();
    cloned::<BatchTripletOwnedGradient<f32>>();
    cloned::<SoftmaxCrossEntropyOwnedGradient<f32>>();
    cloned::<DistillationOwnedGradient<f32>>();
    cloned::<MarginMseOwnedGradient<f32>>();
    cloned::<M3OwnedGradient<f32>>();
    cloned::<InfoNceStates>();
    cloned::<BatchTripletReport>();
    cloned::<HardNegatives<f64>>();
    cloned::<MemoryQueue<f32>>();
    cloned::<Matryoshka<InfoNceLoss>>();
    cloned::<Workspace<f32>>();
    cloned::<Workspace<f64>>();
    cloned::<Error>();
    fn error<T: std::error::Error>() {}
    error::<Error>();
}

#[test]
fn inputs_are_copied_like_the_views_that_they_are() {
    input::<CosineEmbeddingInput<'_, f32>>();
    input::<TripletMarginInput<'_, f32>>();
    input::<InfoNceInput<'_, f32>>();
    input::<InfoNceChunk<'_, f32>>();
    input::<Targets<'_>>();
    input::<Ids<'_>>();
    input::<LogWeights<'_, f64>>();
    input::<Guide<'_, f64>>();
    input::<PairInput<'_, f32>>();
    input::<PairInput<'_, f32, f32>>();
    input::<BatchContrastiveInput<'_, f32>>();
    input::<BatchTripletInput<'_, f32>>();
    input::<TripletCandidates<'_, f32>>();
    input::<HardNegativeInput<'_, f32>>();
    input::<SoftmaxCrossEntropyInput<'_, f32>>();
    input::<DistillationInput<'_, f32>>();
    input::<MarginMseInput<'_, f32>>();
    input::<TeacherMargins<'_, f32>>();
    input::<M3Input<'_, f32>>();
    input::<Positives<'_>>();
    input::<Tokens<'_, f32>>();
    input::<Csr<'_, f32>>();
}

#[test]
fn gradients_may_be_asked_for_in_part_and_filled_on_another_thread() {
    output::<CosineEmbeddingGradient<'_, f32>>();
    output::<TripletMarginGradient<'_, f32>>();
    output::<InfoNceGradient<'_, f32>>();
    output::<PairGradient<'_, f32>>();
    output::<BatchContrastiveGradient<'_, f32>>();
    output::<BatchTripletGradient<'_, f32>>();
    output::<SoftmaxCrossEntropyGradient<'_, f32>>();
    output::<DistillationGradient<'_, f32>>();
    output::<MarginMseGradient<'_, f32>>();
    output::<M3Gradient<'_, f32>>();
    output::<Want<'_, f32, InfoNceGradient<'_, f32>, InfoNceReport>>();
}

/// The types that `lib.rs` lists for other code.
fn exported() -> Vec<&'static str> {
    let source = include_str!("../src/lib.rs");
    let lists = source.split("pub use ").skip(1);
    let names = lists.flat_map(|list| {
        list.split(';')
            .next()
            .unwrap_or_default()
            .split("::")
            .skip(1)
    });
    let names = names.flat_map(|names| names.split([',', '{', '}']));
    names
        .map(str::trim)
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect()
}

#[test]
fn every_exported_type_is_named_here() {
    const TRAITS: [&str; 6] = [
        "Distance",
        "Loss",
        "Nested",
        "OwnedGradient",
        "Scalar",
        "ScoreFunction",
    ];
    let here = include_str!("api.rs");
    let unnamed: Vec<_> = exported()
        .into_iter()
        .filter(|name| !TRAITS.contains(name) && !here.contains(&format!("::<{name}")))
        .collect();
    assert!(exported().len() > 80 && unnamed.is_empty(), "{unnamed:?}");
}
