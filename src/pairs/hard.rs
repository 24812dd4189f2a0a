//! Which pairs of a batch are hard: by their distances, against those of the other kind.

use super::distances::measure_all;
use super::input::PairInput;
use super::pass::{Measure, Pass, Term, Views};
use crate::label::PairLabel;
use crate::reduction::Sum;
use crate::rows::{Out, Outcome, RowLoss};
use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::staging::Held;
use crate::store::{Wide, write_row};
use crate::workspace::Workspace;

/// The distances beyond which pairs are hard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hardness {
    match_above: f64,
    no_match_below: f64,
}

impl Hardness {
    /// All pairs are.
    pub(super) const ALL: Self = Self {
        match_above: f64::NEG_INFINITY,
        no_match_below: f64::INFINITY,
    };

    /// The term of a hard pair; nothing in place of another.
    pub(super) fn apply(self, label: PairLabel, distance: f64, term: Term) -> Term {
        let easy = match label {
            PairLabel::Match => distance <= self.match_above,
            PairLabel::NoMatch => distance >= self.no_match_below,
        };
        // A NaN is not easy, so that it shows in the value.
        if easy {
            Term {
                loss: 0.0,
                slope: 0.0,
                ..term
            }
        } else {
            term
        }
    }
}

/// What is to be known of the distances of a batch.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    matches: Kind,
    others: Kind,
}

#[derive(Clone, Copy)]
struct Kind {
    count: f64,
    sum: Sum,
    least: f64,
    largest: f64,
}

impl Kind {
    const NONE: Self = Self {
        count: 0.0,
        sum: Sum::ZERO,
        least: f64::INFINITY,
        largest: f64::NEG_INFINITY,
    };

    fn plus(self, distance: f64) -> Self {
        Self {
            count: self.count + 1.0,
            sum: self.sum.plus(distance),
            least: self.least.min(distance),
            largest: self.largest.max(distance),
        }
    }

    fn merge(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum.merge(other.sum),
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
        }
    }

    fn mean(self) -> f64 {
        self.sum.value() / self.count
    }
}

impl Spread {
    pub(super) const NONE: Self = Self {
        matches: Kind::NONE,
        others: Kind::NONE,
    };

    pub(super) fn plus(mut self, label: PairLabel, distance: f64) -> Self {
        let kind = match label {
            PairLabel::Match => &mut self.matches,
            PairLabel::NoMatch => &mut self.others,
        };
        *kind = kind.plus(distance);
        self
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            matches: self.matches.merge(other.matches),
            others: self.others.merge(other.others),
        }
    }

    pub(super) fn hardness(self) -> Hardness {
        let Self { matches, others } = self;
        Hardness {
            match_above: if others.count > 0.0 {
                others.least
            } else {
                matches.mean()
            },
            no_match_below: if matches.count > 0.0 {
                matches.largest
            } else {
                others.mean()
            },
        }
    }
}

/// The distances of a batch of pairs, and its hardness; pairs of weight zero are not asked for that.
pub(super) fn measured<'w, A: Scalar>(
    measure: &impl Measure<A, Value = f64>,
    input: PairInput<'_, A>,
    workspace: &'w mut Workspace<A>,
) -> (&'w [f64], Hardness) {
    let distances = workspace.sums.take(input.labels.len());
    measure_all(measure, input.x, input.y, distances);
    let spread = (distances.iter().enumerate())
        .filter(|&(row, _)| {
            input
                .weights
                .is_none_or(|weights| weights[row] != A::zero())
        })
        .fold(Spread::NONE, |spread, (row, &distance)| {
            spread.plus(input.labels[row], distance)
        });
    (distances, spread.hardness())
}

/// A pass over pairs whose distances are known: only of those that weigh in the gradient the rows are read again.
pub(super) struct KnownPass<'d, 'a, A, M, F> {
    pub(super) distances: &'d [f64],
    pub(super) pass: Pass<'a, A, M, F>,
}

impl<'g, A, M, F> RowLoss<A, Views<'g, A>> for KnownPass<'_, '_, A, M, F>
where
    A: Scalar,
    M: Measure<A, Value = f64>,
    F: Fn(usize, f64) -> Term + Sync,
{
    #[inline(always)]
    fn row<I: Isa>(
        &self,
        row: usize,
        out: Option<Out<'_, Views<'g, A>>>,
        held: &mut Held<A>,
    ) -> Outcome {
        let term = (self.pass.term)(row, self.distances[row]);
        match out {
            Some(out) if out.scale == 0.0 || term.slope == 0.0 => clear::<A, I>(out, held),
            // The same distance once more, and so the same term.
            Some(out) => return self.pass.row::<I>(row, Some(out), held),
            None => {}
        }
        Outcome::new(term.loss, term.tally)
    }
}

/// Writes a gradient of zeros.
#[inline(always)]
fn clear<A: Scalar, I: Isa>(out: Out<'_, Views<'_, A>>, held: &mut Held<A>) {
    let (x, y) = out.views;
    for view in [x, y].into_iter().flatten() {
        let mut view = view.row_mut(out.row);
        let [zeros] = held.scratch.rows(view.len());
        zeros.fill(0.0);
        write_row::<A, I>(view.view_mut(), out.stores, Wide::new(zeros));
    }
}
