//! What goes into the losses of pairs and what comes out besides the value.

use std::marker::PhantomData;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::error::Error;
use crate::label::PairLabel;
use crate::loss::{OwnedGradient, Want};
use crate::prefixes::clear_beyond;
use crate::reduction::Reduction;
use crate::rows::{Extent, check_shape};
use crate::scalar::Scalar;

/// A batch of pairs, with what is known of each: a [`PairLabel`], or a grade, a number of the embeddings' type that is the larger the more
/// alike the two are.
///
/// ```
/// use contrastive::{PairInput, PairLabel};
/// use ndarray::{ArrayView1, ArrayView2};
///
/// fn labelled<'a>(x: ArrayView2<'a, f32>, y: ArrayView2<'a, f32>, labels: ArrayView1<'a, PairLabel>) -> PairInput<'a, f32> {
///     PairInput::new(x, y, labels)
/// }
/// fn graded<'a>(x: ArrayView2<'a, f32>, y: ArrayView2<'a, f32>, grades: ArrayView1<'a, f32>) -> PairInput<'a, f32, f32> {
///     PairInput::new(x, y, grades)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PairInput<'a, A, T = PairLabel> {
    /// The first embeddings of the pairs, `[n, dim]`.
    pub x: ArrayView2<'a, A>,
    /// The second, `[n, dim]`.
    pub y: ArrayView2<'a, A>,
    /// The labels or grades of the pairs, `[n]`.
    pub labels: ArrayView1<'a, T>,
    /// A weight for each pair, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A, T> PairInput<'a, A, T> {
    /// Pairs of rows of `x` and `y` `[n, dim]` with their labels or grades `[n]`.
    pub fn new(x: ArrayView2<'a, A>, y: ArrayView2<'a, A>, labels: ArrayView1<'a, T>) -> Self {
        Self {
            x,
            y,
            labels,
            weights: None,
        }
    }

    /// A weight for each pair, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of a loss of pairs; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct PairGradient<'a, A> {
    /// ∂L/∂x `[n, dim]`
    pub x: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂y `[n, dim]`
    pub y: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of a loss of pairs in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairOwnedGradient<A, T = PairLabel> {
    /// ∂L/∂x `[n, dim]`
    pub x: Array2<A>,
    /// ∂L/∂y `[n, dim]`
    pub y: Array2<A>,
    of: PhantomData<T>,
}

impl<A, T> PairOwnedGradient<A, T> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> PairGradient<'_, A> {
        PairGradient {
            x: Some(self.x.view_mut()),
            y: Some(self.y.view_mut()),
        }
    }
}

impl<A: Scalar, T: 'static> OwnedGradient for PairOwnedGradient<A, T> {
    type Input<'a> = PairInput<'a, A, T>;
    type Views<'a> = PairGradient<'a, A>;

    fn zeros(input: PairInput<'_, A, T>) -> Self {
        Self {
            x: Array2::zeros(input.x.dim()),
            y: Array2::zeros(input.y.dim()),
            of: PhantomData,
        }
    }

    fn view_mut(&mut self) -> PairGradient<'_, A> {
        self.view_mut()
    }
}

/// What a caller may want of a loss of pairs.
pub(super) type Wanted<'w, 'g, A, R> = Want<'w, A, PairGradient<'g, A>, R>;

impl<A: Scalar> PairGradient<'_, A> {
    /// Makes the columns zero that no prefix has.
    pub(super) fn clear_beyond(&mut self, columns: usize) {
        clear_beyond(&mut self.x, columns);
        clear_beyond(&mut self.y, columns);
    }
}

impl<A: Scalar, T> PairInput<'_, A, T> {
    pub(super) fn extent(&self) -> Extent {
        let (n, dim) = self.x.dim();
        Extent {
            rows: n,
            row_bytes: dim.saturating_mul(2 * size_of::<A>()),
        }
    }

    /// Checks all shapes, and the weights against the reduction.
    pub(super) fn check<R>(
        &self,
        reduction: Reduction,
        want: &Wanted<'_, '_, A, R>,
    ) -> Result<(), Error> {
        let (n, dim) = self.x.dim();
        check_shape("y", &[n, dim], self.y.shape())?;
        check_shape("labels", &[n], self.labels.shape())?;
        reduction.check_weights("x", n, self.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        if let Some(gradient) = &want.gradient {
            for (name, view) in [("gradient.x", &gradient.x), ("gradient.y", &gradient.y)] {
                view.as_ref()
                    .map_or(Ok(()), |view| check_shape(name, &[n, dim], view.shape()))?;
            }
        }
        Ok(())
    }
}

/// Refuses grades that are not finite.
pub(super) fn check_grades<A: Scalar>(grades: ArrayView1<'_, A>) -> Result<(), Error> {
    match grades.iter().position(|grade| !grade.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::Grade {
            row,
            expected: "a finite grade",
            found: grades[row].wide(),
        }),
    }
}
