//! Losses that train retrieval embedding models, each with its value and its analytic gradient over [`ndarray`] views.
//!
//! No autograd, no tensor type, no framework: the caller owns the arrays and the gradients, in `f32` or `f64`, of any layout.
//!
//! | loss | a row | formula |
//! | --- | --- | --- |
//! | [`CosineEmbeddingLoss`] | a labelled pair | match: 1 − cos(x, y); no match: max(0, cos(x, y) − margin) |
//! | [`TripletMarginLoss`] | anchor, positive, negatives | max(0, margin + d(a, p) − d(a, n)) |
//! | [`BatchTripletLoss`] | an anchor of a labelled batch | the same over triplets found in the batch |
//! | [`InfoNceLoss`] | a query and all its candidates | log Σⱼ exp(s(q, dⱼ)/τ) − s(q, d⁺)/τ |
//! | [`ContrastiveLoss`] | a labelled pair | match: ½ d(x, y)²; no match: ½ max(0, margin − d(x, y))² |
//! | [`BatchContrastiveLoss`] | an embedding and its class | the same over all pairs of the batch |
//! | [`CosineSimilarityLoss`] | a graded pair | (cos(x, y) − g)² |
//! | [`CoSentLoss`] | all graded pairs | log(1 + Σ exp(scale·(sⱼ − sᵢ))) over pairs with grades gᵢ > gⱼ, with cosines s |
//! | [`AngleLoss`] | all graded pairs | the same with differences of angles in complex space for s |
//!
//! Losses over scores `[n, m]` that were computed elsewhere, and functions that compute scores and carry the gradient back:
//!
//! | loss | a row | formula |
//! | --- | --- | --- |
//! | [`SoftmaxCrossEntropyLoss`] | the scores of a query's candidates | log Σⱼ exp(sⱼ/τ) − s⁺/τ, for one positive or several |
//! | [`DistillationLoss`] | a student's scores and a teacher's | KL(softmax(t/τ) ‖ softmax(s/τ)) |
//! | [`MarginMseLoss`] | scores of a positive and of negatives, twice | ((s⁺ − s⁻) − (t⁺ − t⁻))² |
//! | [`M3Loss`] | dense, sparse and multi-vector scores | their losses, that of their sum, and what it teaches each |
//!
//! | score function | score of a query with a document |
//! | --- | --- |
//! | [`DenseScores`] | a similarity of two embeddings |
//! | [`SparseDot`] | the dot product of two sparse rows |
//! | [`MaxSim`] | the mean over query tokens of the best similarity to a document token |
//!
//! All are used through one trait, [`Loss`] (score functions through [`ScoreFunction`]); how to add another is told in the documentation of [`loss`].
//!
//! ```
//! use contrastive::{InfoNceInput, InfoNceLoss, Loss, Want, Workspace};
//! use ndarray::array;
//!
//! // One query a row, and its document in the same row; the other documents of the batch are its negatives.
//! let queries = array![[1.0_f32, 0.2], [0.1, 1.0], [-1.0, 0.3]];
//! let documents = array![[0.9_f32, 0.1], [0.0, 1.0], [-0.8, 0.5]];
//! let input = InfoNceInput::new(queries.view(), documents.view());
//! let loss = InfoNceLoss::new(0.05)?;
//!
//! // The short call allocates the gradient …
//! let (value, mut gradient) = loss.value_and_gradient(input)?;
//! assert_eq!(gradient.queries.dim(), (3, 2));
//!
//! // … a training loop keeps gradient and workspace from step to step. Gradients are overwritten, never accumulated.
//! let mut workspace = Workspace::new();
//! let again = loss.evaluate(input, Want::gradient(gradient.view_mut()), &mut workspace)?;
//! assert_eq!(value, again);
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! # In a training loop of another framework
//!
//! A loss is linear in its own gradient: with g = ∂L/∂q taken as a constant, Σ q⊙g has exactly the gradient g. So any autograd can carry it
//! on, without an adapter: compute value and gradient here, and call `backward` on Σ q⊙g_q + Σ d⊙g_d there. With the embeddings q and d as that
//! framework's tensors, and g_q and g_d its tensors of `gradient.queries` and `gradient.documents`, in candle:
//!
//! ```ignore
//! let carrier = ((q * g_q)?.sum_all()? + (d * g_d)?.sum_all()?)?;
//! let gradients = carrier.backward()?;
//! ```
//!
//! In burn, where the value of the loss is put in the place of the carrier's own, so that it can be logged, scaled and added to other losses:
//!
//! ```ignore
//! let carrier = (q * g_q).sum() + (d * g_d).sum();
//! Ok(carrier.clone() - carrier.detach() + value)
//! ```
//!
//! In tch:
//!
//! ```ignore
//! let carrier = (&q * g_q).sum(Kind::Float) + (&d * g_d).sum(Kind::Float);
//! carrier.backward();
//! ```
//!
//! `examples/candle` and `examples/burn` in the repository train text encoders so, and test that all weights get the gradients of the
//! framework's own autograd; `examples/grad_cache` goes through batches that do not fit, `examples/distributed` over several machines.
//!
//! # Which loss, and what can go wrong
//!
//! See the [`guide`]: the losses side by side, how to choose negatives, temperature and batch size, common failures and how the reports show
//! them, and the names and defaults of other libraries.
//!
//! # Numerics
//!
//! Finite input gives a finite loss and gradient (unless the exact one overflows, or a distance on the way), in the documented cases too: zero rows, zero
//! distance, the kink of a hinge. Norms and inner products of rows, and what gradients are combined with, have twice the digits of the rows, so that nothing is
//! lost near cosine 1 or near loss 0; scores of whole batches are products in the precision of the rows. NaN or infinity in a row gives NaN in the value.
//!
//! # Determinism
//!
//! Same machine, same build, same input: the same bits, for any number of threads, with and without the feature `rayon`. Blocks do
//! not depend on threads, and sums are taken in a fixed order. Another instruction set may change the last bits; the
//! environment variable `CONTRASTIVE_MAX_ISA` (`portable`, `avx2`, `avx512`), read once, caps it.
//!
//! # Unsafe code
//!
//! All of it lies in two modules, behind safe functions that check what it relies on, for instructions that the compiler does not choose by
//! itself. Every block says in a `// SAFETY:` who guarantees what (a lint refuses one that does not). `tests/sanitize` runs the
//! tests under AddressSanitizer and a part of them under valgrind, `tests/aarch64` most of them on an emulated aarch64, and a fuzzer calls the public API with
//! arbitrary shapes, strides and bits: `tests/fuzz`.
//!
//! | file | how often | what it does, and why it is needed | what argues for it |
//! | --- | --- | --- | --- |
//! | `simd/isa.rs` | 2 | A cache line copied past the caches, by what every machine of the target has | Its caller vouches for the line |
//! | `simd/mod.rs` | 2 | Calls of the functions compiled for AVX2 and AVX-512 | Only after the instructions have been detected |
//! | `simd/x86.rs` | 34 | Sixteen lanes in registers of AVX2 or AVX-512, and the functions compiled for these: reductions that must keep their lanes are not vectorised from plain loops | Only `dispatch` names an instruction set, after it has been detected; loads and stores go to arrays of sixteen, a length that the type states |
//! | `simd/stream.rs` | 9 | Stores past the caches, their fence, a row seen as cache lines, and hints of what is read next: a third of the memory traffic of a pass that writes what it reads, and less waiting for it | `stream` compares the lengths and checks the alignment, else it copies; a line is sixteen `f32` and nothing else |
//! | `gemm/mod.rs` | 8 | Matrix products over pointers and strides, given to the tiles | `product_at` checks all shapes against live views, and C is borrowed mutably, so that it overlaps nothing |
//! | `gemm/tiles.rs` | 13 | The innermost tile of a product: a bounds check for each load would cost more than the product; its addresses, one for three rows, kept from being rewritten | Reached through `product_at` alone; a tile's rows and columns lie inside the shapes checked there |
//! | `gemm/lanes.rs` | 12 | What that tile asks of a register, and registers as arrays | Its methods are unsafe to call: the tile vouches for pointers and instructions |
//! | `gemm/x86.rs` | 12 | The registers of that tile, and its compilation for AVX2 and AVX-512 | Reached through `product_at` alone, with a level that has been detected |
//!
//! # Features
//!
//! `rayon` (default): batches on all threads of the current rayon pool. Without it the same blocks run in sequence.
//!
//! `serde`: every loss, score function and miner, with its options, can be read and written, and so can a [`LogitScale`]. What is read passes through the
//! constructors, so that a loss read from a file is as valid as any other.

mod batch_distance;
mod batch_triplet;
mod blocks;
mod compiled;
mod cosine_embedding;
mod distance;
mod error;
mod exponential;
mod gemm;
pub mod guide;
mod hard_negatives;
mod info_nce;
mod kernels;
mod label;
mod log_sum_exp;
mod logit_scale;
pub mod loss;
mod matryoshka;
mod memory_queue;
mod offsets;
mod pairs;
mod prefixes;
mod reduction;
mod rows;
mod scalar;
mod scores;
#[cfg(feature = "serde")]
mod serde;
mod several_positives;
mod simd;
mod similarity;
mod singles;
mod staging;
mod store;
mod triplet_margin;
mod wide;
mod workspace;

pub use batch_distance::BatchDistance;
pub use batch_triplet::{
    BatchTripletGradient, BatchTripletInput, BatchTripletLoss, BatchTripletOwnedGradient,
    BatchTripletReport, DistanceWeighted, Triplet, TripletCandidates, TripletMining,
};
pub use cosine_embedding::{
    CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingOwnedGradient, CosineEmbeddingReport,
};
pub use distance::{CosineDistance, Distance, Lp, SquaredEuclidean};
pub use error::Error;
pub use hard_negatives::{HardNegativeInput, HardNegativeMiner, HardNegatives};
pub use info_nce::{
    Directions, FalseNegatives, Guide, Ids, InfoNceChunk, InfoNceGradient, InfoNceInput,
    InfoNceLoss, InfoNceOwnedGradient, InfoNceReport, InfoNceStates, InfoNceTotal, LogWeights,
    PartitionMode, Sources, Targets,
};
pub use label::PairLabel;
pub use log_sum_exp::LogSumExp;
pub use logit_scale::LogitScale;
pub use loss::{Loss, OwnedGradient, Want};
pub use matryoshka::{Matryoshka, Nested};
pub use memory_queue::MemoryQueue;
pub use pairs::{
    AngleLoss, BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss,
    BatchContrastiveOwnedGradient, CoSentLoss, ContrastiveLoss, ContrastiveReport,
    CosineSimilarityLoss, CosineSimilarityReport, PairGradient, PairInput, PairOwnedGradient,
    RankingReport,
};
pub use reduction::Reduction;
pub use scalar::Scalar;
pub use scores::{
    Csr, DenseScores, DistillationGradient, DistillationInput, DistillationLoss,
    DistillationOwnedGradient, DistillationReport, Divergence, M3Gradient, M3Input, M3Loss,
    M3OwnedGradient, M3Report, M3Weights, MarginMseGradient, MarginMseInput, MarginMseLoss,
    MarginMseOwnedGradient, MarginMseReport, MaxSim, Positives, ScoreFunction, Sides,
    SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss,
    SoftmaxCrossEntropyOwnedGradient, SoftmaxCrossEntropyReport, SparseDot, TeacherMargins, Tokens,
};
pub use several_positives::SeveralPositives;
pub use similarity::Similarity;
pub use triplet_margin::{
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, TripletMarginOwnedGradient,
    TripletMarginReport,
};
pub use workspace::Workspace;
