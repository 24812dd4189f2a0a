//! Distillation of a teacher's margins.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};

use super::row::check_view;
use crate::error::Error;
use crate::loss::{Loss, OwnedGradient, Want};
use crate::reduction::Reduction;
use crate::rows::{self, Extent, Out, Outcome, RowLoss, check_shape};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::staging::Held;
use crate::wide::Real;
use crate::workspace::Workspace;

/// Asks that the student be ahead of its negatives by as much as the teacher is.
///
/// With the student's scores s⁺ `[n]` and s⁻ `[n, K]`, and the teacher's likewise:
///
/// * ℓᵢ = (1/K) Σₖ rₖ², with rₖ = (s⁺ − sₖ⁻) − (t⁺ − tₖ⁻)
///
/// Gradient: ∂ℓᵢ/∂s⁺ = (2/K) Σₖ rₖ, ∂ℓᵢ/∂sₖ⁻ = −(2/K) rₖ. The teacher is a constant. NaN or infinity in a row gives NaN.
///
/// Source: Hofstätter et al. 2020, <https://arxiv.org/abs/2010.02666>; `MarginMSELoss` of sentence-transformers.
///
/// ```
/// use contrastive::{Loss, MarginMseInput, MarginMseLoss, TeacherMargins};
/// use ndarray::array;
///
/// let (positive, negatives, margins) = (array![5.0], array![[2.0, 4.0]], array![[1.0, 1.0]]);
/// let teacher = TeacherMargins::Margins(margins.view());
/// let input = MarginMseInput::new(positive.view(), negatives.view(), teacher);
/// let (value, gradient) = MarginMseLoss::new().value_and_gradient(input)?;
/// assert_eq!(value, 2.0); // ((3 − 1)² + (1 − 1)²) / 2
/// assert_eq!((gradient.positive, gradient.negatives), (array![2.0], array![[-2.0, 0.0]]));
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::MarginMse")
)]
pub struct MarginMseLoss {
    reduction: Reduction,
}

impl MarginMseLoss {
    /// The loss, with the mean as reduction.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the row losses become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
        })
    }
}

/// How far the teacher is ahead of each negative.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TeacherMargins<'a, A> {
    /// t⁺ − t⁻, `[n, K]`.
    Margins(ArrayView2<'a, A>),
    /// The scores themselves.
    Scores {
        /// t⁺, `[n]`
        positive: ArrayView1<'a, A>,
        /// t⁻, `[n, K]`
        negatives: ArrayView2<'a, A>,
    },
}

/// Scores of a student and the margins of its teacher.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MarginMseInput<'a, A> {
    /// The student's score of the positive of each query, `[n]`.
    pub positive: ArrayView1<'a, A>,
    /// Its scores of the negatives, `[n, K]`.
    pub negatives: ArrayView2<'a, A>,
    /// What the teacher says.
    pub teacher: TeacherMargins<'a, A>,
    /// A weight for each query, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> MarginMseInput<'a, A> {
    /// Scores of a positive `[n]` and K negatives `[n, K]` for each query; one negative is a column: `negative.insert_axis(Axis(1))`.
    pub fn new(
        positive: ArrayView1<'a, A>,
        negatives: ArrayView2<'a, A>,
        teacher: TeacherMargins<'a, A>,
    ) -> Self {
        Self {
            positive,
            negatives,
            teacher,
            weights: None,
        }
    }

    /// A weight for each query, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of [`MarginMseLoss`]; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct MarginMseGradient<'a, A> {
    /// ∂L/∂positive `[n]`
    pub positive: Option<ArrayViewMut1<'a, A>>,
    /// ∂L/∂negatives `[n, K]`
    pub negatives: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of [`MarginMseLoss`] in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MarginMseOwnedGradient<A> {
    /// ∂L/∂positive `[n]`
    pub positive: Array1<A>,
    /// ∂L/∂negatives `[n, K]`
    pub negatives: Array2<A>,
}

impl<A> MarginMseOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> MarginMseGradient<'_, A> {
        MarginMseGradient {
            positive: Some(self.positive.view_mut()),
            negatives: Some(self.negatives.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for MarginMseOwnedGradient<A> {
    type Input<'a> = MarginMseInput<'a, A>;
    type Views<'a> = MarginMseGradient<'a, A>;

    fn zeros(input: MarginMseInput<'_, A>) -> Self {
        Self {
            positive: Array1::zeros(input.positive.len()),
            negatives: Array2::zeros(input.negatives.dim()),
        }
    }

    fn view_mut(&mut self) -> MarginMseGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of margins looked like. A mean over no margins is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MarginMseReport {
    /// The student's mean margin.
    pub student_margin: f64,
    /// The teacher's.
    pub teacher_margin: f64,
    /// The share of negatives that student and teacher put on the same side of the positive.
    pub agreement: f64,
}

type Wanted<'w, 'g, A> = Want<'w, A, MarginMseGradient<'g, A>, MarginMseReport>;

impl<A: Scalar> Loss<A> for MarginMseLoss {
    type Input<'a> = MarginMseInput<'a, A>;
    type Gradient<'a> = MarginMseGradient<'a, A>;
    type OwnedGradient = MarginMseOwnedGradient<A>;
    type Report = MarginMseReport;

    fn evaluate(
        &self,
        input: MarginMseInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::margin_mse(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &MarginMseLoss,
    input: MarginMseInput<'_, A>,
    want: Wanted<'_, '_, A>,
    _: &mut Workspace<A>,
) -> Result<A, Error> {
    let (n, k) = (input.positive.len(), input.negatives.ncols());
    check_shape("negatives", &[n, k.max(1)], input.negatives.shape())?;
    match input.teacher {
        TeacherMargins::Margins(margins) => check_shape("teacher", &[n, k], margins.shape())?,
        TeacherMargins::Scores {
            positive,
            negatives,
        } => {
            check_shape("teacher.positive", &[n], positive.shape())?;
            check_shape("teacher.negatives", &[n, k], negatives.shape())?;
        }
    }
    loss.reduction.check_weights("positive", n, input.weights)?;
    if let Some(rows) = &want.rows {
        check_shape("rows", &[n], rows.shape())?;
    }
    let MarginMseGradient {
        positive,
        negatives,
    } = want.gradient.unwrap_or_default();
    if let Some(positive) = &positive {
        check_shape("gradient.positive", &[n], positive.shape())?;
    }
    check_view("gradient.negatives", &[n, k], negatives.as_ref())?;
    let wanted = positive.is_some() || negatives.is_some();
    let gradient = wanted.then_some((positive, negatives));
    let extent = Extent {
        rows: n,
        row_bytes: 4 * (1 + k) * size_of::<A>(),
    };
    let pass = Pass { input };
    let (value, totals) = rows::evaluate(
        &pass,
        extent,
        loss.reduction,
        input.weights,
        gradient,
        want.rows,
    );
    if let Some(report) = want.report {
        let [student, teacher, agreed, _] = totals.tally.map(|sum| sum / (n * k) as f64);
        *report = MarginMseReport {
            student_margin: student,
            teacher_margin: teacher,
            agreement: agreed,
        };
    }
    Ok(value)
}

struct Pass<'a, A> {
    input: MarginMseInput<'a, A>,
}

impl<A: Scalar> Pass<'_, A> {
    /// s⁺, s⁻, t⁺ and t⁻ for a negative; t⁻ = 0 where the teacher's margins are given.
    #[inline(always)]
    fn scores(&self, row: usize, k: usize) -> [A; 4] {
        let student = [self.input.positive[row], self.input.negatives[[row, k]]];
        let teacher = match self.input.teacher {
            TeacherMargins::Margins(margins) => [margins[[row, k]], A::zero()],
            TeacherMargins::Scores {
                positive,
                negatives,
            } => [positive[row], negatives[[row, k]]],
        };
        [student[0], student[1], teacher[0], teacher[1]]
    }
}

/// The margins of student and teacher, with twice the digits of the scores.
#[inline(always)]
fn margins<A: Scalar>(scores: [A; 4]) -> [A::Real; 2] {
    let [s_positive, s_negative, t_positive, t_negative] =
        scores.map(|x| A::Real::new(x.wide(), 0.0));
    [s_positive - s_negative, t_positive - t_negative]
}

/// rₖ; NaN where a score is not finite, infinite where it overflows.
#[inline(always)]
fn residual<A: Scalar>(scores: [A; 4]) -> f64 {
    let [student, teacher] = margins(scores);
    let residual = (student - teacher).value();
    if residual.is_finite() {
        residual
    } else if scores.iter().all(|x| x.is_finite()) {
        (0.25 * student.value() - 0.25 * teacher.value()) * f64::INFINITY
    } else {
        f64::NAN
    }
}

type Views<'g, A> = (Option<ArrayViewMut1<'g, A>>, Option<ArrayViewMut2<'g, A>>);

impl<'g, A: Scalar> RowLoss<A, Views<'g, A>> for Pass<'_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        _: &mut Held<A>,
    ) -> Outcome {
        let count = self.input.negatives.ncols();
        let share = 1.0 / count as f64;
        let (mut sum, mut squares, mut tally) = (0.0, 0.0, [0.0; 4]);
        for k in 0..count {
            let scores = self.scores(row, k);
            let residual = residual(scores);
            sum += residual;
            squares += share * residual * residual;
            let [student, teacher] = margins(scores).map(Real::value);
            tally[0] += student;
            tally[1] += teacher;
            tally[2] += f64::from(u8::from((student > 0.0) == (teacher > 0.0)));
        }
        if let Some(out) = out {
            let factor = 2.0 * share * out.scale;
            let slope = |x: f64| A::narrow(if factor == 0.0 { 0.0 } else { factor * x });
            let (positive, negatives) = out.views;
            if let Some(positive) = positive {
                positive[out.row] = slope(sum);
            }
            if let Some(negatives) = negatives {
                let mut negatives = negatives.index_axis_mut(Axis(0), out.row);
                for (k, negative) in negatives.iter_mut().enumerate() {
                    *negative = slope(-residual(self.scores(row, k)));
                }
            }
        }
        Outcome::new(squares, tally)
    }
}
