//! What a batch brings besides embeddings and targets: ids, a guide, log weights.

use contrastive::Scalar;
use ndarray::{Array1, Array2, Array3};

use super::candidates::Side;
use crate::common::random::Random;

/// Which of the arrays of an option a batch brings: candidates without are not touched by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Given {
    /// A guide always has them.
    pub(super) documents: bool,
    pub(super) negatives: bool,
    /// Log weights of own negatives as rivals of other queries.
    pub(super) others: bool,
    pub(super) pool: bool,
}

impl Given {
    pub(super) const ALL: Self = Self {
        documents: true,
        negatives: true,
        others: true,
        pool: true,
    };

    pub(super) const NONE: Self = Self {
        documents: false,
        negatives: false,
        others: false,
        pool: false,
    };

    /// Queries are always given.
    pub(super) fn at(self, side: Side) -> bool {
        match side {
            Side::Queries => true,
            Side::Documents => self.documents,
            Side::Negatives => self.negatives,
            Side::Pool => self.pool,
        }
    }
}

/// The columns of the guide, other than those of the embeddings.
const GUIDE_DIM: usize = 3;

/// Of queries, documents, own negatives and the pool, in this order.
#[derive(Clone, Debug)]
pub(super) struct Extras {
    pub(super) marks: [Array1<u64>; 4],
    pub(super) guide: [Array2<f64>; 4],
    pub(super) log_weights: [Array1<f64>; 4],
    pub(super) log_weights_of_others: Array1<f64>,
}

impl Extras {
    /// For as many rows of each. The documents of a labelled batch have their own, though they are its queries.
    pub(super) fn new(counts: [usize; 4], random: &mut Random) -> Self {
        let kinds = counts[0] + 2;
        let marks =
            counts.map(|count| Array1::from_shape_fn(count, |_| random.below(kinds) as u64));
        let guide =
            counts.map(|count| Array2::from_shape_fn((count, GUIDE_DIM), |_| random.signed()));
        let log_weights = counts.map(|count| Array1::from_shape_fn(count, |_| random.signed()));
        Self {
            marks,
            guide,
            log_weights,
            log_weights_of_others: Array1::from_shape_fn(counts[2], |_| 2.0 * random.signed()),
        }
    }

    /// All that is not whole numbers.
    pub(super) fn numbers(&mut self) -> impl Iterator<Item = &mut f64> {
        let guide = self.guide.iter_mut().flat_map(|rows| rows.iter_mut());
        let weights = self.log_weights.iter_mut().flat_map(|row| row.iter_mut());
        guide.chain(weights).chain(&mut self.log_weights_of_others)
    }
}

/// The same, in the precision and the shapes that an input asks for.
pub(super) struct Shaped<A> {
    pub(super) negative_marks: Array2<u64>,
    pub(super) guide: [Array2<A>; 4],
    pub(super) negative_guide: Array3<A>,
    pub(super) log_weights: [Array1<A>; 4],
    pub(super) negative_log_weights: Array2<A>,
    pub(super) other_log_weights: Array2<A>,
}

impl<A: Scalar> Shaped<A> {
    /// With own negatives as `[n, K]`, or as `[total, 1]`.
    pub(super) fn new(extras: &Extras, own: (usize, usize)) -> Self {
        let narrow = |x: &f64| A::from(*x).expect("a number");
        let guide = extras.guide.each_ref().map(|rows| rows.map(narrow));
        let log_weights = extras.log_weights.each_ref().map(|row| row.map(narrow));
        let others = extras.log_weights_of_others.map(narrow);
        let two = |row: &Array1<A>| row.clone().into_shape_with_order(own).expect("as many");
        let marks = extras.marks[2].clone();
        let cube = (own.0, own.1, GUIDE_DIM);
        let negative_guide = guide[2].clone().into_shape_with_order(cube);
        Self {
            negative_marks: marks.into_shape_with_order(own).expect("as many"),
            negative_guide: negative_guide.expect("as many"),
            negative_log_weights: two(&log_weights[2]),
            other_log_weights: two(&others),
            guide,
            log_weights,
        }
    }
}
