//! A loss over some candidate graph.

use contrastive::{
    Directions, FalseNegatives, PartitionMode, SeveralPositives, Similarity, Sources,
};

use super::extras::Given;

/// Where own negatives are from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OwnKind {
    None,
    Fixed(usize),
    /// None for some queries.
    Ragged,
}

/// How positives are named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TargetKind {
    Aligned,
    /// Several queries share a document.
    Index,
    Lists,
    /// One for some queries, none for others.
    Few,
    Ids,
    /// A labelled batch.
    Labels,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) similarity: Similarity,
    pub(super) targets: TargetKind,
    pub(super) own: OwnKind,
    pub(super) pool: usize,
    pub(super) in_batch: bool,
    pub(super) pooled: bool,
    pub(super) directions: Directions,
    pub(super) partition: PartitionMode,
    pub(super) several: SeveralPositives,
    pub(super) decoupled: bool,
    pub(super) bias: Option<f64>,
    pub(super) hardness: Option<(f64, Sources)>,
    pub(super) ids: Option<Given>,
    pub(super) guide: Option<Given>,
    pub(super) false_negatives: Option<(FalseNegatives, Sources)>,
    pub(super) log_weights: Option<Given>,
    pub(super) smoothing: f64,
    pub(super) weighted: bool,
}

pub(super) const PLAIN: Case = Case {
    similarity: Similarity::Cosine,
    targets: TargetKind::Aligned,
    own: OwnKind::None,
    pool: 0,
    in_batch: true,
    pooled: false,
    directions: Directions {
        query_to_query: false,
        document_to_query: false,
        document_to_document: false,
    },
    partition: PartitionMode::Joint,
    several: SeveralPositives::Together,
    decoupled: false,
    bias: None,
    hardness: None,
    ids: None,
    guide: None,
    false_negatives: None,
    log_weights: None,
    smoothing: 0.0,
    weighted: false,
};
