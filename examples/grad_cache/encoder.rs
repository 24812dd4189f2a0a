//! A hand-written encoder that keeps much for its way back: x ↦ dropout(tanh(x·W₁))·W₂ with a wide layer in the middle.

use contrastive::Scalar;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, LinalgScalar};

use crate::random::uniform;

/// The share of units that dropout keeps.
const KEEP: f64 = 0.9;
const DROPOUT_SEED: u64 = 11;

/// The element type: what the losses and ndarray's products take.
pub(crate) trait Number: Scalar + LinalgScalar {}

impl Number for f32 {}
impl Number for f64 {}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) features: usize,
    pub(crate) width: usize,
    pub(crate) dim: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Encoder<A> {
    /// W₁ `[features, width]`
    pub(crate) hidden: Array2<A>,
    /// W₂ `[width, dim]`
    pub(crate) output: Array2<A>,
}

/// What the way back needs of the way there: `[rows, width]`, which is what does not fit.
pub(crate) struct Tape<A> {
    tanh: Array2<A>,
    dropout: Array2<A>,
}

/// The gradient for the weights, added up over chunks and sides.
#[derive(Clone, Debug)]
pub(crate) struct Gradient<A> {
    pub(crate) hidden: Array2<A>,
    pub(crate) output: Array2<A>,
}

impl<A: Number> Encoder<A> {
    /// Weights uniform in ±√(3/inputs).
    pub(crate) fn new(sizes: Sizes, seed: u64) -> Self {
        let weights = |rows: usize, columns: usize, seed| {
            let bound = (3.0 / rows as f64).sqrt();
            Array2::from_shape_fn((rows, columns), |(i, j)| {
                number(bound * (2.0 * uniform(seed, (i * columns + j) as u64) - 1.0))
            })
        };
        Self {
            hidden: weights(sizes.features, sizes.width, seed),
            output: weights(sizes.width, sizes.dim, seed + 1),
        }
    }

    /// Embeddings `[rows, dim]` of inputs `[rows, features]`, which are rows `first..` of all that a step embeds.
    pub(crate) fn embed(&self, inputs: ArrayView2<'_, A>, first: usize) -> (Array2<A>, Tape<A>) {
        let tanh = inputs.dot(&self.hidden).mapv_into(|x| x.tanh());
        let width = tanh.ncols();
        let kept = number(1.0 / KEEP);
        let dropout = Array2::from_shape_fn(tanh.dim(), |(i, j)| {
            let place = (first + i) * width + j;
            if uniform(DROPOUT_SEED, place as u64) < KEEP {
                kept
            } else {
                A::zero()
            }
        });
        let embeddings = (&tanh * &dropout).dot(&self.output);
        (embeddings, Tape { tanh, dropout })
    }

    /// Adds to `gradient` what `by_embeddings`, the loss's gradient for the embeddings of `inputs`, says of the weights.
    pub(crate) fn backward(
        &self,
        inputs: ArrayView2<'_, A>,
        tape: Tape<A>,
        by_embeddings: ArrayView2<'_, A>,
        gradient: &mut Gradient<A>,
    ) {
        let one = A::one();
        let Tape { tanh, dropout } = tape;
        let activations = &tanh * &dropout;
        general_mat_mul(
            one,
            &activations.t(),
            &by_embeddings,
            one,
            &mut gradient.output,
        );
        let mut by_hidden = by_embeddings.dot(&self.output.t());
        by_hidden *= &dropout;
        by_hidden.zip_mut_with(&tanh, |slope, &tanh| *slope *= one - tanh * tanh);
        general_mat_mul(one, &inputs.t(), &by_hidden, one, &mut gradient.hidden);
    }
}

impl<A: Number> Gradient<A> {
    pub(crate) fn zeros(encoder: &Encoder<A>) -> Self {
        Self {
            hidden: Array2::zeros(encoder.hidden.dim()),
            output: Array2::zeros(encoder.output.dim()),
        }
    }

    /// The Euclidean norm over all weights.
    pub(crate) fn norm(&self) -> f64 {
        let all = self.hidden.iter().chain(&self.output);
        let squares = all.filter_map(|x| x.to_f64()).map(|x| x * x);
        squares.sum::<f64>().sqrt()
    }
}

pub(crate) fn number<A: Number>(x: f64) -> A {
    A::from(x).expect("an f64 rounds to a float")
}
