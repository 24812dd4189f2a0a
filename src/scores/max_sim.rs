//! Scores of multi-vector embeddings: every token of a query with the token of the document that it is most similar to.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

use super::function::{ScoreFunction, Sides};
use super::max_sim_pass::{Pass, Side};
use crate::error::Error;
use crate::offsets::check_offsets;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::similarity::Similarity;

/// Texts as rows of token embeddings, one text after the other: text i has the rows `offsets[i]..offsets[i + 1]`.
///
/// ```
/// use contrastive::Tokens;
/// use ndarray::array;
///
/// // A text of two tokens and one of a single token, the last of three rows being padding.
/// let tokens = array![[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 0.0]];
/// let (offsets, attention) = (array![0, 2, 4], array![true, true, true, false]);
/// let texts = Tokens::new(tokens.view(), offsets.view()).with_attention_mask(attention.view());
/// assert_eq!(texts.texts(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tokens<'a, A> {
    /// The embedding of every token, `[tokens, dim]`.
    pub tokens: ArrayView2<'a, A>,
    /// Where each text begins, and where the last one ends, `[texts + 1]`. Texts padded to one length T have the offsets 0, T, 2T …
    pub offsets: ArrayView1<'a, usize>,
    /// `false` for tokens that take no part, such as padding, `[tokens]`.
    pub attention_mask: Option<ArrayView1<'a, bool>>,
}

impl<'a, A> Tokens<'a, A> {
    /// Texts whose tokens all take part.
    pub fn new(tokens: ArrayView2<'a, A>, offsets: ArrayView1<'a, usize>) -> Self {
        Self {
            tokens,
            offsets,
            attention_mask: None,
        }
    }

    /// `false` for tokens that take no part, `[tokens]`.
    #[must_use]
    pub fn with_attention_mask(self, attention_mask: ArrayView1<'a, bool>) -> Self {
        Self {
            attention_mask: Some(attention_mask),
            ..self
        }
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn check(&self, names: [&'static str; 2]) -> Result<(), Error> {
        check_offsets(names[0], self.offsets, None, self.tokens.nrows())?;
        let mask = self.attention_mask;
        mask.map_or(Ok(()), |mask| {
            check_shape(names[1], &[self.tokens.nrows()], mask.shape())
        })
    }
}

/// Late interaction: every token of a query finds the token of the document that it is most similar to.
///
/// With the tokens a of query i and b of document j that take part:
///
/// * mean: sᵢⱼ = (1/|i|) Σₐ max_b s(qₐ, d_b), the form of M3-Embedding, independent of the length of the query
/// * sum: sᵢⱼ = Σₐ max_b s(qₐ, d_b), ColBERT's
///
/// Gradient: with b*(a) the token that wins, ∂L/∂qₐ = (1/|i|) Σⱼ (∂L/∂sᵢⱼ)·∂s(qₐ, d_b*)/∂qₐ, and a token of a document collects the same from all
/// query tokens that it wins. On a tie the first token wins. A text without tokens scores 0 with everything. NaN or infinity in a token that takes
/// part gives NaN.
///
/// The similarity is the dot product by default, which for tokens of norm 1 is the cosine. [`backward`](ScoreFunction::backward) finds the winners
/// again and keeps one number for each of them, `[query tokens, m]`; the scores of all pairs of tokens are never held.
///
/// Source: Khattab & Zaharia 2020, <https://arxiv.org/abs/2004.12832>; the mean: Chen et al. 2024, <https://arxiv.org/abs/2402.03216>. FlagEmbedding
/// sets padding to zero vectors, which then win over tokens of negative similarity; here padding takes no part.
///
/// ```
/// use contrastive::{MaxSim, ScoreFunction, Sides, Tokens};
/// use ndarray::{Array2, array};
///
/// let (query, offsets) = (array![[1.0, 0.0], [0.0, 1.0]], array![0, 2]);
/// let (documents, document_offsets) = (array![[3.0, 0.0], [5.0, 1.0], [0.0, 4.0]], array![0, 2, 3]);
/// let input = Sides {
///     queries: Tokens::new(query.view(), offsets.view()),
///     documents: Tokens::new(documents.view(), document_offsets.view()),
/// };
/// let mut scores = Array2::zeros((1, 2));
/// MaxSim::mean().forward(input, scores.view_mut())?;
/// assert_eq!(scores, array![[3.0, 2.0]]); // (5 + 1)/2 and (0 + 4)/2
///
/// let (upstream, mut to_query) = (array![[1.0, 0.0]], Array2::zeros((2, 2)));
/// let to = Sides { queries: Some(to_query.view_mut()), documents: None };
/// MaxSim::mean().backward(input, upstream.view(), to)?;
/// assert_eq!(to_query, array![[2.5, 0.5], [2.5, 0.5]]); // half of the winner
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct MaxSim {
    similarity: Similarity,
    mean: bool,
}

impl MaxSim {
    /// The mean over the tokens of a query.
    pub fn mean() -> Self {
        Self {
            similarity: Similarity::Dot,
            mean: true,
        }
    }

    /// The sum over the tokens of a query.
    pub fn sum() -> Self {
        Self {
            mean: false,
            ..Self::mean()
        }
    }

    /// Another similarity of tokens than the dot product.
    #[must_use]
    pub fn with_similarity(self, similarity: Similarity) -> Self {
        Self { similarity, ..self }
    }
}

type Input<'a, A> = Sides<Tokens<'a, A>>;
type Gradient<'a, A> = Sides<Option<ArrayViewMut2<'a, A>>>;

impl<A: Scalar> ScoreFunction<A> for MaxSim {
    type Input<'a> = Sides<Tokens<'a, A>>;
    type Gradient<'a> = Sides<Option<ArrayViewMut2<'a, A>>>;

    fn forward(&self, input: Input<'_, A>, scores: ArrayViewMut2<'_, A>) -> Result<(), Error> {
        A::max_sim_forward(self, input, scores)
    }

    fn backward(
        &self,
        input: Input<'_, A>,
        upstream: ArrayView2<'_, A>,
        gradient: Gradient<'_, A>,
    ) -> Result<(), Error> {
        A::max_sim_backward(self, input, upstream, gradient)
    }
}

pub(crate) fn forward<A: Scalar>(
    function: &MaxSim,
    input: Input<'_, A>,
    scores: ArrayViewMut2<'_, A>,
) -> Result<(), Error> {
    check(&input, "scores", scores.shape())?;
    function.run(&input, |pass| pass.find(Some(scores), None));
    Ok(())
}

pub(crate) fn backward<A: Scalar>(
    function: &MaxSim,
    input: Input<'_, A>,
    upstream: ArrayView2<'_, A>,
    gradient: Gradient<'_, A>,
) -> Result<(), Error> {
    check(&input, "upstream", upstream.shape())?;
    let sides = [
        ("gradient.queries", &input.queries, &gradient.queries),
        ("gradient.documents", &input.documents, &gradient.documents),
    ];
    for (name, side, gradient) in sides {
        let view = gradient.as_ref();
        view.map_or(Ok(()), |view| {
            check_shape(name, side.tokens.shape(), view.shape())
        })?;
    }
    function.run(&input, |pass| pass.pull(upstream, gradient));
    Ok(())
}

fn check<A>(input: &Input<'_, A>, name: &'static str, shape: &[usize]) -> Result<(), Error> {
    let Sides { queries, documents } = input;
    queries.check(["queries.offsets", "queries.attention_mask"])?;
    documents.check(["documents.offsets", "documents.attention_mask"])?;
    let expected = [documents.tokens.nrows(), queries.tokens.ncols()];
    check_shape("documents.tokens", &expected, documents.tokens.shape())?;
    check_shape(name, &[queries.texts(), documents.texts()], shape)
}

impl MaxSim {
    /// Hands the tokens over in memory order.
    fn run<A: Scalar>(&self, input: &Input<'_, A>, work: impl FnOnce(Pass<'_, A>)) {
        let flat = Sides {
            queries: super::flat::Flat::new(&input.queries.tokens),
            documents: super::flat::Flat::new(&input.documents.tokens),
        };
        work(Pass {
            similarity: self.similarity,
            mean: self.mean,
            queries: Side {
                rows: flat.queries.rows(),
                offsets: input.queries.offsets.reborrow(),
                attention_mask: input.queries.attention_mask.map(|mask| mask.reborrow()),
            },
            documents: Side {
                rows: flat.documents.rows(),
                offsets: input.documents.offsets.reborrow(),
                attention_mask: input.documents.attention_mask.map(|mask| mask.reborrow()),
            },
        });
    }
}
