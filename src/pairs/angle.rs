//! AnglE: CoSENT on differences of angles in complex space.

use ndarray::Axis;

use super::input::{PairGradient, PairInput, PairOwnedGradient, Wanted};
use super::pass::{Measure, Views};
use super::ranked::{self, RankingReport, checked_scale};
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::rows::Out;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::similarity::{Angle, angle, first_half};
use crate::staging::Scratch;
use crate::store::write_rows;
use crate::workspace::Workspace;

/// Asks what [`CoSentLoss`](crate::CoSentLoss) asks, of AnglE's similarity instead of the cosine.
///
/// A row `[dim]` is read as complex numbers: its first half is their real parts, its last half the imaginary ones. With
/// hᵢ = Σₖ xᵢₖ·conj(yᵢₖ) / (‖xᵢ‖‖yᵢ‖) and its grade gᵢ, for each row of x and y `[n, dim]`:
///
/// * sᵢ = |Re hᵢ + Im hᵢ|, in [0, √2]
/// * L = log(1 + Σ_{gᵢ > gⱼ} wᵢwⱼ exp(scale·(sⱼ − sᵢ)))
///
/// Gradient: as for CoSENT with ∂s/∂x = ±(w − (x·w/‖x‖²)·x) / (‖x‖‖y‖), where w is (1 + i)·y as complex numbers, and (1 − i)·x in place of w for
/// ∂s/∂y; the sign is that of Re h + Im h. Where that is 0 the gradient is 0.
///
/// What to know of this similarity:
///
/// * It is |x·w|/(‖x‖‖y‖): √2 times the cosine of x with y turned by 45° in each complex coordinate, without its sign. Equal rows have s = 1, and so have
///   opposite ones; s = √2 is reached at an angle of 45°. That is what the authors' code computes, and what the loss is usually added to
///   [`InfoNceLoss`](crate::InfoNceLoss) for.
/// * It is not symmetric: exchanging x and y conjugates h, which changes the sign of Im h.
/// * In an odd dimension the last coordinate of the first half, of ⌈dim/2⌉, has no partner and is real, as if a zero had been appended to the rows.
///
/// A zero row has s = 0 and gradient 0; the authors' code divides by zero there. The scale of rows does not matter. Weights, reductions, time, memory, errors
/// and NaN are those of [`CoSentLoss`](crate::CoSentLoss).
///
/// Source: Li & Li 2024, <https://arxiv.org/abs/2309.12871>, in the form of its code; sentence-transformers' `AnglELoss` (scale 20).
///
/// ```
/// use contrastive::{AngleLoss, Loss, PairInput};
/// use ndarray::array;
///
/// // As complex numbers 1 and 0.6 + 0.8i: h = 0.6 − 0.8i, s = 0.2. Then i and 1: h = i, s = 1.
/// let x = array![[1.0, 0.0], [0.0, 1.0]];
/// let y = array![[0.6, 0.8], [2.0, 0.0]];
/// let grades = array![1.0, 0.0];
/// let input = PairInput::new(x.view(), y.view(), grades.view());
///
/// let (value, gradient) = AngleLoss::new(2.0)?.value_and_gradient(input)?;
/// assert!((value - 1.6_f64.exp().ln_1p()).abs() < 1e-14); // 2 (1 − 0.2)
/// // The first has slope −2p, p = 1/(1 + e^−1.6), and ∂s/∂x = −(w − (x·w)x) for w = (−0.2, 1.4).
/// let p = 1.0 / (1.0 + (-1.6_f64).exp());
/// assert!((gradient.x[[0, 1]] - 2.8 * p).abs() < 1e-14);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::Angle")
)]
pub struct AngleLoss {
    scale: f64,
}

impl AngleLoss {
    /// The loss with what similarities are multiplied by; 20 in sentence-transformers.
    ///
    /// # Errors
    /// If the scale is not positive, or above 1e300.
    pub fn new(scale: f64) -> Result<Self, Error> {
        Ok(Self {
            scale: checked_scale(scale)?,
        })
    }
}

impl<A: Scalar> Loss<A> for AngleLoss {
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
        A::angle(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &AngleLoss,
    input: PairInput<'_, A, A>,
    want: Wanted<'_, '_, A, RankingReport>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    ranked::evaluate(AngleOfPair, loss.scale, input, want, workspace)
}

/// −s, as a distance.
struct AngleOfPair;

impl<A: Scalar> Measure<A> for AngleOfPair {
    type Value = f64;
    type Slope = Angle<A::Real>;

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Self::Slope) {
        let pair = angle::<A, I>(x, y);
        (-pair.similarity, pair)
    }

    #[inline(always)]
    fn write<I: Isa>(
        &self,
        rows: [&[A]; 2],
        slope: Self::Slope,
        factor: f64,
        out: Out<'_, Views<'_, A>>,
        _: &mut Scratch,
    ) {
        I::call(Write {
            rows,
            slope,
            factor,
            out,
        });
    }
}

/// Writes both gradients of a pair.
struct Write<'r, 'o, 'g, A: Scalar> {
    rows: [&'r [A]; 2],
    slope: Angle<A::Real>,
    factor: f64,
    out: Out<'o, Views<'g, A>>,
}

impl<A: Scalar> Kernel for Write<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { rows, out, .. } = self;
        let half = first_half(rows[0].len());
        let (gx, gy) = out.views;
        let views = [gx, gy].map(|view| view.as_mut().map(|view| view.row_mut(out.row)));
        let [(x_first, x_last), (y_first, y_last)] =
            views.map(|view| view.map(|view| view.split_at(Axis(0), half)).unzip());
        let halves = [[x_first, y_first], [x_last, y_last]];
        for (last, views) in halves.into_iter().enumerate() {
            let gradient = self.slope.half::<A, I>(-self.factor, rows, last == 1);
            write_rows::<A, I, 2>(views, out.stores, gradient);
        }
    }
}
