//! What goes into InfoNCE and what comes out besides the value.

use ndarray::{
    Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis,
};

use super::own::Starts;
use super::positives::Targets;
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
    /// Negatives of each query, `[n, K, dim]`; `[total, 1, dim]` with `negative_offsets`.
    pub negatives: Option<ArrayView3<'a, A>>,
    /// Where the negatives of each query begin, `[n + 1]`, if they are not as many for each.
    pub negative_offsets: Option<ArrayView1<'a, usize>>,
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
    /// Whether the documents are the queries.
    pub(crate) within: bool,
}

impl<'a, A> InfoNceInput<'a, A> {
    /// Queries `[n, dim]` whose positives are the first n of the documents `[m, dim]`.
    pub fn new(queries: ArrayView2<'a, A>, documents: ArrayView2<'a, A>) -> Self {
        Self {
            queries,
            documents,
            targets: Targets::Aligned,
            negatives: None,
            negative_offsets: None,
            pool: None,
            ids: None,
            log_weights: LogWeights {
                documents: None,
                negatives: None,
                others: None,
                pool: None,
            },
            guide: None,
            weights: None,
            within: false,
        }
    }

    /// A labelled batch: embeddings `[n, dim]` that are queries and documents at once. Every other row with its label `[n]` is a positive of a
    /// row, every row with another label a negative, and a row never competes with itself. Two views of one thing have the same label.
    ///
    /// The gradient is that by the `queries`; there is none by the documents.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let embeddings = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    /// let labels = array![5, 5, 8]; // the last has no positive, and is left out
    /// let input = InfoNceInput::labelled(embeddings.view(), labels.view());
    /// let value: f64 = InfoNceLoss::new(1.0)?.forward(input)?;
    /// assert!((value - (-1.0_f64).exp().ln_1p()).abs() < 1e-15); // cosine 1 against 0
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    pub fn labelled(embeddings: ArrayView2<'a, A>, labels: ArrayView1<'a, u64>) -> Self {
        Self {
            within: true,
            targets: Targets::Ids {
                queries: labels,
                documents: labels,
            },
            ..Self::new(embeddings, embeddings)
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
            negative_offsets: None,
            ..self
        }
    }

    /// Any number of negatives of each query alone: rows `[total, dim]`, of which those from `offsets[i]` up to `offsets[i + 1]` are query i's. Their
    /// gradient, ids, log weights and guide have the shape that goes with K = 1 negative for each of `total` rows.
    ///
    /// ```
    /// use contrastive::{InfoNceInput, InfoNceLoss, Loss};
    /// use ndarray::array;
    ///
    /// let queries = array![[1.0, 0.0], [0.0, 1.0]];
    /// let (negatives, offsets) = (array![[0.0, 1.0], [0.0, 2.0]], array![0, 2, 2]); // both are the first query's
    /// let input = InfoNceInput::new(queries.view(), queries.view())
    ///     .with_ragged_negatives(negatives.view(), offsets.view());
    /// let loss = InfoNceLoss::new(1.0)?.with_in_batch_negatives(false);
    /// let (value, gradient) = loss.value_and_gradient(input)?;
    /// assert!((value - (2.0 * (-1.0_f64).exp()).ln_1p() / 2.0).abs() < 1e-15);
    /// assert_eq!(gradient.negatives.unwrap().dim(), (2, 1, 2));
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_ragged_negatives(
        self,
        negatives: ArrayView2<'a, A>,
        offsets: ArrayView1<'a, usize>,
    ) -> Self {
        Self {
            negatives: Some(negatives.insert_axis(Axis(1))),
            negative_offsets: Some(offsets),
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

impl<'a, A> InfoNceInput<'a, A> {
    /// The same for a shorter time, which the compiler does not see by itself: array views are invariant in their lifetime.
    pub(super) fn reborrow<'b>(self) -> InfoNceInput<'b, A>
    where
        'a: 'b,
    {
        InfoNceInput {
            queries: self.queries.reborrow(),
            documents: self.documents.reborrow(),
            targets: self.targets.reborrow(),
            negatives: self.negatives.map(ArrayView3::reborrow),
            negative_offsets: self.negative_offsets.map(ArrayView1::reborrow),
            pool: self.pool.map(ArrayView2::reborrow),
            ids: self.ids.map(|ids| Ids {
                queries: ids.queries.reborrow(),
                documents: ids.documents.map(ArrayView1::reborrow),
                negatives: ids.negatives.map(ArrayView2::reborrow),
                pool: ids.pool.map(ArrayView1::reborrow),
            }),
            log_weights: LogWeights {
                documents: self.log_weights.documents.map(ArrayView1::reborrow),
                negatives: self.log_weights.negatives.map(ArrayView2::reborrow),
                others: self.log_weights.others.map(ArrayView2::reborrow),
                pool: self.log_weights.pool.map(ArrayView1::reborrow),
            },
            guide: self.guide.map(|guide| Guide {
                queries: guide.queries.reborrow(),
                documents: guide.documents.reborrow(),
                negatives: guide.negatives.map(ArrayView3::reborrow),
                pool: guide.pool.map(ArrayView2::reborrow),
            }),
            weights: self.weights.map(ArrayView1::reborrow),
            within: self.within,
        }
    }

    /// The shape of the documents' gradient.
    pub(super) fn document_gradient(&self) -> (usize, usize) {
        let (rows, dim) = self.documents.dim();
        (if self.within { 0 } else { rows }, dim)
    }

    /// Where the negatives of each query begin.
    pub(super) fn starts(&self) -> Starts<'a> {
        let fixed = self.negatives.map_or(0, |negatives| negatives.dim().1);
        self.negative_offsets
            .map_or(Starts::Every(fixed), Starts::Offsets)
    }
}

/// Views that receive the gradient of [`InfoNceLoss`](crate::InfoNceLoss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct InfoNceGradient<'a, A> {
    /// ∂L/∂queries `[n, dim]`
    pub queries: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂documents `[m, dim]`; `[0, dim]` for a labelled batch
    pub documents: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂negatives `[n, K, dim]`; `[total, 1, dim]` if they are ragged
    pub negatives: Option<ArrayViewMut3<'a, A>>,
    /// ∂L/∂pool `[p, dim]`; `None` for a memory queue that is not trained
    pub pool: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂log τ
    pub log_temperature: Option<&'a mut A>,
    /// ∂L/∂b of the [sigmoid](crate::InfoNceLoss::sigmoid) loss; 0 for others
    pub bias: Option<&'a mut A>,
}

/// The gradient of [`InfoNceLoss`](crate::InfoNceLoss) in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InfoNceOwnedGradient<A> {
    /// ∂L/∂queries `[n, dim]`
    pub queries: Array2<A>,
    /// ∂L/∂documents `[m, dim]`; `[0, dim]` for a labelled batch
    pub documents: Array2<A>,
    /// ∂L/∂negatives `[n, K, dim]`; `[total, 1, dim]` if they are ragged
    pub negatives: Option<Array3<A>>,
    /// ∂L/∂pool `[p, dim]`
    pub pool: Option<Array2<A>>,
    /// ∂L/∂log τ
    pub log_temperature: A,
    /// ∂L/∂b of the [sigmoid](crate::InfoNceLoss::sigmoid) loss; 0 for others
    pub bias: A,
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
            bias: Some(&mut self.bias),
        }
    }
}

impl<A: Scalar> OwnedGradient for InfoNceOwnedGradient<A> {
    type Input<'a> = InfoNceInput<'a, A>;
    type Views<'a> = InfoNceGradient<'a, A>;

    fn zeros(input: InfoNceInput<'_, A>) -> Self {
        Self {
            queries: Array2::zeros(input.queries.dim()),
            documents: Array2::zeros(input.document_gradient()),
            negatives: input
                .negatives
                .map(|negatives| Array3::zeros(negatives.dim())),
            pool: input.pool.map(|pool| Array2::zeros(pool.dim())),
            log_temperature: A::zero(),
            bias: A::zero(),
        }
    }

    fn view_mut(&mut self) -> InfoNceGradient<'_, A> {
        self.view_mut()
    }
}

/// What a batch of queries looked like. Means over the queries that have a positive, unweighted; NaN over none. Of several positives the best one counts.
///
/// Accuracy and rank are among the documents; `active` and the probability are those of the loss, whose softmax may have other directions in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct InfoNceReport {
    /// The share of queries whose loss is not zero.
    pub active: f64,
    /// The share of queries whose positive scores highest of all its candidates.
    pub accuracy: f64,
    /// The mean reciprocal rank of the positive among the candidates. A candidate ties, and does not count as better, up to 16 ε·max(|z|, 1/τ)
    /// above the positive's score z = s/τ, with ε of the element type: that is the rounding of scores.
    pub reciprocal_rank: f64,
    /// The mean probability of the positive; of several that share a denominator, of all of them. For the sigmoid loss the mean over positives of σ.
    pub positive_probability: f64,
    /// The mean similarity of the positive, not divided by the temperature.
    pub positive_similarity: f64,
    /// The mean similarity of the other candidates of queries, and of documents where they compete with documents, over all of them that are not left out.
    pub negative_similarity: f64,
    /// How many candidates of all queries were left out as false negatives, in all directions.
    pub left_out: usize,
    /// How many queries have no positive. They have no part in the loss, but for the sigmoid form.
    pub without_positive: usize,
}
