//! Drops duplicates: exact ones everywhere, near ones between splits.
//!
//! Of two duplicates the earlier stays. The pairs come with the test split first and training last, so what leaks is
//! dropped from the training side. That keeps the test set a function of the test crates alone (another training crate
//! can't alter it), keeps all functions of a test crate as hard negatives of each other, and costs training little.

use std::collections::HashSet;

use crate::{
    pair::{Pair, Split},
    report::Report,
    words::{Vocabulary, WordSet, words},
};

/// Jaccard index of their words from which two documents are the same function for this task.
pub(crate) const NEAR_DOCUMENT: f64 = 0.8;
/// Jaccard index from which two queries ask the same.
pub(crate) const NEAR_QUERY: f64 = 0.8;
/// Under a near-duplicate query, less likeness of the documents is enough.
pub(crate) const NEAR_DOCUMENT_UNDER_NEAR_QUERY: f64 = 0.6;

/// Keeps the first pair of each query and of each document, compared as words in lower case.
pub(crate) fn drop_exact(pairs: Vec<Pair>, report: &mut Report) -> Vec<Pair> {
    let (mut queries, mut documents) = (HashSet::new(), HashSet::new());
    let mut kept = Vec::new();
    for pair in pairs {
        let (query, document) = (
            words(&pair.query).join(" "),
            words(&pair.document).join(" "),
        );
        if queries.contains(&query) {
            report.same_query += 1;
        } else if documents.contains(&document) {
            report.same_document += 1;
        } else {
            queries.insert(query);
            documents.insert(document);
            kept.push(pair);
        }
    }
    kept
}

/// Drops validation pairs that are near a test pair, and training pairs that are near a test or validation pair.
pub(crate) fn drop_near_across_splits(pairs: Vec<Pair>, report: &mut Report) -> Vec<Pair> {
    let mut vocabulary = Vocabulary::default();
    let mut held_out: Vec<(Split, Words)> = Vec::new();
    let mut kept = Vec::new();
    for pair in pairs {
        let words = Words {
            query: vocabulary.set(&pair.query),
            document: vocabulary.set(&pair.document),
        };
        if held_out
            .iter()
            .any(|(split, other)| *split != pair.split && words.is_near(other))
        {
            report.near[pair.split as usize] += 1;
            continue;
        }
        if pair.split != Split::Train {
            held_out.push((pair.split, words));
        }
        kept.push(pair);
    }
    kept
}

struct Words {
    query: WordSet,
    document: WordSet,
}

impl Words {
    fn is_near(&self, other: &Self) -> bool {
        self.document.is_like(&other.document, NEAR_DOCUMENT)
            || (self.query.is_like(&other.query, NEAR_QUERY)
                && self
                    .document
                    .is_like(&other.document, NEAR_DOCUMENT_UNDER_NEAR_QUERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(pairs: &[Pair]) -> Vec<&str> {
        pairs.iter().map(|pair| pair.query.as_str()).collect()
    }

    #[test]
    fn the_first_of_equal_queries_or_documents_stays() {
        let pairs = vec![
            Pair::new(
                Split::Test,
                "a",
                "Returns the length.",
                "fn len(&self) -> usize { self.len }",
            ),
            Pair::new(
                Split::Train,
                "b",
                "returns the `length`",
                "fn size() -> usize { 4 }",
            ),
            Pair::new(
                Split::Train,
                "b",
                "Number of items.",
                "fn len( & self ) -> usize { self.len }",
            ),
            Pair::new(
                Split::Train,
                "b",
                "Clears all items.",
                "fn clear(&mut self) { self.len = 0 }",
            ),
        ];
        let mut report = Report::default();
        assert_eq!(
            queries(&drop_exact(pairs, &mut report)),
            ["Returns the length.", "Clears all items."]
        );
        assert_eq!((report.same_query, report.same_document), (1, 1));
    }

    #[test]
    fn near_documents_go_from_the_later_split_only() {
        let document = "fn read_header(&mut self) -> Result<Header, Error> { self.reader.fill()?; parse(self.buffer) }";
        let near = document.replace("buffer", "bytes");
        let pairs = vec![
            Pair::new(Split::Test, "a", "Reads a header.", document),
            Pair::new(Split::Test, "a", "Reads it again.", &near),
            Pair::new(Split::Validation, "b", "Gets what comes first.", &near),
            Pair::new(Split::Train, "c", "Takes the head off.", &near),
            Pair::new(
                Split::Train,
                "c",
                "Writes the footer.",
                "fn write_footer(out: &mut Vec<u8>) { out.push(b'.') }",
            ),
        ];
        let mut report = Report::default();
        let kept = drop_near_across_splits(pairs, &mut report);
        assert_eq!(
            queries(&kept),
            ["Reads a header.", "Reads it again.", "Writes the footer."]
        );
        assert_eq!(report.near, [1, 1, 0]);
    }

    #[test]
    fn under_a_near_query_less_likeness_of_the_documents_is_enough() {
        let other = "fn head(&mut self) -> Result<Header, Error> { self.reader.fill()?; decode(self.input) }";
        let mut test = Pair::new(
            Split::Test,
            "a",
            "Reads the header of the file.",
            "fn head(&mut self) -> Result<Header, Error> { self.reader.fill()?; parse(self.buffer) }",
        );
        let train = Pair::new(Split::Train, "b", "Reads the header of a file.", other);
        let count = |test: &Pair| {
            drop_near_across_splits(vec![test.clone(), train.clone()], &mut Report::default()).len()
        };
        assert_eq!(count(&test), 1);
        test.query = "Something else entirely, without the common words.".into();
        assert_eq!(count(&test), 2);
    }
}
