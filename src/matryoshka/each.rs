//! Prefixes one by one: a pass for each, and the sum of what they give.

use ndarray::{Array1, ArrayD, ArrayViewMutD, Axis};

use super::{Nested, check_columns};
use crate::blocks::{Threads, for_each};
use crate::error::{Error, check};
use crate::loss::{OwnedGradient, Want};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// The weighted sum of a loss over prefixes, see [`Nested::evaluate_prefixes`].
pub(super) fn evaluate_each<A: Scalar, L: Nested<A>>(
    loss: &L,
    prefixes: &[(usize, f64)],
    input: L::Input<'_>,
    want: Want<'_, A, L::Gradient<'_>, L::Report>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    let count = prefixes.len() as f64;
    check("prefixes", "at least one", count, !prefixes.is_empty())?;
    let Want {
        gradient,
        rows,
        mut report,
    } = want;
    let mut gradient = gradient.map(L::arrays);
    if let Some(views) = &gradient {
        check_gradient::<A, L>(input, views)?;
    }
    let n = rows.as_ref().map_or(0, |rows| rows.len());
    let (mut value, mut row_sums) = (0.0, Array1::<A>::zeros(n));
    // The longest first: it refuses whatever any would.
    for (index, &(dim, weight)) in prefixes.iter().rev().enumerate() {
        let input = L::prefix(input, dim);
        let mut own = gradient.as_deref().map(|views| zeros(views, dim));
        let mut own_rows = rows.as_ref().map(|_| Array1::<A>::zeros(n));
        let want = Want {
            gradient: own.as_mut().map(|own| L::gradient(views_of(own))),
            rows: own_rows.as_mut().map(|rows| rows.view_mut()),
            report: report.take(),
        };
        value += weight * loss.evaluate(input, want, workspace)?.wide();
        if let Some(own_rows) = own_rows {
            row_sums.zip_mut_with(&own_rows, |sum, &x| {
                *sum = A::narrow(sum.wide() + weight * x.wide());
            });
        }
        if let (Some(views), Some(own)) = (&mut gradient, &mut own) {
            add(views, views_of(own), weight, index == 0);
        }
    }
    if let Some(mut rows) = rows {
        rows.assign(&row_sums);
    }
    Ok(A::narrow(value))
}

/// Refuses views of other shapes than the gradient has.
fn check_gradient<A: Scalar, L: Nested<A>>(
    input: L::Input<'_>,
    views: &[Option<ArrayViewMutD<'_, A>>],
) -> Result<(), Error> {
    let columns = check_columns(&L::shapes(&input))?;
    // All but the columns can be read off the gradient of the shortest prefix.
    let mut own = L::OwnedGradient::zeros(L::prefix(input, 1));
    for (own, view) in L::arrays(own.view_mut()).iter().zip(views) {
        let Some(view) = view else {
            continue;
        };
        // That of what is not there has no numbers.
        let mut shape = vec![0; view.ndim()];
        if let Some(own) = own {
            shape = own.shape().to_vec();
            set_last(&mut shape, columns);
        }
        check_shape("gradient", &shape, view.shape())?;
    }
    Ok(())
}

/// Zeros in the shape of the gradient of a prefix; what is not wanted is not there.
fn zeros<A: Scalar>(wanted: &[Option<ArrayViewMutD<'_, A>>], dim: usize) -> Vec<Option<ArrayD<A>>> {
    let zeros = |view: &ArrayViewMutD<'_, A>| {
        let mut shape = view.shape().to_vec();
        let columns = shape.last().map_or(0, |&columns| columns.min(dim));
        set_last(&mut shape, columns);
        ArrayD::zeros(shape)
    };
    wanted.iter().map(|view| view.as_ref().map(zeros)).collect()
}

/// Sets the columns of a shape, unless it is that of a number, which has none.
fn set_last(shape: &mut [usize], columns: usize) {
    if let Some(last) = shape.last_mut() {
        *last = columns;
    }
}

fn views_of<A>(arrays: &mut [Option<ArrayD<A>>]) -> Vec<Option<ArrayViewMutD<'_, A>>> {
    let arrays = arrays.iter_mut().map(Option::as_mut);
    arrays
        .map(|array| array.map(|array| array.view_mut()))
        .collect()
}

/// Adds a multiple of the gradient of a prefix; the first one replaces what was there.
fn add<A: Scalar>(
    to: &mut [Option<ArrayViewMutD<'_, A>>],
    from: Vec<Option<ArrayViewMutD<'_, A>>>,
    weight: f64,
    first: bool,
) {
    /// Rows that are added by one thread at a time.
    const ROWS: usize = 64;
    let add = |mut to: ArrayViewMutD<'_, A>, from: ArrayViewMutD<'_, A>| {
        to.zip_mut_with(&from, |to, &x| {
            let before = if first { 0.0 } else { to.wide() };
            *to = A::narrow(before + weight * x.wide());
        });
    };
    for (to, from) in to.iter_mut().zip(from) {
        let (Some(to), Some(from)) = (to, from) else {
            continue;
        };
        let Some(axis) = to.ndim().checked_sub(1) else {
            add(to.view_mut(), from);
            continue;
        };
        let (within, mut beyond) = to.view_mut().split_at(Axis(axis), from.len_of(Axis(axis)));
        if first {
            beyond.fill(A::zero());
        }
        let threads = Threads::for_nanoseconds(from.len() as f64);
        let rows = from.len_of(Axis(0));
        for_each(threads, rows, ROWS, (within, from), &|_, _, (to, from)| {
            add(to, from);
        });
    }
}
