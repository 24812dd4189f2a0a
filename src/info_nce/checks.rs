//! What is refused before anything is written.

use ndarray::Array1;

use super::positives::Positives;
use super::rules::Counts;
use super::{
    Directions, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport, PartitionMode,
    SeveralPositives,
};
use crate::error::Error;
use crate::loss::Want;
use crate::offsets::check_offsets;
use crate::rows::check_shape;
use crate::scalar::Scalar;

impl InfoNceLoss {
    pub(super) fn check_input<A: Scalar>(&self, input: &InfoNceInput<'_, A>) -> Result<(), Error> {
        let n = input.queries.nrows();
        check_shapes(input)?;
        input.targets.check(n, input.documents.nrows())?;
        self.reduction.check_weights("queries", n, input.weights)?;
        let others = input.negatives.is_some() || input.pool.is_some();
        if !self.in_batch_negatives && !others {
            let reason = "without in-batch negatives a query competes with nothing; give own negatives or a pool";
            return Err(Error::IllDefined { reason });
        }
        self.check_directions(input)?;
        self.check_sigmoid()
    }

    /// Refuses options of a softmax, where there is none.
    pub(super) fn check_sigmoid(&self) -> Result<(), Error> {
        if self.bias.is_some() && (self.decoupled || self.label_smoothing > 0.0) {
            let reason = "the sigmoid loss has no softmax, of which a positive could be left out or a label be spread over";
            return Err(Error::IllDefined { reason });
        }
        Ok(())
    }

    fn check_directions<A: Scalar>(&self, input: &InfoNceInput<'_, A>) -> Result<(), Error> {
        let Directions {
            query_to_query,
            document_to_query,
            document_to_document,
        } = self.directions;
        let without_positive = query_to_query || document_to_document;
        let refused = [
            (
                (without_positive || document_to_query) && !self.in_batch_negatives,
                "the symmetric form and other directions let the batch compete, which needs in-batch negatives",
            ),
            (
                (without_positive || document_to_query) && input.within,
                "a labelled batch has one direction: its queries are its documents",
            ),
            (
                without_positive && self.partition_mode == PartitionMode::PerDirection,
                "query to query and document to document have no positive of their own; let them join the softmax of the others",
            ),
            (
                (without_positive || document_to_query) && self.bias.is_some(),
                "the sigmoid loss is the same in both directions; it has no others",
            ),
            (
                document_to_query && (self.decoupled || self.label_smoothing > 0.0),
                "label smoothing and the decoupled form are defined for queries alone; call the loss for each direction",
            ),
        ];
        match refused.into_iter().find(|&(there, _)| there) {
            Some((_, reason)) => Err(Error::IllDefined { reason }),
            None => Ok(()),
        }
    }

    /// Refuses numbers of positives that an option has no meaning for.
    pub(super) fn check_positives<A: Scalar>(
        &self,
        input: &InfoNceInput<'_, A>,
        positives: &Positives,
    ) -> Result<(), Error> {
        let counts = || (0..input.queries.nrows()).map(|query| positives.count(query));
        if self.directions != Directions::default() && counts().any(|count| count != 1) {
            let reason =
                "directions other than query to document need exactly one positive for each query";
            return Err(Error::IllDefined { reason });
        }
        let several = counts().any(|count| count > 1);
        if several && self.label_smoothing > 0.0 {
            let reason = "a label that several positives share cannot be smoothed";
            return Err(Error::IllDefined { reason });
        }
        if several && self.decoupled && self.several_positives == SeveralPositives::Together {
            let reason = "positives that are rivals of each other cannot leave the denominator; keep them apart";
            return Err(Error::IllDefined { reason });
        }
        Ok(())
    }

    /// Weights of zero for queries without a positive, where a softmax has nothing to say of them; `None` if there are none such.
    pub(super) fn effective_weights<A: Scalar>(
        &self,
        input: &InfoNceInput<'_, A>,
        positives: &Positives,
    ) -> Option<Array1<A>> {
        let n = input.queries.nrows();
        let none = |query| positives.count(query) == 0;
        if self.bias.is_some() || !(0..n).any(none) {
            return None;
        }
        let weight = |query| match input.weights {
            _ if none(query) => A::zero(),
            Some(weights) => weights[query],
            None => A::one(),
        };
        Some(Array1::from_shape_fn(n, weight))
    }
}

/// Refuses arrays that do not fit together.
pub(super) fn check_shapes<A: Scalar>(input: &InfoNceInput<'_, A>) -> Result<(), Error> {
    let (n, dim) = input.queries.dim();
    check_shape(
        "documents",
        &[input.documents.nrows(), dim],
        input.documents.shape(),
    )?;
    let (queries, documents) = (&input.queries, &input.documents);
    let is_one = queries.as_ptr() == documents.as_ptr()
        && queries.dim() == documents.dim()
        && queries.strides() == documents.strides();
    if input.within && !is_one {
        let reason = "the documents of a labelled batch are its queries; give other documents with targets by id";
        return Err(Error::IllDefined { reason });
    }
    if let Some(negatives) = &input.negatives {
        let (first, count, _) = negatives.dim();
        let (first, count) = match &input.negative_offsets {
            Some(offsets) => {
                check_offsets("negative_offsets", *offsets, Some(n), first)?;
                (first, 1)
            }
            None => (n, count.max(1)),
        };
        check_shape("negatives", &[first, count, dim], negatives.shape())?;
    }
    if let Some(pool) = &input.pool {
        check_shape("pool", &[pool.nrows().max(1), dim], pool.shape())?;
    }

    let counts = Counts {
        queries: input.queries.nrows(),
        documents: input.documents.nrows(),
        own: input
            .negatives
            .map_or([input.queries.nrows(), 0], |negatives| {
                [negatives.dim().0, negatives.dim().1]
            }),
        pool: input.pool.map(|pool| pool.nrows()),
    };
    if let Some(ids) = &input.ids {
        ids.check(&counts)?;
    }
    if let Some(guide) = &input.guide {
        guide.check(&counts)?;
    }
    input.log_weights.check(&counts)?;
    Ok(())
}

pub(super) fn check_want<A: Scalar>(
    input: &InfoNceInput<'_, A>,
    want: &Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
) -> Result<(), Error> {
    if let Some(rows) = &want.rows {
        check_shape("rows", &[input.queries.nrows()], rows.shape())?;
    }
    match &want.gradient {
        Some(gradient) => check_gradient(input, gradient),
        None => Ok(()),
    }
}

pub(super) fn check_gradient<A: Scalar>(
    input: &InfoNceInput<'_, A>,
    gradient: &InfoNceGradient<'_, A>,
) -> Result<(), Error> {
    if let Some(view) = &gradient.queries {
        check_shape("gradient.queries", input.queries.shape(), view.shape())?;
    }
    if let Some(view) = &gradient.documents {
        let (rows, dim) = input.document_gradient();
        check_shape("gradient.documents", &[rows, dim], view.shape())?;
    }
    if let Some(view) = &gradient.negatives {
        let shape = input
            .negatives
            .map_or(vec![0, 0, 0], |negatives| negatives.shape().to_vec());
        check_shape("gradient.negatives", &shape, view.shape())?;
    }
    if let Some(view) = &gradient.pool {
        let shape = input.pool.map_or(vec![0, 0], |pool| pool.shape().to_vec());
        check_shape("gradient.pool", &shape, view.shape())?;
    }
    Ok(())
}
