//! Who competes with whom: blocks of scores, each of one matrix against another, with the rules for them.

use super::embeddings::Embeddings;
use super::own::Own;
use super::tile_rules::Undo;
use super::{InfoNceInput, InfoNceLoss, Sources};
use crate::scalar::Scalar;
use crate::similarity::Similarity;
use ndarray::ArrayView2;
use std::ops::Range;

/// The matrices of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Queries,
    Documents,
    /// Own negatives, all in one.
    Negatives,
    Pool,
}

impl Side {
    pub(super) const ALL: [Self; 4] = [Self::Queries, Self::Documents, Self::Negatives, Self::Pool];
}

/// What stands for the queries of a batch in a block: a lane each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// They themselves.
    Queries,
    /// Their positive documents.
    Positives,
}

impl Left {
    pub(super) const ALL: [Self; 2] = [Self::Queries, Self::Positives];

    /// The matrix that its rows are from.
    pub(super) fn side(self) -> Side {
        match self {
            Self::Queries => Side::Queries,
            Self::Positives => Side::Documents,
        }
    }
}

/// What of a block does not compete for a query because it is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mine {
    Nothing,
    /// Its positives, which have their own place in the loss.
    Positives,
    /// Its positives, and itself: the documents are the queries.
    PositivesAndItself,
    Itself,
    /// Its positives, as rivals of one of them.
    Documents,
    /// Its own negatives, which are listed.
    Negatives,
}

/// The scores of all rows of one matrix against the queries or their positives: one for each query and row.
pub(super) struct Block<A> {
    pub(super) left: Left,
    pub(super) right: Side,
    /// What `right` is in the input: the queries of a labelled batch are its documents.
    pub(super) named: Side,
    pub(super) mine: Mine,
    /// Whether its scores enter the softmax of their document, over the queries.
    pub(super) columns: bool,
    /// `None` where scores are similarities over the temperature and nothing else.
    pub(super) rules: Option<Rules<A>>,
}

impl<A> Block<A> {
    /// Whether its scores are of queries with documents, which the report ranks.
    pub(super) fn is_ranked(&self) -> bool {
        self.left == Left::Queries && self.mine != Mine::Itself
    }

    /// Whether the positives are among its scores.
    pub(super) fn has_positives(&self) -> bool {
        matches!(self.mine, Mine::Positives | Mine::PositivesAndItself)
    }
}

/// What the scores of a block go through besides the temperature.
pub(super) struct Rules<A> {
    /// z = u·boost + log weight; 1 without hardness.
    pub(super) boost: A,
    pub(super) log_weights: Option<Vec<A>>,
    pub(super) ids: Option<Vec<u64>>,
    pub(super) judge: Option<Judge>,
}

/// What tells false negatives by their similarity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The scores themselves.
    Own,
    /// The cosines of a guide.
    Guide,
}

impl<A: Scalar> Block<A> {
    /// All blocks of a batch.
    pub(super) fn all(loss: &InfoNceLoss, input: &InfoNceInput<'_, A>) -> Vec<Self> {
        let of = loss.directions;
        let mut list = Vec::new();
        if loss.in_batch_negatives {
            let (right, mine) = if input.within {
                (Side::Queries, Mine::PositivesAndItself)
            } else {
                (Side::Documents, Mine::Positives)
            };
            list.push((Left::Queries, right, mine));
        }
        if loss.pooled_negatives && input.negatives.is_some() {
            list.push((Left::Queries, Side::Negatives, Mine::Negatives));
        }
        if input.pool.is_some() {
            list.push((Left::Queries, Side::Pool, Mine::Nothing));
        }
        if of.query_to_query {
            list.push((Left::Queries, Side::Queries, Mine::Itself));
        }
        if of.document_to_document {
            list.push((Left::Positives, Side::Documents, Mine::Documents));
            if loss.pooled_negatives && input.negatives.is_some() {
                list.push((Left::Positives, Side::Negatives, Mine::Negatives));
            }
        }
        let block = |(left, right, mine)| {
            let named = match right {
                Side::Queries if input.within => Side::Documents,
                other => other,
            };
            Self {
                left,
                right,
                named,
                mine,
                columns: mine == Mine::Positives && of.document_to_query,
                rules: Rules::new(loss, input, left, named),
            }
        };
        list.into_iter().map(block).collect()
    }
}

/// The kind of candidates that a block has.
fn source(left: Left, right: Side, sources: Sources) -> bool {
    match (left, right) {
        (Left::Queries, Side::Documents) => sources.in_batch,
        (Left::Queries, Side::Negatives) => sources.others,
        (Left::Queries, Side::Pool) => sources.pool,
        (Left::Queries, Side::Queries) => sources.queries,
        (Left::Positives, _) => sources.documents,
    }
}

impl<A: Scalar> Rules<A> {
    /// `None` if there is no rule.
    fn new(
        loss: &InfoNceLoss,
        input: &InfoNceInput<'_, A>,
        left: Left,
        right: Side,
    ) -> Option<Self> {
        let judged = loss
            .false_negatives
            .is_some_and(|(_, sources)| source(left, right, sources));
        let hard = loss
            .hardness
            .filter(|hardness| source(left, right, hardness.sources));
        let strength = hard.map_or(0.0, |hardness| hardness.strength);
        let judge = match &input.guide {
            Some(guide) => {
                let there = match right {
                    Side::Queries | Side::Documents => true,
                    Side::Negatives => guide.negatives.is_some(),
                    Side::Pool => guide.pool.is_some(),
                };
                there.then_some(Judge::Guide)
            }
            None => judged.then_some(Judge::Own),
        };
        let weights = input.log_weights;
        let log_weights = match (left, right) {
            (Left::Queries, Side::Documents) => weights.documents.map(|weights| weights.to_vec()),
            (Left::Queries, Side::Negatives) => weights
                .others
                .map(|weights| weights.iter().copied().collect()),
            (Left::Queries, Side::Pool) => weights.pool.map(|weights| weights.to_vec()),
            _ => None,
        };
        let rules = Self {
            boost: A::narrow(1.0 + strength * loss.temperature),
            log_weights,
            ids: input.ids.and_then(|ids| match right {
                Side::Queries => Some(ids.queries.to_vec()),
                Side::Documents => ids.documents.map(|ids| ids.to_vec()),
                Side::Negatives => ids.negatives.map(|ids| ids.iter().copied().collect()),
                Side::Pool => ids.pool.map(|ids| ids.to_vec()),
            }),
            judge,
        };
        let none = strength == 0.0 && rules.log_weights.is_none() && rules.ids.is_none();
        (!none || rules.judge.is_some()).then_some(rules)
    }

    /// What undoes the rules for some rows.
    pub(super) fn undo(&self, rows: Range<usize>) -> Undo<'_, A> {
        Undo {
            per_boost: A::one() / self.boost,
            log_weights: self.log_weights.as_ref().map(|weights| &weights[rows]),
        }
    }
}

/// A matrix of a batch, with what its inner products become scores by.
pub(super) struct Matrix<'a, A> {
    pub(super) embeddings: Embeddings<'a, A>,
    /// Factors over τ, in the precision of the scores.
    pub(super) factors: Vec<A>,
    /// What is added to the scores of each row: −‖row‖²/τ for distances, otherwise empty.
    pub(super) offsets: Vec<A>,
}

impl<'a, A: Scalar> Matrix<'a, A> {
    fn new(rows: ArrayView2<'a, A>, loss: &InfoNceLoss) -> Self {
        let embeddings = Embeddings::new(rows, loss.similarity);
        let per_temperature = 1.0 / loss.temperature;
        // −‖q − d‖² = 2 q·d − ‖q‖² − ‖d‖²
        let times = if loss.similarity == Similarity::SquaredEuclidean {
            2.0
        } else {
            1.0
        };
        let factors = embeddings.factors.iter();
        let factors = factors.map(|factor| A::narrow(times * factor * per_temperature));
        let offsets = embeddings.squares.iter();
        let offsets =
            offsets.map(|square| A::narrow(-square * per_temperature).max(-A::max_value()));
        Self {
            factors: factors.collect(),
            offsets: offsets.collect(),
            embeddings,
        }
    }
}

/// The matrices that some block scores.
pub(super) struct Matrices<'a, A>([Option<Matrix<'a, A>>; 4]);

impl<'a, A: Scalar> Matrices<'a, A> {
    pub(super) fn new(
        loss: &InfoNceLoss,
        input: &InfoNceInput<'a, A>,
        own: Option<Own<'a, A>>,
        blocks: &[Block<A>],
    ) -> Self {
        Self(Side::ALL.map(|side| {
            let used = |block: &Block<A>| block.right == side || block.left.side() == side;
            let used = side == Side::Queries || blocks.iter().any(used);
            let rows = match side {
                Side::Queries => Some(input.queries),
                Side::Documents => Some(input.documents),
                Side::Negatives => own.map(|own| own.rows),
                Side::Pool => input.pool,
            };
            rows.filter(|_| used).map(|rows| Matrix::new(rows, loss))
        }))
    }

    /// A matrix that a block names.
    #[inline]
    pub(super) fn of(&self, side: Side) -> &Matrix<'a, A> {
        self.0[side as usize]
            .as_ref()
            .expect("a matrix that a block names was prepared")
    }
}

/// The embeddings of a guide, of each matrix.
pub(super) struct Guides<'a, A>([Option<Embeddings<'a, A>>; 4]);

impl<'a, A: Scalar> Guides<'a, A> {
    pub(super) fn new(guide: &super::Guide<'a, A>, negatives: Option<ArrayView2<'a, A>>) -> Self {
        let cosine = |rows| Embeddings::new(rows, Similarity::Cosine);
        Self([
            Some(cosine(guide.queries)),
            Some(cosine(guide.documents)),
            negatives.map(cosine),
            guide.pool.map(cosine),
        ])
    }

    /// The columns of its embeddings.
    pub(super) fn dim(&self) -> usize {
        self.of(Side::Queries).rows().ncols()
    }

    #[inline]
    pub(super) fn of(&self, side: Side) -> &Embeddings<'a, A> {
        self.0[side as usize]
            .as_ref()
            .expect("a matrix that a guide judges was given")
    }
}
