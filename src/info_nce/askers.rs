//! Which queries a document is a positive of.

use super::positives::Positives;

/// The queries of each document: the positives, looked up from the other side.
pub(super) struct Askers {
    /// Where the queries of a document begin in `queries`, and one end more.
    starts: Vec<usize>,
    queries: Vec<usize>,
}

impl Askers {
    pub(super) fn new(positives: &Positives, queries: usize, documents: usize) -> Self {
        let mut starts = vec![0; documents + 1];
        let pairs =
            || (0..queries).flat_map(|query| positives.of(query).map(move |row| (query, row)));
        pairs().for_each(|(_, row)| starts[row + 1] += 1);
        for document in 0..documents {
            starts[document + 1] += starts[document];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; starts[documents]];
        for (query, row) in pairs() {
            sorted[next[row]] = query;
            next[row] += 1;
        }
        Self {
            starts,
            queries: sorted,
        }
    }

    /// The queries that a document is a positive of, in ascending order.
    pub(super) fn of(&self, document: usize) -> &[usize] {
        &self.queries[self.starts[document]..self.starts[document + 1]]
    }
}
