//! Distillation of a teacher's margins.

use ndarray::{ArrayViewMut1, ArrayViewMut2, Axis};

use super::margin_mse_input::{
    MarginMseGradient, MarginMseInput, MarginMseOwnedGradient, MarginMseReport, TeacherMargins,
};
use super::row::check_view;
use crate::error::Error;
use crate::loss::{Loss, Want};
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

/// The margins of student and teacher.
#[inline(always)]
fn margins<A: Scalar>(scores: [A; 4]) -> [f64; 2] {
    let [s_positive, s_negative, t_positive, t_negative] = scores.map(A::wide);
    [s_positive - s_negative, t_positive - t_negative]
}

/// The difference of the margins, with twice the digits of the scores.
#[inline(always)]
fn apart<R: Real>(scores: [f64; 4]) -> f64 {
    let [s_positive, s_negative, t_positive, t_negative] = scores.map(|x| R::new(x, 0.0));
    ((s_positive - s_negative) - (t_positive - t_negative)).value()
}

/// rₖ; NaN where a score is not finite, infinite where it overflows.
#[inline(always)]
fn residual<A: Scalar>(scores: [A; 4]) -> f64 {
    let scores = scores.map(A::wide);
    let residual = apart::<A::Real>(scores);
    if residual.is_finite() {
        residual
    } else if scores.iter().all(|x| x.is_finite()) {
        // A margin overflows where the difference of both may not; those of a quarter of the scores do neither.
        4.0 * apart::<A::Real>(scores.map(|x| 0.25 * x))
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
            let [student, teacher] = margins(scores);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// The value, the gradient by the positive, and the report of one query with one negative; scores are s⁺, s⁻, t⁺ and t⁻.
    fn judged(scores: [f64; 4]) -> (f64, f64, MarginMseReport) {
        let [s_positive, s_negative, t_positive, t_negative] = scores.map(|x| array![x]);
        let column = Axis(1);
        let input = MarginMseInput::new(
            s_positive.view(),
            s_negative.view().insert_axis(column),
            TeacherMargins::Scores {
                positive: t_positive.view(),
                negatives: t_negative.view().insert_axis(column),
            },
        );
        let (mut report, mut slope) = (MarginMseReport::default(), array![0.0]);
        let gradient = MarginMseGradient {
            positive: Some(slope.view_mut()),
            negatives: None,
        };
        let want = Want::gradient(gradient).with_report(&mut report);
        let loss = MarginMseLoss::new();
        let value = loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        (value, slope[0], report)
    }

    #[test]
    fn margins_that_overflow_cancel_where_the_exact_ones_do() {
        // The margins are 3e308, above all numbers.
        let (large, step) = (1.5e308, 1.5e308 - 1.5e308_f64.next_down());
        assert_eq!(judged([large, -large, large, -large]).0, 0.0);
        assert_eq!(judged([-large, large, -large, large]).0, 0.0);
        // One step apart: the loss overflows, and the gradient is the exact one.
        let (value, slope, _) = judged([large, -large, large.next_down(), -large]);
        assert_eq!((value, slope), (f64::INFINITY, 2.0 * step));
    }

    #[test]
    fn what_overflows_is_infinite_and_counted_on_its_side() {
        for sign in [1.0, -1.0] {
            let large = sign * 1.5e308;
            let (value, slope, report) = judged([large, -large, sign, 0.0]);
            assert_eq!((value, slope), (f64::INFINITY, sign * f64::INFINITY));
            assert_eq!(report.student_margin, sign * f64::INFINITY);
            assert_eq!((report.teacher_margin, report.agreement), (sign, 1.0));
        }
    }

    #[test]
    fn score_that_is_not_finite_gives_nan() {
        for place in 0..4 {
            for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY] {
                let mut scores = [1.5e308, -1.5e308, 2.0, 1.0];
                scores[place] = bad;
                let (value, slope, _) = judged(scores);
                assert!(value.is_nan() && slope.is_nan(), "{scores:?}");
            }
        }
    }
}
