//! Triplet margin loss: an anchor closer to its positive than to its negatives, by a margin.

mod evaluate;
mod gradient;
mod pass;
mod several;

use ndarray::{
    Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis,
};

use crate::distance::{Distance, Lp};
use crate::error::{Error, check};
use crate::loss::{Loss, OwnedGradient, Want};
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::workspace::Workspace;
pub(crate) use evaluate::{evaluate, evaluate_prefixes};

/// Asks of every triplet that the negative be farther from the anchor than the positive, by a margin.
///
/// With a distance d (Euclidean by default), for anchor a, positive p `[n, dim]` and negatives n₁ … n_K `[n, K, dim]`:
///
/// * ℓ = (1/K) Σₖ max(0, margin + d⁺ − dₖ⁻), with d⁺ = d(a, p) and dₖ⁻ = d(a, nₖ)
/// * soft: ℓ = (1/K) Σₖ log(1 + exp(margin + d⁺ − dₖ⁻))
/// * swap: dₖ⁻ = min(d(a, nₖ), d(p, nₖ)); on a tie the anchor's counts
///
/// Gradient: ∂ℓ/∂a = (1/K) Σₖ hₖ (∂d⁺/∂a − ∂dₖ⁻/∂a) and so on, where hₖ is 1 for an active triplet and 0 otherwise (the logistic function of the
/// exponent for the soft form).
///
/// At the kink (margin + d⁺ = d⁻) the triplet is inactive. At distance zero the gradient of the distance is 0, where PyTorch has a spurious one
/// of norm 1 (its ε = 1e-6 is available: [`Lp::with_epsilon`]). NaN in a row gives NaN, and so does a difference of two distances that overflow, which takes
/// coordinates near the ends of `f64` (or of their square roots, where distances are squared).
///
/// Accuracy, with the ε of the element type: distances are `f64`, so that for `f32` rows a loss is within 4ε of itself, unless margin + d⁺ and d⁻ cancel
/// to less than 2⁻²⁹ of their sum; for `f64` rows, whose distances and differences of coordinates are themselves rounded, it is within 4ε of
/// margin + d⁺ + d⁻. Likewise a row of the gradient, with the norms of ∂d⁺ and ∂d⁻ that it is the sum of. The example `accuracy` measures it.
///
/// Source: Schroff et al. 2015, <https://arxiv.org/abs/1503.03832>; swap: Balntas et al. 2016; soft margin: Hermans et al. 2017,
/// <https://arxiv.org/abs/1703.07737>; `torch.nn.TripletMarginLoss`.
///
/// ```
/// use contrastive::{Loss, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[3.0, 4.0]], array![[0.0, 2.0]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
///
/// let (value, gradient) = TripletMarginLoss::new(1.0)?.value_and_gradient(input)?;
/// assert_eq!(value, 4.0); // 1 + 5 − 2
/// assert!((gradient.positive[[0, 1]] - 0.8_f64).abs() < 1e-15); // (0.6, 0.8), away from the anchor
/// assert_eq!(gradient.negatives.index_axis(ndarray::Axis(1), 0), array![[0.0, -1.0]]);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::TripletMargin<D>")
)]
pub struct TripletMarginLoss<D = Lp> {
    margin: f64,
    soft: bool,
    swap: bool,
    distance: D,
    reduction: Reduction,
}

impl TripletMarginLoss {
    /// The hinge form with the Euclidean distance. PyTorch's default margin is 1.
    ///
    /// # Errors
    /// If the margin is not positive and finite.
    pub fn new(margin: f64) -> Result<Self, Error> {
        let margin = check(
            "margin",
            "a positive, finite number",
            margin,
            margin > 0.0 && margin.is_finite(),
        )?;
        Ok(Self::euclidean(margin, false))
    }

    /// The soft form log(1 + exp(margin + d⁺ − d⁻)), which never stops pulling. Its margin is usually 0.
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn soft(margin: f64) -> Result<Self, Error> {
        let margin = check("margin", "a finite number", margin, margin.is_finite())?;
        Ok(Self::euclidean(margin, true))
    }

    fn euclidean(margin: f64, soft: bool) -> Self {
        Self {
            margin,
            soft,
            swap: false,
            distance: Lp::euclidean(),
            reduction: Reduction::default(),
        }
    }
}

impl<D> TripletMarginLoss<D> {
    /// Another distance: [`Lp`], [`SquaredEuclidean`](crate::SquaredEuclidean), [`CosineDistance`](crate::CosineDistance), or your own
    /// [`Distance`](crate::Distance).
    pub fn with_distance<E>(self, distance: E) -> TripletMarginLoss<E> {
        self.over(distance)
    }

    /// The loss of a distance that is known only when it runs.
    pub(crate) fn of_any_distance<A: Scalar>(&self) -> TripletMarginLoss<&dyn Distance<A>>
    where
        D: Distance<A>,
    {
        self.over(&self.distance)
    }

    fn over<E>(&self, distance: E) -> TripletMarginLoss<E> {
        TripletMarginLoss {
            margin: self.margin,
            soft: self.soft,
            swap: self.swap,
            distance,
            reduction: self.reduction,
        }
    }

    /// Whether the negative's distance is the smaller of those to the anchor and to the positive. Off by default.
    #[must_use]
    pub fn with_swap(self, swap: bool) -> Self {
        Self { swap, ..self }
    }

    /// How the row losses become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
            ..self
        })
    }
}

/// A batch of triplets.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TripletMarginInput<'a, A> {
    /// The anchors, `[n, dim]`.
    pub anchor: ArrayView2<'a, A>,
    /// A positive for each anchor, `[n, dim]`.
    pub positive: ArrayView2<'a, A>,
    /// K negatives for each anchor, `[n, K, dim]`.
    pub negatives: ArrayView3<'a, A>,
    /// A weight for each anchor, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> TripletMarginInput<'a, A> {
    /// One negative for each anchor: three arrays `[n, dim]`.
    pub fn new(
        anchor: ArrayView2<'a, A>,
        positive: ArrayView2<'a, A>,
        negative: ArrayView2<'a, A>,
    ) -> Self {
        Self::with_negatives(anchor, positive, negative.insert_axis(Axis(1)))
    }

    /// K negatives for each anchor, `[n, K, dim]`.
    pub fn with_negatives(
        anchor: ArrayView2<'a, A>,
        positive: ArrayView2<'a, A>,
        negatives: ArrayView3<'a, A>,
    ) -> Self {
        Self {
            anchor,
            positive,
            negatives,
            weights: None,
        }
    }

    /// A weight for each anchor, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of [`TripletMarginLoss`]; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct TripletMarginGradient<'a, A> {
    /// ∂L/∂anchor `[n, dim]`
    pub anchor: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂positive `[n, dim]`
    pub positive: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂negatives `[n, K, dim]`
    pub negatives: Option<ArrayViewMut3<'a, A>>,
}

/// The gradient of [`TripletMarginLoss`] in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TripletMarginOwnedGradient<A> {
    /// ∂L/∂anchor `[n, dim]`
    pub anchor: Array2<A>,
    /// ∂L/∂positive `[n, dim]`
    pub positive: Array2<A>,
    /// ∂L/∂negatives `[n, K, dim]`
    pub negatives: Array3<A>,
}

impl<A> TripletMarginOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> TripletMarginGradient<'_, A> {
        TripletMarginGradient {
            anchor: Some(self.anchor.view_mut()),
            positive: Some(self.positive.view_mut()),
            negatives: Some(self.negatives.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for TripletMarginOwnedGradient<A> {
    type Input<'a> = TripletMarginInput<'a, A>;
    type Views<'a> = TripletMarginGradient<'a, A>;

    fn zeros(input: TripletMarginInput<'_, A>) -> Self {
        Self {
            anchor: Array2::zeros(input.anchor.dim()),
            positive: Array2::zeros(input.positive.dim()),
            negatives: Array3::zeros(input.negatives.dim()),
        }
    }

    fn view_mut(&mut self) -> TripletMarginGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of triplets looked like. A mean over no triplets is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TripletMarginReport {
    /// The share of triplets whose loss is not zero.
    pub active: f64,
    /// The mean d⁺.
    pub positive_distance: f64,
    /// The mean d⁻, after swapping.
    pub negative_distance: f64,
}

impl<A: Scalar, D: Distance<A>> Loss<A> for TripletMarginLoss<D> {
    type Input<'a> = TripletMarginInput<'a, A>;
    type Gradient<'a> = TripletMarginGradient<'a, A>;
    type OwnedGradient = TripletMarginOwnedGradient<A>;
    type Report = TripletMarginReport;

    fn evaluate(
        &self,
        input: TripletMarginInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::triplet_margin(&self.of_any_distance(), input, want, workspace)
    }
}

/// What a caller may want of the loss.
type Wanted<'w, 'g, A> = Want<'w, A, TripletMarginGradient<'g, A>, TripletMarginReport>;

impl<D> TripletMarginLoss<D> {
    /// The loss of one triplet, and its derivative by d⁺ − d⁻.
    #[inline(always)]
    fn of(&self, positive: f64, negative: f64) -> (f64, f64) {
        let excess = self.margin + (positive - negative);
        if !self.soft {
            return if excess <= 0.0 {
                (0.0, 0.0)
            } else {
                (excess, 1.0)
            };
        }
        if excess.is_nan() {
            return (excess, excess);
        }
        // log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)
        let small = (-excess.abs()).exp();
        let slope = if excess > 0.0 { 1.0 } else { small } / (1.0 + small);
        (excess.max(0.0) + small.ln_1p(), slope)
    }
}
