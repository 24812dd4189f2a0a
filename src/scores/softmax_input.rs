//! What goes into softmax cross-entropy over scores and what comes out besides the value.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use super::positives::Positives;
use crate::loss::OwnedGradient;
use crate::scalar::Scalar;

/// Scores of queries with candidates.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SoftmaxCrossEntropyInput<'a, A> {
    /// The score of every row with every candidate, `[n, m]`, not divided by the temperature. −∞ leaves a candidate out.
    pub scores: ArrayView2<'a, A>,
    /// The positives of each row.
    pub positives: Positives<'a>,
    /// `true` for candidates that a row is not compared with, `[n, m]`. A row's own positives always take part.
    pub left_out: Option<ArrayView2<'a, bool>>,
    /// A weight for each row, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> SoftmaxCrossEntropyInput<'a, A> {
    /// Scores `[n, m]` whose diagonal belongs to the positives.
    pub fn new(scores: ArrayView2<'a, A>) -> Self {
        Self {
            scores,
            positives: Positives::Aligned,
            left_out: None,
            weights: None,
        }
    }

    /// Other positives than the diagonal's.
    #[must_use]
    pub fn with_positives(self, positives: Positives<'a>) -> Self {
        Self { positives, ..self }
    }

    /// `true` for candidates that a row is not compared with, `[n, m]`.
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

/// Views that receive the gradient of [`SoftmaxCrossEntropyLoss`](crate::SoftmaxCrossEntropyLoss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct SoftmaxCrossEntropyGradient<'a, A> {
    /// ∂L/∂scores `[n, m]`; 0 where a candidate is left out
    pub scores: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂log τ
    pub log_temperature: Option<&'a mut A>,
}

/// The gradient of [`SoftmaxCrossEntropyLoss`](crate::SoftmaxCrossEntropyLoss) in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SoftmaxCrossEntropyOwnedGradient<A> {
    /// ∂L/∂scores `[n, m]`
    pub scores: Array2<A>,
    /// ∂L/∂log τ
    pub log_temperature: A,
}

impl<A> SoftmaxCrossEntropyOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> SoftmaxCrossEntropyGradient<'_, A> {
        SoftmaxCrossEntropyGradient {
            scores: Some(self.scores.view_mut()),
            log_temperature: Some(&mut self.log_temperature),
        }
    }
}

impl<A: Scalar> OwnedGradient for SoftmaxCrossEntropyOwnedGradient<A> {
    type Input<'a> = SoftmaxCrossEntropyInput<'a, A>;
    type Views<'a> = SoftmaxCrossEntropyGradient<'a, A>;

    fn zeros(input: SoftmaxCrossEntropyInput<'_, A>) -> Self {
        Self {
            scores: Array2::zeros(input.scores.dim()),
            log_temperature: A::zero(),
        }
    }

    fn view_mut(&mut self) -> SoftmaxCrossEntropyGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of scores looked like. Means over the rows with a positive, unweighted; NaN over none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SoftmaxCrossEntropyReport {
    /// The share of rows in which no candidate scores higher than the best positive.
    pub accuracy: f64,
    /// The mean reciprocal rank of the best positive: 1 / (1 + the number of candidates that score higher).
    pub reciprocal_rank: f64,
    /// The mean probability of a positive, each in its own softmax.
    pub positive_probability: f64,
    /// How many candidates of all rows were left out by the mask.
    pub left_out: usize,
    /// How many rows have no positive. They have loss 0 and are not divided by.
    pub without_positive: usize,
}
