//! Hard negatives: the documents that score highest for a query and are not its positive.

mod bounds;
mod scan;
mod search;

use ndarray::{ArrayView1, ArrayView2};

use crate::error::{Error, check};
use crate::info_nce::{FalseNegatives, Targets};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::similarity::Similarity;

/// Finds for each query the documents that are hardest to tell from its positive, out of a corpus of any size.
///
/// Of the documents `[m, dim]` that no mask leaves out, in the order of their similarity to the query (equal ones in the order of their rows),
/// the first `skip` are passed over and the next `keep` are returned. Left out are the query's positives, documents with the query's id, those
/// that are [too similar to be negatives](Self::with_false_negatives), and those whose similarity is NaN.
///
/// Similarities are compared in the type of the rows, a matrix product of a few hundred queries and documents at a time, but decided from
/// the rows in twice the digits: the result is exact, and the same on every machine. Memory is a few numbers for each
/// document and `skip + keep` for each query, so a training loop can mine a corpus of millions of rows between epochs.
///
/// Source: Xiong et al. 2021, <https://arxiv.org/abs/2007.00808> (ANCE); `mine_hard_negatives` of sentence-transformers, whose `range_min` is
/// `skip`, whose `num_negatives` is `keep`, and which looks no further than its `range_max` most similar documents and as many more as
/// any query has positives.
///
/// ```
/// use contrastive::{FalseNegatives, HardNegativeInput, HardNegativeMiner, Targets};
/// use ndarray::array;
///
/// let queries = array![[1.0, 0.0]];
/// let documents = array![[4.0, 3.0], [0.0, 1.0], [12.0, 5.0], [3.0, 4.0], [21.0, 20.0]]; // cosines 0.8, 0, 12/13, 0.6, 21/29
/// let input = HardNegativeInput::new(queries.view(), documents.view()).with_targets(Targets::Offset(0));
///
/// let miner = HardNegativeMiner::new(2)?;
/// assert_eq!(miner.find(input)?.of(0), [2, 4]);
/// let less = miner.with_false_negatives(FalseNegatives::Absolute(0.1))?;
/// assert_eq!(less.find(input)?.of(0), [3, 1]); // 12/13 and 21/29 are above 0.8 − 0.1
/// assert_eq!(less.with_skip(1).find(input)?.of(0), [1]);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::HardNegativeMiner")
)]
pub struct HardNegativeMiner {
    keep: usize,
    skip: usize,
    similarity: Similarity,
    false_negatives: Option<FalseNegatives>,
}

impl HardNegativeMiner {
    /// At most `keep` negatives for each query, by their cosine.
    ///
    /// # Errors
    /// If `keep` is zero.
    pub fn new(keep: usize) -> Result<Self, Error> {
        check("keep", "at least 1", keep as f64, keep > 0)?;
        Ok(Self {
            keep,
            skip: 0,
            similarity: Similarity::default(),
            false_negatives: None,
        })
    }

    /// Another similarity than the cosine.
    #[must_use]
    pub fn with_similarity(self, similarity: Similarity) -> Self {
        Self { similarity, ..self }
    }

    /// How many of the most similar documents that the masks leave are passed over, because many of them are unlabelled positives. None by
    /// default.
    #[must_use]
    pub fn with_skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Leaves out documents more similar to the query than the positive less a margin: s > s⁺ − margin, or s > s⁺ − |s⁺|·margin. Only a
    /// negative margin puts that bound above the positive. Of several positives the least similar counts; a query without any has all documents
    /// left. Needs [targets](HardNegativeInput::with_targets).
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn with_false_negatives(self, rule: FalseNegatives) -> Result<Self, Error> {
        Ok(Self {
            false_negatives: Some(rule.checked()?),
            ..self
        })
    }

    /// The hardest negatives of each query.
    ///
    /// # Errors
    /// If a shape or a target does not fit, and if there is a margin but no targets.
    pub fn find<A: Scalar>(
        &self,
        input: HardNegativeInput<'_, A>,
    ) -> Result<HardNegatives<A>, Error> {
        A::hard_negatives(self, input)
    }

    fn check<A: Scalar>(&self, input: &HardNegativeInput<'_, A>) -> Result<(), Error> {
        let ((n, dim), m) = (input.queries.dim(), input.documents.nrows());
        check_shape("documents", &[m, dim], input.documents.shape())?;
        if let Some((queries, documents)) = &input.ids {
            check_shape("ids.queries", &[n], queries.shape())?;
            check_shape("ids.documents", &[m], documents.shape())?;
        }
        match (&input.targets, self.false_negatives) {
            (Some(targets), _) => targets.check(n, m),
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Error::IllDefined {
                reason: "a margin below the positive's similarity needs to know the positive; give targets",
            }),
        }
    }
}

/// [`HardNegativeMiner::find`], to be compiled in this crate.
pub(crate) fn find<A: Scalar>(
    miner: &HardNegativeMiner,
    input: HardNegativeInput<'_, A>,
) -> Result<HardNegatives<A>, Error> {
    miner.check(&input)?;
    let mut found = HardNegatives {
        starts: vec![0],
        documents: Vec::new(),
        scores: Vec::new(),
    };
    for ranking in search::run(miner, &input) {
        let kept = ranking.iter().skip(miner.skip);
        found
            .documents
            .extend(kept.clone().map(|rank| rank.document));
        found.scores.extend(kept.map(|rank| A::narrow(rank.score)));
        found.starts.push(found.documents.len());
    }
    Ok(found)
}

/// Queries, and the corpus that their negatives are sought in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HardNegativeInput<'a, A> {
    /// The queries, `[n, dim]`.
    pub queries: ArrayView2<'a, A>,
    /// The corpus, `[m, dim]`.
    pub documents: ArrayView2<'a, A>,
    /// The positives of each query, if they are in the corpus.
    pub targets: Option<Targets<'a>>,
    /// Ids of queries `[n]` and documents `[m]`: a document with the id of the query is no negative of it.
    pub ids: Option<(ArrayView1<'a, u64>, ArrayView1<'a, u64>)>,
}

impl<'a, A> HardNegativeInput<'a, A> {
    /// Queries `[n, dim]` and a corpus `[m, dim]`.
    pub fn new(queries: ArrayView2<'a, A>, documents: ArrayView2<'a, A>) -> Self {
        Self {
            queries,
            documents,
            targets: None,
            ids: None,
        }
    }

    /// Which documents are positives of which query: never negatives of it, and what a margin is measured from.
    #[must_use]
    pub fn with_targets(self, targets: Targets<'a>) -> Self {
        Self {
            targets: Some(targets),
            ..self
        }
    }

    /// Ids of queries `[n]` and documents `[m]`: a document with the id of the query is no negative of it.
    #[must_use]
    pub fn with_ids(self, queries: ArrayView1<'a, u64>, documents: ArrayView1<'a, u64>) -> Self {
        Self {
            ids: Some((queries, documents)),
            ..self
        }
    }
}

/// The negatives of each query, the hardest first; fewer than asked for where there are no more.
#[derive(Clone, Debug, PartialEq)]
pub struct HardNegatives<A> {
    starts: Vec<usize>,
    documents: Vec<usize>,
    scores: Vec<A>,
}

impl<A> HardNegatives<A> {
    /// How many queries there are.
    pub fn queries(&self) -> usize {
        self.starts.len() - 1
    }

    /// The documents that are negatives of a query.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn of(&self, query: usize) -> &[usize] {
        &self.documents[self.starts[query]..self.starts[query + 1]]
    }

    /// Their similarities to it.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn scores(&self, query: usize) -> &[A] {
        &self.scores[self.starts[query]..self.starts[query + 1]]
    }
}
