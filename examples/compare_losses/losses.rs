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
    /// Triplets of each query with the nearest negative, mined by the library
    #[value(skip)]
    BatchHard,
    /// Triplets with the nearest negative that is farther away than the positive, likewise
    #[value(skip)]
    SemiHard,
    /// InfoNCE whose temperature is trained along with the encoder
    #[value(skip)]
    LearnedTemperature,
    /// InfoNCE over several prefixes of the embeddings
    #[value(skip)]
    Matryoshka,
}

impl LossKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pairwise => "pairwise",
            Self::Triplet => "triplet",
            Self::InfoNce => "InfoNCE",
            Self::BatchHard => "batch-hard",
            Self::SemiHard => "semi-hard",
            Self::LearnedTemperature => "learned τ",
            Self::Matryoshka => "Matryoshka",
        }
    }

    /// What its one hyper-parameter is called.
    pub(crate) fn hyper_name(self) -> &'static str {
        match self {
            Self::InfoNce | Self::LearnedTemperature | Self::Matryoshka => "temperature",
            Self::Pairwise | Self::Triplet | Self::BatchHard | Self::SemiHard => "margin",
        }
    }
}
