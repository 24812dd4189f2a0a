//! What goes into the loss over margins and what comes out besides the value.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::loss::OwnedGradient;
use crate::scalar::Scalar;

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

/// Views that receive the gradient of [`MarginMseLoss`](crate::MarginMseLoss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct MarginMseGradient<'a, A> {
    /// ∂L/∂positive `[n]`
    pub positive: Option<ArrayViewMut1<'a, A>>,
    /// ∂L/∂negatives `[n, K]`
    pub negatives: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of [`MarginMseLoss`](crate::MarginMseLoss) in arrays of its own.
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
