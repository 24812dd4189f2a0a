//! Scores of sparse embeddings: weights of words, and their products where two texts share a word.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use super::function::{ScoreFunction, Sides};
use super::offsets::{Ragged, check_rising, range};
use crate::blocks::{Threads, for_each};
use crate::error::Error;
use crate::offsets::check_offsets;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::wide::Real;

/// Rows of a sparse matrix, compressed: row i has the columns `indices[indptr[i]..indptr[i + 1]]`, in rising order, and the values beside them.
/// The field names are scipy's, but for `values`, its `data`.
///
/// ```
/// use contrastive::Csr;
/// use ndarray::array;
///
/// // The rows (0, 0.5, 0, 2) and (1, 0, 0, 0).
/// let (indptr, indices, values) = (array![0, 2, 3], array![1, 3, 0], array![0.5, 2.0, 1.0]);
/// let rows = Csr::new(indptr.view(), indices.view(), values.view());
/// assert_eq!(rows.rows(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Csr<'a, A> {
    /// Where each row begins, and where the last one ends, `[rows + 1]`.
    pub indptr: ArrayView1<'a, usize>,
    /// The columns, row after row, `[nnz]`.
    pub indices: ArrayView1<'a, usize>,
    /// The numbers in those columns, `[nnz]`.
    pub values: ArrayView1<'a, A>,
}

impl<'a, A> Csr<'a, A> {
    /// Rows of a sparse matrix.
    pub fn new(
        indptr: ArrayView1<'a, usize>,
        indices: ArrayView1<'a, usize>,
        values: ArrayView1<'a, A>,
    ) -> Self {
        Self {
            indptr,
            indices,
            values,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    fn check(&self, names: [&'static str; 3]) -> Result<(), Error> {
        check_offsets(names[0], self.indptr, None, self.indices.len())?;
        check_rising(names[1], self.indptr, self.indices)?;
        check_shape(names[2], &[self.indices.len()], self.values.shape())
    }
}

/// The dot product of every query with every document, both sparse.
///
/// * `sᵢⱼ = Σ_w qᵢ[w]·dⱼ[w]` over the columns (words) w that both rows have
///
/// Gradient: `∂L/∂qᵢ[w] = Σⱼ (∂L/∂sᵢⱼ)·dⱼ[w]` for the columns that row i has, and likewise for documents: one number for each stored value. NaN or
/// infinity in a column that both rows have gives NaN; a score is infinite only where the exact one overflows.
///
/// Source: the lexical scores of M3-Embedding, Chen et al. 2024, <https://arxiv.org/abs/2402.03216>; SPLADE's, Formal et al. 2021,
/// <https://arxiv.org/abs/2107.05720>.
///
/// ```
/// use contrastive::{Csr, ScoreFunction, Sides, SparseDot};
/// use ndarray::{Array1, Array2, array};
///
/// let (q_indptr, q_words, q_values) = (array![0, 2], array![3, 8], array![2.0, 0.5]);
/// let (d_indptr, d_words, d_values) = (array![0, 2, 3], array![3, 5, 8], array![10.0, 7.0, 4.0]);
/// let input = Sides {
///     queries: Csr::new(q_indptr.view(), q_words.view(), q_values.view()),
///     documents: Csr::new(d_indptr.view(), d_words.view(), d_values.view()),
/// };
/// let mut scores = Array2::zeros((1, 2));
/// SparseDot.forward(input, scores.view_mut())?;
/// assert_eq!(scores, array![[20.0, 2.0]]);
///
/// let (upstream, mut to_documents) = (array![[1.0, -1.0]], Array1::zeros(3));
/// let to = Sides { queries: None, documents: Some(to_documents.view_mut()) };
/// SparseDot.backward(input, upstream.view(), to)?;
/// assert_eq!(to_documents, array![2.0, 0.0, -0.5]);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SparseDot;

type Input<'a, A> = Sides<Csr<'a, A>>;
type Gradient<'a, A> = Sides<Option<ArrayViewMut1<'a, A>>>;

impl<A: Scalar> ScoreFunction<A> for SparseDot {
    type Input<'a> = Sides<Csr<'a, A>>;
    type Gradient<'a> = Sides<Option<ArrayViewMut1<'a, A>>>;

    fn forward(&self, input: Input<'_, A>, scores: ArrayViewMut2<'_, A>) -> Result<(), Error> {
        A::sparse_forward(self, input, scores)
    }

    fn backward(
        &self,
        input: Input<'_, A>,
        upstream: ArrayView2<'_, A>,
        gradient: Gradient<'_, A>,
    ) -> Result<(), Error> {
        A::sparse_backward(self, input, upstream, gradient)
    }
}

pub(crate) fn forward<A: Scalar>(
    _: &SparseDot,
    input: Input<'_, A>,
    scores: ArrayViewMut2<'_, A>,
) -> Result<(), Error> {
    check(&input, "scores", scores.shape())?;
    let Sides { queries, documents } = input;
    let threads = threads(&queries, &documents);
    for_each(
        threads,
        queries.rows(),
        BLOCK,
        scores,
        &|first, _, mut scores: ArrayViewMut2<'_, A>| {
            for ((i, j), score) in scores.indexed_iter_mut() {
                *score = A::narrow(dot(&queries, first + i, &documents, j));
            }
        },
    );
    Ok(())
}

pub(crate) fn backward<A: Scalar>(
    _: &SparseDot,
    input: Input<'_, A>,
    upstream: ArrayView2<'_, A>,
    gradient: Gradient<'_, A>,
) -> Result<(), Error> {
    check(&input, "upstream", upstream.shape())?;
    let Sides { queries, documents } = input;
    let sides = [
        ("gradient.queries", &queries, &gradient.queries),
        ("gradient.documents", &documents, &gradient.documents),
    ];
    for (name, rows, gradient) in sides {
        let view = gradient.as_ref();
        view.map_or(Ok(()), |view| {
            check_shape(name, rows.values.shape(), view.shape())
        })?;
    }
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
        let out = Ragged::new(out, own.indptr);
        for_each(
            threads(&own, &others),
            own.rows(),
            BLOCK,
            out,
            &|first, count, out: Ragged<'_, '_, A, _>| {
                pull(&own, &others, upstream, first..first + count, out.entries());
            },
        );
    }
    Ok(())
}

/// Rows that a thread takes at a time.
const BLOCK: usize = 4;

fn threads<A>(own: &Csr<'_, A>, others: &Csr<'_, A>) -> Threads {
    let steps = own.rows() * others.indices.len() + others.rows() * own.indices.len();
    Threads::for_nanoseconds(2.0 * steps as f64)
}

fn check<A>(input: &Input<'_, A>, name: &'static str, shape: &[usize]) -> Result<(), Error> {
    let Sides { queries, documents } = input;
    queries.check(["queries.indptr", "queries.indices", "queries.values"])?;
    documents.check(["documents.indptr", "documents.indices", "documents.values"])?;
    check_shape(name, &[queries.rows(), documents.rows()], shape)
}

/// Visits the places of the columns that two rows share, both in rising order.
#[inline(always)]
fn shared<A>(
    x: &Csr<'_, A>,
    i: usize,
    y: &Csr<'_, A>,
    j: usize,
    mut visit: impl FnMut(usize, usize),
) {
    let (mut at_x, mut at_y) = (range(x.indptr, i), range(y.indptr, j));
    while at_x.start < at_x.end && at_y.start < at_y.end {
        let (column_x, column_y) = (x.indices[at_x.start], y.indices[at_y.start]);
        if column_x == column_y {
            visit(at_x.start, at_y.start);
        }
        at_x.start += usize::from(column_x <= column_y);
        at_y.start += usize::from(column_y <= column_x);
    }
}

/// The dot product of two rows, with twice their digits; NaN where a value that they share is not finite.
fn dot<A: Scalar>(x: &Csr<'_, A>, i: usize, y: &Csr<'_, A>, j: usize) -> f64 {
    let sum = scaled_dot(x, i, y, j, 1.0);
    if sum.is_finite() {
        return sum;
    }
    let mut finite = true;
    shared(x, i, y, j, |at_x, at_y| {
        finite &= x.values[at_x].is_finite() && y.values[at_y].is_finite();
    });
    if !finite {
        return f64::NAN;
    }
    // Products overflow where their sum may not. Those of values 2⁵⁴⁰ times smaller are below 2⁹⁶⁸, and their sum is finite.
    let scale = 2.0_f64.powi(540);
    scaled_dot(x, i, y, j, 1.0 / scale) * scale * scale
}

/// The dot product of two rows, all of whose values are multiplied by a power of two.
fn scaled_dot<A: Scalar>(x: &Csr<'_, A>, i: usize, y: &Csr<'_, A>, j: usize, scale: f64) -> f64 {
    let real = |x: A| A::Real::new(scale * x.wide(), 0.0);
    let mut sum = A::Real::new(0.0, 0.0);
    shared(x, i, y, j, |at_x, at_y| {
        sum = sum + real(x.values[at_x]) * real(y.values[at_y]);
    });
    sum.value()
}

/// The gradient of the values of some rows.
fn pull<A: Scalar>(
    own: &Csr<'_, A>,
    others: &Csr<'_, A>,
    upstream: ArrayView2<'_, A>,
    rows: std::ops::Range<usize>,
    mut out: ArrayViewMut1<'_, A>,
) {
    let start = own.indptr[rows.start];
    let mut sums = vec![0.0; out.len()];
    for i in rows {
        for j in 0..others.rows() {
            let factor = upstream[[i, j]].wide();
            if factor != 0.0 {
                shared(own, i, others, j, |at, other| {
                    sums[at - start] += factor * others.values[other].wide();
                });
            }
        }
    }
    for (out, &sum) in out.iter_mut().zip(&sums) {
        *out = A::narrow(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    /// The score of two rows that have the same columns.
    fn score<A: Scalar>(query: &[A], document: &[A]) -> A {
        let indptr = array![0, query.len()];
        let columns: ndarray::Array1<usize> = (0..query.len()).collect();
        let row = |values| Csr::new(indptr.view(), columns.view(), values);
        let input = Sides {
            queries: row(query.into()),
            documents: row(document.into()),
        };
        let mut scores = Array2::zeros((1, 1));
        SparseDot.forward(input, scores.view_mut()).unwrap();
        scores[[0, 0]]
    }

    #[test]
    fn score_is_infinite_only_where_the_exact_one_overflows() {
        const INF: f64 = f64::INFINITY;
        assert_eq!(score(&[1e200], &[1e200]), INF);
        assert_eq!(score(&[1e200], &[-1e200]), -INF);
        assert_eq!(score(&[1e308, 1e308], &[1.0, 1.0]), INF);
        assert_eq!(score(&[f64::MAX; 64], &[f64::MAX; 64]), INF);
        assert_eq!(score(&[1e30_f32], &[1e30]), f32::INFINITY);
        // Products of 1e400, and sums of 2e308, that cancel.
        let rest = 3e200 * 5e100;
        assert_eq!(score(&[1e200, 1e200, 3e200], &[1e200, -1e200, 5e100]), rest);
        assert_eq!(score(&[1e308; 4], &[1.0, 1.0, -1.0, -1.0]), 0.0);
        assert_eq!(score(&[1e308; 3], &[1.0, 1.0, -1.0]), 1e308);
    }

    #[test]
    fn value_that_is_not_finite_gives_nan_in_a_column_that_both_rows_have() {
        for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY] {
            for other in [1.0, 0.0, 1e200] {
                assert!(score(&[1e200, bad], &[1e200, other]).is_nan());
                assert!(score(&[bad as f32], &[other as f32]).is_nan());
            }
        }
    }
}
