//! Candidates that are listed query by query: positives and own negatives. Scored row by row, in `f64`.

use std::sync::atomic::AtomicUsize;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, s};

use super::askers::Askers;
use super::embeddings::Embeddings;
use super::listed_rules::ListedRules;
use super::own::{Own, OwnRows};
use super::pairs::PairRows;
use super::positives::Positives;
use super::query::Query;
use super::rules::FalseNegatives;
use super::settle::{Documents, Settle};
use super::sigmoid::sigmoid;
use super::softmax::{Partition, Score};
use super::tiles::score_bound;
use super::{InfoNceInput, SeveralPositives};
use crate::blocks::{Threads, Units, for_each};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::{Pair, Similarity, cosine};
use crate::staging::contiguous;

/// The cosine of two rows of a guide.
#[inline(always)]
fn cosine_of_rows<A: Scalar, I: Isa>(x: ArrayView1<'_, A>, y: ArrayView1<'_, A>) -> f64 {
    let (mut x_spare, mut y_spare) = (Vec::new(), Vec::new());
    let (x, y) = (contiguous(x, &mut x_spare), contiguous(y, &mut y_spare));
    cosine::<A, I>(x, y, 0.0).cosine
}

/// A batch with all that is listed for its queries.
pub(super) struct Listed<'a, A> {
    pub(super) input: InfoNceInput<'a, A>,
    /// The matrix that the positives are rows of.
    pub(super) documents: ArrayView2<'a, A>,
    pub(super) own: Option<Own<'a, A>>,
    pub(super) positives: &'a Positives,
    pub(super) similarity: Similarity,
    pub(super) per_temperature: f64,
    pub(super) rules: ListedRules,
    /// Whether the gradient of positives is left to the tiles.
    pub(super) positive_in_tiles: bool,
    /// Candidates that were left out, in tiles as well.
    pub(super) left_out: AtomicUsize,
    /// What the losses are multiplied with besides their weights.
    pub(super) scale: f64,
}

/// Gradient views of a block of queries, and of their own negatives.
pub(super) type Views<'g, 's, A> = (Option<ArrayViewMut2<'g, A>>, Option<OwnRows<'g, 's, A>>);

/// The embeddings of queries and own negatives whose gradients are still by the normalised rows, so that something is added to them in that form.
#[derive(Clone, Copy)]
pub(super) struct Unfinished<'e, 'a, A> {
    pub(super) queries: Option<&'e Embeddings<'a, A>>,
    pub(super) negatives: Option<&'e Embeddings<'a, A>>,
}

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

    /// s/τ, held to what scores in tiles are held to: a copy of the positive scores as much, however large that is.
    #[inline(always)]
    pub(super) fn over_temperature(&self, similarity: f64) -> f64 {
        let (u, bound) = (similarity * self.per_temperature, score_bound::<A>().wide());
        // An infinite similarity comes from infinite rows, or from products beyond f64, and stays one.
        if u.is_finite() {
            u.clamp(-bound, bound)
        } else {
            u
        }
    }

    /// The score up to which a candidate ties with the positive: scores in tiles are rounded, and a copy of the positive must not
    /// count as better.
    #[inline]
    pub(super) fn tie(&self, query: &Query) -> f64 {
        let size = query.positive.z.abs().max(self.per_temperature);
        query.positive.z + 16.0 * A::epsilon().wide() * size
    }

    /// The score of an own negative whose similarity over the temperature is `u`; −∞ if it is left out.
    #[inline(always)]
    pub(super) fn own_score<I: Isa>(
        &self,
        i: usize,
        place: [usize; 2],
        query: &Query,
        u: f64,
    ) -> Score {
        let ids = self.input.ids.and_then(|ids| ids.negatives);
        let guide = self.input.guide;
        let compared = match guide {
            Some(guide) => guide.negatives.map(|negatives| {
                cosine_of_rows::<A, I>(
                    guide.queries.row(i),
                    negatives.slice(s![place[0], place[1], ..]),
                )
            }),
            None => self.rules.own_is_judged.then_some(u),
        };
        let out = ids.is_some_and(|ids| ids[place] == query.id)
            || compared.is_some_and(|compared| compared > query.ceiling);
        let log_weight = self
            .input
            .log_weights
            .negatives
            .map_or(0.0, |weights| weights[place].wide());
        let z = if out {
            f64::NEG_INFINITY
        } else {
            u * self.rules.own_boost + log_weight
        };
        Score { u, z }
    }

    /// What a candidate's score contributes to the gradient: its probability, or the logistic function of the score.
    #[inline(always)]
    pub(super) fn share(&self, query: &Query, z: f64) -> f64 {
        match self.rules.bias {
            Some(bias) => sigmoid(z + bias),
            None => (z - query.others.max).exp() * query.settled.per_sum,
        }
    }

    /// Threads for what is listed for some queries.
    fn threads(&self, queries: usize) -> Threads {
        let all = self.input.queries.nrows().max(1);
        let own = self.own.map_or(0, |own| own.rows.nrows());
        let listed = queries + (own + self.positives.total()) * queries / all;
        Threads::for_nanoseconds((listed * self.input.queries.ncols()) as f64 / 2.0)
    }

    /// Scores the positives of the queries from `first` on.
    pub(super) fn score_positives(
        &self,
        first: usize,
        queries: &mut [Query],
        pairs: PairRows<'_, '_>,
    ) {
        let count = queries.len();
        let units = Units {
            slice: queries,
            len: 1,
        };
        let threads = self.threads(count);
        for_each(threads, count, 32, (units, pairs), &|start,
                                                       _,
                                                       (queries, pairs): (
            Units<Query>,
            PairRows,
        )| {
            dispatch(ScorePositives {
                listed: self,
                first: first + start,
                queries: queries.slice,
                pairs,
            });
        });
    }

    /// Adds the own negatives, settles the softmax of each query from `first` on, and writes the gradients of what is listed.
    pub(super) fn settle(
        &self,
        first: usize,
        queries: &mut [Query],
        pairs: PairRows<'_, '_>,
        views: Views<'_, '_, A>,
        unfinished: Unfinished<'_, 'a, A>,
    ) {
        let count = queries.len();
        let queries = Units {
            slice: queries,
            len: 1,
        };
        /// Bytes of own negatives in a block: it ends with a wait for the stores past the caches.
        const BLOCK_BYTES: usize = 512 << 10;
        let bytes = self.own.map_or(0, |own| size_of::<A>() * own.rows.len());
        let each = bytes / self.input.queries.nrows().max(1);
        let grain = (BLOCK_BYTES / each.max(1)).clamp(4, 64);
        let work = ((queries, pairs), views.0, views.1);
        for_each(self.threads(count), count, grain, work, &|start,
                                                            _,
                                                            (
            (queries, pairs),
            to_query,
            to_negatives,
        ): (
            (Units<Query>, PairRows),
            _,
            _,
        )| {
            dispatch(Settle {
                listed: self,
                first: first + start,
                queries: queries.slice,
                pairs,
                views: (to_query, to_negatives),
                unfinished,
            });
        });
    }

    /// The gradient of the documents where they are nothing but positives: a document's row is written once, from all its queries.
    pub(super) fn write_documents(
        &self,
        askers: &Askers,
        pull: &(impl Fn(usize, usize) -> f64 + Sync),
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
                    pull,
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

struct ScorePositives<'l, 'a, 'p, 's, A> {
    listed: &'l Listed<'a, A>,
    first: usize,
    queries: &'l mut [Query],
    pairs: PairRows<'p, 's>,
}

impl<A: Scalar> Kernel for ScorePositives<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Listed {
            input,
            documents,
            positives,
            ..
        } = self.listed;
        let epsilon = A::epsilon().wide();
        let (mut query_spare, mut document_spare) = (Vec::new(), Vec::new());
        for (local, query) in self.queries.iter_mut().enumerate() {
            let i = self.first + local;
            if let Some(ids) = &input.ids {
                query.id = ids.queries[i];
            }
            let row = contiguous(input.queries.row(i), &mut query_spare);
            // The least of the positives: what is above its ceiling may be a positive itself.
            let mut guided = f64::INFINITY;
            for (index, target) in positives.of(i).enumerate() {
                let document = contiguous(documents.row(target), &mut document_spare);
                let similarity = self.listed.measure::<I>(row, document).similarity();
                let u = self.listed.over_temperature(similarity);
                let log_weight = input
                    .log_weights
                    .documents
                    .map_or(0.0, |weights| weights[target].wide());
                let score = Score {
                    u,
                    z: u + log_weight,
                };
                let compared = match input.guide {
                    Some(guide) => {
                        cosine_of_rows::<A, I>(guide.queries.row(i), guide.documents.row(target))
                    }
                    None => similarity,
                };
                guided = if compared < guided || compared.is_nan() {
                    compared
                } else {
                    guided
                };
                let best = !query.has_positive || score.z > query.positive.z || score.z.is_nan();
                query.positive = if best { score } else { query.positive };
                query.has_positive = true;
                if let Some(entry) = self.pairs.of(local).get_mut(index) {
                    entry.score = score;
                    query.several.add(score);
                    if self.listed.rules.several == SeveralPositives::Together
                        && self.listed.rules.bias.is_none()
                    {
                        query.others = query.others.merge(Partition::of(score));
                    }
                }
            }
            let ceiling = |rule: FalseNegatives| rule.ceiling(guided, epsilon);
            query.ceiling = match (self.listed.rules.false_negatives, input.guide) {
                (rule, Some(_)) => ceiling(rule.unwrap_or(FalseNegatives::Absolute(0.0))),
                (Some(rule), None) => ceiling(rule) * self.listed.per_temperature,
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
