//! The trait of score functions: from what queries and documents are made of to a matrix of scores, and back.

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::error::Error;
use crate::scalar::Scalar;

/// Scores of queries with documents, and the gradient carried back to what they were computed from.
///
/// A loss over scores, such as [`SoftmaxCrossEntropyLoss`](crate::SoftmaxCrossEntropyLoss), gives ∂L/∂s `[n, m]`; [`backward`](Self::backward) is the
/// vector–Jacobian product that makes it ∂L/∂queries and ∂L/∂documents. Outputs are overwritten, never accumulated; when an [`Error`] is returned
/// nothing has been written. Entries of ∂L/∂s that are 0 ask nothing of their pair, whatever its rows hold.
///
/// ```
/// use contrastive::{DenseScores, Loss, ScoreFunction, Sides, Similarity, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss};
/// use ndarray::{Array2, array};
///
/// let (queries, documents) = (array![[1.0, 0.0], [0.0, 2.0]], array![[3.0, 0.0], [0.0, 1.0]]);
/// let function = DenseScores::new(Similarity::Dot);
/// let input = Sides { queries: queries.view(), documents: documents.view() };
///
/// let mut scores = Array2::<f64>::zeros((2, 2));
/// function.forward(input, scores.view_mut())?;
/// assert_eq!(scores, array![[3.0, 0.0], [0.0, 2.0]]);
///
/// let loss = SoftmaxCrossEntropyLoss::new(1.0)?;
/// let (_, gradient) = loss.value_and_gradient(SoftmaxCrossEntropyInput::new(scores.view()))?;
/// let mut to_queries = Array2::zeros((2, 2));
/// let to = Sides { queries: Some(to_queries.view_mut()), documents: None };
/// function.backward(input, gradient.scores.view(), to)?;
/// assert!((to_queries[[0, 0]] - 3.0 * gradient.scores[[0, 0]]).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
pub trait ScoreFunction<A: Scalar> {
    /// What the scores are computed from.
    type Input<'a>: Copy;
    /// Views that receive the gradient; what is `None` is not computed.
    type Gradient<'a>;

    /// Writes the score of every query with every document to `scores` `[n, m]`.
    ///
    /// # Errors
    /// If a shape or an index does not fit.
    fn forward(&self, input: Self::Input<'_>, scores: ArrayViewMut2<'_, A>) -> Result<(), Error>;

    /// Writes Σᵢⱼ `upstream`ᵢⱼ·∂sᵢⱼ/∂x for every number x of the input that is wanted; `upstream` is `[n, m]`.
    ///
    /// # Errors
    /// If a shape or an index does not fit.
    fn backward(
        &self,
        input: Self::Input<'_>,
        upstream: ArrayView2<'_, A>,
        gradient: Self::Gradient<'_>,
    ) -> Result<(), Error>;
}

/// Something of the queries and the same of the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sides<T> {
    /// Of the queries.
    pub queries: T,
    /// Of the documents.
    pub documents: T,
}
