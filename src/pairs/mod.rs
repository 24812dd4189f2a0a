//! Losses of pairs: labelled (contrastive) or graded (cosine similarity, CoSENT, AnglE).
//!
//! All share [`PairInput`] and its gradients. [`pass`] measures two rows and writes the gradient; a loss adds what a pair costs for what was
//! measured. The losses that rank pairs, and the choice of hard ones, look at all pairs first.

mod angle;
mod batch;
mod batch_pass;
mod batch_products;
mod batch_weights;
mod contrastive;
mod cosent;
mod cosine_similarity;
mod distances;
mod hard;
mod input;
mod pass;
mod ranked;
mod ranking;

pub use angle::AngleLoss;
pub(crate) use angle::evaluate as angle;
pub(crate) use batch::evaluate as batch_contrastive;
pub use batch::{
    BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss,
    BatchContrastiveOwnedGradient,
};
pub use contrastive::{ContrastiveLoss, ContrastiveReport};
pub(crate) use contrastive::{evaluate as contrastive, evaluate_prefixes as contrastive_prefixes};
pub use cosent::CoSentLoss;
pub(crate) use cosent::evaluate as cosent;
pub use cosine_similarity::{CosineSimilarityLoss, CosineSimilarityReport};
pub(crate) use cosine_similarity::{
    evaluate as cosine_similarity, evaluate_prefixes as cosine_similarity_prefixes,
};
pub use input::{PairGradient, PairInput, PairOwnedGradient};
pub use ranked::RankingReport;
