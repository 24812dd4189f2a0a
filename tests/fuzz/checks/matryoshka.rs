//! Losses over prefixes of the embeddings.

use contrastive::{Error, Loss, Matryoshka, Nested, Scalar, Want, Workspace};

use super::bytes::Bytes;
use super::call::{Nearness, reach};

#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    dims: Vec<usize>,
    weights: Vec<f64>,
}

impl Prefixes {
    /// Some of the prefixes of rows of a length; now and then one that is too long.
    pub(crate) fn from(bytes: &mut Bytes<'_>, dim: usize) -> Self {
        let longest = bytes.about(dim);
        let mut dims: Vec<_> = (1..=longest).filter(|_| bytes.below(4) == 0).collect();
        dims.push(longest);
        dims.dedup();
        let weights = dims
            .iter()
            .map(|_| bytes.parameter(&[1.0, 1.0, 0.5, 0.0, 1e-3]));
        Self {
            weights: weights.collect(),
            dims,
        }
    }
}

/// The loss, over prefixes if there are any.
pub(crate) fn evaluate<A: Scalar, L: Nested<A>>(
    loss: L,
    prefixes: Option<&Prefixes>,
    input: L::Input<'_>,
    want: Want<'_, A, L::Gradient<'_>, L::Report>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    let Some(Prefixes { dims, weights }) = prefixes else {
        return loss.evaluate(input, want, workspace);
    };
    let loss = Matryoshka::new(loss, dims)?.with_weights(weights)?;
    loss.evaluate(input, want, workspace)
}

/// How near the results over prefixes must be, given how near those of one of them must.
pub(crate) fn nearness(prefixes: Option<&Prefixes>, one: Nearness) -> Nearness {
    let Some(Prefixes { weights, .. }) = prefixes else {
        return one;
    };
    let sum: f64 = weights.iter().sum();
    Nearness {
        reach: weights
            .iter()
            .fold(one.reach, |all, &weight| all.max(reach([weight]))),
        row: one.row.map(|row| row * sum),
        ..one
    }
}
