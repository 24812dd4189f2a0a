//! Matryoshka: a loss over several prefixes of the same embeddings.

mod nested;

use ndarray::{ArrayViewMutD, Axis};

use crate::blocks::{Threads, for_each};
use crate::error::{Error, check};
use crate::loss::{Loss, OwnedGradient, Want};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;
pub use nested::Nested;

/// Trains embeddings whose first coordinates are good embeddings by themselves: L = Σₖ wₖ L(first mₖ coordinates).
///
/// Gradient: Σₖ wₖ ∂L(first mₖ)/∂x, each reaching the coordinates that its prefix has; those beyond the longest prefix have gradient 0. Cosines are taken within each
/// prefix, so every prefix is normalised by its own norm. Row losses are summed likewise; the report is that of the longest prefix.
///
/// It takes every loss of embeddings that can be cut short ([`Nested`]): of pairs, of triplets, of labelled batches, InfoNCE.
///
/// Every prefix is a pass of its own: it costs what the loss costs at its dimension, and one addition to the gradient.
///
/// Source: Kusupati et al. 2022, <https://arxiv.org/abs/2205.13147>; sentence-transformers' `MatryoshkaLoss`, whose default weights are 1, too.
///
/// ```
/// use contrastive::{Loss, Matryoshka, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[3.0, 4.0]], array![[1.0, 0.0]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
/// let loss = Matryoshka::new(TripletMarginLoss::new(1.0)?, &[1, 2])?.with_weights(&[0.5, 1.0])?;
/// let (value, gradient) = loss.value_and_gradient(input)?;
/// assert_eq!(value, 0.5 * 3.0 + 5.0); // 1 + 3 − 1 in one dimension, 1 + 5 − 1 in two
/// assert_eq!(gradient.negatives.index_axis(ndarray::Axis(1), 0), array![[-1.5, 0.0]]);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::Matryoshka<L>")
)]
pub struct Matryoshka<L> {
    loss: L,
    dims: Vec<usize>,
    weights: Vec<f64>,
}

impl<L> Matryoshka<L> {
    /// A loss over the prefixes of some lengths, each with weight 1.
    ///
    /// # Errors
    /// If there is no length, or they do not rise from 1 on.
    pub fn new(loss: L, dims: &[usize]) -> Result<Self, Error> {
        let expected = "at least one length of a prefix";
        check("dims", expected, dims.len() as f64, !dims.is_empty())?;
        let mut before = 0;
        for &dim in dims {
            let expected = "lengths of prefixes that rise, from 1 on";
            check("dims", expected, dim as f64, dim > before)?;
            before = dim;
        }
        Ok(Self {
            loss,
            weights: vec![1.0; dims.len()],
            dims: dims.to_vec(),
        })
    }

    /// A weight for each prefix.
    ///
    /// # Errors
    /// If they are not as many as prefixes, or one is negative or not finite.
    pub fn with_weights(self, weights: &[f64]) -> Result<Self, Error> {
        check_shape("weights", &[self.dims.len()], &[weights.len()])?;
        for &weight in weights {
            let in_range = weight >= 0.0 && weight.is_finite();
            check("weight", "a finite number, not negative", weight, in_range)?;
        }
        Ok(Self {
            weights: weights.to_vec(),
            ..self
        })
    }
}

impl<A: Scalar, L: Nested<A>> Loss<A> for Matryoshka<L> {
    type Input<'a> = L::Input<'a>;
    type Gradient<'a> = L::Gradient<'a>;
    type OwnedGradient = L::OwnedGradient;
    type Report = L::Report;

    fn evaluate(
        &self,
        input: L::Input<'_>,
        want: Want<'_, A, L::Gradient<'_>, L::Report>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let longest = self.dims[self.dims.len() - 1];
        let dim = check_columns(&L::shapes(&input))?;
        let expected = "lengths of prefixes that the embeddings have";
        check("dims", expected, longest as f64, longest <= dim)?;
        let Want {
            gradient,
            rows,
            report,
        } = want;
        let mut gradient = gradient.map(L::arrays);
        if let Some(views) = &gradient {
            let mut own = L::OwnedGradient::zeros(input);
            for (own, view) in L::arrays(own.view_mut()).iter().zip(views) {
                if let Some(view) = view {
                    let shape = own.as_ref().map_or(&[][..], |own| own.shape());
                    check_shape("gradient", shape, view.shape())?;
                }
            }
        }
        let n = rows.as_ref().map_or(0, |rows| rows.len());
        let mut row_sums = ndarray::Array1::<A>::zeros(n);
        let (mut value, mut report) = (0.0, report);
        // The longest first: it refuses whatever any would.
        for (&dim, &weight) in self.dims.iter().zip(&self.weights).rev() {
            let input = L::prefix(input, dim);
            let mut own = gradient.is_some().then(|| L::OwnedGradient::zeros(input));
            let mut own_rows = rows.as_ref().map(|_| ndarray::Array1::<A>::zeros(n));
            let want = Want {
                gradient: own.as_mut().map(|own| own.view_mut()),
                rows: own_rows.as_mut().map(|rows| rows.view_mut()),
                report: report.take(),
            };
            value += weight * self.loss.evaluate(input, want, workspace)?.wide();
            if let Some(own_rows) = own_rows {
                row_sums.zip_mut_with(&own_rows, |sum, &x| {
                    *sum = A::narrow(sum.wide() + weight * x.wide());
                });
            }
            if let (Some(views), Some(own)) = (&mut gradient, &mut own) {
                let first = dim == longest;
                add(views, L::arrays(own.view_mut()), weight, first);
            }
        }
        if let Some(mut rows) = rows {
            rows.assign(&row_sums);
        }
        Ok(A::narrow(value))
    }
}

/// The columns of the first embeddings. Refuses others that have more or fewer: cut short they would pass for equal.
fn check_columns(shapes: &[(&'static str, &[usize])]) -> Result<usize, Error> {
    let columns = |shape: &[usize]| shape.last().copied().unwrap_or(0);
    let dim = shapes.first().map_or(0, |(_, shape)| columns(shape));
    for (name, found) in shapes {
        let mut expected = found.to_vec();
        if let Some(last) = expected.last_mut() {
            *last = dim;
        }
        check_shape(name, &expected, found)?;
    }
    Ok(dim)
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
