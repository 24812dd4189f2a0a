//! The losses of independent rows, cut short: pairs and triplets.

use ndarray::ArrayViewMutD;

use super::nested::{Gradient, Input, Nested, Wanted, any, cut, next, together_or_each};
use crate::cosine_embedding::{CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss};
use crate::distance::Distance;
use crate::error::Error;
use crate::label::PairLabel;
use crate::pairs::{
    AngleLoss, CoSentLoss, ContrastiveLoss, CosineSimilarityLoss, PairGradient, PairInput,
};
use crate::scalar::Scalar;
use crate::triplet_margin::{TripletMarginGradient, TripletMarginInput, TripletMarginLoss};
use crate::workspace::Workspace;

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

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
        let mut arrays = arrays.into_iter();
        CosineEmbeddingGradient {
            x: next(&mut arrays),
            y: next(&mut arrays),
        }
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

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
        let mut arrays = arrays.into_iter();
        TripletMarginGradient {
            anchor: next(&mut arrays),
            positive: next(&mut arrays),
            negatives: next(&mut arrays),
        }
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

            fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, A>>>) -> Gradient<'g, Self, A> {
                let mut arrays = arrays.into_iter();
                PairGradient {
                    x: next(&mut arrays),
                    y: next(&mut arrays),
                }
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
