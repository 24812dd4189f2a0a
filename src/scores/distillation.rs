//! Distillation of a teacher's scores by their softmax.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use super::divergence::{Divergence, Softened, Teacher};
use super::row::{check_mask, check_view, fill, over_learners, write};
use super::slopes::extent;
use crate::error::{Error, check_temperature};
use crate::loss::{Loss, OwnedGradient, Want};
use crate::reduction::Reduction;
use crate::rows::{self, Out, Outcome, RowLoss, check_shape};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::staging::Held;
use crate::workspace::Workspace;

/// Brings the softmax of a student's scores to that of a teacher's, row by row.
///
/// With the teacher's scores t and the student's s, both `[n, m]`, p = softmax(t/τ_t) and q = softmax(s/τ_s):
///
/// * ℓᵢ = KL(p ‖ q) = Σⱼ pⱼ (log pⱼ − log qⱼ), or the cross-entropy −Σⱼ pⱼ log qⱼ (see [`Divergence`])
/// * times τ_s² on request: Hinton's factor, off by default
///
/// Gradient: ∂ℓᵢ/∂sᵢⱼ = (qⱼ − pⱼ)/τ_s. The teacher is a constant.
///
/// Loss and gradient keep their digits when the student is near the teacher: every term of the sum is positive, and of second order in
/// log p − log q. Logarithms of probabilities never go through the probabilities. A score of −∞ leaves a candidate out: in the teacher its p is 0, and in
/// the student alone, with p > 0, the loss is infinite; the mask leaves it out of both. A row of which the teacher says nothing (no candidates) has
/// loss 0 and is left out of the mean. NaN or +∞ gives NaN.
///
/// Source: Hinton et al. 2015, <https://arxiv.org/abs/1503.02531>. `DistillKLDivLoss` of sentence-transformers is the same with
/// [`with_temperature_squared`](Self::with_temperature_squared).
///
/// ```
/// use contrastive::{DistillationInput, DistillationLoss, Loss};
/// use ndarray::array;
///
/// let (student, teacher) = (array![[0.0, 0.0]], array![[3.0_f64.ln(), 0.0]]); // q = (1/2, 1/2), p = (3/4, 1/4)
/// let input = DistillationInput::new(student.view(), teacher.view());
/// let (value, gradient) = DistillationLoss::new(1.0)?.value_and_gradient(input)?;
/// assert!((value - (0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln())).abs() < 1e-15);
/// assert!((gradient.student[[0, 0]] - -0.25).abs() < 1e-15); // 1/2 − 3/4
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::Distillation")
)]
pub struct DistillationLoss {
    student_temperature: f64,
    teacher_temperature: f64,
    divergence: Divergence,
    temperature_squared: bool,
    reduction: Reduction,
}

impl DistillationLoss {
    /// The KL divergence with one temperature for both.
    ///
    /// # Errors
    /// If the temperature is not positive and finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        let temperature = check_temperature("temperature", temperature)?;
        Ok(Self {
            student_temperature: temperature,
            teacher_temperature: temperature,
            divergence: Divergence::default(),
            temperature_squared: false,
            reduction: Reduction::default(),
        })
    }

    /// A temperature for the teacher alone.
    ///
    /// # Errors
    /// If it is not positive and finite.
    pub fn with_teacher_temperature(self, temperature: f64) -> Result<Self, Error> {
        Ok(Self {
            teacher_temperature: check_temperature("teacher temperature", temperature)?,
            ..self
        })
    }

    /// The divergence; [`Divergence::KullbackLeibler`] by default.
    #[must_use]
    pub fn with_divergence(self, divergence: Divergence) -> Self {
        Self { divergence, ..self }
    }

    /// Whether the loss is multiplied with τ_s², so that gradients stay of one size when the temperature is raised. Off by default; on in
    /// sentence-transformers.
    ///
    /// ```
    /// use contrastive::{DistillationInput, DistillationLoss, Loss};
    /// use ndarray::array;
    ///
    /// let (student, teacher) = (array![[0.0, 0.0]], array![[2.0 * 3.0_f64.ln(), 0.0]]);
    /// let input = DistillationInput::new(student.view(), teacher.view());
    /// let loss = DistillationLoss::new(2.0)?.with_temperature_squared(true);
    /// let value: f64 = loss.forward(input)?;
    /// assert!((value - 4.0 * (0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln())).abs() < 1e-15);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_temperature_squared(self, temperature_squared: bool) -> Self {
        Self {
            temperature_squared,
            ..self
        }
    }

    /// How the row losses become one number; the mean over the rows that the teacher scores by default.
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

/// Scores of a student and of its teacher.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DistillationInput<'a, A> {
    /// The student's scores, `[n, m]`.
    pub student: ArrayView2<'a, A>,
    /// The teacher's, `[n, m]`.
    pub teacher: ArrayView2<'a, A>,
    /// `true` for candidates that take no part, `[n, m]`.
    pub left_out: Option<ArrayView2<'a, bool>>,
    /// A weight for each row, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> DistillationInput<'a, A> {
    /// The scores of student and teacher, `[n, m]`.
    pub fn new(student: ArrayView2<'a, A>, teacher: ArrayView2<'a, A>) -> Self {
        Self {
            student,
            teacher,
            left_out: None,
            weights: None,
        }
    }

    /// `true` for candidates that take no part, `[n, m]`.
    #[must_use]
    pub fn with_left_out(self, left_out: ArrayView2<'a, bool>) -> Self {
        Self {
            left_out: Some(left_out),
            ..self
        }
    }

    /// A weight for each row, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of [`DistillationLoss`]; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct DistillationGradient<'a, A> {
    /// ∂L/∂student `[n, m]`
    pub student: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of [`DistillationLoss`] in an array of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DistillationOwnedGradient<A> {
    /// ∂L/∂student `[n, m]`
    pub student: Array2<A>,
}

impl<A> DistillationOwnedGradient<A> {
    /// A view of the array.
    pub fn view_mut(&mut self) -> DistillationGradient<'_, A> {
        DistillationGradient {
            student: Some(self.student.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for DistillationOwnedGradient<A> {
    type Input<'a> = DistillationInput<'a, A>;
    type Views<'a> = DistillationGradient<'a, A>;

    fn zeros(input: DistillationInput<'_, A>) -> Self {
        Self {
            student: Array2::zeros(input.student.dim()),
        }
    }

    fn view_mut(&mut self) -> DistillationGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of scores looked like. Means over the rows that the teacher scores, unweighted; NaN over none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DistillationReport {
    /// The mean entropy of the teacher's softmax, in nats: the cross-entropy that no student gets below.
    pub teacher_entropy: f64,
    /// How many rows the teacher says nothing of. They have loss 0 and are not divided by.
    pub without_teacher: usize,
}

type Wanted<'w, 'g, A> = Want<'w, A, DistillationGradient<'g, A>, DistillationReport>;

impl<A: Scalar> Loss<A> for DistillationLoss {
    type Input<'a> = DistillationInput<'a, A>;
    type Gradient<'a> = DistillationGradient<'a, A>;
    type OwnedGradient = DistillationOwnedGradient<A>;
    type Report = DistillationReport;

    fn evaluate(
        &self,
        input: DistillationInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::distillation(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &DistillationLoss,
    input: DistillationInput<'_, A>,
    want: Wanted<'_, '_, A>,
    _: &mut Workspace<A>,
) -> Result<A, Error> {
    let (n, m) = input.student.dim();
    check_shape("teacher", &[n, m], input.teacher.shape())?;
    check_mask(&[n, m], input.left_out)?;
    loss.reduction.check_weights("student", n, input.weights)?;
    if let Some(rows) = &want.rows {
        check_shape("rows", &[n], rows.shape())?;
    }
    let student = want.gradient.and_then(|gradient| gradient.student);
    check_view("gradient.student", &[n, m], student.as_ref())?;
    let (skipped, reduction) = over_learners(loss.reduction, n, input.weights, |row| {
        (0..m).any(|j| {
            let left_out = input.left_out.is_some_and(|mask| mask[[row, j]]);
            !left_out && input.teacher[[row, j]] != A::neg_infinity()
        })
    });
    let pass = Pass { loss, input };
    let gradient = student.map(Some);
    let extent = extent::<A>(n, m, 2);
    let (value, totals) =
        rows::evaluate(&pass, extent, reduction, input.weights, gradient, want.rows);
    if let Some(report) = want.report {
        *report = DistillationReport {
            teacher_entropy: totals.tally[0] / (n - skipped) as f64,
            without_teacher: skipped,
        };
    }
    Ok(value)
}

struct Pass<'l, 'a, A> {
    loss: &'l DistillationLoss,
    input: DistillationInput<'a, A>,
}

impl<'g, A: Scalar> RowLoss<A, Option<ArrayViewMut2<'g, A>>> for Pass<'_, '_, A> {
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Option<ArrayViewMut2<'g, A>>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let [teacher, student, spare, gradient] = held.scratch.rows(self.input.student.ncols());
        let mask = self.input.left_out;
        let mask = mask.as_ref().map(|mask| mask.index_axis(Axis(0), row));
        fill(teacher, self.input.teacher.index_axis(Axis(0), row), mask);
        fill(student, self.input.student.index_axis(Axis(0), row), mask);
        let per_temperature = 1.0 / self.loss.student_temperature;
        let teacher = Softened {
            scores: teacher,
            per_temperature: 1.0 / self.loss.teacher_temperature,
        };
        let teacher = Teacher::new::<I>(teacher, spare);
        let student = Softened {
            scores: student,
            per_temperature,
        };
        let divergence = self.loss.divergence;
        let compared = divergence.compare::<I>(&teacher, student, gradient);
        let factor = if self.loss.temperature_squared {
            self.loss.student_temperature * self.loss.student_temperature
        } else {
            1.0
        };
        if let Some(out) = out {
            let scale = out.scale * factor * per_temperature;
            write::<A, I>(out.views, out.row, out.stores, gradient, scale);
        }
        Outcome::new(factor * compared.loss, [compared.entropy, 0.0, 0.0, 0.0])
    }
}
