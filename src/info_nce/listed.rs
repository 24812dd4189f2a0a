//! Candidates that are listed query by query: positives and own negatives. Scored row by row, in `f64`.

use ndarray::{ArrayView1, ArrayViewMut2, ArrayViewMut3, s};

use super::candidates::Askers;
use super::query::Query;
use super::rules::FalseNegatives;
use super::settle::{Documents, Settle};
use super::softmax::{Score, Settled};
use super::{InfoNceInput, InfoNceLoss};
use crate::blocks::{Threads, Units, for_each};
use crate::rows::contiguous;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::{Pair, Similarity, cosine};

/// The rules for candidates that are listed.
#[derive(Clone, Copy)]
pub(super) struct ListedRules {
    false_negatives: Option<FalseNegatives>,
    /// Whether own negatives are left out by their own similarity.
    own_is_judged: bool,
    /// What the scores of own negatives are multiplied with, by hardness.
    own_boost: f64,
    pub(super) label_smoothing: f64,
    decoupled: bool,
}

impl ListedRules {
    pub(super) fn new(loss: &InfoNceLoss) -> Self {
        let hard = loss.hardness.filter(|hardness| hardness.sources.own);
        Self {
            false_negatives: loss.false_negatives.map(|(rule, _)| rule),
            own_is_judged: loss.false_negatives.is_some_and(|(_, sources)| sources.own),
            own_boost: 1.0 + hard.map_or(0.0, |hardness| hardness.strength) * loss.temperature,
            label_smoothing: loss.label_smoothing,
            decoupled: loss.decoupled,
        }
    }
}

/// The cosine of two rows of a guide.
#[inline(always)]
fn cosine_of_rows<A: Scalar, I: Isa>(x: ArrayView1<'_, A>, y: ArrayView1<'_, A>) -> f64 {
    let (mut x_spare, mut y_spare) = (Vec::new(), Vec::new());
    let (x, y) = (contiguous(x, &mut x_spare), contiguous(y, &mut y_spare));
    cosine::<A, I>(x, y, 0.0).cosine
}

/// The queries of a block with all that is listed for them.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a, A> {
    pub(super) input: InfoNceInput<'a, A>,
    pub(super) similarity: Similarity,
    pub(super) per_temperature: f64,
    pub(super) rules: ListedRules,
    /// Whether the positive's gradient is left to the tiles.
    pub(super) positive_in_tiles: bool,
    /// What the losses are multiplied with besides their weights.
    pub(super) scale: f64,
}

/// Gradient views of a block of queries.
pub(super) type Views<'g, A> = (Option<ArrayViewMut2<'g, A>>, Option<ArrayViewMut3<'g, A>>);

impl<'a, A: Scalar> Listed<'a, A> {
    /// The share of a query's loss in the value.
    #[inline]
    pub(super) fn weight(&self, query: usize) -> f64 {
        self.scale
            * self
                .input
                .weights
                .map_or(1.0, |weights| weights[query].wide())
    }

    /// The score up to which a candidate ties with the positive: scores in tiles are rounded, and a copy of the positive must not
    /// count as better.
    #[inline]
    pub(super) fn tie(&self, query: &Query) -> f64 {
        let size = query.positive.z.abs().max(self.per_temperature);
        query.positive.z + 16.0 * A::epsilon().wide() * size
    }

    /// What a query's softmax gives it, once all candidates are in.
    #[inline]
    pub(super) fn settled(&self, query: &Query) -> Settled {
        let settled = if self.rules.decoupled {
            query.others.decoupled(query.positive)
        } else {
            query.others.against(query.positive)
        };
        if self.rules.label_smoothing > 0.0 {
            return settled.smoothed(self.rules.label_smoothing, query.positive, query.totals);
        }
        settled
    }

    /// The score of an own negative whose similarity over the temperature is `u`; −∞ if it is left out.
    #[inline(always)]
    pub(super) fn own_score<I: Isa>(&self, i: usize, k: usize, query: &Query, u: f64) -> Score {
        let ids = self.input.ids.and_then(|ids| ids.negatives);
        let guide = self.input.guide;
        let compared = match guide {
            Some(guide) => guide.negatives.map(|negatives| {
                cosine_of_rows::<A, I>(guide.queries.row(i), negatives.slice(s![i, k, ..]))
            }),
            None => self.rules.own_is_judged.then_some(u),
        };
        let out = ids.is_some_and(|ids| ids[[i, k]] == query.id)
            || compared.is_some_and(|compared| compared > query.ceiling);
        let log_weight = self
            .input
            .log_weights
            .negatives
            .map_or(0.0, |weights| weights[[i, k]].wide());
        let z = if out {
            f64::NEG_INFINITY
        } else {
            u * self.rules.own_boost + log_weight
        };
        Score { u, z }
    }

    fn threads(&self, queries: usize) -> Threads {
        let listed = 1 + self
            .input
            .negatives
            .map_or(0, |negatives| negatives.dim().1);
        Threads::for_nanoseconds((queries * listed * self.input.queries.ncols()) as f64 / 2.0)
    }

    /// Scores the positives of the queries from `first` on.
    pub(super) fn score_positives(&self, first: usize, queries: &mut [Query]) {
        let units = Units {
            slice: queries,
            len: 1,
        };
        for_each(
            self.threads(units.slice.len()),
            units.slice.len(),
            32,
            units,
            &|start, _, queries: Units<Query>| {
                dispatch(Positives {
                    listed: self,
                    first: first + start,
                    queries: queries.slice,
                });
            },
        );
    }

    /// Adds the own negatives, settles the softmax of each query from `first` on, and writes the gradients of what is listed.
    pub(super) fn settle(&self, first: usize, queries: &mut [Query], views: Views<'_, A>) {
        let count = queries.len();
        let work = (
            Units {
                slice: queries,
                len: 1,
            },
            views.0,
            views.1,
        );
        let grain = if self.input.negatives.is_some() {
            4
        } else {
            64
        };
        for_each(self.threads(count), count, grain, work, &|start,
                                                            _,
                                                            (
            queries,
            to_query,
            to_negatives,
        ): (
            Units<Query>,
            _,
            _,
        )| {
            let views = (to_query, to_negatives);
            dispatch(Settle {
                listed: self,
                first: first + start,
                queries: queries.slice,
                views,
            });
        });
    }

    /// The gradient of the documents where they are nothing but positives: a document's row is written once, from all its queries.
    pub(super) fn write_documents(
        &self,
        askers: &Askers,
        queries: &[Query],
        documents: ArrayViewMut2<'_, A>,
    ) {
        let count = documents.nrows();
        for_each(
            self.threads(count),
            count,
            32,
            documents,
            &|first, _, views| {
                dispatch(Documents {
                    listed: self,
                    askers,
                    queries,
                    first,
                    views,
                });
            },
        );
    }

    #[inline(always)]
    pub(super) fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> Pair<A::Real> {
        self.similarity.measure::<A, I>(x, y)
    }
}

struct Positives<'l, 'a, A> {
    listed: &'l Listed<'a, A>,
    first: usize,
    queries: &'l mut [Query],
}

impl<A: Scalar> Kernel for Positives<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let input = &self.listed.input;
        let (mut query_spare, mut document_spare) = (Vec::new(), Vec::new());
        for (i, query) in self.queries.iter_mut().enumerate() {
            let row = contiguous(input.queries.row(self.first + i), &mut query_spare);
            let document = contiguous(
                input.documents.row(input.targets.of(self.first + i)),
                &mut document_spare,
            );
            let similarity = self.listed.measure::<I>(row, document).similarity();
            let u = similarity * self.listed.per_temperature;
            let target = input.targets.of(self.first + i);
            let log_weight = input
                .log_weights
                .documents
                .map_or(0.0, |weights| weights[target].wide());
            query.positive = Score {
                u,
                z: u + log_weight,
            };
            if let Some(ids) = &input.ids {
                query.id = ids.queries[self.first + i];
            }
            let epsilon = A::epsilon().wide();
            let ceiling = |rule: FalseNegatives, positive| rule.ceiling(positive, epsilon);
            query.ceiling = match (self.listed.rules.false_negatives, input.guide) {
                (rule, Some(guide)) => {
                    let (query, document) = (
                        guide.queries.row(self.first + i),
                        guide.documents.row(target),
                    );
                    let rule = rule.unwrap_or(FalseNegatives::Absolute(0.0));
                    ceiling(rule, cosine_of_rows::<A, I>(query, document))
                }
                (Some(rule), None) => ceiling(rule, similarity) * self.listed.per_temperature,
                (None, None) => f64::INFINITY,
            };
        }
    }
}

/// A product that is 0 where the weight is: a query of weight zero does not take part, not even with a NaN.
#[inline(always)]
pub(super) fn times(weight: f64, x: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * x }
}
