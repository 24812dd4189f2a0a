//! The trait of every loss, and how to add one.
//!
//! # Adding a loss
//!
//! 1. A new file with, in this order: the input struct (`ArrayView`s, labels and optional weights, `Copy`), the gradient struct (one
//!    `Option<ArrayViewMut>` per differentiable input: `None` skips that work), the owned gradient with its
//!    [`OwnedGradient`], the report of its diagnostics, the loss itself (hyper-parameters only, checked in the constructor), and
//!    `impl<A: Scalar> Loss<A>` with [`evaluate`](Loss::evaluate), the only required method.
//! 2. `evaluate` checks shapes, labels and weights first, and writes nothing before all checks have passed.
//! 3. One function of a row (or a block of rows) computes value and gradient, for [`forward`](Loss::forward) and
//!    [`forward_backward`](Loss::forward_backward) alike: so both give the same bits.
//! 4. `evaluate` calls a generic function of the file through a line in `compiled.rs`, so that it is compiled once, in this crate.
//! 5. One `mod` and one `pub use` line in `lib.rs`, and an entry in the shared lists of `tests/`: finite differences, layouts, threads, errors.
//!
//! A loss whose rows are independent needs no more than `rows::evaluate`; see `cosine_embedding`.

use ndarray::ArrayViewMut1;

use crate::error::Error;
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// A training loss with its analytic gradient: L = Σᵢ wᵢ ℓᵢ / Z over the rows of a batch.
///
/// The caller owns every array. Gradients are **overwritten**, never accumulated, in buffers that can be reused from step to step. When an
/// [`Error`] is returned nothing has been written.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
/// use ndarray::array;
///
/// let queries = array![[1.0, 0.0], [0.0, 1.0]];
/// let documents = array![[1.0, 0.0], [0.0, 1.0]];
/// let loss = InfoNceLoss::new(1.0)?;
/// let (value, gradient) = loss.value_and_gradient(InfoNceInput::new(queries.view(), documents.view()))?;
///
/// // Each query scores 1 with its document and 0 with the other: ln(e¹ + e⁰) − 1.
/// assert!((value - (1.0_f64.exp() + 1.0).ln() + 1.0).abs() < 1e-15);
/// assert_eq!(gradient.queries.dim(), (2, 2));
/// # Ok::<(), contrastive::Error>(())
/// ```
pub trait Loss<A: Scalar> {
    /// Read-only views of one batch: embeddings, labels, optional weights.
    type Input<'a>: Copy;
    /// Views that receive the gradient, one for each differentiable input and of its shape; what is `None` is not computed.
    type Gradient<'a>;
    /// The same, owned.
    type OwnedGradient: for<'a> OwnedGradient<Input<'a> = Self::Input<'a>, Views<'a> = Self::Gradient<'a>>;
    /// Diagnostics of a batch, computed on request in the same pass.
    type Report;

    /// The value, with whatever else is wanted of the same pass. The other methods call this one.
    ///
    /// # Errors
    /// If a shape, label, index or weight does not fit. Nothing has been written then.
    fn evaluate(
        &self,
        input: Self::Input<'_>,
        want: Want<'_, A, Self::Gradient<'_>, Self::Report>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error>;

    /// The value alone. Equal to the bit to the value that comes with a gradient.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate).
    fn forward(&self, input: Self::Input<'_>) -> Result<A, Error> {
        self.evaluate(input, Want::value(), &mut Workspace::new())
    }

    /// The value, and the loss ℓᵢ of each row, unweighted (reduction "none"), written to `rows` `[n]`.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate), and if `rows` has another length.
    fn forward_rows(&self, input: Self::Input<'_>, rows: ArrayViewMut1<'_, A>) -> Result<A, Error> {
        self.evaluate(input, Want::value().with_rows(rows), &mut Workspace::new())
    }

    /// The value, and its gradient into the caller's views.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate), and if a gradient view has another shape than its input.
    fn forward_backward(
        &self,
        input: Self::Input<'_>,
        gradient: Self::Gradient<'_>,
    ) -> Result<A, Error> {
        self.evaluate(input, Want::gradient(gradient), &mut Workspace::new())
    }

    /// The gradient into the caller's views.
    ///
    /// # Errors
    /// As for [`forward_backward`](Loss::forward_backward).
    fn backward(&self, input: Self::Input<'_>, gradient: Self::Gradient<'_>) -> Result<(), Error> {
        self.forward_backward(input, gradient).map(|_| ())
    }

    /// The short call: the value, and the gradient in arrays that it allocates.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate).
    fn value_and_gradient(
        &self,
        input: Self::Input<'_>,
    ) -> Result<(A, Self::OwnedGradient), Error> {
        let mut gradient = Self::OwnedGradient::zeros(input);
        let value = self.forward_backward(input, gradient.view_mut())?;
        Ok((value, gradient))
    }
}

/// Arrays that hold a gradient, to be reused from call to call.
pub trait OwnedGradient: Sized {
    /// The input that the gradient belongs to.
    type Input<'a>;
    /// The views that a loss writes.
    type Views<'a>
    where
        Self: 'a;

    /// Zeros in the shape of each differentiable input.
    fn zeros(input: Self::Input<'_>) -> Self;
    /// Views of all arrays.
    fn view_mut(&mut self) -> Self::Views<'_>;
}

/// What [`Loss::evaluate`] is asked for besides the value.
///
/// ```
/// use contrastive::{CosineEmbeddingInput, CosineEmbeddingLoss, Loss, PairLabel, Want, Workspace};
/// use ndarray::{Array1, array};
///
/// let (x, y) = (array![[1.0, 0.0], [1.0, 0.0]], array![[0.0, 2.0], [3.0, 0.0]]);
/// let labels = array![PairLabel::Match, PairLabel::Match];
/// let mut rows = Array1::zeros(2);
/// let want = Want::value().with_rows(rows.view_mut());
/// let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
/// let mean = CosineEmbeddingLoss::new(0.0)?.evaluate(input, want, &mut Workspace::new())?;
/// assert_eq!((mean, rows), (0.5, array![1.0, 0.0]));
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Debug)]
pub struct Want<'a, A, G, R> {
    /// Views for the gradient.
    pub gradient: Option<G>,
    /// A view `[n]` for the unweighted loss of each row.
    pub rows: Option<ArrayViewMut1<'a, A>>,
    /// Diagnostics of the batch.
    pub report: Option<&'a mut R>,
}

impl<'a, A, G, R> Want<'a, A, G, R> {
    /// Nothing but the value.
    pub fn value() -> Self {
        Self {
            gradient: None,
            rows: None,
            report: None,
        }
    }

    /// The gradient as well.
    pub fn gradient(gradient: G) -> Self {
        Self {
            gradient: Some(gradient),
            rows: None,
            report: None,
        }
    }

    /// All of it, and nothing but the value is left.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::value())
    }

    /// The loss of each row as well, unweighted.
    #[must_use]
    pub fn with_rows(self, rows: ArrayViewMut1<'a, A>) -> Self {
        Self {
            rows: Some(rows),
            ..self
        }
    }

    /// The diagnostics as well.
    #[must_use]
    pub fn with_report(self, report: &'a mut R) -> Self {
        Self {
            report: Some(report),
            ..self
        }
    }
}
