//! The triplet loss of a labelled batch, and its sampling.

use serde::Deserialize;

use super::Extended;
use crate::error::Error;
use crate::{BatchDistance, BatchTripletLoss, Reduction, TripletMining};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchTriplet {
    strategy: TripletMining,
    margin: f64,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    distance: BatchDistance,
    #[serde(default)]
    per_anchor: bool,
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<BatchTriplet> for BatchTripletLoss {
    type Error = Error;

    fn try_from(raw: BatchTriplet) -> Result<Self, Error> {
        let loss = if raw.soft {
            Self::soft(raw.strategy, raw.margin)?
        } else {
            Self::new(raw.strategy, raw.margin)?
        };
        loss.with_distance(raw.distance)
            .per_anchor(raw.per_anchor)
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DistanceWeighted {
    seed: u64,
    cutoff: f64,
    nonzero_loss_cutoff: Extended,
}

impl TryFrom<DistanceWeighted> for crate::DistanceWeighted {
    type Error = Error;

    fn try_from(raw: DistanceWeighted) -> Result<Self, Error> {
        Self::new(raw.seed).with_cutoffs(raw.cutoff, raw.nonzero_loss_cutoff.into())
    }
}
