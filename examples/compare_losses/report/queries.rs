//! A few test queries, and what the encoder of each loss finds.

use std::io::{Result, Write};

use crate::arms::Arm;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::data::Pair;
use crate::evaluate::{Embedded, rank, top};
use crate::results::Results;
use crate::text::{WIDTH, column, snippet};

/// Queries that are shown, and documents for each of them.
const QUERIES: usize = 3;
const DOCUMENTS: usize = 3;

/// Columns of the loss, of the place with its mark, and of the group of a document; its text has the rest.
const LOSS: usize = 18;
const PLACE: usize = 4;
const GROUP: usize = 18;
const TEXT: usize = WIDTH - LOSS - PLACE - GROUP;

const MARK: char = '✓';

/// What one loss finds for one query.
struct Found {
    loss: &'static str,
    /// The best documents, best first.
    top: Vec<usize>,
    /// Rank of the right one.
    place: usize,
}

/// Queries from all over the test split, not picked, with the first documents of each loss at its best.
pub(crate) fn queries(
    out: &mut impl Write,
    options: &Options,
    corpus: &Corpus,
    results: &Results,
) -> Result<()> {
    writeln!(
        out,
        "\nEvenly spaced test queries, and what each loss at its best finds first ({MARK} is the right document):"
    )?;
    let losses = results.arm(Arm::EachAtItsBest, &options.losses);
    let embedded: Vec<(&'static str, Embedded)> = losses
        .into_iter()
        .map(|condition| {
            let embedded = Embedded::new(condition.first_encoder(), &corpus.test);
            (condition.loss.name(), embedded)
        })
        .collect();
    let n = corpus.test_pairs.len();
    let shown = QUERIES.min(n);
    for query in (0..shown).map(|i| (2 * i + 1) * n / (2 * shown)) {
        let found = embedded.iter().map(|(loss, embedded)| {
            let scores = embedded.scores(query);
            Found {
                loss,
                top: top(scores.view(), DOCUMENTS),
                place: rank(scores.view(), query),
            }
        });
        show(out, &corpus.test_pairs, query, found)?;
    }
    Ok(())
}

/// The query, its own document, and a line for every document found.
fn show(
    out: &mut impl Write,
    pairs: &[Pair],
    query: usize,
    found: impl Iterator<Item = Found>,
) -> Result<()> {
    let line = |label: &str, place: String, document: usize| {
        let mark = if document == query { MARK } else { ' ' };
        let Pair {
            group, document, ..
        } = &pairs[document];
        format!(
            "{}{}{} {}",
            column(label, LOSS),
            column(&format!("{place}{mark}"), PLACE),
            column(group, GROUP - 1),
            snippet(document, TEXT)
        )
    };
    let text = snippet(&pairs[query].query, WIDTH - 4);
    writeln!(out, "\n  “{text}”")?;
    writeln!(out, "{}", line("  right document", "  ".to_owned(), query))?;
    for Found { loss, top, place } in found {
        let missing = match top.contains(&query) {
            true => String::new(),
            false => format!("    {MARK} rank {place}"),
        };
        let labels = [format!("  {loss}"), missing].into_iter();
        let labels = labels.chain(std::iter::repeat(String::new()));
        for ((i, &document), label) in top.iter().enumerate().zip(labels) {
            writeln!(out, "{}", line(&label, format!("{} ", i + 1), document))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    fn pair(group: &str, query: &str, document: &str) -> Pair {
        Pair {
            group: group.into(),
            query: query.into(),
            document: document.into(),
        }
    }

    fn shown(pairs: &[Pair], query: usize, top: &[usize], place: usize) -> String {
        let mut out = Vec::new();
        let found = Found {
            loss: "pairwise",
            top: top.to_vec(),
            place,
        };
        show(&mut out, pairs, query, std::iter::once(found)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_right_document_is_marked_or_its_place_is_told() {
        let pairs = ["a", "b", "c", "d"].map(|name| pair("crate", "find it", name));
        assert_eq!(
            shown(&pairs, 1, &[2, 1, 0], 2),
            "
  “find it”
  right document    ✓ crate             b
  pairwise        1   crate             c
                  2 ✓ crate             b
                  3   crate             a
"
        );
        let missed = shown(&pairs, 3, &[2, 1, 0], 4);
        assert!(missed.contains("\n    ✓ rank 4      2   crate"), "{missed}");
    }

    #[test]
    fn long_names_wide_characters_and_any_place_stay_within_the_page() {
        for text in ["a".repeat(500), "検索".repeat(200)] {
            let pairs = vec![pair(&text, &text, &text); 3];
            for line in shown(&pairs, 2, &[1, 0], 1_000_000).lines() {
                assert!(width(line) <= WIDTH, "{}: {line}", width(line));
            }
        }
    }
}
