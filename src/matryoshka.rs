//! Matryoshka: a loss over several prefixes of the same embeddings.

use ndarray::{ArrayViewMutD, Axis, Ix0, Slice};

use crate::cosine_embedding::{CosineEmbeddingInput, CosineEmbeddingLoss};
use crate::distance::Distance;
use crate::error::{Error, check};
use crate::info_nce::{InfoNceInput, InfoNceLoss};
use crate::loss::{Loss, OwnedGradient, Want};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::triplet_margin::{TripletMarginInput, TripletMarginLoss};
use crate::workspace::Workspace;

/// Trains embeddings whose first coordinates are good embeddings by themselves: L = Σₖ wₖ L(first mₖ coordinates).
///
/// Gradient: Σₖ wₖ ∂L(first mₖ)/∂x, each reaching the coordinates that its prefix has; those beyond the longest prefix have gradient 0. Cosines are taken within each
/// prefix, so every prefix is normalised by its own norm. Row losses are summed likewise; the report is that of the longest prefix.
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

/// A loss of embeddings that can be cut short.
pub trait Nested<A: Scalar>: Loss<A, OwnedGradient: 'static> {
    /// The columns of the embeddings.
    fn dim(input: &Self::Input<'_>) -> usize;
    /// The input with the first `dim` columns of every embedding.
    fn prefix<'a>(input: Self::Input<'a>, dim: usize) -> Self::Input<'a>;
    /// The views of a gradient, in a fixed order; columns of embeddings are their last axis, and numbers have no axes.
    fn arrays<'g>(gradient: Self::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>>;
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
        let dim = L::dim(&input);
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

/// Adds a multiple of the gradient of a prefix; the first one replaces what was there.
fn add<A: Scalar>(
    to: &mut [Option<ArrayViewMutD<'_, A>>],
    from: Vec<Option<ArrayViewMutD<'_, A>>>,
    weight: f64,
    first: bool,
) {
    for (to, from) in to.iter_mut().zip(from) {
        let (Some(to), Some(from)) = (to, from) else {
            continue;
        };
        if first {
            to.fill(A::zero());
        }
        let mut to = to.view_mut();
        if let (Some(axis), Some(&dim)) = (to.ndim().checked_sub(1), from.shape().last()) {
            to = to.slice_axis_move(Axis(axis), Slice::from(..dim));
        }
        to.zip_mut_with(&from, |to, &x| {
            *to = A::narrow(to.wide() + weight * x.wide());
        });
    }
}

/// A number as an array without axes.
fn number<A>(x: &mut A) -> ArrayViewMutD<'_, A> {
    ndarray::ArrayViewMut::from_shape(Ix0(), std::slice::from_mut(x))
        .expect("one number fills no axes")
        .into_dyn()
}

impl<A: Scalar> Nested<A> for CosineEmbeddingLoss {
    fn dim(input: &CosineEmbeddingInput<'_, A>) -> usize {
        input.x.ncols()
    }

    fn prefix<'a>(input: <Self as Loss<A>>::Input<'a>, dim: usize) -> <Self as Loss<A>>::Input<'a> {
        let cut = |rows: ndarray::ArrayView2<'a, A>| {
            rows.slice_axis_move(Axis(1), Slice::from(..dim.min(rows.ncols())))
        };
        CosineEmbeddingInput {
            x: cut(input.x),
            y: cut(input.y),
            ..input
        }
    }

    fn arrays<'g>(gradient: <Self as Loss<A>>::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        [gradient.x, gradient.y]
            .map(|view| view.map(|view| view.into_dyn()))
            .into()
    }
}

impl<A: Scalar, D: Distance<A>> Nested<A> for TripletMarginLoss<D> {
    fn dim(input: &TripletMarginInput<'_, A>) -> usize {
        input.anchor.ncols()
    }

    fn prefix<'a>(input: <Self as Loss<A>>::Input<'a>, dim: usize) -> <Self as Loss<A>>::Input<'a> {
        let cut = |rows: ndarray::ArrayView2<'a, A>| {
            rows.slice_axis_move(Axis(1), Slice::from(..dim.min(rows.ncols())))
        };
        let negatives = input.negatives;
        let within = dim.min(negatives.dim().2);
        TripletMarginInput {
            anchor: cut(input.anchor),
            positive: cut(input.positive),
            negatives: negatives.slice_axis_move(Axis(2), Slice::from(..within)),
            ..input
        }
    }

    fn arrays<'g>(gradient: <Self as Loss<A>>::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![
            gradient.anchor.map(|view| view.into_dyn()),
            gradient.positive.map(|view| view.into_dyn()),
            gradient.negatives.map(|view| view.into_dyn()),
        ]
    }
}

/// A guide keeps all its columns: it is another model's.
impl<A: Scalar> Nested<A> for InfoNceLoss {
    fn dim(input: &InfoNceInput<'_, A>) -> usize {
        input.queries.ncols()
    }

    fn prefix<'a>(input: <Self as Loss<A>>::Input<'a>, dim: usize) -> <Self as Loss<A>>::Input<'a> {
        let cut = |rows: ndarray::ArrayView2<'a, A>| {
            rows.slice_axis_move(Axis(1), Slice::from(..dim.min(rows.ncols())))
        };
        let cut_all = |rows: ndarray::ArrayView3<'a, A>| {
            rows.slice_axis_move(Axis(2), Slice::from(..dim.min(rows.dim().2)))
        };
        InfoNceInput {
            queries: cut(input.queries),
            documents: cut(input.documents),
            negatives: input.negatives.map(cut_all),
            pool: input.pool.map(cut),
            ..input
        }
    }

    fn arrays<'g>(gradient: <Self as Loss<A>>::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![
            gradient.queries.map(|view| view.into_dyn()),
            gradient.documents.map(|view| view.into_dyn()),
            gradient.negatives.map(|view| view.into_dyn()),
            gradient.pool.map(|view| view.into_dyn()),
            gradient.log_temperature.map(number),
            gradient.bias.map(number),
        ]
    }
}
