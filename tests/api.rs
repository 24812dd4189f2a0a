//! What other code may count on of the public types, decided when this is compiled.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use contrastive::{
    CosineDistance, CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingOwnedGradient, CosineEmbeddingReport, Directions, Error, FalseNegatives, Guide,
    Ids, InfoNceChunk, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient,
    InfoNceReport, InfoNceStates, InfoNceTotal, LogSumExp, LogWeights, Lp, PairLabel,
    PartitionMode, Reduction, SeveralPositives, Similarity, Sources, SquaredEuclidean, Targets,
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, TripletMarginOwnedGradient,
    TripletMarginReport, Want, Workspace,
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
}

#[test]
fn owned_results_errors_and_workspaces_can_be_cloned_and_sent() {
    cloned::<CosineEmbeddingOwnedGradient<f32>>();
    cloned::<TripletMarginOwnedGradient<f64>>();
    cloned::<InfoNceOwnedGradient<f32>>();
    cloned::<InfoNceStates>();
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
}

#[test]
fn gradients_may_be_asked_for_in_part_and_filled_on_another_thread() {
    output::<CosineEmbeddingGradient<'_, f32>>();
    output::<TripletMarginGradient<'_, f32>>();
    output::<InfoNceGradient<'_, f32>>();
    output::<Want<'_, f32, InfoNceGradient<'_, f32>, InfoNceReport>>();
}
