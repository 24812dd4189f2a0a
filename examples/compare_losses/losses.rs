//! The losses that the example compares, by name.

use clap::ValueEnum;

/// One loss; how it is called is in `objectives`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LossKind {
    /// Cosine embedding loss over labelled pairs
    Pairwise,
    /// Triplet margin loss on the cosine distance
    Triplet,
    /// InfoNCE on the cosine similarity
    #[value(name = "infonce")]
    InfoNce,
}

impl LossKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pairwise => "pairwise",
            Self::Triplet => "triplet",
            Self::InfoNce => "InfoNCE",
        }
    }

    /// What its one hyper-parameter is called.
    pub(crate) fn hyper_name(self) -> &'static str {
        if self == Self::InfoNce {
            "temperature"
        } else {
            "margin"
        }
    }
}
