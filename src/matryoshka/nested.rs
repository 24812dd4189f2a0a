//! What of a loss is cut short, and how prefixes come together.

use ndarray::{ArrayView, ArrayViewMut, ArrayViewMutD, Axis, Dimension, Ix0, RemoveAxis, Slice};

use super::each::evaluate_each;
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// A loss of embeddings that can be cut short.
pub trait Nested<A: Scalar>: Loss<A, OwnedGradient: 'static> {
    /// The names and shapes of all embeddings, of which the last axis is to be equal.
    fn shapes<'i>(input: &'i Self::Input<'_>) -> Vec<(&'static str, &'i [usize])>;
    /// The input with the first `dim` columns of every embedding.
    fn prefix<'a>(input: Self::Input<'a>, dim: usize) -> Self::Input<'a>;
    /// The views of a gradient, in a fixed order; columns of embeddings are their last axis, and numbers have no axes.
    fn arrays<'g>(gradient: Self::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>>;
    /// The gradient of which these are the [`arrays`](Self::arrays), in their order. An array with another number of axes than belongs in its place is not taken.
    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Self::Gradient<'g>;

    /// The sum of the loss over prefixes, each of a length and with a weight, which get longer and fit the input: the gradient reaches all columns of
    /// the input, the report is that of the longest. By default a pass for each; a loss that shares work between prefixes does it here.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate).
    fn evaluate_prefixes(
        &self,
        prefixes: &[(usize, f64)],
        input: Self::Input<'_>,
        want: Want<'_, A, Self::Gradient<'_>, Self::Report>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error>
    where
        Self: Sized,
    {
        evaluate_each(self, prefixes, input, want, workspace)
    }
}

pub(super) type Input<'a, L, A> = <L as Loss<A>>::Input<'a>;
pub(super) type Gradient<'g, L, A> = <L as Loss<A>>::Gradient<'g>;

pub(super) type Wanted<'w, 'g, L, A> =
    Want<'w, A, <L as Loss<A>>::Gradient<'g>, <L as Loss<A>>::Report>;

/// Several prefixes in one pass, if `together` makes one of them; a pass for each otherwise.
pub(super) fn together_or_each<'a, 'w, 'g, A: Scalar, L: Nested<A>>(
    loss: &L,
    prefixes: &[(usize, f64)],
    input: L::Input<'a>,
    mut want: Wanted<'w, 'g, L, A>,
    workspace: &mut Workspace<A>,
    together: impl FnOnce(
        &L::Input<'a>,
        &[(L::Input<'a>, f64)],
        &mut Wanted<'w, 'g, L, A>,
        &mut Workspace<A>,
    ) -> Result<Option<A>, Error>,
) -> Result<A, Error> {
    let cut = |&(dim, weight): &(usize, f64)| (L::prefix(input, dim), weight);
    let inputs: Vec<_> = prefixes.iter().map(cut).collect();
    match together(&input, &inputs, &mut want, workspace)? {
        Some(value) => Ok(value),
        None => evaluate_each(loss, prefixes, input, want, workspace),
    }
}

/// The first columns of embeddings, which are their last axis.
pub(super) fn cut<A, D: RemoveAxis>(
    embeddings: ArrayView<'_, A, D>,
    dim: usize,
) -> ArrayView<'_, A, D> {
    let axis = Axis(embeddings.ndim() - 1);
    let within = dim.min(embeddings.len_of(axis));
    embeddings.slice_axis_move(axis, Slice::from(..within))
}

pub(super) fn any<'g, A, D: Dimension>(
    view: Option<ArrayViewMut<'g, A, D>>,
) -> Option<ArrayViewMutD<'g, A>> {
    view.map(|view| view.into_dyn())
}

/// A number as an array without axes.
pub(super) fn number<A>(x: &mut A) -> ArrayViewMutD<'_, A> {
    ArrayViewMut::from_shape(Ix0(), std::slice::from_mut(x))
        .expect("one number fills no axes")
        .into_dyn()
}

/// The next of the arrays of a gradient, if it has as many axes.
pub(super) fn next<'g, A, D: Dimension>(
    arrays: &mut impl Iterator<Item = Option<ArrayViewMutD<'g, A>>>,
) -> Option<ArrayViewMut<'g, A, D>> {
    arrays.next().flatten()?.into_dimensionality().ok()
}

/// The next of the arrays of a gradient, which is a number.
pub(super) fn next_number<'g, A>(
    arrays: &mut impl Iterator<Item = Option<ArrayViewMutD<'g, A>>>,
) -> Option<&'g mut A> {
    next::<A, Ix0>(arrays).map(ArrayViewMut::into_scalar)
}
