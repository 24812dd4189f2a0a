//! What else a candidate's score goes through: false negatives left out, hard ones weighted up, sampled ones corrected.

use ndarray::{ArrayView1, ArrayView2, ArrayView3};

use crate::error::{Error, check};
use crate::rows::check_shape;
use crate::scalar::Scalar;

/// Kinds of candidates, for a rule that holds for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sources {
    /// The documents that are not the query's positive.
    pub in_batch: bool,
    /// The query's own negatives.
    pub own: bool,
    /// The own negatives of the other queries, where they are pooled.
    pub others: bool,
    /// The pool that all queries share.
    pub pool: bool,
    /// The other queries, in the direction query → query.
    pub queries: bool,
    /// What competes in the direction document → document.
    pub documents: bool,
}

impl Sources {
    /// No candidates.
    pub const NONE: Self = Self {
        in_batch: false,
        own: false,
        others: false,
        pool: false,
        queries: false,
        documents: false,
    };
    /// All candidates.
    pub const ALL: Self = Self {
        in_batch: true,
        own: true,
        others: true,
        pool: true,
        queries: true,
        documents: true,
    };
    /// In-batch negatives alone.
    pub const IN_BATCH: Self = Self {
        in_batch: true,
        ..Self::NONE
    };
    /// Own negatives alone: what others call hard negatives.
    pub const OWN: Self = Self {
        own: true,
        ..Self::NONE
    };
}

/// Which candidates are taken for positives that nobody labelled, and left out: those that are more similar to the query than a ceiling that
/// its positive sets. A candidate ties, and stays, up to 16 ε·max(|s⁺|, 1) above it, which is the rounding of similarities.
///
/// Similarities are those of the loss, or the cosines of a guide model where the input brings its embeddings ([`Guide`]).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum FalseNegatives {
    /// s > s⁺ − margin
    Absolute(f64),
    /// s > s⁺ − |s⁺|·margin
    Relative(f64),
}

impl FalseNegatives {
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let (Self::Absolute(margin) | Self::Relative(margin)) = self;
        check("margin", "a finite number", margin, margin.is_finite())?;
        Ok(self)
    }

    /// The similarity above which a candidate is left out.
    pub(crate) fn ceiling(self, positive: f64, epsilon: f64) -> f64 {
        let tie = 16.0 * epsilon * positive.abs().max(1.0);
        tie + match self {
            Self::Absolute(margin) => positive - margin,
            Self::Relative(margin) => positive - positive.abs() * margin,
        }
    }
}

/// Ids that tell false negatives: a candidate with the id of the query is not its negative. The own positive always stays. What is `None` is not masked,
/// so that curated negatives can be exempt. In the direction document → query the other queries whose positive a document is stay its negatives, whatever their ids.
///
/// The id may stand for a document (a query has that of its positive), for a query, or for a group of both.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// Of the queries, `[n]`.
    pub queries: ArrayView1<'a, u64>,
    /// Of the documents, `[m]`: in a labelled batch of its rows, as candidates.
    pub documents: Option<ArrayView1<'a, u64>>,
    /// Of the own negatives, `[n, K]`; `[total, 1]` if they are ragged.
    pub negatives: Option<ArrayView2<'a, u64>>,
    /// Of the pool, `[p]`.
    pub pool: Option<ArrayView1<'a, u64>>,
}

/// A number for each candidate that is added to its score: z = s/τ + w. For negatives that were sampled with probability q, w = −log q
/// corrects for popular ones being drawn more often; a constant weighs a source as a whole. Only scores of queries with documents, own negatives and the pool have
/// one.
///
/// Source: Yi et al. 2019, <https://doi.org/10.1145/3298689.3346996>.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWeights<'a, A> {
    /// Of the documents, `[m]`, positives included.
    pub documents: Option<ArrayView1<'a, A>>,
    /// Of the own negatives, `[n, K]`; `[total, 1]` if they are ragged.
    pub negatives: Option<ArrayView2<'a, A>>,
    /// Of the own negatives as rivals of the other queries, where they are pooled; of the same shape.
    pub others: Option<ArrayView2<'a, A>>,
    /// Of the pool, `[p]`.
    pub pool: Option<ArrayView1<'a, A>>,
}

/// The embeddings of another model, of any dimension, whose cosines tell false negatives. Without gradient. What is `None` is not masked.
///
/// Source: Solatorio 2024, <https://arxiv.org/abs/2402.16829> (GISTEmbed).
#[derive(Clone, Copy, Debug)]
pub struct Guide<'a, A> {
    /// Of the queries, `[n, g]`.
    pub queries: ArrayView2<'a, A>,
    /// Of the documents, `[m, g]`.
    pub documents: ArrayView2<'a, A>,
    /// Of the own negatives, `[n, K, g]`; `[total, 1, g]` if they are ragged.
    pub negatives: Option<ArrayView3<'a, A>>,
    /// Of the pool, `[p, g]`.
    pub pool: Option<ArrayView2<'a, A>>,
}

/// How many candidates of each source a batch has.
pub(super) struct Counts {
    pub(super) queries: usize,
    pub(super) documents: usize,
    /// The first two axes of the own negatives.
    pub(super) own: [usize; 2],
    pub(super) pool: Option<usize>,
}

impl Ids<'_> {
    pub(super) fn check(&self, counts: &Counts) -> Result<(), Error> {
        check_shape("ids.queries", &[counts.queries], self.queries.shape())?;
        if let Some(ids) = &self.documents {
            check_shape("ids.documents", &[counts.documents], ids.shape())?;
        }
        if let Some(ids) = &self.negatives {
            check_shape("ids.negatives", &counts.own, ids.shape())?;
        }
        if let Some(ids) = &self.pool {
            check_shape("ids.pool", &[counts.pool.unwrap_or(0)], ids.shape())?;
        }
        Ok(())
    }
}

impl<A: Scalar> LogWeights<'_, A> {
    pub(super) fn check(&self, counts: &Counts) -> Result<(), Error> {
        if let Some(weights) = &self.documents {
            check_shape(
                "log_weights.documents",
                &[counts.documents],
                weights.shape(),
            )?;
        }
        if let Some(weights) = &self.negatives {
            check_shape("log_weights.negatives", &counts.own, weights.shape())?;
        }
        if let Some(weights) = &self.others {
            check_shape("log_weights.others", &counts.own, weights.shape())?;
        }
        if let Some(weights) = &self.pool {
            let shape = [counts.pool.unwrap_or(0)];
            check_shape("log_weights.pool", &shape, weights.shape())?;
        }
        let lines = [self.documents, self.pool].into_iter().flatten();
        let mut all = lines
            .flat_map(|weights| weights.into_iter())
            .chain(self.negatives.iter().flatten())
            .chain(self.others.iter().flatten());
        match all.find(|weight| !weight.is_finite()) {
            Some(&found) => Err(Error::Parameter {
                name: "log weight",
                expected: "a finite number",
                found: found.wide(),
            }),
            None => Ok(()),
        }
    }
}

impl<A: Scalar> Guide<'_, A> {
    pub(super) fn check(&self, counts: &Counts) -> Result<(), Error> {
        let dim = self.queries.ncols();
        let rows = |name, rows: usize, found: &[usize]| check_shape(name, &[rows, dim], found);
        rows("guide.queries", counts.queries, self.queries.shape())?;
        rows("guide.documents", counts.documents, self.documents.shape())?;
        if let Some(negatives) = &self.negatives {
            let [n, k] = counts.own;
            check_shape("guide.negatives", &[n, k, dim], negatives.shape())?;
        }
        if let Some(pool) = &self.pool {
            rows("guide.pool", counts.pool.unwrap_or(0), pool.shape())?;
        }
        Ok(())
    }
}

/// Hardness weighting: α·s is added to the scores of some sources, as a constant that no gradient passes through.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(super) struct Hardness {
    pub(super) strength: f64,
    pub(super) sources: Sources,
}
