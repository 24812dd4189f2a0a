//! Limits how many pairs one crate gives, so that no crate is the split.

use crate::{
    pair::{Pair, Split},
    report::Report,
};

/// Most pairs of one training crate.
const TRAIN: usize = 600;
/// Most pairs of one validation crate.
const VALIDATION: usize = 250;
/// Most pairs of one test crate: the bootstrap resamples crates, and gains little from a crate with thousands.
const TEST: usize = 90;

/// Thins each crate's pairs evenly, so that all of its files stay present. A crate's pairs must lie side by side.
pub(crate) fn limit(pairs: Vec<Pair>, report: &mut Report) -> Vec<Pair> {
    let mut kept = Vec::new();
    for group in pairs.chunk_by(|a, b| a.group == b.group) {
        let most = match group[0].split {
            Split::Train => TRAIN,
            Split::Validation => VALIDATION,
            Split::Test => TEST,
        };
        let thinned = evenly(group, most);
        report.over_quota += group.len() - thinned.len();
        kept.extend(thinned);
    }
    kept
}

/// At most `most` items of `items` at even distances, in their order.
fn evenly<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    let count = items.len().min(most);
    (0..count)
        .map(|index| items[index * items.len() / count].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_taken_at_even_distances_and_never_twice() {
        assert_eq!(evenly(&[0, 1, 2, 3, 4, 5, 6], 3), [0, 2, 4]);
        assert_eq!(evenly(&[0, 1, 2], 3), [0, 1, 2]);
        assert_eq!(evenly(&[0, 1], 3), [0, 1]);
        assert!(evenly::<u8>(&[], 3).is_empty());
    }

    #[test]
    fn each_crate_has_its_own_quota() {
        let pairs = ["a", "b"]
            .iter()
            .flat_map(|name| vec![Pair::new(Split::Test, name, "q", "d"); TEST + 7]);
        let mut report = Report::default();
        assert_eq!(limit(pairs.collect(), &mut report).len(), 2 * TEST);
        assert_eq!(report.over_quota, 14);
    }
}
