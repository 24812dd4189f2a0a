//! Which documents of a batch are the negatives of which query.

use ndarray::{Array2, ArrayView2};

use crate::encoder::normalized;

/// How the negatives of a query are chosen. A batch of n queries has their n positives as documents 0..n; with `Sampled`
/// one more document per query follows, drawn from the whole training split before the texts are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Negatives {
    /// The one drawn document: the same for every loss.
    Sampled,
    /// The positives of all other queries of the batch.
    InBatch,
    /// Of these the one most similar to the query by the current embeddings.
    HardestInBatch,
}

impl Negatives {
    /// Rows of `documents` that are the negatives of each query: [n, K].
    pub(crate) fn choose(
        self,
        queries: ArrayView2<'_, f32>,
        documents: ArrayView2<'_, f32>,
    ) -> Array2<usize> {
        let n = queries.nrows();
        match self {
            Self::Sampled => Array2::from_shape_fn((n, 1), |(i, _)| n + i),
            Self::InBatch => {
                Array2::from_shape_fn((n, n - 1), |(i, k)| if k < i { k } else { k + 1 })
            }
            Self::HardestInBatch => hardest(queries, documents),
        }
    }
}

/// The document of the largest cosine with each query, its own positive left out; of equals the first.
fn hardest(queries: ArrayView2<'_, f32>, documents: ArrayView2<'_, f32>) -> Array2<usize> {
    // The norm of the query does not change the order of its documents.
    let scores = queries.dot(&normalized(documents.to_owned()).t());
    Array2::from_shape_fn((queries.nrows(), 1), |(i, _)| {
        let others = scores
            .row(i)
            .into_iter()
            .enumerate()
            .filter(|&(j, _)| j != i);
        others
            .fold((usize::MAX, f32::NEG_INFINITY), |best, (j, &s)| {
                if s > best.1 { (j, s) } else { best }
            })
            .0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn in_batch_negatives_are_all_documents_but_the_own() {
        let rows = Array2::<f32>::zeros((3, 2));
        assert_eq!(
            Negatives::InBatch.choose(rows.view(), rows.view()),
            array![[1, 2], [0, 2], [0, 1]]
        );
    }

    #[test]
    fn sampled_negatives_follow_the_positives() {
        let (queries, documents) = (Array2::<f32>::zeros((2, 2)), Array2::<f32>::zeros((4, 2)));
        assert_eq!(
            Negatives::Sampled.choose(queries.view(), documents.view()),
            array![[2], [3]]
        );
    }

    #[test]
    fn the_hardest_negative_is_the_nearest_by_cosine_and_never_the_own() {
        let queries = array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let documents = array![[1.0, 0.0], [9.0, 8.0], [0.5, 0.6]];
        assert_eq!(
            Negatives::HardestInBatch.choose(queries.view(), documents.view()),
            array![[1], [2], [1]]
        );
    }
}
