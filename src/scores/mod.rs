//! Losses over scores, whatever the scores were computed from, and score functions that carry the gradient on.

mod cross_entropy;
pub(crate) mod dense;
pub(crate) mod distillation;
mod divergence;
mod exponentials;
mod flat;
mod function;
pub(crate) mod m3;
mod m3_input;
mod m3_pass;
pub(crate) mod margin_mse;
mod margin_mse_input;
pub(crate) mod max_sim;
mod max_sim_pass;
mod offsets;
mod pair;
mod positives;
mod row;
mod slopes;
pub(crate) mod softmax;
mod softmax_input;
pub(crate) mod sparse;

pub use dense::DenseScores;
pub use distillation::{
    DistillationGradient, DistillationInput, DistillationLoss, DistillationOwnedGradient,
    DistillationReport,
};
pub use divergence::Divergence;
pub use function::{ScoreFunction, Sides};
pub use m3::{M3Loss, M3Weights};
pub use m3_input::{M3Gradient, M3Input, M3OwnedGradient, M3Report};
pub use margin_mse::MarginMseLoss;
pub use margin_mse_input::{
    MarginMseGradient, MarginMseInput, MarginMseOwnedGradient, MarginMseReport, TeacherMargins,
};
pub use max_sim::{MaxSim, Tokens};
pub use positives::Positives;
pub use softmax::SoftmaxCrossEntropyLoss;
pub use softmax_input::{
    SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyOwnedGradient,
    SoftmaxCrossEntropyReport,
};
pub use sparse::{Csr, SparseDot};
