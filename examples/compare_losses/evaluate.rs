//! Retrieval metrics: every query against all documents of its split, of which one is relevant.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView1, Axis, s};

use crate::encoder::{Encoder, normalized, row_cosines};
use crate::tokens::Bags;

/// Queries scored at once: bounds the memory for scores at 256 · documents.
const BLOCK: usize = 256;

/// The depth of MRR, nDCG and the larger recall.
const DEPTH: usize = 10;

/// The metrics that the example reports, in the order of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    RecallAt1,
    RecallAt10,
    MrrAt10,
    NdcgAt10,
}

impl Metric {
    pub(crate) const ALL: [Self; 4] = [
        Self::RecallAt1,
        Self::RecallAt10,
        Self::MrrAt10,
        Self::NdcgAt10,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RecallAt1 => "Recall@1",
            Self::RecallAt10 => "Recall@10",
            Self::MrrAt10 => "MRR@10",
            Self::NdcgAt10 => "nDCG@10",
        }
    }

    /// Value for one query whose relevant document has this rank, counted from 1.
    pub(crate) fn of_rank(self, rank: usize) -> f64 {
        match self {
            Self::RecallAt1 => f64::from(rank == 1),
            _ if rank > DEPTH => 0.0,
            Self::RecallAt10 => 1.0,
            Self::MrrAt10 => 1.0 / rank as f64,
            // One relevant document: the ideal gain is 1.
            Self::NdcgAt10 => 1.0 / (1.0 + rank as f64).log2(),
        }
    }

    /// Mean over the queries.
    pub(crate) fn mean(self, ranks: &[usize]) -> f64 {
        ranks.iter().map(|&rank| self.of_rank(rank)).sum::<f64>() / ranks.len() as f64
    }
}

/// Rank of document `relevant`, from 1. Ties count against it, and so does NaN: a constant score earns nothing.
pub(crate) fn rank(scores: ArrayView1<'_, f32>, relevant: usize) -> usize {
    let own = scores[relevant];
    1 + scores
        .iter()
        .enumerate()
        .filter(|&(j, &score)| {
            j != relevant && !matches!(score.partial_cmp(&own), Some(Ordering::Less))
        })
        .count()
}

/// The best documents of one query, best first; of equals the first.
pub(crate) fn top(scores: ArrayView1<'_, f32>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(count);
    order
}

/// Embeddings of one split, of norm 1.
pub(crate) struct Embedded {
    pub(crate) queries: Array2<f32>,
    pub(crate) documents: Array2<f32>,
}

impl Embedded {
    pub(crate) fn new(encoder: &Encoder, bags: &Bags) -> Self {
        Self {
            queries: normalized(encoder.encode(bags.queries.iter())),
            documents: normalized(encoder.encode(bags.documents.iter())),
        }
    }

    /// The first `dim` coordinates, of norm 1 again.
    pub(crate) fn prefix(&self, dim: usize) -> Self {
        let cut = |rows: &Array2<f32>| normalized(rows.slice(s![.., ..dim]).to_owned());
        Self {
            queries: cut(&self.queries),
            documents: cut(&self.documents),
        }
    }

    /// Rank of the relevant document for every query, by cosine over all documents.
    pub(crate) fn ranks(&self) -> Vec<usize> {
        let mut ranks = Vec::with_capacity(self.queries.nrows());
        for block in self.queries.axis_chunks_iter(Axis(0), BLOCK) {
            let scores = block.dot(&self.documents.t());
            let first = ranks.len();
            ranks.extend(
                scores
                    .rows()
                    .into_iter()
                    .enumerate()
                    .map(|(i, row)| rank(row, first + i)),
            );
        }
        ranks
    }

    /// Cosines of all documents with query `i`.
    pub(crate) fn scores(&self, i: usize) -> ndarray::Array1<f32> {
        self.documents.dot(&self.queries.row(i))
    }

    /// Cosines of the relevant pairs.
    pub(crate) fn positive_similarities(&self) -> Vec<f32> {
        row_cosines(&self.queries, self.documents.view())
    }

    /// Cosines of as many irrelevant pairs: each query with the document of another one, half the split away.
    pub(crate) fn negative_similarities(&self) -> Vec<f32> {
        let n = self.documents.nrows();
        let shifted: Vec<usize> = (0..n).map(|i| (i + n / 2) % n).collect();
        row_cosines(
            &self.queries,
            self.documents.select(Axis(0), &shifted).view(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn metrics_of_ranks_checked_by_hand() {
        let ranks = [1, 2, 3, 11];
        assert_eq!(Metric::RecallAt1.mean(&ranks), 0.25);
        assert_eq!(Metric::RecallAt10.mean(&ranks), 0.75);
        assert!((Metric::MrrAt10.mean(&ranks) - (1.0 + 0.5 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
        assert!(
            (Metric::NdcgAt10.mean(&ranks) - (1.0 + 1.0 / 3f64.log2() + 0.5) / 4.0).abs() < 1e-12
        );
    }

    #[test]
    fn ties_and_nan_count_against_the_relevant_document() {
        assert_eq!(rank(array![0.5, 0.9, 0.5].view(), 0), 3);
        assert_eq!(rank(array![0.5, 0.9, 0.5].view(), 1), 1);
        assert_eq!(rank(array![f32::NAN, 0.9, 0.5].view(), 0), 3);
        assert_eq!(rank(Array2::<f32>::zeros((1, 7)).row(0), 3), 7);
    }

    #[test]
    fn top_is_best_first_and_stable() {
        assert_eq!(top(array![0.1, 0.9, 0.5, 0.9].view(), 3), [1, 3, 2]);
        assert_eq!(top(array![0.1].view(), 3), [0]);
    }

    #[test]
    fn a_prefix_ranks_by_its_own_cosines() {
        let embedded = Embedded {
            queries: array![[0.6, 0.8], [1.0, 0.0]],
            documents: array![[0.0, 1.0], [0.8, -0.6]],
        };
        assert_eq!(embedded.ranks(), [1, 1]);
        // The first coordinates alone: 0 and 1 for both queries.
        let prefix = embedded.prefix(1);
        assert_eq!(prefix.documents, array![[0.0], [1.0]]);
        assert_eq!(prefix.ranks(), [2, 1]);
    }

    #[test]
    fn ranks_over_blocks_equal_ranks_one_by_one() {
        let mut random = crate::random::Random::new(5, 0);
        let mut rows = || {
            normalized(Array2::from_shape_simple_fn((BLOCK + 9, 6), || {
                random.uniform() as f32 - 0.5
            }))
        };
        let embedded = Embedded {
            queries: rows(),
            documents: rows(),
        };
        let single: Vec<usize> = (0..BLOCK + 9)
            .map(|i| rank(embedded.scores(i).view(), i))
            .collect();
        assert_eq!(embedded.ranks(), single);
    }
}
