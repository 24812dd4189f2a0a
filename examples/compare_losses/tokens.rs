//! From text to a bag of hashed tokens, weighted by inverse document frequency.

use std::collections::HashMap;

use crate::data::Pair;

/// Rows of the embedding table. The training split has about 10⁴ different tokens, so most have a row of their own.
pub(crate) const BUCKETS: usize = 1 << 15;

/// One text: `(bucket, weight)` in order of bucket, the weights sum to 1. Empty for a text without a letter or digit.
pub(crate) type Bag = Vec<(u32, f32)>;

/// Lower-case tokens of a text: runs of letters and digits, identifiers split at underscores, at changes of case
/// (`parseUrl`, `HTTPServer`) and between letters and digits.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut token = String::new();
    for (i, &c) in characters.iter().enumerate() {
        if !token.is_empty() && (!c.is_alphanumeric() || starts_token(&characters, i)) {
            tokens.push(std::mem::take(&mut token));
        }
        if c.is_alphanumeric() {
            token.extend(c.to_lowercase());
        }
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// Whether an identifier splits before its character `i`, which is a letter or digit after another one.
fn starts_token(characters: &[char], i: usize) -> bool {
    let (before, here) = (characters[i - 1], characters[i]);
    let next_is_lower = characters.get(i + 1).is_some_and(|c| c.is_lowercase());
    before.is_numeric() != here.is_numeric()
        || (here.is_uppercase()
            && (before.is_lowercase() || (before.is_uppercase() && next_is_lower)))
}

/// FNV-1a, 64 bits: stable over machines and versions, unlike the hasher of the standard library.
fn bucket(token: &str) -> u32 {
    let hash = token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    ((hash ^ (hash >> 32)) % BUCKETS as u64) as u32
}

/// Inverse document frequency of every bucket, counted on the training split only.
pub(crate) struct Vocabulary {
    idf: Vec<f32>,
}

impl Vocabulary {
    /// idf(t) = ln((1 + N) / (1 + nₜ)) + 1 over the N queries and documents of `pairs`. What never occurred weighs most.
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        let mut counts = vec![0u32; BUCKETS];
        for text in pairs.iter().flat_map(|pair| [&pair.query, &pair.document]) {
            for bucket in counted(text).into_keys() {
                counts[bucket as usize] += 1;
            }
        }
        let total = 1.0 + 2.0 * pairs.len() as f32;
        Self {
            idf: counts
                .iter()
                .map(|&n| (total / (1.0 + n as f32)).ln() + 1.0)
                .collect(),
        }
    }

    /// The bag of a text: weight of a token ∝ √count · idf, so that a name repeated ten times does not drown the rest.
    pub(crate) fn bag(&self, text: &str) -> Bag {
        let mut bag: Bag = counted(text)
            .into_iter()
            .map(|(b, n)| (b, (n as f32).sqrt() * self.idf[b as usize]))
            .collect();
        bag.sort_unstable_by_key(|&(bucket, _)| bucket);
        let sum: f32 = bag.iter().map(|&(_, weight)| weight).sum();
        bag.iter_mut().for_each(|(_, weight)| *weight /= sum);
        bag
    }

    /// The bags of all queries and of all documents.
    pub(crate) fn bags(&self, pairs: &[Pair]) -> Bags {
        Bags {
            queries: pairs.iter().map(|pair| self.bag(&pair.query)).collect(),
            documents: pairs.iter().map(|pair| self.bag(&pair.document)).collect(),
        }
    }
}

/// One split as the encoder reads it: document `i` answers query `i`.
pub(crate) struct Bags {
    pub(crate) queries: Vec<Bag>,
    pub(crate) documents: Vec<Bag>,
}

fn counted(text: &str) -> HashMap<u32, u32> {
    let mut counts = HashMap::new();
    for token in tokens(text) {
        *counts.entry(bucket(&token)).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(query: &str, document: &str) -> Pair {
        Pair {
            group: "g".into(),
            query: query.into(),
            document: document.into(),
        }
    }

    #[test]
    fn identifiers_are_split_at_underscore_case_and_digits() {
        assert_eq!(
            tokens("fn parse_url2(HTTPServer, isEmpty)"),
            ["fn", "parse", "url", "2", "http", "server", "is", "empty"]
        );
        assert_eq!(tokens("-> &'a str;"), ["a", "str"]);
        assert_eq!(tokens("…"), [""; 0]);
    }

    #[test]
    fn weights_sum_to_one_and_rare_tokens_weigh_more() {
        let vocabulary = Vocabulary::new(&[pair("the map", "the fn"), pair("the set", "the fn")]);
        let bag = vocabulary.bag("the map");
        let weight = |token| bag.iter().find(|&&(b, _)| b == bucket(token)).unwrap().1;
        assert!((bag.iter().map(|&(_, w)| w).sum::<f32>() - 1.0).abs() < 1e-6);
        // idf: "the" in 4 of 4 texts is ln(5/5) + 1, "map" in one is ln(5/2) + 1.
        assert!((weight("map") / weight("the") - (2.5f32.ln() + 1.0)).abs() < 1e-5);
    }

    #[test]
    fn a_text_without_tokens_gives_an_empty_bag() {
        assert!(Vocabulary::new(&[pair("a", "b")]).bag("!?").is_empty());
    }
}
