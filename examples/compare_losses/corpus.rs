//! The data as the experiment needs it: as text for the baseline and the reader, as bags for the encoder.

use std::collections::BTreeSet;

use crate::data::{Dataset, Pair};
use crate::tokens::{Bags, Vocabulary};

/// The three splits.
pub(crate) struct Corpus {
    pub(crate) train_pairs: Vec<Pair>,
    pub(crate) test_pairs: Vec<Pair>,
    pub(crate) train: Bags,
    pub(crate) validation: Bags,
    pub(crate) test: Bags,
    /// The group of each test pair, counted from 0.
    pub(crate) test_groups: Vec<usize>,
    /// How many of them are in another split too: 0 where whole groups are held out.
    pub(crate) seen_test_groups: usize,
}

impl Corpus {
    /// The vocabulary and its weights come from the training split alone.
    pub(crate) fn new(mut data: Dataset, most_training_pairs: usize) -> Self {
        thin(&mut data.train, most_training_pairs);
        let vocabulary = Vocabulary::new(&data.train);
        Self {
            train: vocabulary.bags(&data.train),
            validation: vocabulary.bags(&data.validation),
            test: vocabulary.bags(&data.test),
            test_groups: numbered_groups(&data.test),
            seen_test_groups: names(&data.test)
                .intersection(&names(data.train.iter().chain(&data.validation)))
                .count(),
            train_pairs: data.train,
            test_pairs: data.test,
        }
    }
}

/// The groups by name.
fn names<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> BTreeSet<&'a str> {
    pairs.into_iter().map(|pair| pair.group.as_str()).collect()
}

/// The group of each pair as a number: its place among the sorted names.
fn numbered_groups(pairs: &[Pair]) -> Vec<usize> {
    let names: Vec<&str> = names(pairs).into_iter().collect();
    let number = |pair: &Pair| names.binary_search(&pair.group.as_str()).ok();
    pairs.iter().filter_map(number).collect()
}

/// Keeps at most `most` pairs, evenly spread.
fn thin(pairs: &mut Vec<Pair>, most: usize) {
    let n = pairs.len();
    if n > most {
        *pairs = (0..most).map(|i| pairs[i * n / most].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(groups: &[&str]) -> Vec<Pair> {
        let pair = |&group: &&str| Pair {
            group: group.into(),
            query: "q".into(),
            document: "d".into(),
        };
        groups.iter().map(pair).collect()
    }

    #[test]
    fn groups_are_numbered_by_name_wherever_their_pairs_are() {
        assert_eq!(
            numbered_groups(&pairs(&["tar", "git2", "tar", "zip"])),
            [1, 0, 1, 2]
        );
    }

    #[test]
    fn thinning_keeps_pairs_from_all_over_the_split() {
        let mut some = pairs(&["a", "b", "c", "d", "e", "f"]);
        thin(&mut some, 3);
        assert_eq!(some, pairs(&["a", "c", "e"]));
        thin(&mut some, 9);
        assert_eq!(some.len(), 3);
    }
}
