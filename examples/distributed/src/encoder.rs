//! The smallest encoder that shows how its gradient is shared: one weight matrix for both sides.

use contrastive::Error;
use ndarray::{Array2, ArrayView2, linalg::general_mat_mul};

use crate::shards::Shards;
use crate::{Share, gathered, ring};

/// How documents get to the queries of other ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exchange {
    Gathered,
    Ring,
}

impl Exchange {
    pub fn info_nce(
        self,
        shards: &Shards<'_>,
        temperature: f64,
        queries: ArrayView2<'_, f64>,
        documents: ArrayView2<'_, f64>,
    ) -> Result<Share<f64>, Error> {
        match self {
            Self::Gathered => gathered::info_nce(shards, temperature, queries, documents),
            Self::Ring => ring::info_nce(shards, temperature, queries, documents),
        }
    }
}

/// Features to embeddings: x ↦ x·W, the same W on every rank.
pub struct Encoder {
    /// `[features, dim]`
    pub weights: Array2<f64>,
}

impl Encoder {
    /// One step of gradient descent on this rank's shard of the batch, `[rows, features]` each; the loss before it.
    ///
    /// The gradients of the weights are **added** over ranks: the loss is a mean over the whole batch already.
    pub fn step(
        &mut self,
        shards: &Shards<'_>,
        exchange: Exchange,
        queries: ArrayView2<'_, f64>,
        documents: ArrayView2<'_, f64>,
    ) -> Result<f64, Error> {
        let (q, d) = (queries.dot(&self.weights), documents.dot(&self.weights));
        let share = exchange.info_nce(shards, TEMPERATURE, q.view(), d.view())?;
        let mut gradient = queries.t().dot(&share.queries);
        general_mat_mul(1.0, &documents.t(), &share.documents, 1.0, &mut gradient);
        let gradient = shards.all_reduce(gradient);
        self.weights.scaled_add(-RATE, &gradient);
        Ok(share.value)
    }
}

pub const TEMPERATURE: f64 = 0.1;
pub const RATE: f64 = 0.02;
