//! Two towers over one embedding table: self-attention over the tokens of a text, their mean, a projection.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use crate::text::PADDING;

/// Sizes of an encoder.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Columns of the embedding table.
    pub width: usize,
    /// Columns of an embedding.
    pub dim: usize,
}

/// The encoder of both sides.
#[derive(Module, Debug)]
pub struct Encoder {
    table: Embedding,
    queries: Tower,
    documents: Tower,
}

/// What the two sides do not share.
#[derive(Module, Debug)]
struct Tower {
    query: Linear,
    key: Linear,
    value: Linear,
    projection: Linear,
}

impl Encoder {
    /// Random weights on `device`, which [`Device::seed`] determines.
    pub fn new(sizes: Sizes, device: &Device) -> Self {
        let Sizes {
            vocabulary,
            width,
            dim,
        } = sizes;
        let linear = |outputs| {
            LinearConfig::new(width, outputs)
                .with_bias(false)
                .init(device)
        };
        let tower = || Tower {
            query: linear(width),
            key: linear(width),
            value: linear(width),
            projection: linear(dim),
        };
        Self {
            table: EmbeddingConfig::new(vocabulary, width).init(device),
            queries: tower(),
            documents: tower(),
        }
    }

    /// Embeddings `[n, dim]` of queries, from token ids `[n, length]`.
    pub fn queries(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        self.queries.embed(&self.table, ids)
    }

    /// Embeddings `[n, dim]` of documents, from token ids `[n, length]`.
    pub fn documents(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        self.documents.embed(&self.table, ids)
    }

    /// All that is trained.
    pub fn weights(&self) -> Vec<Tensor<2>> {
        let tower = |t: &Tower| {
            [&t.query, &t.key, &t.value, &t.projection].map(|linear| linear.weight.val())
        };
        let mut weights = vec![self.table.weight.val()];
        weights.extend(tower(&self.queries));
        weights.extend(tower(&self.documents));
        weights
    }
}

impl Tower {
    fn embed(&self, table: &Embedding, ids: Tensor<2, Int>) -> Tensor<2> {
        let padding = ids.clone().equal_elem(PADDING);
        let present = padding.clone().bool_not().float();
        let tokens = table.forward(ids);
        let [_, length, width] = tokens.dims();

        let keys = self.key.forward(tokens.clone()).transpose();
        let scores = self.query.forward(tokens.clone()).matmul(keys) / (width as f64).sqrt();
        let scores = scores.mask_fill(padding.unsqueeze_dim::<3>(1).repeat_dim(1, length), -1e9);
        let mixed = softmax(scores, 2).matmul(self.value.forward(tokens.clone())) + tokens;

        let count = present.clone().sum_dim(1).clamp_min(1.0);
        let sum = (mixed * present.unsqueeze_dim::<3>(2)).sum_dim(1);
        self.projection.forward(sum.squeeze_dim::<2>(1) / count)
    }
}
