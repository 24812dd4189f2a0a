//! The losses in which the rows of a batch compete, cut short.

use ndarray::ArrayViewMutD;

use super::nested::{
    Gradient, Input, Nested, Wanted, any, cut, next, next_number, number, together_or_each,
};
use crate::batch_triplet::{
    BatchTripletGradient, BatchTripletInput, BatchTripletLoss, TripletCandidates,
};
use crate::distance::Distance;
use crate::error::Error;
use crate::info_nce::{InfoNceGradient, InfoNceInput, InfoNceLoss};
use crate::pairs::{BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// A guide keeps all its columns: it is another model's.
impl<A: Scalar> Nested<A> for InfoNceLoss {
    fn shapes<'i>(input: &'i InfoNceInput<'_, A>) -> Vec<(&'static str, &'i [usize])> {
        let batch = [
            ("queries", input.queries.shape()),
            ("documents", input.documents.shape()),
        ];
        let negatives = input.negatives.iter();
        let negatives = negatives.map(|rows| ("negatives", rows.shape()));
        let pool = input.pool.iter().map(|rows| ("pool", rows.shape()));
        batch.into_iter().chain(negatives).chain(pool).collect()
    }

    fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
        InfoNceInput {
            queries: cut(input.queries, dim),
            documents: cut(input.documents, dim),
            negatives: input.negatives.map(|rows| cut(rows, dim)),
            pool: input.pool.map(|rows| cut(rows, dim)),
            ..input
        }
    }

    fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![
            any(gradient.queries),
            any(gradient.documents),
            any(gradient.negatives),
            any(gradient.pool),
            gradient.log_temperature.map(number),
            gradient.bias.map(number),
        ]
    }

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
        let mut arrays = arrays.into_iter();
        InfoNceGradient {
            queries: next(&mut arrays),
            documents: next(&mut arrays),
            negatives: next(&mut arrays),
            pool: next(&mut arrays),
            log_temperature: next_number(&mut arrays),
            bias: next_number(&mut arrays),
        }
    }

    /// Prefixes share their products where they can, see [`Matryoshka`](super::Matryoshka).
    fn evaluate_prefixes(
        &self,
        prefixes: &[(usize, f64)],
        input: Input<'_, Self, A>,
        want: Wanted<'_, '_, Self, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let together = |input: &_, prefixes: &[_], want: &mut _, workspace: &mut _| {
            A::info_nce_prefixes(self, input, prefixes, want, workspace)
        };
        together_or_each(self, prefixes, input, want, workspace, together)
    }
}

impl<A: Scalar> Nested<A> for BatchTripletLoss {
    fn shapes<'i>(input: &'i BatchTripletInput<'_, A>) -> Vec<(&'static str, &'i [usize])> {
        let candidates = input.candidates.iter();
        let candidates = candidates.map(|candidates| ("candidates", candidates.rows.shape()));
        [("anchors", input.anchors.shape())]
            .into_iter()
            .chain(candidates)
            .collect()
    }

    fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
        BatchTripletInput {
            anchors: cut(input.anchors, dim),
            candidates: input.candidates.map(|candidates| TripletCandidates {
                rows: cut(candidates.rows, dim),
                ..candidates
            }),
            ..input
        }
    }

    fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![any(gradient.anchors), any(gradient.candidates)]
    }

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
        let mut arrays = arrays.into_iter();
        BatchTripletGradient {
            anchors: next(&mut arrays),
            candidates: next(&mut arrays),
        }
    }
}

impl<A: Scalar, D: Distance<A>> Nested<A> for BatchContrastiveLoss<D> {
    fn shapes<'i>(input: &'i BatchContrastiveInput<'_, A>) -> Vec<(&'static str, &'i [usize])> {
        vec![("embeddings", input.embeddings.shape())]
    }

    fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
        BatchContrastiveInput {
            embeddings: cut(input.embeddings, dim),
            ..input
        }
    }

    fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![any(gradient.embeddings)]
    }

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
        let mut arrays = arrays.into_iter();
        BatchContrastiveGradient {
            embeddings: next(&mut arrays),
        }
    }
}
