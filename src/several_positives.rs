//! What several positives of one query are to each other.

/// What several positives of one query are to each other, where [`Targets`](crate::Targets), or the [`Positives`](crate::Positives) of a row of scores,
/// name more than one.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss, SeveralPositives, Targets};
/// use ndarray::array;
///
/// // Both of the first two documents are positives; all three score 0.
/// let (queries, documents) = (array![[1.0, 0.0]], array![[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]);
/// let (offsets, lists) = (array![0, 2], array![0, 1]);
/// let targets = Targets::Lists { offsets: offsets.view(), documents: lists.view() };
/// let input = InfoNceInput::new(queries.view(), documents.view()).with_targets(targets);
/// let value = |several| InfoNceLoss::new(1.0)?.with_several_positives(several).forward(input);
/// let (together, apart): (f64, f64) = (value(SeveralPositives::Together)?, value(SeveralPositives::Apart)?);
/// assert!((together - 3.0_f64.ln()).abs() < 1e-15);
/// assert!((apart - 2.0_f64.ln()).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SeveralPositives {
    /// Rivals, too: ℓᵢ is the mean over the positives p of log Σⱼ exp(zᵢⱼ) − zᵢₚ, the sum being over all candidates, positives among them.
    ///
    /// Source: SupCon's "out" form, Khosla et al. 2020, <https://arxiv.org/abs/2004.11362>.
    #[default]
    Together,
    /// Nothing to each other: ℓᵢ is the mean over the positives p of log(exp(zᵢₚ) + Σₙ exp(zᵢₙ)) − zᵢₚ, the sum being over the negatives alone.
    ///
    /// Source: NT-Xent with labels, as in pytorch-metric-learning, which takes the mean over all pairs: the same as weights wᵢ = the number of
    /// positives here.
    Apart,
}
