//! Matryoshka: a loss over several prefixes of the same embeddings.

mod batches;
mod each;
mod nested;
mod rows;

use crate::error::{Error, check};
use crate::loss::{Loss, Want};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;
pub use nested::Nested;

/// Trains embeddings whose first coordinates are good embeddings by themselves: L = Σₖ wₖ L(first mₖ coordinates).
///
/// Gradient: Σₖ wₖ ∂L(first mₖ)/∂x, each reaching the coordinates that its prefix has; those beyond the longest prefix have gradient 0. Cosines are taken within each
/// prefix, so every prefix is normalised by its own norm. Row losses are summed likewise; the report is that of the longest prefix. A prefix of
/// weight 0 takes no part in any of it.
///
/// It takes every loss of embeddings that can be cut short ([`Nested`]): of pairs, of triplets, of labelled batches, InfoNCE.
///
/// InfoNCE scores all prefixes together, if queries compete for documents and a pool by no rules and have one positive at most: the products of a longer
/// prefix extend those of the shorter ones, and one product carries the weights of all prefixes that have a column to its gradient. So the products cost
/// what those of the longest prefix cost, and each prefix two sweeps over its scores: 64, 128, 256, 512 and 768 columns of 4096 queries and documents
/// take 1.4 times as long as 768 alone, and not 2.3 times (`cargo bench -- info_nce/matryoshka`). The accuracy is the sum of what each prefix promises.
///
/// [`CosineEmbeddingLoss`](crate::CosineEmbeddingLoss), [`TripletMarginLoss`](crate::TripletMarginLoss), [`ContrastiveLoss`](crate::ContrastiveLoss) without
/// hard pairs and [`CosineSimilarityLoss`](crate::CosineSimilarityLoss) read each row from memory once and measure it for all prefixes while it is in the
/// cache, unless the divisor depends on the losses ([`Reduction::MeanActive`](crate::Reduction::MeanActive)). The first of them goes on from the sums of the
/// shorter prefixes to those of the longer ones, and sums the gradients before it writes them, once; over more than 16 prefixes it is a pass for each.
///
/// Elsewhere every prefix is a pass of its own: it costs what the loss costs at its dimension, and one addition to the gradient. What of the gradient is `None` is
/// not computed there either, and takes no memory.
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

    /// A weight for each prefix; one of weight 0 is left out.
    ///
    /// # Errors
    /// If they are not as many as prefixes, one is negative or not finite, or all are 0.
    pub fn with_weights(self, weights: &[f64]) -> Result<Self, Error> {
        check_shape("weights", &[self.dims.len()], &[weights.len()])?;
        for &weight in weights {
            let in_range = weight >= 0.0 && weight.is_finite();
            check("weight", "a finite number, not negative", weight, in_range)?;
        }
        let some = weights.iter().any(|&weight| weight > 0.0);
        check("weights", "one at least that is not 0", 0.0, some)?;
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
        let prefixes = self.dims.iter().copied().zip(self.weights.iter().copied());
        let prefixes: Vec<(usize, f64)> = prefixes.filter(|prefix| prefix.1 > 0.0).collect();
        self.loss
            .evaluate_prefixes(&prefixes, input, want, workspace)
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
