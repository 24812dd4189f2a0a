//! Every loss, compiled once for each element type.
//!
//! A generic function is compiled by the crate that calls it, for each type and, in this crate, for three instruction sets: minutes of
//! work in every crate that uses a loss. The functions here are not generic, so that work is done once, in this crate, and
//! [`Loss::evaluate`] of a loss only calls them. A new loss has a line in the list below, and so has every other pass over many rows.

use crate::distance::Distance;
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::scalar::Scalar;
use crate::workspace::Workspace;
use crate::{AngleLoss, BatchContrastiveLoss, CoSentLoss, ContrastiveLoss, CosineSimilarityLoss};
use crate::{
    BatchTripletLoss, CosineEmbeddingLoss, Csr, DenseScores, DistillationLoss, InfoNceChunk,
    InfoNceGradient, InfoNceLoss, InfoNceStates, M3Loss, MarginMseLoss, MaxSim, Sides,
    SoftmaxCrossEntropyLoss, SparseDot, Tokens, TripletMarginLoss,
};
use crate::{HardNegativeInput, HardNegativeMiner, HardNegatives};
use crate::{
    batch_triplet, cosine_embedding, hard_negatives, info_nce, pairs, scores, triplet_margin,
};
use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};

type Input<'a, L, A> = <L as Loss<A>>::Input<'a>;
/// An input cut short, and its weight.
type Prefix<'a, L, A> = (Input<'a, L, A>, f64);
type Wanted<'w, 'g, L, A> = Want<'w, A, <L as Loss<A>>::Gradient<'g>, <L as Loss<A>>::Report>;

macro_rules! compiled {
    (
        $(loss $name:ident: $loss:ty, $body:path;)*
        $(fn $pass:ident($($argument:ident: $type:ty),*) -> $result:ty = $pass_body:path;)*
    ) => {
        /// [`Loss::evaluate`] of each loss, for this element type.
        pub trait Compiled: Sized {
            $(fn $name(
                loss: &$loss,
                input: Input<'_, $loss, Self>,
                want: Wanted<'_, '_, $loss, Self>,
                workspace: &mut Workspace<Self>,
            ) -> Result<Self, Error>
            where
                Self: Scalar;)*
            $(fn $pass($($argument: $type),*) -> $result
            where
                Self: Scalar;)*
        }
        compiled_for!(f32: $(loss $name: $loss, $body;)* $(fn $pass($($argument: $type),*) -> $result = $pass_body;)*);
        compiled_for!(f64: $(loss $name: $loss, $body;)* $(fn $pass($($argument: $type),*) -> $result = $pass_body;)*);
    };
}

macro_rules! compiled_for {
    (
        $scalar:ty: $(loss $name:ident: $loss:ty, $body:path;)*
        $(fn $pass:ident($($argument:ident: $type:ty),*) -> $result:ty = $pass_body:path;)*
    ) => {
        impl Compiled for $scalar {
            // Inlined into another crate it would be compiled there.
            $(#[inline(never)]
            fn $name(
                loss: &$loss,
                input: Input<'_, $loss, Self>,
                want: Wanted<'_, '_, $loss, Self>,
                workspace: &mut Workspace<Self>,
            ) -> Result<Self, Error> {
                $body(loss, input, want, workspace)
            })*
            $(#[inline(never)]
            fn $pass($($argument: $type),*) -> $result {
                $pass_body($($argument),*)
            })*
        }
    };
}

compiled! {
    loss cosine_embedding: CosineEmbeddingLoss, cosine_embedding::evaluate;
    loss triplet_margin: TripletMarginLoss<&dyn Distance<Self>>, triplet_margin::evaluate;
    loss info_nce: InfoNceLoss, info_nce::evaluate;
    loss softmax_cross_entropy: SoftmaxCrossEntropyLoss, scores::softmax::evaluate;
    loss distillation: DistillationLoss, scores::distillation::evaluate;
    loss margin_mse: MarginMseLoss, scores::margin_mse::evaluate;
    loss m3: M3Loss, scores::m3::evaluate;
    loss batch_triplet: BatchTripletLoss, batch_triplet::evaluate;
    loss cosine_similarity: CosineSimilarityLoss, pairs::cosine_similarity;
    loss contrastive: ContrastiveLoss<&dyn Distance<Self>>, pairs::contrastive;
    loss batch_contrastive: BatchContrastiveLoss<&dyn Distance<Self>>, pairs::batch_contrastive;
    loss cosent: CoSentLoss<&dyn Distance<Self>>, pairs::cosent;
    loss angle: AngleLoss, pairs::angle;
    fn cosine_embedding_prefixes(
        loss: &CosineEmbeddingLoss,
        input: &Input<'_, CosineEmbeddingLoss, Self>,
        prefixes: &[Prefix<'_, CosineEmbeddingLoss, Self>],
        want: &mut Wanted<'_, '_, CosineEmbeddingLoss, Self>
    ) -> Result<Option<Self>, Error> = cosine_embedding::evaluate_prefixes;
    fn triplet_margin_prefixes(
        loss: &TripletMarginLoss<&dyn Distance<Self>>,
        input: &Input<'_, TripletMarginLoss<&dyn Distance<Self>>, Self>,
        prefixes: &[Prefix<'_, TripletMarginLoss<&dyn Distance<Self>>, Self>],
        want: &mut Wanted<'_, '_, TripletMarginLoss<&dyn Distance<Self>>, Self>
    ) -> Result<Option<Self>, Error> = triplet_margin::evaluate_prefixes;
    fn cosine_similarity_prefixes(
        loss: &CosineSimilarityLoss,
        input: &Input<'_, CosineSimilarityLoss, Self>,
        prefixes: &[Prefix<'_, CosineSimilarityLoss, Self>],
        want: &mut Wanted<'_, '_, CosineSimilarityLoss, Self>
    ) -> Result<Option<Self>, Error> = pairs::cosine_similarity_prefixes;
    fn contrastive_prefixes(
        loss: &ContrastiveLoss<&dyn Distance<Self>>,
        input: &Input<'_, ContrastiveLoss<&dyn Distance<Self>>, Self>,
        prefixes: &[Prefix<'_, ContrastiveLoss<&dyn Distance<Self>>, Self>],
        want: &mut Wanted<'_, '_, ContrastiveLoss<&dyn Distance<Self>>, Self>
    ) -> Result<Option<Self>, Error> = pairs::contrastive_prefixes;
    fn info_nce_prefixes(
        loss: &InfoNceLoss,
        input: &Input<'_, InfoNceLoss, Self>,
        prefixes: &[Prefix<'_, InfoNceLoss, Self>],
        want: &mut Wanted<'_, '_, InfoNceLoss, Self>,
        workspace: &mut Workspace<Self>
    ) -> Result<Option<Self>, Error> = info_nce::evaluate_prefixes;
    fn info_nce_observe(
        loss: &InfoNceLoss,
        chunk: InfoNceChunk<'_, Self>,
        states: &mut InfoNceStates,
        workspace: &mut Workspace<Self>
    ) -> Result<(), Error> = info_nce::observe;
    fn info_nce_apply(
        loss: &InfoNceLoss,
        chunk: InfoNceChunk<'_, Self>,
        states: &InfoNceStates,
        gradient: InfoNceGradient<'_, Self>,
        workspace: &mut Workspace<Self>
    ) -> Result<(), Error> = info_nce::apply;
    fn dense_forward(
        function: &DenseScores,
        input: Sides<ArrayView2<'_, Self>>,
        scores: ArrayViewMut2<'_, Self>
    ) -> Result<(), Error> = scores::dense::forward;
    fn dense_backward(
        function: &DenseScores,
        input: Sides<ArrayView2<'_, Self>>,
        upstream: ArrayView2<'_, Self>,
        gradient: Sides<Option<ArrayViewMut2<'_, Self>>>
    ) -> Result<(), Error> = scores::dense::backward;
    fn sparse_forward(
        function: &SparseDot,
        input: Sides<Csr<'_, Self>>,
        scores: ArrayViewMut2<'_, Self>
    ) -> Result<(), Error> = scores::sparse::forward;
    fn sparse_backward(
        function: &SparseDot,
        input: Sides<Csr<'_, Self>>,
        upstream: ArrayView2<'_, Self>,
        gradient: Sides<Option<ArrayViewMut1<'_, Self>>>
    ) -> Result<(), Error> = scores::sparse::backward;
    fn max_sim_forward(
        function: &MaxSim,
        input: Sides<Tokens<'_, Self>>,
        scores: ArrayViewMut2<'_, Self>
    ) -> Result<(), Error> = scores::max_sim::forward;
    fn max_sim_backward(
        function: &MaxSim,
        input: Sides<Tokens<'_, Self>>,
        upstream: ArrayView2<'_, Self>,
        gradient: Sides<Option<ArrayViewMut2<'_, Self>>>
    ) -> Result<(), Error> = scores::max_sim::backward;
    fn hard_negatives(
        miner: &HardNegativeMiner,
        input: HardNegativeInput<'_, Self>
    ) -> Result<HardNegatives<Self>, Error> = hard_negatives::find;
}
