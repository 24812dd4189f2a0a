//! What goes into InfoNCE and what comes out besides the value.

use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3};

use super::candidates::Targets;
use super::rules::{Guide, Ids, LogWeights};
use crate::loss::OwnedGradient;
use crate::scalar::Scalar;

/// A batch of queries with their candidates.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InfoNceInput<'a, A> {
    /// The queries, `[n, dim]`.
    pub queries: ArrayView2<'a, A>,
    /// The documents, `[m, dim]`: the positives among them, and the in-batch negatives.
    pub documents: ArrayView2<'a, A>,
    /// Which document is the positive of which query.
    pub targets: Targets<'a>,
    /// Negatives of each query alone, `[n, K, dim]`.
    pub negatives: Option<ArrayView3<'a, A>>,
    /// Negatives of all queries, `[p, dim]`.
    pub pool: Option<ArrayView2<'a, A>>,
    /// Ids that tell false negatives.
    pub ids: Option<Ids<'a>>,
    /// What is added to the scores of candidates.
    pub log_weights: LogWeights<'a, A>,
    /// Embeddings of another model that tell false negatives.
    pub guide: Option<Guide<'a, A>>,
    /// A weight for each query, `[n]`.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> InfoNceInput<'a, A> {
    /// Queries `[n, dim]` whose positives are the first n of the documents `[m, dim]`.
    pub fn new(queries: ArrayView2<'a, A>, documents: ArrayView2<'a, A>) -> Self {
        Self {
            queries,
            documents,
            targets: Targets::Aligned,
            negatives: None,
            pool: None,
            ids: None,
            log_weights: LogWeights {
                documents: None,
                negatives: None,
                pool: None,
            },
            guide: None,
            weights: None,
        }
    }

    /// Other positives than the first n documents.
    #[must_use]
    pub fn with_targets(self, targets: Targets<'a>) -> Self {
        Self { targets, ..self }
    }

    /// K negatives of each query alone, `[n, K, dim]`.
    #[must_use]
    pub fn with_negatives(self, negatives: ArrayView3<'a, A>) -> Self {
        Self {
            negatives: Some(negatives),
            ..self
        }
    }

    /// Negatives that all queries share, `[p, dim]`.
    #[must_use]
    pub fn with_pool(self, pool: ArrayView2<'a, A>) -> Self {
        Self {
            pool: Some(pool),
            ..self
        }
    }

    /// Ids that tell false negatives.
    #[must_use]
    pub fn with_ids(self, ids: Ids<'a>) -> Self {
        Self {
            ids: Some(ids),
            ..self
        }
    }

    /// What is added to the scores of candidates.
    #[must_use]
    pub fn with_log_weights(self, log_weights: LogWeights<'a, A>) -> Self {
        Self {
            log_weights,
            ..self
        }
    }

    /// Embeddings of another model that tell false negatives: by default those that score above the positive, see
    /// [`with_false_negatives`](crate::InfoNceLoss::with_false_negatives).
    #[must_use]
    pub fn with_guide(self, guide: Guide<'a, A>) -> Self {
        Self {
            guide: Some(guide),
            ..self
        }
    }

    /// A weight for each query, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

/// Views that receive the gradient of [`InfoNceLoss`](crate::InfoNceLoss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct InfoNceGradient<'a, A> {
    /// ∂L/∂queries `[n, dim]`
    pub queries: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂documents `[m, dim]`
    pub documents: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂negatives `[n, K, dim]`
    pub negatives: Option<ArrayViewMut3<'a, A>>,
    /// ∂L/∂pool `[p, dim]`; `None` for a memory queue that is not trained
    pub pool: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂log τ
    pub log_temperature: Option<&'a mut A>,
}

/// The gradient of [`InfoNceLoss`](crate::InfoNceLoss) in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct InfoNceOwnedGradient<A> {
    /// ∂L/∂queries `[n, dim]`
    pub queries: Array2<A>,
    /// ∂L/∂documents `[m, dim]`
    pub documents: Array2<A>,
    /// ∂L/∂negatives `[n, K, dim]`
    pub negatives: Option<Array3<A>>,
    /// ∂L/∂pool `[p, dim]`
    pub pool: Option<Array2<A>>,
    /// ∂L/∂log τ
    pub log_temperature: A,
}

impl<A> InfoNceOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> InfoNceGradient<'_, A> {
        InfoNceGradient {
            queries: Some(self.queries.view_mut()),
            documents: Some(self.documents.view_mut()),
            negatives: self
                .negatives
                .as_mut()
                .map(|negatives| negatives.view_mut()),
            pool: self.pool.as_mut().map(|pool| pool.view_mut()),
            log_temperature: Some(&mut self.log_temperature),
        }
    }
}

impl<A: Scalar> OwnedGradient for InfoNceOwnedGradient<A> {
    type Input<'a> = InfoNceInput<'a, A>;
    type Views<'a> = InfoNceGradient<'a, A>;

    fn zeros(input: InfoNceInput<'_, A>) -> Self {
        Self {
            queries: Array2::zeros(input.queries.dim()),
            documents: Array2::zeros(input.documents.dim()),
            negatives: input
                .negatives
                .map(|negatives| Array3::zeros(negatives.dim())),
            pool: input.pool.map(|pool| Array2::zeros(pool.dim())),
            log_temperature: A::zero(),
        }
    }

    fn view_mut(&mut self) -> InfoNceGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of queries looked like, in the query → document direction. Means over the queries, unweighted; NaN over none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct InfoNceReport {
    /// The share of queries whose positive scores highest of all its candidates.
    pub accuracy: f64,
    /// The mean reciprocal rank of the positive among the candidates. A candidate ties, and does not count as better, up to 16 ε·max(|z|, 1/τ)
    /// above the positive's score z = s/τ, with ε of the element type: that is the rounding of scores.
    pub reciprocal_rank: f64,
    /// The mean probability of the positive.
    pub positive_probability: f64,
    /// The mean similarity of the positive, not divided by the temperature.
    pub positive_similarity: f64,
    /// How many candidates of all queries were left out as false negatives.
    pub left_out: usize,
}
