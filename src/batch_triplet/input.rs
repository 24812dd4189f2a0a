//! What goes into the loss of a labelled batch and what comes out besides the value.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::error::{Error, check};
use crate::loss::OwnedGradient;
use crate::rows::check_shape;
use crate::scalar::Scalar;

/// A labelled batch: each row an anchor, and the rows of the batch, or those of a second matrix, its candidates.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BatchTripletInput<'a, A> {
    /// The anchors, `[n, dim]`.
    pub anchors: ArrayView2<'a, A>,
    /// The class, group or relevance id of each anchor, `[n]`.
    pub labels: ArrayView1<'a, u64>,
    /// The rows that anchors find positives and negatives among; the other anchors if there are none.
    pub candidates: Option<TripletCandidates<'a, A>>,
    /// A weight for each anchor, `[n]`. An anchor of weight zero has a row loss alone, but it stays a candidate.
    pub weights: Option<ArrayView1<'a, A>>,
}

/// Rows that anchors find positives and negatives among.
#[derive(Clone, Copy, Debug)]
pub struct TripletCandidates<'a, A> {
    /// The rows, `[m, dim]`.
    pub rows: ArrayView2<'a, A>,
    /// The id of each row, `[m]`: positive for the anchors with the same id, negative for all others.
    pub labels: ArrayView1<'a, u64>,
}

impl<'a, A> BatchTripletInput<'a, A> {
    /// Embeddings `[n, dim]` with a label each, `[n]`; every other row is a candidate.
    pub fn new(embeddings: ArrayView2<'a, A>, labels: ArrayView1<'a, u64>) -> Self {
        Self {
            anchors: embeddings,
            labels,
            candidates: None,
            weights: None,
        }
    }

    /// Candidates `[m, dim]` of their own, with a label each, `[m]`: anchors are queries, candidates documents, and equal ids mean relevant.
    #[must_use]
    pub fn with_candidates(
        self,
        candidates: ArrayView2<'a, A>,
        labels: ArrayView1<'a, u64>,
    ) -> Self {
        Self {
            candidates: Some(TripletCandidates {
                rows: candidates,
                labels,
            }),
            ..self
        }
    }

    /// A weight for each anchor, `[n]`.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }
}

impl<'a, A: Scalar> BatchTripletInput<'a, A> {
    /// The candidates, be they the anchors themselves.
    pub(super) fn candidates(&self) -> TripletCandidates<'a, A> {
        self.candidates.unwrap_or(TripletCandidates {
            rows: self.anchors,
            labels: self.labels,
        })
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let (n, dim) = self.anchors.dim();
        check_shape("labels", &[n], self.labels.shape())?;
        if let Some(candidates) = &self.candidates {
            let m = candidates.rows.nrows();
            check_shape("candidates", &[m, dim], candidates.rows.shape())?;
            check_shape("candidates.labels", &[m], candidates.labels.shape())?;
        }
        let rows = n.max(self.candidates().rows.nrows());
        let few = u32::try_from(rows).is_ok();
        check("candidates", "fewer than 2³² rows", rows as f64, few)?;
        Ok(())
    }
}

/// Views that receive the gradient of [`BatchTripletLoss`](crate::BatchTripletLoss); what is `None` is not computed.
#[derive(Debug, Default)]
pub struct BatchTripletGradient<'a, A> {
    /// ∂L/∂anchors `[n, dim]`, with the anchors' part as candidates where they are their own candidates.
    pub anchors: Option<ArrayViewMut2<'a, A>>,
    /// ∂L/∂candidates `[m, dim]`, for an input that has candidates of its own.
    pub candidates: Option<ArrayViewMut2<'a, A>>,
}

impl<A: Scalar> BatchTripletGradient<'_, A> {
    pub(super) fn check(&self, input: &BatchTripletInput<'_, A>) -> Result<(), Error> {
        if let Some(view) = &self.anchors {
            check_shape("gradient.anchors", input.anchors.shape(), view.shape())?;
        }
        if let Some(view) = &self.candidates {
            let expected = input.candidates.map_or([0, 0], |candidates| {
                [candidates.rows.nrows(), candidates.rows.ncols()]
            });
            check_shape("gradient.candidates", &expected, view.shape())?;
        }
        Ok(())
    }
}

/// The gradient of [`BatchTripletLoss`](crate::BatchTripletLoss) in arrays of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchTripletOwnedGradient<A> {
    /// ∂L/∂anchors `[n, dim]`
    pub anchors: Array2<A>,
    /// ∂L/∂candidates `[m, dim]`, if the input has candidates of its own.
    pub candidates: Option<Array2<A>>,
}

impl<A> BatchTripletOwnedGradient<A> {
    /// Views of all arrays.
    pub fn view_mut(&mut self) -> BatchTripletGradient<'_, A> {
        BatchTripletGradient {
            anchors: Some(self.anchors.view_mut()),
            candidates: self.candidates.as_mut().map(|rows| rows.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for BatchTripletOwnedGradient<A> {
    type Input<'a> = BatchTripletInput<'a, A>;
    type Views<'a> = BatchTripletGradient<'a, A>;

    fn zeros(input: BatchTripletInput<'_, A>) -> Self {
        let zeros = |rows: ArrayView2<'_, A>| Array2::zeros(rows.dim());
        Self {
            anchors: zeros(input.anchors),
            candidates: input.candidates.map(|candidates| zeros(candidates.rows)),
        }
    }

    fn view_mut(&mut self) -> BatchTripletGradient<'_, A> {
        self.view_mut()
    }
}

/// Rows that were put together: an anchor, a candidate with its label and one with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Triplet {
    /// The row among the anchors.
    pub anchor: usize,
    /// The row among the candidates that has the anchor's label.
    pub positive: usize,
    /// The row among the candidates that has another label.
    pub negative: usize,
}

/// What a labelled batch looked like. Anchors of weight zero do not count, nor do those with a NaN among their distances.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BatchTripletReport {
    /// How many anchors have a triplet.
    pub anchors: u64,
    /// How many triplets there are.
    pub triplets: u64,
    /// How many of them have a loss that is not zero.
    pub active: u64,
    /// The mean d⁺ over the triplets; NaN if there are none.
    pub positive_distance: f64,
    /// The mean d⁻ over the triplets; NaN if there are none.
    pub negative_distance: f64,
    /// The triplets, if asked for by [`listing`](Self::listing).
    pub list: Option<Vec<Triplet>>,
}

impl BatchTripletReport {
    /// A report that asks for the list of triplets as well.
    pub fn listing() -> Self {
        Self {
            list: Some(Vec::new()),
            ..Self::default()
        }
    }
}
