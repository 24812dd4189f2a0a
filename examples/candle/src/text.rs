//! The code-search pairs of `examples/compare_losses/data`, as rows of token ids.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// What fills a text up to the common length.
pub const PADDING: u32 = 0;
const UNKNOWN: u32 = 1;
/// A token that occurs less often is unknown.
const LEAST: usize = 3;

/// A description, and the signature of the function that it describes.
#[derive(Clone, Debug)]
pub struct Pair {
    pub query: String,
    pub document: String,
}

/// The pairs to train on, and those of other crates to test on.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    pub train: Vec<Pair>,
    pub test: Vec<Pair>,
}

/// Where the repository keeps them.
pub fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../compare_losses/data/code_search.tsv.gz")
}

/// Reads lines of split, group, query and document, with a tab between each two of them.
pub fn read(path: &Path) -> io::Result<Pairs> {
    let mut pairs = Pairs::default();
    for line in BufReader::new(GzDecoder::new(File::open(path)?)).lines() {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let &[split, _, query, document] = fields.as_slice() else {
            return Err(io::Error::other(format!("expected four fields: {line}")));
        };
        let pair = Pair {
            query: query.into(),
            document: document.into(),
        };
        match split {
            "train" => pairs.train.push(pair),
            "test" => pairs.test.push(pair),
            _ => {}
        }
    }
    Ok(pairs)
}

/// Numbers the tokens that the training pairs repeat.
pub struct Vocabulary(HashMap<String, u32>);

impl Vocabulary {
    /// Of both sides of the pairs, in alphabetical order.
    pub fn new(pairs: &[Pair]) -> Self {
        let mut counts = HashMap::new();
        for text in pairs.iter().flat_map(|pair| [&pair.query, &pair.document]) {
            for token in tokens(text) {
                *counts.entry(token).or_insert(0) += 1;
            }
        }
        let mut frequent: Vec<String> = counts
            .into_iter()
            .filter_map(|(token, count)| (count >= LEAST).then_some(token))
            .collect();
        frequent.sort_unstable();
        Self(frequent.into_iter().zip(UNKNOWN + 1..).collect())
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        self.0.len() + UNKNOWN as usize + 1
    }

    /// Ids of the texts, row by row, each cut or filled to `length`.
    pub fn ids<'a>(&self, texts: impl Iterator<Item = &'a str>, length: usize) -> Vec<u32> {
        texts
            .flat_map(|text| {
                let ids = tokens(text).map(|token| self.0.get(&token).copied().unwrap_or(UNKNOWN));
                let padded = ids.chain(std::iter::repeat(PADDING));
                padded.take(length).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Runs of letters and digits in lower case, identifiers split where a capital follows a small letter.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_alphanumeric() || (before.is_lowercase() && c.is_uppercase()) {
            spaced.push(' ');
        }
        if c.is_alphanumeric() {
            spaced.extend(c.to_lowercase());
        }
        before = c;
    }
    spaced
        .split_whitespace()
        .map(String::from)
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_filled_to_the_length() {
        let pair = Pair {
            query: "read read file".into(),
            document: "fn readFile(file: File)".into(),
        };
        let vocabulary = Vocabulary::new(&[pair]);
        // "file" and "read" occur four and three times, "fn" once.
        assert_eq!(vocabulary.size(), 4);
        let texts = ["fn read_file a b", "File"];
        assert_eq!(
            vocabulary.ids(texts.into_iter(), 3),
            [1, 3, 2, 2, PADDING, PADDING]
        );
    }
}
