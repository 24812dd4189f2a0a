//! How the triplets of a labelled batch are found.

use super::sampling::DistanceWeighted;

/// Which triplets of a labelled batch count.
///
/// A candidate with the anchor's label is a positive, any other a negative; an anchor without either has no triplet. Ties go to the first row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TripletMining {
    /// All of them. With [`MeanActive`](crate::Reduction::MeanActive), `BatchAllTripletLoss` of sentence-transformers, and `TripletMarginLoss` of
    /// pytorch-metric-learning with its default reducer.
    ///
    /// Never lists them: O(n² log n) time for the hinge. The soft form sums a logistic function over all of them.
    BatchAll,
    /// The farthest positive and the nearest negative of each anchor. `BatchHardTripletLoss` of sentence-transformers,
    /// `BatchHardSoftMarginTripletLoss` in the soft form with margin 0; `BatchHardMiner`.
    ///
    /// Source: Hermans et al. 2017, <https://arxiv.org/abs/1703.07737>.
    BatchHard,
    /// For each anchor and each of its positives, the nearest negative that is farther away than the positive, and where there is none the
    /// farthest negative. `BatchSemiHardTripletLoss` of sentence-transformers.
    ///
    /// Source: Schroff et al. 2015, <https://arxiv.org/abs/1503.03832>.
    BatchSemiHard,
    /// The nearest positive and the nearest negative of each anchor. `BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard")` of
    /// pytorch-metric-learning.
    ///
    /// Source: Xuan et al. 2020, <https://arxiv.org/abs/1904.04370>.
    EasyPositiveHard,
    /// The nearest positive of each anchor, and the nearest negative that is farther away; no triplet where there is none.
    /// `BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard")`.
    EasyPositiveSemiHard,
    /// For each anchor and each of its positives, a negative drawn so that distances are spread evenly. As `DistanceWeightedMiner`, which draws
    /// the positives as well, and leaves out anchors whose weights are too small for `f32` beside those of others.
    DistanceWeighted(DistanceWeighted),
}
