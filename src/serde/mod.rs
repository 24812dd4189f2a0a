//! What losses are read from: plain numbers, which the constructors check. What a file leaves out has its default.

mod pairs;
mod scores;
mod triplets;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;
use crate::{CosineEmbeddingLoss, InfoNceLoss, TripletMarginLoss};
pub(crate) use pairs::{Angle, CoSent, Contrastive, CosineSimilarity};
pub(crate) use scores::{Distillation, M3, MarginMse, SoftmaxCrossEntropy, heads};
pub(crate) use triplets::{BatchTriplet, DistanceWeighted};

use crate::{
    Directions, FalseNegatives, PartitionMode, Reduction, SeveralPositives, Similarity, Sources,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CosineEmbedding {
    margin: f64,
    #[serde(default = "one")]
    positive_margin: f64,
    #[serde(default)]
    epsilon: f64,
    #[serde(default)]
    reduction: Reduction,
}

impl TryFrom<CosineEmbedding> for CosineEmbeddingLoss {
    type Error = Error;

    fn try_from(raw: CosineEmbedding) -> Result<Self, Error> {
        Self::new(raw.margin)?
            .with_positive_margin(raw.positive_margin)?
            .with_epsilon(raw.epsilon)?
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TripletMargin<D> {
    margin: f64,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    swap: bool,
    distance: D,
    #[serde(default)]
    reduction: Reduction,
}

impl<D> TryFrom<TripletMargin<D>> for TripletMarginLoss<D> {
    type Error = Error;

    fn try_from(raw: TripletMargin<D>) -> Result<Self, Error> {
        let loss = if raw.soft {
            TripletMarginLoss::soft(raw.margin)?
        } else {
            TripletMarginLoss::new(raw.margin)?
        };
        loss.with_distance(raw.distance)
            .with_swap(raw.swap)
            .with_reduction(raw.reduction)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InfoNce {
    temperature: f64,
    #[serde(default)]
    similarity: Similarity,
    #[serde(default = "yes")]
    in_batch_negatives: bool,
    #[serde(default)]
    pooled_negatives: bool,
    #[serde(default)]
    directions: Directions,
    #[serde(default)]
    partition_mode: PartitionMode,
    #[serde(default)]
    several_positives: SeveralPositives,
    #[serde(default)]
    false_negatives: Option<(FalseNegatives, Sources)>,
    #[serde(default)]
    hardness: Option<Hardness>,
    #[serde(default)]
    label_smoothing: f64,
    #[serde(default)]
    decoupled: bool,
    #[serde(default)]
    bias: Option<f64>,
    #[serde(default)]
    reduction: Reduction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hardness {
    strength: f64,
    sources: Sources,
}

impl TryFrom<InfoNce> for InfoNceLoss {
    type Error = Error;

    fn try_from(raw: InfoNce) -> Result<Self, Error> {
        let loss = match raw.bias {
            Some(bias) => Self::sigmoid(raw.temperature, bias)?,
            None => Self::new(raw.temperature)?,
        };
        let mut loss = loss
            .with_similarity(raw.similarity)
            .with_in_batch_negatives(raw.in_batch_negatives)
            .with_pooled_negatives(raw.pooled_negatives)
            .with_directions(raw.directions, raw.partition_mode)
            .with_several_positives(raw.several_positives)
            .with_label_smoothing(raw.label_smoothing)?
            .with_decoupled(raw.decoupled)
            .with_reduction(raw.reduction)?;
        if let Some((rule, sources)) = raw.false_negatives {
            loss = loss.with_false_negatives(rule, sources)?;
        }
        if let Some(Hardness { strength, sources }) = raw.hardness {
            loss = loss.with_hardness(strength, sources)?;
        }
        Ok(loss)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lp {
    p: Extended,
    #[serde(default)]
    epsilon: f64,
}

impl TryFrom<Lp> for crate::Lp {
    type Error = Error;

    fn try_from(raw: Lp) -> Result<Self, Error> {
        Self::new(raw.p.into())?.with_epsilon(raw.epsilon)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HardNegativeMiner {
    keep: usize,
    #[serde(default)]
    skip: usize,
    #[serde(default)]
    similarity: Similarity,
    #[serde(default)]
    false_negatives: Option<FalseNegatives>,
}

impl TryFrom<HardNegativeMiner> for crate::HardNegativeMiner {
    type Error = Error;

    fn try_from(raw: HardNegativeMiner) -> Result<Self, Error> {
        let miner = Self::new(raw.keep)?
            .with_skip(raw.skip)
            .with_similarity(raw.similarity);
        match raw.false_negatives {
            Some(rule) => miner.with_false_negatives(rule),
            None => Ok(miner),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matryoshka<L> {
    loss: L,
    dims: Vec<usize>,
    #[serde(default)]
    weights: Option<Vec<f64>>,
}

impl<L> TryFrom<Matryoshka<L>> for crate::Matryoshka<L> {
    type Error = Error;

    fn try_from(raw: Matryoshka<L>) -> Result<Self, Error> {
        let loss = Self::new(raw.loss, &raw.dims)?;
        match raw.weights {
            Some(weights) => loss.with_weights(&weights),
            None => Ok(loss),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogitScale {
    log_scale: f64,
    #[serde(default)]
    least: f64,
    most: f64,
}

impl TryFrom<LogitScale> for crate::LogitScale {
    type Error = Error;

    fn try_from(raw: LogitScale) -> Result<Self, Error> {
        let mut scale = Self::clip();
        // CLIP's has no lower limit, which can't be asked for.
        if raw.least != 0.0 || raw.most != scale.limits()[1] {
            scale = scale.with_limits(raw.least, raw.most)?;
        }
        scale.set_log_scale(raw.log_scale)?;
        Ok(scale)
    }
}

/// A number that may be infinite. JSON, like other formats, has no infinite numbers, so that ∞ is a word.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Extended {
    Finite(f64),
    Named(Infinity),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Infinity {
    Infinity,
}

impl From<Extended> for f64 {
    fn from(x: Extended) -> Self {
        match x {
            Extended::Finite(x) => x,
            Extended::Named(Infinity::Infinity) => Self::INFINITY,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
pub(crate) fn extended<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let extended = if *x == f64::INFINITY {
        Extended::Named(Infinity::Infinity)
    } else {
        Extended::Finite(*x)
    };
    extended.serialize(serializer)
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}
