//! CoSENT: pairs with a higher grade more similar than those with a lower one, by one logarithm over all comparisons.

use super::input::{PairGradient, PairInput, PairOwnedGradient, Wanted};
use super::ranked::{self, RankingReport, checked_scale};
use crate::distance::{Chosen, CosineDistance, Distance};
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// Asks that of any two pairs with different grades the one with the higher grade be the more similar.
///
/// With the cosine sᵢ = cos(xᵢ, yᵢ) of each row of x and y `[n, dim]` and its grade gᵢ:
///
/// L = log(1 + Σ_{gᵢ > gⱼ} wᵢwⱼ exp(scale·(sⱼ − sᵢ)))
///
/// The sum is over all comparisons, pairs i and j of which i has the higher grade. Equal grades are not compared; grades are equal if they are
/// equal numbers.
///
/// Gradient: ∂L/∂sᵢ = scale·(Σ_{gₖ > gᵢ} pₖᵢ − Σ_{gᵢ > gⱼ} pᵢⱼ) with pᵢⱼ = wᵢwⱼ exp(scale·(sⱼ − sᵢ)) / (1 + Σ …), times ∂sᵢ/∂xᵢ.
///
/// Time is O(n·dim + n log n), memory O(n): pairs are sorted by their grades, and sums of exponentials over all lower or higher grades are running
/// ones. They are taken by shifted logarithms, so that any scale is exact to rounding, and a loss near 0 keeps its digits.
///
/// **Weights** multiply the terms of a comparison, so that a pair of weight 2 counts as if it were there twice, and one of weight 0 does not take part.
/// Negative weights are an error. **Reductions** there are none: the loss is one logarithm and not a sum over rows. For the same reason
/// [`forward_rows`](Loss::forward_rows) is an error. A batch without any comparison has loss 0.
///
/// A zero row has cosine 0 and gradient 0. NaN or infinity in a row gives NaN. Grades that are not finite are an error.
///
/// Source: Huang et al. 2024, <https://doi.org/10.1109/TASLP.2024.3402087>; sentence-transformers' `CoSENTLoss` (scale 20).
///
/// ```
/// use contrastive::{CoSentLoss, Loss, PairInput};
/// use ndarray::array;
///
/// // Cosines 0.6, 0.8 and 0. The pair with grade 1 is compared with the two others, which tie.
/// let x = array![[3.0, 4.0], [3.0, 4.0], [1.0, 0.0]];
/// let y = array![[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]];
/// let grades = array![1.0, 0.25, 0.25];
/// let input = PairInput::new(x.view(), y.view(), grades.view());
///
/// let (value, gradient) = CoSentLoss::new(5.0)?.value_and_gradient(input)?;
/// let (second, third) = ((5.0_f64 * (0.8 - 0.6)).exp(), (5.0_f64 * (0.0 - 0.6)).exp());
/// assert!((value - (1.0 + second + third).ln()).abs() < 1e-14);
/// let slope = 5.0 * third / (1.0 + second + third);
/// assert!((gradient.x[[2, 1]] - slope).abs() < 1e-14); // ∂cos/∂x of the third is (0, 1)
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::CoSent<D>")
)]
pub struct CoSentLoss<D = CosineDistance> {
    scale: f64,
    distance: D,
}

impl CoSentLoss {
    /// The loss with what cosines are multiplied by; 20 in sentence-transformers.
    ///
    /// # Errors
    /// If the scale is not positive, or above 1e300.
    pub fn new(scale: f64) -> Result<Self, Error> {
        Ok(Self {
            scale: checked_scale(scale)?,
            distance: CosineDistance,
        })
    }
}

impl<D> CoSentLoss<D> {
    /// Another similarity: the negative of a distance, sᵢ = −d(xᵢ, yᵢ).
    pub fn with_distance<E>(self, distance: E) -> CoSentLoss<E> {
        CoSentLoss {
            scale: self.scale,
            distance,
        }
    }
}

impl<A: Scalar, D: Distance<A>> Loss<A> for CoSentLoss<D> {
    type Input<'a> = PairInput<'a, A, A>;
    type Gradient<'a> = PairGradient<'a, A>;
    type OwnedGradient = PairOwnedGradient<A, A>;
    type Report = RankingReport;

    fn evaluate(
        &self,
        input: PairInput<'_, A, A>,
        want: Want<'_, A, PairGradient<'_, A>, RankingReport>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let distance: &dyn Distance<A> = &self.distance;
        let loss = CoSentLoss {
            scale: self.scale,
            distance,
        };
        A::cosent(&loss, input, want, workspace)
    }
}

/// The loss with a distance that is known only now. 1 − cos in place of −cos has the digits of nearly parallel rows.
pub(crate) fn evaluate<A: Scalar>(
    loss: &CoSentLoss<&dyn Distance<A>>,
    input: PairInput<'_, A, A>,
    want: Wanted<'_, '_, A, RankingReport>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    let measure = Chosen::new(loss.distance);
    ranked::evaluate(measure, loss.scale, input, want, workspace)
}
