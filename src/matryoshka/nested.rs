//! What of a loss is cut short, for each loss of embeddings.

use ndarray::{ArrayView, ArrayViewMut, ArrayViewMutD, Axis, Dimension, Ix0, RemoveAxis, Slice};

use super::each::evaluate_each;
use crate::batch_triplet::{BatchTripletInput, BatchTripletLoss, TripletCandidates};
use crate::cosine_embedding::{CosineEmbeddingInput, CosineEmbeddingLoss};
use crate::distance::Distance;
use crate::error::Error;
use crate::info_nce::{InfoNceInput, InfoNceLoss};
use crate::label::PairLabel;
use crate::loss::{Loss, Want};
use crate::pairs::{
    AngleLoss, BatchContrastiveInput, BatchContrastiveLoss, CoSentLoss, ContrastiveLoss,
    CosineSimilarityLoss, PairInput,
};
use crate::scalar::Scalar;
use crate::triplet_margin::{TripletMarginInput, TripletMarginLoss};
use crate::workspace::Workspace;

/// A loss of embeddings that can be cut short.
pub trait Nested<A: Scalar>: Loss<A, OwnedGradient: 'static> {
    /// The names and shapes of all embeddings, of which the last axis is to be equal.
    fn shapes<'i>(input: &'i Self::Input<'_>) -> Vec<(&'static str, &'i [usize])>;
    /// The input with the first `dim` columns of every embedding.
    fn prefix<'a>(input: Self::Input<'a>, dim: usize) -> Self::Input<'a>;
    /// The views of a gradient, in a fixed order; columns of embeddings are their last axis, and numbers have no axes.
    fn arrays<'g>(gradient: Self::Gradient<'g>) -> Vec<Option<ArrayViewMutD<'g, A>>>;

    /// The sum of the loss over prefixes, each of a length and with a weight, which get longer and fit the input: the gradient reaches all columns of
    /// the input, the report is that of the longest. By default a pass for each; a loss that shares work between prefixes does it here.
    ///
    /// # Errors
    /// As for [`evaluate`](Loss::evaluate).
    fn evaluate_prefixes(
        &self,
        prefixes: &[(usize, f64)],
        input: Self::Input<'_>,
        want: Want<'_, A, Self::Gradient<'_>, Self::Report>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error>
    where
        Self: Sized,
    {
        evaluate_each(self, prefixes, input, want, workspace)
    }
}

type Input<'a, L, A> = <L as Loss<A>>::Input<'a>;
type Gradient<'g, L, A> = <L as Loss<A>>::Gradient<'g>;

type Wanted<'w, 'g, L, A> = Want<'w, A, <L as Loss<A>>::Gradient<'g>, <L as Loss<A>>::Report>;

/// Several prefixes in one pass, if `together` makes one of them; a pass for each otherwise.
fn together_or_each<'a, 'w, 'g, A: Scalar, L: Nested<A>>(
    loss: &L,
    prefixes: &[(usize, f64)],
    input: L::Input<'a>,
    mut want: Wanted<'w, 'g, L, A>,
    workspace: &mut Workspace<A>,
    together: impl FnOnce(
        &L::Input<'a>,
        &[(L::Input<'a>, f64)],
        &mut Wanted<'w, 'g, L, A>,
        &mut Workspace<A>,
    ) -> Result<Option<A>, Error>,
) -> Result<A, Error> {
    let cut = |&(dim, weight): &(usize, f64)| (L::prefix(input, dim), weight);
    let inputs: Vec<_> = prefixes.iter().map(cut).collect();
    match together(&input, &inputs, &mut want, workspace)? {
        Some(value) => Ok(value),
        None => evaluate_each(loss, prefixes, input, want, workspace),
    }
}

/// The first columns of embeddings, which are their last axis.
fn cut<A, D: RemoveAxis>(embeddings: ArrayView<'_, A, D>, dim: usize) -> ArrayView<'_, A, D> {
    let axis = Axis(embeddings.ndim() - 1);
    let within = dim.min(embeddings.len_of(axis));
    embeddings.slice_axis_move(axis, Slice::from(..within))
}

fn any<'g, A, D: Dimension>(view: Option<ArrayViewMut<'g, A, D>>) -> Option<ArrayViewMutD<'g, A>> {
    view.map(|view| view.into_dyn())
}

/// A number as an array without axes.
fn number<A>(x: &mut A) -> ArrayViewMutD<'_, A> {
    ArrayViewMut::from_shape(Ix0(), std::slice::from_mut(x))
        .expect("one number fills no axes")
        .into_dyn()
}

impl<A: Scalar> Nested<A> for CosineEmbeddingLoss {
    fn shapes<'i>(input: &'i CosineEmbeddingInput<'_, A>) -> Vec<(&'static str, &'i [usize])> {
        vec![("x", input.x.shape()), ("y", input.y.shape())]
    }

    fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
        CosineEmbeddingInput {
            x: cut(input.x, dim),
            y: cut(input.y, dim),
            ..input
        }
    }

    fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![any(gradient.x), any(gradient.y)]
    }

    /// One pass over the rows, but where the divisor depends on the losses of each prefix.
    fn evaluate_prefixes(
        &self,
        prefixes: &[(usize, f64)],
        input: Input<'_, Self, A>,
        want: Wanted<'_, '_, Self, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let together = |input: &_, prefixes: &[_], want: &mut _, _: &mut _| {
            A::cosine_embedding_prefixes(self, input, prefixes, want)
        };
        together_or_each(self, prefixes, input, want, workspace, together)
    }
}

impl<A: Scalar, D: Distance<A>> Nested<A> for TripletMarginLoss<D> {
    fn shapes<'i>(input: &'i TripletMarginInput<'_, A>) -> Vec<(&'static str, &'i [usize])> {
        vec![
            ("anchor", input.anchor.shape()),
            ("positive", input.positive.shape()),
            ("negatives", input.negatives.shape()),
        ]
    }

    fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
        TripletMarginInput {
            anchor: cut(input.anchor, dim),
            positive: cut(input.positive, dim),
            negatives: cut(input.negatives, dim),
            ..input
        }
    }

    fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
        vec![
            any(gradient.anchor),
            any(gradient.positive),
            any(gradient.negatives),
        ]
    }

    /// One pass over the rows, but where the divisor depends on the losses of each prefix.
    fn evaluate_prefixes(
        &self,
        prefixes: &[(usize, f64)],
        input: Input<'_, Self, A>,
        want: Wanted<'_, '_, Self, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let loss = self.of_any_distance();
        let together = |input: &_, prefixes: &[_], want: &mut _, _: &mut _| {
            A::triplet_margin_prefixes(&loss, input, prefixes, want)
        };
        together_or_each(self, prefixes, input, want, workspace, together)
    }
}

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
}

/// The losses of pairs differ in what a label is, and in whether prefixes are passed over together.
macro_rules! of_pairs {
    ($loss:ty, $label:ty $(, $distance:ident)? $(; $together:expr)?) => {
        impl<A: Scalar $(, $distance: Distance<A>)?> Nested<A> for $loss {
            fn shapes<'i>(
                input: &'i PairInput<'_, A, $label>,
            ) -> Vec<(&'static str, &'i [usize])> {
                vec![("x", input.x.shape()), ("y", input.y.shape())]
            }

            fn prefix<'a>(input: Input<'a, Self, A>, dim: usize) -> Input<'a, Self, A> {
                PairInput {
                    x: cut(input.x, dim),
                    y: cut(input.y, dim),
                    ..input
                }
            }

            fn arrays<'g>(gradient: Gradient<'g, Self, A>) -> Vec<Option<ArrayViewMutD<'g, A>>> {
                vec![any(gradient.x), any(gradient.y)]
            }

            $(fn evaluate_prefixes(
                &self,
                prefixes: &[(usize, f64)],
                input: Input<'_, Self, A>,
                want: Wanted<'_, '_, Self, A>,
                workspace: &mut Workspace<A>,
            ) -> Result<A, Error> {
                let together = |input: &_, prefixes: &[_], want: &mut _, _: &mut _| {
                    $together(self, input, prefixes, want)
                };
                together_or_each(self, prefixes, input, want, workspace, together)
            })?
        }
    };
}

of_pairs!(ContrastiveLoss<D>, PairLabel, D; |loss: &Self, input, prefixes, want| {
    A::contrastive_prefixes(&loss.of_any_distance(), input, prefixes, want)
});
of_pairs!(CosineSimilarityLoss, A; A::cosine_similarity_prefixes);
of_pairs!(CoSentLoss<D>, A, D);
// Each prefix has halves of its own, and so other complex numbers.
of_pairs!(AngleLoss, A);
