//! A matrix that is scored against the queries, with the rules for its scores.

use ndarray::{ArrayView1, ArrayView2};

use super::candidates::Embeddings;
use super::tile_rules::Undo;
use super::{InfoNceInput, InfoNceLoss};
use crate::scalar::Scalar;
use crate::similarity::Similarity;

/// One matrix that is scored against the queries.
pub(super) struct Block<'a, A> {
    pub(super) embeddings: Embeddings<'a, A>,
    /// Factors over τ, in the precision of the scores.
    pub(super) factors: Vec<A>,
    /// Whether the positives are among its rows, and the symmetric form's other softmax is over its columns.
    pub(super) has_positives: bool,
    /// `None` where scores are similarities over the temperature and nothing else.
    pub(super) rules: Option<Rules<'a, A>>,
}

/// What the scores of a block go through besides the temperature.
pub(super) struct Rules<'a, A> {
    /// z = u·boost + log weight; 1 without hardness.
    pub(super) boost: A,
    pub(super) log_weights: Option<Vec<A>>,
    pub(super) ids: Option<Vec<u64>>,
    pub(super) judge: Option<Judge<'a, A>>,
}

/// What tells false negatives by their similarity.
pub(super) enum Judge<'a, A> {
    /// The scores themselves.
    Own,
    /// The cosines of a guide.
    Guide(Embeddings<'a, A>),
}

impl<'a, A: Scalar> Block<'a, A> {
    /// The matrices that all queries are scored against.
    pub(super) fn all(loss: &InfoNceLoss, input: &InfoNceInput<'a, A>) -> Vec<Self> {
        let sources = |of: fn(super::Sources) -> bool| {
            let judged = loss.false_negatives.is_some_and(|(_, sources)| of(sources));
            let hard = loss.hardness.filter(|hardness| of(hardness.sources));
            (judged, hard.map_or(0.0, |hardness| hardness.strength))
        };
        let mut blocks = Vec::new();
        if loss.in_batch_negatives {
            blocks.push(Self::new(
                loss,
                input.documents,
                true,
                Rules::new(
                    loss,
                    input,
                    sources(|sources| sources.in_batch),
                    input.log_weights.documents,
                    input.ids.and_then(|ids| ids.documents),
                    input.guide.map(|guide| guide.documents),
                ),
            ));
        }
        if let Some(pool) = input.pool {
            blocks.push(Self::new(
                loss,
                pool,
                false,
                Rules::new(
                    loss,
                    input,
                    sources(|sources| sources.pool),
                    input.log_weights.pool,
                    input.ids.and_then(|ids| ids.pool),
                    input.guide.and_then(|guide| guide.pool),
                ),
            ));
        }
        blocks
    }

    fn new(
        loss: &InfoNceLoss,
        rows: ArrayView2<'a, A>,
        has_positives: bool,
        rules: Option<Rules<'a, A>>,
    ) -> Self {
        let embeddings = Embeddings::new(rows, loss.similarity);
        let factors = embeddings.factors.iter();
        let factors = factors
            .map(|factor| A::narrow(factor / loss.temperature))
            .collect();
        Self {
            embeddings,
            factors,
            has_positives,
            rules,
        }
    }
}

impl<'a, A: Scalar> Rules<'a, A> {
    /// `None` if there is no rule.
    fn new(
        loss: &InfoNceLoss,
        input: &InfoNceInput<'a, A>,
        (judged, strength): (bool, f64),
        log_weights: Option<ArrayView1<'_, A>>,
        ids: Option<ArrayView1<'_, u64>>,
        guide: Option<ArrayView2<'a, A>>,
    ) -> Option<Self> {
        let judge = match (input.guide, guide) {
            (Some(_), guide) => {
                guide.map(|rows| Judge::Guide(Embeddings::new(rows, Similarity::Cosine)))
            }
            (None, _) => judged.then_some(Judge::Own),
        };
        let rules = Self {
            boost: A::narrow(1.0 + strength * loss.temperature),
            log_weights: log_weights.map(|weights| weights.to_vec()),
            ids: ids.map(|ids| ids.to_vec()),
            judge,
        };
        let none = strength == 0.0 && rules.log_weights.is_none() && rules.ids.is_none();
        (!none || rules.judge.is_some()).then_some(rules)
    }

    /// What undoes the rules for some rows.
    pub(super) fn undo(&self, rows: std::ops::Range<usize>) -> Undo<'_, A> {
        Undo {
            per_boost: A::one() / self.boost,
            log_weights: self.log_weights.as_ref().map(|weights| &weights[rows]),
        }
    }
}
