//! What goes into the M3 recipe and what comes out besides the value.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use super::positives::Positives;
use crate::loss::OwnedGradient;
use crate::scalar::Scalar;

/// The scores of the three heads of a model.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct M3Input<'a, A> {
    /// Scores of the dense embeddings, `[n, m]`, not divided by the temperature.
    pub dense: ArrayView2<'a, A>,
    /// Scores of the sparse (lexical) embeddings, `[n, m]`.
    pub sparse: ArrayView2<'a, A>,
    /// Scores of the multi-vector embeddings, `[n, m]`.
    pub multi_vector: ArrayView2<'a, A>,
    /// The positives of each row.
    pub positives: Positives<'a>,
    /// `true` for candidates that a row is not compared with, `[n, m]`. A row's own positives always take part.
    pub left_out: Option<ArrayView2<'a, bool>>,
    /// A weight for each row, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> M3Input<'a, A> {
    /// Scores `[n, m]` of the three heads whose diagonal belongs to the positives.
    pub fn new(
        dense: ArrayView2<'a, A>,
        sparse: ArrayView2<'a, A>,
        multi_vector: ArrayView2<'a, A>,
    ) -> Self {
        Self {
            dense,
            sparse,
            multi_vector,
            positives: Positives::Aligned,
            left_out: None,
            weights: None,
        }
    }

    /// Other positives than the diagonal's. With a group of g passages for each query, the first of them the positive, it is column g·i.
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

/// Views that receive the gradient of [`M3Loss`](crate::M3Loss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct M3Gradient<'a, A> {
    /// ∂L/∂dense `[n, m]`
    pub dense: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂sparse `[n, m]`
    pub sparse: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂multi_vector `[n, m]`
    pub multi_vector: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂log τ, through the students alone
    pub log_temperature: Option<&'a mut A>,
}

/// The gradient of [`M3Loss`](crate::M3Loss) in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct M3OwnedGradient<A> {
    /// ∂L/∂dense `[n, m]`
    pub dense: Array2<A>,
    /// ∂L/∂sparse `[n, m]`
    pub sparse: Array2<A>,
    /// ∂L/∂multi_vector `[n, m]`
    pub multi_vector: Array2<A>,
    /// ∂L/∂log τ, through the students alone
    pub log_temperature: A,
}

impl<A> M3OwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> M3Gradient<'_, A> {
        M3Gradient {
            dense: Some(self.dense.view_mut()),
            sparse: Some(self.sparse.view_mut()),
            multi_vector: Some(self.multi_vector.view_mut()),
            log_temperature: Some(&mut self.log_temperature),
        }
    }
}

impl<A: Scalar> OwnedGradient for M3OwnedGradient<A> {
    type Input<'a> = M3Input<'a, A>;
    type Views<'a> = M3Gradient<'a, A>;

    fn zeros(input: M3Input<'_, A>) -> Self {
        Self {
            dense: Array2::zeros(input.dense.dim()),
            sparse: Array2::zeros(input.sparse.dim()),
            multi_vector: Array2::zeros(input.multi_vector.dim()),
            log_temperature: A::zero(),
        }
    }

    fn view_mut(&mut self) -> M3Gradient<'_, A> {
        self.view_mut()
    }
}

/// The contrastive losses of the heads and of the integrated scores. Means over the rows with a positive, unweighted; NaN over none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct M3Report {
    /// L_dense
    pub dense: f64,
    /// L_lex
    pub sparse: f64,
    /// L_mul
    pub multi_vector: f64,
    /// L_inter
    pub integrated: f64,
    /// How many rows have no positive. They have loss 0 and are not divided by.
    pub without_positive: usize,
}
