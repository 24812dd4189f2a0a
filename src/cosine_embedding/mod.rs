//! Cosine embedding loss over labelled pairs.

mod pass;
mod prefixes;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::error::{Error, check};
use crate::label::PairLabel;
use crate::loss::{Loss, OwnedGradient, Want};
use crate::prefixes::{clear_beyond, in_one_pass};
use crate::reduction::Reduction;
use crate::rows::{self, Extent, RowLoss, check_shape};
use crate::scalar::Scalar;
use crate::workspace::Workspace;
use pass::{Pass, Views};
use prefixes::{MOST, Nested};

/// Pulls matching pairs to cosine 1 and pushes the others below a margin.
///
/// With c = x·y / (‖x‖‖y‖), for row i of x and y `[n, dim]`:
///
/// * match: ℓ = max(0, m⁺ − c), with the positive margin m⁺ = 1 by default, so ℓ = 1 − c
/// * no match: ℓ = max(0, c − margin)
///
/// Gradient: ∂ℓ/∂x = ∓ ∂c/∂x with ∂c/∂x = (y − (x·y/‖x‖²)·x) / (‖x‖‖y‖), and with x and y exchanged.
///
/// The cosine is exact for every finite non-zero row, whatever its norm; 1 − c is computed to its own digits. A zero row has
/// c = 0 and gradient 0. At the kink (c = margin) the row is inactive: gradient 0. NaN or infinity in a row gives NaN.
/// [`with_epsilon`](Self::with_epsilon) gives PyTorch's convention instead.
///
/// Accuracy, with the ε of the element type: the loss and the gradient rows of a matching pair are within 4ε of themselves, unless the sine of the angle
/// between its rows is below 2⁻²⁹ (`f64`: 2⁻⁸⁰), where the share of one row in the other is itself rounded. So are those of a pair that does not match, unless
/// x·y or c − margin cancels to less than 2⁻²⁹ of its terms; but the loss of `f64` rows is within 4ε of |c| + |margin|, because c is rounded before the margin
/// is taken off. The example `accuracy` measures it.
///
/// Source: `torch.nn.CosineEmbeddingLoss`; the positive margin is pytorch-metric-learning's (`ContrastiveLoss` on cosine similarity).
///
/// ```
/// use contrastive::{CosineEmbeddingInput, CosineEmbeddingLoss, Loss, PairLabel};
/// use ndarray::array;
///
/// let x = array![[3.0, 4.0], [3.0, 4.0]];
/// let y = array![[1.0, 0.0], [0.0, 2.0]];
/// let labels = array![PairLabel::Match, PairLabel::NoMatch];
/// let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
///
/// let (value, gradient) = CosineEmbeddingLoss::new(0.5)?.value_and_gradient(input)?;
/// assert!((value - 0.35_f64).abs() < 1e-15); // ((1 − 0.6) + (0.8 − 0.5)) / 2
/// assert!((gradient.x[[0, 0]] - -0.064).abs() < 1e-15); // −(1 − 0.12·3) / 5 / 2
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::CosineEmbedding")
)]
pub struct CosineEmbeddingLoss {
    margin: f64,
    positive_margin: f64,
    epsilon: f64,
    reduction: Reduction,
}

impl CosineEmbeddingLoss {
    /// The loss with the margin of pairs that do not match, in [−1, 1]; 0 is PyTorch's default.
    ///
    /// # Errors
    /// If the margin is outside [−1, 1] or NaN.
    pub fn new(margin: f64) -> Result<Self, Error> {
        let margin = check(
            "margin",
            "a number in [-1, 1]",
            margin,
            (-1.0..=1.0).contains(&margin),
        )?;
        Ok(Self {
            margin,
            positive_margin: 1.0,
            epsilon: 0.0,
            reduction: Reduction::default(),
        })
    }

    /// The cosine above which a matching pair costs nothing, in [−1, 1]; 1 by default.
    ///
    /// # Errors
    /// If it is outside [−1, 1] or NaN.
    pub fn with_positive_margin(self, margin: f64) -> Result<Self, Error> {
        let in_range = (-1.0..=1.0).contains(&margin);
        let positive_margin = check("positive margin", "a number in [-1, 1]", margin, in_range)?;
        Ok(Self {
            positive_margin,
            ..self
        })
    }

    /// Adds `epsilon` to both squared norms: c = x·y / √((‖x‖² + ε)(‖y‖² + ε)). PyTorch's value is 1e-12. The loss is no longer
    /// scale-invariant then, and a zero row gets a gradient of the size 1/√ε.
    ///
    /// # Errors
    /// If `epsilon` is negative or not finite.
    pub fn with_epsilon(self, epsilon: f64) -> Result<Self, Error> {
        let in_range = epsilon >= 0.0 && epsilon.is_finite();
        let epsilon = check(
            "epsilon",
            "a finite number, not negative",
            epsilon,
            in_range,
        )?;
        Ok(Self { epsilon, ..self })
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

/// A batch of labelled pairs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CosineEmbeddingInput<'a, A> {
    /// The first embeddings of the pairs, `[n, dim]`.
    pub x: ArrayView2<'a, A>,
    /// The second, `[n, dim]`.
    pub y: ArrayView2<'a, A>,
    /// Which pairs match, `[n]`.
    pub labels: ArrayView1<'a, PairLabel>,
    /// A weight for each pair, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> CosineEmbeddingInput<'a, A> {
    /// Pairs of rows of `x` and `y` `[n, dim]` with their labels `[n]`.
    pub fn new(
        x: ArrayView2<'a, A>,
        y: ArrayView2<'a, A>,
        labels: ArrayView1<'a, PairLabel>,
    ) -> Self {
        Self {
            x,
            y,
            labels,
            weights: None,
        }
    }

    /// A weight for each pair, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of [`CosineEmbeddingLoss`]; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct CosineEmbeddingGradient<'a, A> {
    /// ∂L/∂x `[n, dim]`
    pub x: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂y `[n, dim]`
    pub y: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of [`CosineEmbeddingLoss`] in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CosineEmbeddingOwnedGradient<A> {
    /// ∂L/∂x `[n, dim]`
    pub x: Array2<A>,
    /// ∂L/∂y `[n, dim]`
    pub y: Array2<A>,
}

impl<A> CosineEmbeddingOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> CosineEmbeddingGradient<'_, A> {
        CosineEmbeddingGradient {
            x: Some(self.x.view_mut()),
            y: Some(self.y.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for CosineEmbeddingOwnedGradient<A> {
    type Input<'a> = CosineEmbeddingInput<'a, A>;
    type Views<'a> = CosineEmbeddingGradient<'a, A>;

    fn zeros(input: CosineEmbeddingInput<'_, A>) -> Self {
        Self {
            x: Array2::zeros(input.x.dim()),
            y: Array2::zeros(input.y.dim()),
        }
    }

    fn view_mut(&mut self) -> CosineEmbeddingGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of pairs looked like. A mean over no pairs is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CosineEmbeddingReport {
    /// The share of pairs whose loss is not zero.
    pub active: f64,
    /// The mean cosine of the matching pairs.
    pub match_cosine: f64,
    /// The mean cosine of the others.
    pub no_match_cosine: f64,
}

impl<A: Scalar> Loss<A> for CosineEmbeddingLoss {
    type Input<'a> = CosineEmbeddingInput<'a, A>;
    type Gradient<'a> = CosineEmbeddingGradient<'a, A>;
    type OwnedGradient = CosineEmbeddingOwnedGradient<A>;
    type Report = CosineEmbeddingReport;

    fn evaluate(
        &self,
        input: CosineEmbeddingInput<'_, A>,
        want: Want<'_, A, CosineEmbeddingGradient<'_, A>, CosineEmbeddingReport>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::cosine_embedding(self, input, want, workspace)
    }
}

/// What a caller may want of the loss.
type Wanted<'w, 'g, A> = Want<'w, A, CosineEmbeddingGradient<'g, A>, CosineEmbeddingReport>;

pub(crate) fn evaluate<A: Scalar>(
    loss: &CosineEmbeddingLoss,
    input: CosineEmbeddingInput<'_, A>,
    want: Wanted<'_, '_, A>,
    _: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check(&input, &want)?;
    let pass = Pass { loss: *loss, input };
    Ok(loss.run(&pass, input, want))
}

/// The weighted sum over prefixes of the input; `None`, and `want` as it was, where they are not passed over together.
pub(crate) fn evaluate_prefixes<A: Scalar>(
    loss: &CosineEmbeddingLoss,
    input: &CosineEmbeddingInput<'_, A>,
    prefixes: &[(CosineEmbeddingInput<'_, A>, f64)],
    want: &mut Wanted<'_, '_, A>,
) -> Result<Option<A>, Error> {
    loss.check(input, want)?;
    let columns = |&(input, _): &(CosineEmbeddingInput<'_, A>, f64)| input.x.ncols();
    let lengths: Vec<_> = prefixes.iter().map(columns).collect();
    let longest = match prefixes.last() {
        Some(&(longest, _)) if in_one_pass(loss.reduction, &lengths) && lengths.len() <= MOST => {
            longest
        }
        _ => return Ok(None),
    };
    let mut want = want.take();
    if let Some(gradient) = &mut want.gradient {
        clear_beyond(&mut gradient.x, longest.x.ncols());
        clear_beyond(&mut gradient.y, longest.x.ncols());
    }
    let pass = Nested {
        pass: Pass {
            loss: *loss,
            input: longest,
        },
        lengths,
        weights: prefixes.iter().map(|&(_, weight)| weight).collect(),
    };
    Ok(Some(loss.run(&pass, *input, want)))
}

impl CosineEmbeddingLoss {
    fn check<A: Scalar>(
        &self,
        input: &CosineEmbeddingInput<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        let (n, dim) = input.x.dim();
        check_shape("y", &[n, dim], input.y.shape())?;
        check_shape("labels", &[n], input.labels.shape())?;
        self.reduction.check_weights("x", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        if let Some(gradient) = &want.gradient {
            for (name, view) in [("gradient.x", &gradient.x), ("gradient.y", &gradient.y)] {
                view.as_ref()
                    .map_or(Ok(()), |view| check_shape(name, &[n, dim], view.shape()))?;
            }
        }
        Ok(())
    }

    /// A pass over input that has been checked.
    fn run<'g, A: Scalar>(
        &self,
        pass: &impl RowLoss<A, Views<'g, A>>,
        input: CosineEmbeddingInput<'_, A>,
        want: Wanted<'_, 'g, A>,
    ) -> A {
        let (n, dim) = input.x.dim();
        let extent = Extent {
            rows: n,
            row_bytes: dim.saturating_mul(2 * size_of::<A>()),
        };
        let gradient = want.gradient.map(|gradient| (gradient.x, gradient.y));
        let (value, totals) = rows::evaluate(
            pass,
            extent,
            self.reduction,
            input.weights,
            gradient,
            want.rows,
        );
        if let Some(report) = want.report {
            let [matches, match_sum, others, other_sum] = totals.tally;
            *report = CosineEmbeddingReport {
                active: totals.active_rows / n as f64,
                match_cosine: match_sum / matches,
                no_match_cosine: other_sum / others,
            };
        }
        value
    }
}
