//! The arms of the comparison: what each loss gets to see.

use crate::losses::LossKind;
use crate::negatives::Negatives;

/// Conditions under which all losses are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// One sampled negative per query, the same one for every loss: what is left is the shape of the loss.
    EqualNegatives,
    /// Every loss gets the whole batch as candidates and uses all of it.
    SameCandidates,
    /// The same candidates, each loss used as practitioners use it: the hardest negative for pairwise and triplet.
    EachAtItsBest,
}

impl Arm {
    pub(crate) const ALL: [Self; 3] = [
        Self::EqualNegatives,
        Self::SameCandidates,
        Self::EachAtItsBest,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EqualNegatives => "equal negatives",
            Self::SameCandidates => "same candidates",
            Self::EachAtItsBest => "each at its best",
        }
    }

    /// The negatives that `loss` trains with in this arm.
    pub(crate) fn negatives(self, loss: LossKind) -> Negatives {
        match (self, loss) {
            (Self::EqualNegatives, _) => Negatives::Sampled,
            (Self::SameCandidates, _) | (Self::EachAtItsBest, LossKind::InfoNce) => {
                Negatives::InBatch
            }
            (Self::EachAtItsBest, _) => Negatives::HardestInBatch,
        }
    }
}
