//! Scores of dense embeddings: a similarity of every query with every document.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::flat::{Flat, FlatRows};
use super::function::{ScoreFunction, Sides};
use crate::blocks::{Threads, for_each};
use crate::error::Error;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::Similarity;
use crate::store::{Stores, WideRow, write_row};

/// The similarity of every query with every document.
///
/// * sᵢⱼ = s(qᵢ, dⱼ) for queries `[n, dim]` and documents `[m, dim]`
///
/// Gradient: ∂L/∂qᵢ = Σⱼ (∂L/∂sᵢⱼ)·∂s(qᵢ, dⱼ)/∂qᵢ, and likewise for documents.
///
/// For a loss over dense scores alone [`InfoNceLoss`](crate::InfoNceLoss) needs no matrix and is faster; here every score is taken by itself, with
/// twice the digits of the rows. A zero row has cosine 0 and gradient 0; NaN or infinity in a row gives NaN in its scores.
///
/// ```
/// use contrastive::{DenseScores, ScoreFunction, Sides, Similarity};
/// use ndarray::{Array2, array};
///
/// let (queries, documents) = (array![[3.0, 4.0]], array![[1.0, 0.0], [0.0, 2.0]]);
/// let input = Sides { queries: queries.view(), documents: documents.view() };
/// let mut scores = Array2::zeros((1, 2));
/// DenseScores::new(Similarity::Cosine).forward(input, scores.view_mut())?;
/// assert_eq!(scores, array![[0.6, 0.8]]);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct DenseScores {
    similarity: Similarity,
}

impl DenseScores {
    /// Scores by a similarity.
    pub fn new(similarity: Similarity) -> Self {
        Self { similarity }
    }
}

/// What the scores are computed from.
type Input<'a, A> = Sides<ArrayView2<'a, A>>;
type Gradient<'a, A> = Sides<Option<ArrayViewMut2<'a, A>>>;

impl<A: Scalar> ScoreFunction<A> for DenseScores {
    type Input<'a> = Sides<ArrayView2<'a, A>>;
    type Gradient<'a> = Sides<Option<ArrayViewMut2<'a, A>>>;

    fn forward(&self, input: Input<'_, A>, scores: ArrayViewMut2<'_, A>) -> Result<(), Error> {
        A::dense_forward(self, input, scores)
    }

    fn backward(
        &self,
        input: Input<'_, A>,
        upstream: ArrayView2<'_, A>,
        gradient: Gradient<'_, A>,
    ) -> Result<(), Error> {
        A::dense_backward(self, input, upstream, gradient)
    }
}

pub(crate) fn forward<A: Scalar>(
    function: &DenseScores,
    input: Input<'_, A>,
    scores: ArrayViewMut2<'_, A>,
) -> Result<(), Error> {
    check(&input, "scores", scores.shape())?;
    let (queries, documents) = (Flat::new(&input.queries), Flat::new(&input.documents));
    let (queries, documents) = (queries.rows(), documents.rows());
    let similarity = function.similarity;
    let threads = threads(&queries, &documents);
    for_each(
        threads,
        queries.count,
        BLOCK,
        scores,
        &|first, _, scores| {
            dispatch(Forward {
                similarity,
                queries,
                documents,
                first,
                scores,
            });
        },
    );
    Ok(())
}

pub(crate) fn backward<A: Scalar>(
    function: &DenseScores,
    input: Input<'_, A>,
    upstream: ArrayView2<'_, A>,
    gradient: Gradient<'_, A>,
) -> Result<(), Error> {
    check(&input, "upstream", upstream.shape())?;
    let sides = [
        ("gradient.queries", &input.queries, &gradient.queries),
        ("gradient.documents", &input.documents, &gradient.documents),
    ];
    for (name, input, gradient) in sides {
        let view = gradient.as_ref();
        view.map_or(Ok(()), |view| {
            check_shape(name, input.shape(), view.shape())
        })?;
    }
    let (queries, documents) = (Flat::new(&input.queries), Flat::new(&input.documents));
    let (queries, documents) = (queries.rows(), documents.rows());
    let similarity = function.similarity;
    // Similarities are symmetric: what holds for queries holds for documents, with the matrix turned.
    let sides = [
        (queries, documents, upstream, gradient.queries),
        (
            documents,
            queries,
            upstream.reversed_axes(),
            gradient.documents,
        ),
    ];
    for (own, others, upstream, out) in sides {
        let Some(out) = out else { continue };
        for_each(
            threads(&own, &others),
            own.count,
            BLOCK,
            out,
            &|first, _, out| {
                dispatch(Backward {
                    similarity,
                    own,
                    others,
                    upstream,
                    first,
                    out,
                });
            },
        );
    }
    Ok(())
}

/// Rows that a thread takes at a time, and that stay in the cache while the others go by.
const BLOCK: usize = 8;

fn threads<A>(own: &FlatRows<'_, A>, others: &FlatRows<'_, A>) -> Threads {
    Threads::for_nanoseconds(own.count as f64 * others.count as f64 * own.dim as f64 / 4.0)
}

fn check<A>(input: &Input<'_, A>, name: &'static str, shape: &[usize]) -> Result<(), Error> {
    let (n, dim) = input.queries.dim();
    let m = input.documents.nrows();
    check_shape("documents", &[m, dim], input.documents.shape())?;
    check_shape(name, &[n, m], shape)
}

struct Forward<'a, 's, A> {
    similarity: Similarity,
    queries: FlatRows<'a, A>,
    documents: FlatRows<'a, A>,
    first: usize,
    scores: ArrayViewMut2<'s, A>,
}

impl<A: Scalar> Kernel for Forward<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        for j in 0..self.documents.count {
            let y = self.documents.row(j);
            for i in 0..self.scores.nrows() {
                let x = self.queries.row(self.first + i);
                let pair = self.similarity.measure::<A, I>(x, y);
                self.scores[[i, j]] = A::narrow(pair.similarity());
            }
        }
    }
}

struct Backward<'a, 'u, 'o, A> {
    similarity: Similarity,
    own: FlatRows<'a, A>,
    others: FlatRows<'a, A>,
    upstream: ArrayView2<'u, A>,
    first: usize,
    out: ArrayViewMut2<'o, A>,
}

impl<A: Scalar> Kernel for Backward<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let rows = self.out.nrows();
        let mut sums: Vec<_> = (0..rows).map(|_| WideRow::new(self.own.dim)).collect();
        for j in 0..self.others.count {
            let y = self.others.row(j);
            for (i, sum) in sums.iter_mut().enumerate() {
                let factor = self.upstream[[self.first + i, j]].wide();
                if factor != 0.0 {
                    let x = self.own.row(self.first + i);
                    let pair = self.similarity.measure::<A, I>(x, y);
                    pair.add_first::<A, I>(factor, x, y, sum);
                }
            }
        }
        for (i, sum) in sums.iter().enumerate() {
            write_row::<A, I>(self.out.row_mut(i), Stores::Cached, sum);
        }
    }
}
