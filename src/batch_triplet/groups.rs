//! Which candidates share the label of an anchor.

use std::ops::Range;

use ndarray::ArrayView1;

/// The candidates in the order of their labels, and where each anchor's label is among them.
pub(super) struct Groups {
    order: Vec<u32>,
    ranges: Vec<Range<usize>>,
    candidates: usize,
    /// Whether an anchor is a candidate for itself, and so must be passed over.
    pub(super) own: bool,
}

impl Groups {
    pub(super) fn new(
        anchors: ArrayView1<'_, u64>,
        candidates: ArrayView1<'_, u64>,
        own: bool,
    ) -> Self {
        let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
        // Stable, so in the order of the rows where labels are equal.
        order.sort_by_key(|&row| candidates[row as usize]);
        let at = |row: &u32| candidates[*row as usize];
        let ranges = anchors
            .iter()
            .map(|&label| {
                order.partition_point(|row| at(row) < label)
                    ..order.partition_point(|row| at(row) <= label)
            })
            .collect();
        Self {
            order,
            ranges,
            candidates: candidates.len(),
            own,
        }
    }

    /// The candidates with the anchor's label in the order of their rows, the anchor itself among them if it is a candidate.
    pub(super) fn same(&self, anchor: usize) -> &[u32] {
        &self.order[self.ranges[anchor].clone()]
    }

    pub(super) fn positives(&self, anchor: usize) -> usize {
        self.ranges[anchor].len() - usize::from(self.own)
    }

    pub(super) fn negatives(&self, anchor: usize) -> usize {
        self.candidates - self.ranges[anchor].len()
    }

    pub(super) fn anchors(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn has_triplets(&self, anchor: usize) -> bool {
        self.positives(anchor) > 0 && self.negatives(anchor) > 0
    }

    /// The anchor's own row among the candidates.
    pub(super) fn itself(&self, anchor: usize) -> Option<usize> {
        self.own.then_some(anchor)
    }

    /// The pairs of an anchor and a positive, over all anchors.
    pub(super) fn pairs(&self) -> usize {
        (0..self.ranges.len())
            .map(|anchor| self.positives(anchor))
            .sum()
    }
}
