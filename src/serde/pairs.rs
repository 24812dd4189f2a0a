//! Losses of pairs.

use serde::Deserialize;

use crate::error::Error;
use crate::{AngleLoss, CoSentLoss, ContrastiveLoss, CosineSimilarityLoss, Reduction};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contrastive<D> {
    margin: f64,
    #[serde(default)]
    positive_margin: f64,
    #[serde(default)]
    linear: bool,
    #[serde(default)]
    hard_pairs: bool,
    distance: D,
    #[serde(default)]
    reduction: Reduction,
}

impl<D> TryFrom<Contrastive<D>> for ContrastiveLoss<D> {
    type Error = Error;

    fn try_from(raw: Contrastive<D>) -> Result<Self, Error> {
        ContrastiveLoss::new(raw.margin)?
            .with_distance(raw.distance)
            .with_positive_margin(raw.positive_margin)?
            .with_linear(raw.linear)
            .with_hard_pairs(raw.hard_pairs)
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CosineSimilarity {
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<CosineSimilarity> for CosineSimilarityLoss {
    type Error = Error;

    fn try_from(raw: CosineSimilarity) -> Result<Self, Error> {
        Self::new().with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoSent<D> {
    scale: f64,
    distance: D,
}

impl<D> TryFrom<CoSent<D>> for CoSentLoss<D> {
    type Error = Error;

    fn try_from(raw: CoSent<D>) -> Result<Self, Error> {
        Ok(CoSentLoss::new(raw.scale)?.with_distance(raw.distance))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Angle {
    scale: f64,
}

impl TryFrom<Angle> for AngleLoss {
    type Error = Error;

    fn try_from(raw: Angle) -> Result<Self, Error> {
        Self::new(raw.scale)
    }
}
