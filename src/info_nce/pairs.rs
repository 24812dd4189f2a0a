//! The positives of queries that have several, each with its score.

use std::ops::Range;

use super::positives::Positives;
use super::softmax::Score;
use crate::blocks::Split;

/// A positive of a query.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The row of the document.
    pub(super) row: usize,
    pub(super) score: Score,
    /// −∂ℓ/∂z of this positive.
    pub(super) pull: f64,
}

/// The positives of the queries of a range that have more than one.
#[derive(Default)]
pub(super) struct Pairs {
    first: usize,
    starts: Vec<usize>,
    entries: Vec<Entry>,
}

impl Pairs {
    /// What the positives of a query take, on average.
    pub(super) fn bytes_of_a_query(positives: &Positives, queries: usize) -> usize {
        match positives.total() / queries.max(1) {
            0 | 1 => 0,
            several => several.saturating_mul(size_of::<Entry>()),
        }
    }

    /// Makes room for the positives of some queries.
    pub(super) fn prepare(&mut self, positives: &Positives, queries: &Range<usize>) {
        self.first = queries.start;
        self.starts.clear();
        self.entries.clear();
        self.starts.push(0);
        for query in queries.clone() {
            if positives.count(query) > 1 {
                self.entries.extend(positives.of(query).map(|row| Entry {
                    row,
                    score: Score::default(),
                    pull: 0.0,
                }));
            }
            self.starts.push(self.entries.len());
        }
    }

    /// The positives of a query, if it has several.
    pub(super) fn of(&self, query: usize) -> &[Entry] {
        let local = query - self.first;
        &self.entries[self.starts[local]..self.starts[local + 1]]
    }

    /// The positives of some of the queries, to be written.
    pub(super) fn some(&mut self, queries: &Range<usize>) -> PairRows<'_, '_> {
        let starts = &self.starts[queries.start - self.first..=queries.end - self.first];
        PairRows {
            entries: &mut self.entries[starts[0]..starts[queries.len()]],
            starts,
        }
    }
}

/// Positives that are being written.
pub(super) struct PairRows<'p, 's> {
    entries: &'p mut [Entry],
    starts: &'s [usize],
}

impl PairRows<'_, '_> {
    /// Those of the query with this number among the queries of the piece.
    #[inline(always)]
    pub(super) fn of(&mut self, local: usize) -> &mut [Entry] {
        let first = self.starts[0];
        &mut self.entries[self.starts[local] - first..self.starts[local + 1] - first]
    }
}

impl Split for PairRows<'_, '_> {
    fn split(self, unit: usize) -> (Self, Self) {
        let (left, right) = self
            .entries
            .split_at_mut(self.starts[unit] - self.starts[0]);
        (
            PairRows {
                entries: left,
                starts: &self.starts[..=unit],
            },
            PairRows {
                entries: right,
                starts: &self.starts[unit..],
            },
        )
    }
}
