//! The losses that the field knows by a name of their own: which options of InfoNCE they are.

use super::{Directions, FalseNegatives, InfoNceLoss, PartitionMode, SeveralPositives, Sources};
use crate::error::{Error, check};

/// Losses by their names in the field. Each is an [`InfoNceLoss`] with some options set; the others can be set on top.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
/// use ndarray::array;
///
/// // Two pairs; every score of an own pair is 1, every other 0. τ = 1.
/// let rows = array![[1.0, 0.0], [0.0, 1.0]];
/// let input = InfoNceInput::new(rows.view(), rows.view());
/// let value = |loss: InfoNceLoss| loss.forward(input);
/// let e = 1.0_f64.exp();
/// let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-14, "{found} {expected}");
/// close(value(InfoNceLoss::multiple_negatives_ranking(1.0)?)?, (e + 1.0).ln() - 1.0);
/// close(value(InfoNceLoss::clip(1.0)?)?, (e + 1.0).ln() - 1.0); // both directions alike
/// close(value(InfoNceLoss::sim_cse(1.0)?)?, (e + 1.0).ln() - 1.0);
/// close(value(InfoNceLoss::gte(1.0)?)?, (2.0 * e + 4.0).ln() - 1.0); // the pair twice, a 0 in each direction
/// close(value(InfoNceLoss::dcl(1.0)?)?, 0.0 - 1.0); // the one negative alone
/// close(value(InfoNceLoss::sig_lip()?)?, 2f64.ln() + (-10.0_f64).exp().ln_1p()); // 10·1 − 10 and 10·0 − 10
///
/// // A labelled batch: two rows of one label at score 1, one of another at score 0.
/// let (rows, labels) = (array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], array![3, 3, 4]);
/// let input = InfoNceInput::labelled(rows.view(), labels.view());
/// close(InfoNceLoss::nt_xent(1.0)?.forward(input)?, (e + 1.0).ln() - 1.0);
/// close(InfoNceLoss::sup_con(1.0)?.forward(input)?, (e + 1.0).ln() - 1.0);
/// # Ok::<(), contrastive::Error>(())
/// ```
impl InfoNceLoss {
    /// sentence-transformers' `MultipleNegativesRankingLoss(scale)`, with τ = 1/scale (its default scale is 20).
    ///
    /// Its columns of hard negatives are this crate's own negatives `[n, K, dim]`, which compete for every query. `directions` and `partition_mode` are
    /// [`with_directions`](Self::with_directions), where query_to_doc is always on. `hardness_mode` is [`with_hardness`](Self::with_hardness) with the sources
    /// `in_batch` and `others` (in_batch_negatives), `own` (hard_negatives), or all three (all_negatives).
    ///
    /// Source: Henderson et al. 2017, <https://arxiv.org/abs/1705.00652>.
    ///
    /// # Errors
    /// If the scale is not positive and finite, or 1/scale is not a temperature that [`new`](Self::new) takes.
    pub fn multiple_negatives_ranking(scale: f64) -> Result<Self, Error> {
        let in_range = scale > 0.0 && scale.is_finite();
        check("scale", "a positive, finite number", scale, in_range)?;
        let loss = Self::new(scale.recip());
        let expected = "a number whose reciprocal is a temperature";
        check("scale", expected, scale, loss.is_ok())?;
        Ok(loss?.with_pooled_negatives(true))
    }

    /// GTE's improved contrastive loss: one softmax over all four directions, in which the own pair is twice.
    ///
    /// Equals sentence-transformers' `MultipleNegativesRankingLoss` with all directions, jointly. The paper has τ = 0.01.
    ///
    /// Source: Li et al. 2023, <https://arxiv.org/abs/2308.03281>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn gte(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?
            .with_pooled_negatives(true)
            .with_directions(Directions::ALL, PartitionMode::Joint))
    }

    /// CLIP's symmetric loss: the mean of query → document and document → query.
    ///
    /// Equals open_clip's `ClipLoss`, and sentence-transformers' `MultipleNegativesSymmetricRankingLoss` (with
    /// [`with_pooled_negatives`](Self::with_pooled_negatives) where there are negatives). Jina's loss (Günther et al. 2023) is the sum of both directions: twice
    /// this. CLIP's learnable scale starts at 1/0.07 and is kept below 100.
    ///
    /// Source: Radford et al. 2021, <https://arxiv.org/abs/2103.00020>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn clip(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?.with_symmetric(true))
    }

    /// SimCSE: in-batch negatives, and for its supervised form hard negatives that compete for every query. The paper has τ = 0.05.
    ///
    /// Unsupervised, the documents are the queries embedded again with another dropout. The weight of the own hard negative, α in the paper, is log α in
    /// [`LogWeights`](crate::LogWeights)`::negatives`.
    ///
    /// Source: Gao et al. 2021, <https://arxiv.org/abs/2104.08821>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn sim_cse(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?.with_pooled_negatives(true))
    }

    /// NT-Xent, for a labelled batch ([`InfoNceInput::labelled`](crate::InfoNceInput::labelled)): each positive by itself against the rows of other labels.
    ///
    /// With two views of each example as one label it is SimCLR's loss. pytorch-metric-learning's `NTXentLoss` takes the mean over pairs, not rows: weigh each row
    /// with the number of its positives for that. There probabilities below 1e-38 have no gradient; here they have.
    ///
    /// Source: Chen et al. 2020, <https://arxiv.org/abs/2002.05709>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn nt_xent(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?.with_several_positives(SeveralPositives::Apart))
    }

    /// SupCon, for a labelled batch ([`InfoNceInput::labelled`](crate::InfoNceInput::labelled)): the mean over positives outside the logarithm, all other rows in the
    /// denominator.
    ///
    /// Equals pytorch-metric-learning's `SupConLoss`, whose default reducer is [`Reduction::MeanActive`](crate::Reduction::MeanActive); where all rows have one
    /// label that gives 0, and this the formula. The paper's code multiplies by τ/0.07, which neither does.
    ///
    /// Source: Khosla et al. 2020, <https://arxiv.org/abs/2004.11362>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn sup_con(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?.with_several_positives(SeveralPositives::Together))
    }

    /// DCL: the positive leaves the denominator. Without the weights of the paper's second form. Of several positives each is taken by itself.
    ///
    /// Source: Yeh et al. 2022, <https://arxiv.org/abs/2110.06848>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn dcl(temperature: f64) -> Result<Self, Error> {
        Ok(Self::new(temperature)?
            .with_pooled_negatives(true)
            .with_several_positives(SeveralPositives::Apart)
            .with_decoupled(true))
    }

    /// SigLIP where it begins: the [`sigmoid`](Self::sigmoid) loss with τ = 0.1 and b = −10, both to be learned. Equals open_clip's `SigLipLoss`.
    ///
    /// Source: Zhai et al. 2023, <https://arxiv.org/abs/2303.15343>.
    ///
    /// # Errors
    /// None.
    pub fn sig_lip() -> Result<Self, Error> {
        Self::sigmoid(0.1, -10.0)
    }

    /// GISTEmbed: queries and documents compete with their own kind, too, and a guide model ([`InfoNceInput::with_guide`](crate::InfoNceInput::with_guide))
    /// leaves out what it finds more similar than the positive.
    ///
    /// Equals sentence-transformers' `GISTEmbedLoss` with its defaults; its margins are [`with_false_negatives`](Self::with_false_negatives), its
    /// `contrast_anchors` and `contrast_positives` [`with_directions`](Self::with_directions). Its hard negatives are this crate's pool, which competes for queries
    /// alone. A row never competes with itself here, where there it does if the guide finds the positive as good as the row itself.
    ///
    /// Source: Solatorio 2024, <https://arxiv.org/abs/2402.16829>.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn gist(temperature: f64) -> Result<Self, Error> {
        let directions = Directions {
            document_to_query: false,
            ..Directions::ALL
        };
        Self::new(temperature)?
            .with_directions(directions, PartitionMode::Joint)
            .with_false_negatives(FalseNegatives::Absolute(0.0), Sources::ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_that_is_none_is_refused_by_its_own_name_and_value() {
        for bad in [0.0, -20.0, 1e-310, f64::INFINITY, f64::NAN, f64::MAX] {
            let error = InfoNceLoss::multiple_negatives_ranking(bad).unwrap_err();
            let Error::Parameter { name, found, .. } = error else {
                panic!("{error}")
            };
            assert_eq!((name, found.to_bits()), ("scale", bad.to_bits()));
        }
        for good in [1e-300, 20.0, 1e300] {
            let loss = InfoNceLoss::multiple_negatives_ranking(good).unwrap();
            assert_eq!(loss.temperature(), 1.0 / good);
        }
    }
}
