//! BM25, the lexical baseline: no training, only counts of shared tokens.

use std::collections::HashMap;

use ndarray::Array1;

use crate::data::Pair;
use crate::evaluate::rank;
use crate::tokens::tokens;

/// Saturation of the term frequency and strength of the length normalisation: the usual values.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// score(q, d) = Σ over the tokens t of q of idf(t) · f(t, d)·(k₁ + 1) / (f(t, d) + k₁·(1 − b + b·|d| / mean length)),
/// idf(t) = ln(1 + (N − nₜ + ½) / (nₜ + ½)) (Robertson and Zaragoza 2009). Document frequencies and the mean length come
/// from the training documents, as the encoder's do.
pub(crate) struct Bm25 {
    /// Postings of a token: (document, score that one occurrence in the query adds).
    postings: HashMap<String, Vec<(usize, f32)>>,
    documents: usize,
}

impl Bm25 {
    /// Indexes the documents of `indexed` with the statistics of `train`.
    pub(crate) fn new(train: &[Pair], indexed: &[Pair]) -> Self {
        let statistics: Vec<_> = train.iter().map(|pair| counted(&pair.document)).collect();
        let mean_length =
            statistics.iter().map(|(_, length)| length).sum::<f32>() / train.len() as f32;
        let mut frequency: HashMap<&str, f32> = HashMap::new();
        for token in statistics.iter().flat_map(|(counts, _)| counts.keys()) {
            *frequency.entry(token).or_insert(0.0) += 1.0;
        }
        let idf = |token: &str| {
            let n = frequency.get(token).copied().unwrap_or(0.0);
            (1.0 + (train.len() as f32 - n + 0.5) / (n + 0.5)).ln()
        };
        let mut postings: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
        for (i, pair) in indexed.iter().enumerate() {
            let (counts, length) = counted(&pair.document);
            let norm = K1 * (1.0 - B + B * length / mean_length);
            for (token, f) in counts {
                let score = idf(&token) * f * (K1 + 1.0) / (f + norm);
                postings.entry(token).or_default().push((i, score));
            }
        }
        Self {
            postings,
            documents: indexed.len(),
        }
    }

    /// Scores of all indexed documents.
    pub(crate) fn scores(&self, query: &str) -> Array1<f32> {
        let mut scores = Array1::zeros(self.documents);
        for token in tokens(query) {
            for &(document, score) in self.postings.get(&token).into_iter().flatten() {
                scores[document] += score;
            }
        }
        scores
    }

    /// Rank of the relevant document of every query of the indexed split.
    pub(crate) fn ranks(&self, indexed: &[Pair]) -> Vec<usize> {
        indexed
            .iter()
            .enumerate()
            .map(|(i, pair)| rank(self.scores(&pair.query).view(), i))
            .collect()
    }
}

/// Counts of the tokens of a text, and its length in tokens.
fn counted(text: &str) -> (HashMap<String, f32>, f32) {
    let mut counts = HashMap::new();
    let mut length = 0.0;
    for token in tokens(text) {
        *counts.entry(token).or_insert(0.0) += 1.0;
        length += 1.0;
    }
    (counts, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(texts: &[(&str, &str)]) -> Vec<Pair> {
        let pair = |&(query, document): &(&str, &str)| Pair {
            group: "g".into(),
            query: query.into(),
            document: document.into(),
        };
        texts.iter().map(pair).collect()
    }

    #[test]
    fn a_score_checked_by_hand() {
        let pairs = pairs(&[("cat", "cat cat"), ("dog", "dog bird")]);
        let scores = Bm25::new(&pairs, &pairs).scores("cat");
        // N = 2, n = 1: idf = ln 2. f = 2, length = mean length: 2 · 2.2 / (2 + 1.2).
        assert!((scores[0] - 2f32.ln() * 4.4 / 3.2).abs() < 1e-6);
        assert_eq!(scores[1], 0.0);
    }

    #[test]
    fn shared_rare_tokens_rank_first_and_unknown_queries_last() {
        let pairs = pairs(&[
            ("parse the url", "fn parse_url the"),
            ("sort the list", "fn sort the list"),
            ("zebra", "fn x the"),
        ]);
        assert_eq!(Bm25::new(&pairs, &pairs).ranks(&pairs), [1, 1, 3]);
    }
}
