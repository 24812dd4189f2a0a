//! Losses over scores.

use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;
use crate::{
    DistillationLoss, Divergence, M3Loss, M3Weights, MarginMseLoss, Reduction, SeveralPositives,
    SoftmaxCrossEntropyLoss,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftmaxCrossEntropy {
    temperature: f64,
    #[serde(default)]
    several_positives: SeveralPositives,
    #[serde(default)]
    label_smoothing: f64,
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<SoftmaxCrossEntropy> for SoftmaxCrossEntropyLoss {
    type Error = Error;

    fn try_from(raw: SoftmaxCrossEntropy) -> Result<Self, Error> {
        Self::new(raw.temperature)?
            .with_several_positives(raw.several_positives)
            .with_label_smoothing(raw.label_smoothing)?
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Distillation {
    student_temperature: f64,
    teacher_temperature: f64,
    #[serde(default)]
    divergence: Divergence,
    #[serde(default)]
    temperature_squared: bool,
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<Distillation> for DistillationLoss {
    type Error = Error;

    fn try_from(raw: Distillation) -> Result<Self, Error> {
        Self::new(raw.student_temperature)?
            .with_teacher_temperature(raw.teacher_temperature)?
            .with_divergence(raw.divergence)
            .with_temperature_squared(raw.temperature_squared)
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarginMse {
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<MarginMse> for MarginMseLoss {
    type Error = Error;

    fn try_from(raw: MarginMse) -> Result<Self, Error> {
        Self::new().with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct M3 {
    temperature: f64,
    #[serde(default)]
    score_weights: Option<M3Weights>,
    #[serde(default)]
    loss_weights: Option<M3Weights>,
    #[serde(default = "super::yes")]
    self_distillation: bool,
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<M3> for M3Loss {
    type Error = Error;

    fn try_from(raw: M3) -> Result<Self, Error> {
        let mut loss = Self::new(raw.temperature)?
            .with_self_distillation(raw.self_distillation)
            .with_reduction(raw.reduction)?;
        if let Some(weights) = raw.score_weights {
            loss = loss.with_score_weights(weights)?;
        }
        if let Some(weights) = raw.loss_weights {
            loss = loss.with_loss_weights(weights)?;
        }
        Ok(loss)
    }
}

/// The numbers of the three heads, by their names.
pub(crate) fn heads<S: Serializer>(
    &[dense, sparse, multi_vector]: &[f64; 3],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let weights = M3Weights {
        dense,
        sparse,
        multi_vector,
    };
    weights.serialize(serializer)
}
