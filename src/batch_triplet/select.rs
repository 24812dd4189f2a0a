//! Which triplets of an anchor count: the strategies that choose.

use super::TripletMining;
use super::sampling;
use crate::scalar::Scalar;

/// A candidate and its distance from the anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate<A> {
    pub(super) row: u32,
    pub(super) distance: A,
}

/// A positive and a negative that were put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chosen<A> {
    pub(super) positive: Candidate<A>,
    pub(super) negative: Candidate<A>,
}

/// The candidates of an anchor. No distance is NaN.
pub(super) struct Neighbours<'s, A> {
    pub(super) positives: Vec<Candidate<A>>,
    /// The distances of the negatives, in the order of their rows.
    pub(super) negatives: Vec<A>,
    /// The candidates that are no negatives, in the order of their rows.
    pub(super) same: &'s [u32],
}

impl<'s, A: Scalar> Neighbours<'s, A> {
    /// Sorts out the distances of an anchor to all candidates.
    pub(super) fn new(distances: &[A], same: &'s [u32], itself: Option<usize>) -> Self {
        let mut negatives = Vec::with_capacity(distances.len() - same.len());
        let mut next = 0;
        for &row in same {
            negatives.extend_from_slice(&distances[next..row as usize]);
            next = row as usize + 1;
        }
        negatives.extend_from_slice(&distances[next..]);
        let others = same.iter().filter(|&&row| itself != Some(row as usize));
        let positives = others
            .map(|&row| Candidate {
                row,
                distance: distances[row as usize],
            })
            .collect();
        Self {
            positives,
            negatives,
            same,
        }
    }

    /// The nearest positives first, and of equally near ones the first row.
    pub(super) fn sort_positives(&mut self) {
        // The order of equal keys is given by the rows, so an unstable sort has one outcome.
        self.positives
            .sort_unstable_by(|x, y| order(x.distance, y.distance).then(x.row.cmp(&y.row)));
    }

    /// The candidate that a negative is.
    pub(super) fn negative(&self, index: usize) -> Candidate<A> {
        // The k-th row of `same` has row − k negatives before it.
        let (mut low, mut high) = (0, self.same.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.same[middle] as usize - middle <= index {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Candidate {
            row: (index + low) as u32,
            distance: self.negatives[index],
        }
    }

    /// The triplets that a strategy chooses, in the order of their positives; none for [`TripletMining::BatchAll`], which takes them all.
    pub(super) fn choose(
        &mut self,
        strategy: TripletMining,
        setting: &sampling::Setting<'_>,
    ) -> Vec<Chosen<A>> {
        let pair = |positive, negative| vec![Chosen { positive, negative }];
        let mut chosen = match strategy {
            TripletMining::BatchAll => Vec::new(),
            TripletMining::BatchHard => pair(self.farthest_positive(), self.nearest_negative()),
            TripletMining::EasyPositiveHard => {
                pair(self.nearest_positive(), self.nearest_negative())
            }
            TripletMining::EasyPositiveSemiHard => {
                let positive = self.nearest_positive();
                self.nearest_beyond(positive.distance)
                    .map_or_else(Vec::new, |negative| pair(positive, negative))
            }
            TripletMining::BatchSemiHard => self.semi_hard(),
            TripletMining::DistanceWeighted(rule) => sampling::choose(self, rule, setting),
        };
        chosen.sort_by_key(|chosen| chosen.positive.row);
        chosen
    }

    fn nearest_positive(&self) -> Candidate<A> {
        self.first_positive(|x, best| x < best)
    }

    fn farthest_positive(&self) -> Candidate<A> {
        self.first_positive(|x, best| x > best)
    }

    /// The first that none is better than.
    fn first_positive(&self, better: impl Fn(A, A) -> bool) -> Candidate<A> {
        let mut best = self.positives[0];
        for &positive in &self.positives {
            if better(positive.distance, best.distance) {
                best = positive;
            }
        }
        best
    }

    fn nearest_negative(&self) -> Candidate<A> {
        let nearest = self
            .negatives
            .iter()
            .fold(A::infinity(), |best, &x| if x < best { x } else { best });
        let first = self.negatives.iter().position(|&x| x == nearest);
        self.negative(first.unwrap_or(0))
    }

    /// The nearest negative that is farther away than `distance`.
    fn nearest_beyond(&self, distance: A) -> Option<Candidate<A>> {
        let mut best = None;
        for (index, &x) in self.negatives.iter().enumerate() {
            if x > distance && best.is_none_or(|(nearest, _)| x < nearest) {
                best = Some((x, index));
            }
        }
        best.map(|(_, index)| self.negative(index))
    }

    /// For each positive the nearest negative beyond it, or the farthest of all if there is none.
    ///
    /// The positives are sorted, not the negatives, which are many more as a rule: each negative finds by bisection how many positives it is
    /// beyond of, and is the nearest of its kind or forgotten. The nearest beyond a positive is then the nearest of all later kinds.
    fn semi_hard(&mut self) -> Vec<Chosen<A>> {
        self.sort_positives();
        let mut nearest: Vec<Option<(A, usize)>> = vec![None; self.positives.len() + 1];
        let mut farthest = 0;
        for (index, &x) in self.negatives.iter().enumerate() {
            let kind = self
                .positives
                .partition_point(|positive| positive.distance < x);
            if nearest[kind].is_none_or(|(best, _)| x < best) {
                nearest[kind] = Some((x, index));
            }
            if x > self.negatives[farthest] {
                farthest = index;
            }
        }
        let mut chosen = Vec::with_capacity(self.positives.len());
        let mut beyond: Option<(A, usize)> = None;
        for (kind, &positive) in self.positives.iter().enumerate().rev() {
            if let Some((x, index)) = nearest[kind + 1]
                && beyond.is_none_or(|(best, _)| x < best)
            {
                beyond = Some((x, index));
            }
            let negative = self.negative(beyond.map_or(farthest, |(_, index)| index));
            chosen.push(Chosen { positive, negative });
        }
        chosen
    }
}

/// The order of two distances, neither of them NaN.
fn order<A: Scalar>(x: A, y: A) -> std::cmp::Ordering {
    x.partial_cmp(&y).unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: sampling::Setting<'_> = sampling::Setting {
        anchor: 0,
        dim: 2,
        cosine: &|_, _| 0.0,
    };

    /// Candidates of labels `same` (true) or other, at these distances.
    fn chosen(strategy: TripletMining, candidates: &[(bool, f64)]) -> Vec<(u32, u32)> {
        let distances: Vec<f64> = candidates.iter().map(|candidate| candidate.1).collect();
        let same: Vec<u32> = (0..candidates.len() as u32)
            .filter(|&row| candidates[row as usize].0)
            .collect();
        let mut neighbours = Neighbours::new(&distances, &same, None);
        let chosen = neighbours.choose(strategy, &SETTING);
        chosen
            .iter()
            .map(|chosen| (chosen.positive.row, chosen.negative.row))
            .collect()
    }

    const CANDIDATES: [(bool, f64); 7] = [
        (false, 3.0),
        (true, 2.0),
        (false, 1.0),
        (true, 4.0),
        (false, 3.0),
        (true, 2.0),
        (false, 1.0),
    ];

    #[test]
    fn ties_go_to_the_first_row() {
        assert_eq!(chosen(TripletMining::BatchHard, &CANDIDATES), [(3, 2)]);
        assert_eq!(
            chosen(TripletMining::EasyPositiveHard, &CANDIDATES),
            [(1, 2)]
        );
        assert_eq!(
            chosen(TripletMining::EasyPositiveSemiHard, &CANDIDATES),
            [(1, 0)]
        );
    }

    #[test]
    fn semi_hard_takes_the_nearest_beyond_and_else_the_farthest() {
        let expected = [(1, 0), (3, 0), (5, 0)];
        assert_eq!(chosen(TripletMining::BatchSemiHard, &CANDIDATES), expected);
        let level = [(true, 1.0), (false, 1.0), (false, 0.5)];
        assert_eq!(chosen(TripletMining::BatchSemiHard, &level), [(0, 1)]);
        assert!(chosen(TripletMining::EasyPositiveSemiHard, &level).is_empty());
    }

    #[test]
    fn infinite_negatives_are_negatives_still() {
        let far = [(true, 1.0), (false, f64::INFINITY)];
        assert_eq!(chosen(TripletMining::BatchHard, &far), [(0, 1)]);
        assert_eq!(chosen(TripletMining::BatchSemiHard, &far), [(0, 1)]);
    }
}
