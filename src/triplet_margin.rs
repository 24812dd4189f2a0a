//! Triplet margin loss: an anchor closer to its positive than to its negatives, by a margin.

use ndarray::{
    Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, s,
};

use crate::distance::{Distance, Lp, Side, Slope, Term};
use crate::error::{Error, check};
use crate::loss::{Loss, OwnedGradient, Want};
use crate::reduction::Reduction;
use crate::rows::{
    self, Extent, Out, Outcome, RowLoss, Scratch, check_shape, contiguous, write_columns,
};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::workspace::Workspace;

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
/// of norm 1 (its ε = 1e-6 is available: [`Lp::with_epsilon`]). NaN in a row gives NaN.
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
        Ok(Self {
            margin,
            soft: false,
            swap: false,
            distance: Lp::euclidean(),
            reduction: Reduction::default(),
        })
    }

    /// The soft form log(1 + exp(margin + d⁺ − d⁻)), which never stops pulling. Its margin is usually 0.
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn soft(margin: f64) -> Result<Self, Error> {
        let margin = check("margin", "a finite number", margin, margin.is_finite())?;
        Ok(Self {
            margin,
            soft: true,
            swap: false,
            distance: Lp::euclidean(),
            reduction: Reduction::default(),
        })
    }
}

impl<D> TripletMarginLoss<D> {
    /// Another distance: [`Lp`], [`SquaredEuclidean`](crate::SquaredEuclidean), [`CosineDistance`](crate::CosineDistance), or your own
    /// [`Distance`](crate::Distance).
    pub fn with_distance<E>(self, distance: E) -> TripletMarginLoss<E> {
        let Self {
            margin,
            soft,
            swap,
            reduction,
            ..
        } = self;
        TripletMarginLoss {
            margin,
            soft,
            swap,
            distance,
            reduction,
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
        want: Want<'_, A, TripletMarginGradient<'_, A>, TripletMarginReport>,
        _: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let (n, dim) = input.anchor.dim();
        let k = input.negatives.dim().1;
        self.check(&input, &want)?;
        let extent = Extent {
            rows: n,
            row_bytes: (2 + k) * dim * size_of::<A>(),
        };
        let pass = Pass { loss: self, input };
        let gradient = want
            .gradient
            .map(|gradient| (gradient.anchor, gradient.positive, gradient.negatives));
        let (value, totals) = rows::evaluate(
            &pass,
            extent,
            self.reduction,
            input.weights,
            gradient,
            want.rows,
        );
        if let Some(report) = want.report {
            let [active, positive, negative, _] = totals.tally;
            let triplets = (n * k) as f64;
            *report = TripletMarginReport {
                active: active / triplets,
                positive_distance: positive / n as f64,
                negative_distance: negative / triplets,
            };
        }
        Ok(value)
    }
}

impl<D> TripletMarginLoss<D> {
    fn check<A: Scalar>(
        &self,
        input: &TripletMarginInput<'_, A>,
        want: &Want<'_, A, TripletMarginGradient<'_, A>, TripletMarginReport>,
    ) -> Result<(), Error> {
        let (n, dim) = input.anchor.dim();
        let k = input.negatives.dim().1;
        check_shape("positive", &[n, dim], input.positive.shape())?;
        check_shape("negatives", &[n, k.max(1), dim], input.negatives.shape())?;
        self.reduction.check_weights("anchor", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        if let Some(TripletMarginGradient {
            anchor,
            positive,
            negatives,
        }) = &want.gradient
        {
            for (name, view) in [("gradient.anchor", anchor), ("gradient.positive", positive)] {
                view.as_ref()
                    .map_or(Ok(()), |view| check_shape(name, &[n, dim], view.shape()))?;
            }
            let view = negatives.as_ref();
            view.map_or(Ok(()), |view| {
                check_shape("gradient.negatives", &[n, k, dim], view.shape())
            })?;
        }
        Ok(())
    }

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
        // log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)
        let small = (-excess.abs()).exp();
        let slope = if excess > 0.0 { 1.0 } else { small } / (1.0 + small);
        (excess.max(0.0) + small.ln_1p() + 0.0 * excess, slope)
    }
}

struct Pass<'l, 'a, A, D> {
    loss: &'l TripletMarginLoss<D>,
    input: TripletMarginInput<'a, A>,
}

/// The gradient views of a block of triplets.
type Views<'g, A> = (
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut2<'g, A>>,
    Option<ArrayViewMut3<'g, A>>,
);

impl<'g, A: Scalar, D: Distance<A>> RowLoss<A, Views<'g, A>> for Pass<'_, '_, A, D> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        scratch: &mut Scratch,
    ) -> Outcome {
        let input = &self.input;
        let (mut anchor_spare, mut positive_spare) = (Vec::new(), Vec::new());
        let anchor = contiguous(input.anchor.row(row), &mut anchor_spare);
        let positive = contiguous(input.positive.row(row), &mut positive_spare);
        let (near, slope) = self.loss.distance.measure::<I>(anchor, positive);
        let mut outcome = Outcome {
            loss: 0.0,
            tally: [0.0, near, 0.0, 0.0],
        };

        let k = input.negatives.dim().1;
        let scale = out.as_ref().map_or(0.0, |out| out.scale);
        let (mut one, mut several) = ([const { None }; 1], Vec::new());
        let far: &mut [Option<Far<A::Real>>] = if k == 1 {
            &mut one
        } else {
            several.resize_with(k, || None);
            &mut several
        };
        let mut pull = 0.0;
        for (k, slot) in far.iter_mut().enumerate() {
            let mut spare = Vec::new();
            let negative = contiguous(input.negatives.slice_move(s![row, k, ..]), &mut spare);
            let far = self.far::<I>(anchor, positive, negative, near, scale, &mut outcome);
            pull -= far.factor;
            *slot = Some(far);
        }
        if let Some(out) = out {
            self.write::<I>(
                row,
                [anchor, positive],
                Near { slope, pull },
                far,
                out,
                scratch,
            );
        }
        outcome
    }
}

/// The positive of a row, measured, and the factor of its gradient.
struct Near<R> {
    slope: Slope<R>,
    pull: f64,
}

/// A negative of a row, measured, and the factor of its gradient.
struct Far<R> {
    slope: Slope<R>,
    factor: f64,
    /// Whether its distance is that to the positive.
    swapped: bool,
}

impl<A: Scalar, D: Distance<A>> Pass<'_, '_, A, D> {
    /// Measures a negative and adds its triplet to the outcome.
    #[inline(always)]
    fn far<I: Isa>(
        &self,
        anchor: &[A],
        positive: &[A],
        negative: &[A],
        near: f64,
        scale: f64,
        outcome: &mut Outcome,
    ) -> Far<A::Real> {
        let per_negative = 1.0 / self.input.negatives.dim().1 as f64;
        let (mut distance, mut slope) = self.loss.distance.measure::<I>(anchor, negative);
        let mut swapped = false;
        if self.loss.swap {
            let (other, other_slope) = self.loss.distance.measure::<I>(positive, negative);
            if other < distance || other.is_nan() {
                (distance, slope, swapped) = (other, other_slope, true);
            }
        }
        let (loss, weight) = self.loss.of(near, distance);
        outcome.loss += loss * per_negative;
        outcome.tally[0] += f64::from(loss != 0.0);
        outcome.tally[2] += distance;
        Far {
            slope,
            factor: if scale == 0.0 {
                0.0
            } else {
                -scale * weight * per_negative
            },
            swapped,
        }
    }

    /// Writes the gradients of a row, some columns at a time, while the rows are in the cache.
    #[inline(always)]
    fn write<I: Isa>(
        &self,
        row: usize,
        [anchor, positive]: [&[A]; 2],
        near: Near<A::Real>,
        far: &[Option<Far<A::Real>>],
        out: Out<'_, Views<'_, A>>,
        scratch: &mut Scratch,
    ) {
        let (distance, dim) = (&self.loss.distance, anchor.len());
        let Out {
            views: (to_anchor, to_positive, to_negatives),
            row: local,
            stores,
            ..
        } = out;
        let step = distance.columns_at_a_time(dim).clamp(1, dim.max(1));
        let [sum, dx, dy] = scratch.rows(step);
        for start in (0..dim).step_by(step) {
            let columns = start..dim.min(start + step);
            let [sum, dx, dy] =
                [&mut *sum, &mut *dx, &mut *dy].map(|row| &mut row[..columns.len()]);
            let (mut spare, mut other_spare) = ([dx, dy], Vec::new());
            let (anchor, positive) = (&anchor[columns.clone()], &positive[columns.clone()]);
            let negative = |k: usize| self.input.negatives.slice_move(s![row, k, columns.clone()]);
            for (view, side, with_swapped) in [
                (&mut *to_anchor, Side::X, false),
                (&mut *to_positive, Side::Y, true),
            ] {
                let Some(view) = view else { continue };
                add::<A, D, I>(
                    distance,
                    near.slope,
                    side,
                    near.pull,
                    [anchor, positive],
                    Term::First,
                    sum,
                    &mut spare,
                );
                let far = far
                    .iter()
                    .flatten()
                    .enumerate()
                    .filter(|(_, far)| far.swapped == with_swapped);
                for (k, far) in far {
                    let rows = [
                        if far.swapped { positive } else { anchor },
                        contiguous(negative(k), &mut other_spare),
                    ];
                    add::<A, D, I>(
                        distance,
                        far.slope,
                        Side::X,
                        far.factor,
                        rows,
                        Term::Further,
                        sum,
                        &mut spare,
                    );
                }
                write_columns(view.row_mut(local), columns.clone(), stores, sum);
            }
            let Some(views) = to_negatives else { continue };
            for (k, far) in far.iter().flatten().enumerate() {
                let rows = [
                    if far.swapped { positive } else { anchor },
                    contiguous(negative(k), &mut other_spare),
                ];
                add::<A, D, I>(
                    distance,
                    far.slope,
                    Side::Y,
                    far.factor,
                    rows,
                    Term::First,
                    sum,
                    &mut spare,
                );
                write_columns(
                    views.slice_mut(s![local, k, ..]),
                    columns.clone(),
                    stores,
                    sum,
                );
            }
        }
    }
}

/// [`Distance::add_slope`], which is not asked where the factor is zero: an inactive triplet has gradient 0 whatever its rows hold.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "those of add_slope")]
fn add<A: Scalar, D: Distance<A>, I: Isa>(
    distance: &D,
    slope: Slope<A::Real>,
    side: Side,
    factor: f64,
    [x, y]: [&[A]; 2],
    term: Term,
    out: &mut [f64],
    spare: &mut [&mut [f64]; 2],
) {
    if factor != 0.0 {
        distance.add_slope::<I>(slope, side, factor, x, y, term, out, spare);
    } else if term == Term::First {
        out.fill(0.0);
    }
}
