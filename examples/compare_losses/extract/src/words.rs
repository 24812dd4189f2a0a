//! Words of a text with identifiers split, and the likeness of two texts by the words that they share.

use std::collections::HashMap;

/// Lower-case words and numbers: `parse_HTTPHeader2` gives `parse`, `http`, `header`, `2`.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = characters.next() {
        let next_is_lower = characters.peek().is_some_and(|next| next.is_lowercase());
        let hump =
            c.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_is_lower));
        let kind_changes = c.is_numeric() != before.is_numeric();
        if (!c.is_alphanumeric() || hump || kind_changes) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Numbers the words of all texts, so that sets of them compare as sorted integers.
#[derive(Default)]
pub(crate) struct Vocabulary {
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    /// The distinct words of `text`.
    pub(crate) fn set(&mut self, text: &str) -> WordSet {
        let mut ids: Vec<u32> = words(text)
            .into_iter()
            .map(|word| {
                let next = self.ids.len() as u32;
                *self.ids.entry(word).or_insert(next)
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        WordSet(ids)
    }
}

/// Sorted numbers of distinct words.
pub(crate) struct WordSet(Vec<u32>);

impl WordSet {
    /// Whether the Jaccard index |A∩B| / |A∪B| is at least `threshold`; two empty sets are alike.
    pub(crate) fn is_like(&self, other: &Self, threshold: f64) -> bool {
        let (small, large) = (
            self.0.len().min(other.0.len()),
            self.0.len().max(other.0.len()),
        );
        // |A∩B| / |A∪B| ≤ min / max: most pairs need no comparison of words.
        if (small as f64) < threshold * large as f64 {
            return false;
        }
        let shared = self.shared(other);
        shared as f64 >= threshold * (small + large - shared) as f64
    }

    fn shared(&self, other: &Self) -> usize {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut shared = 0;
        while let ([a, rest_left @ ..], [b, rest_right @ ..]) = (left, right) {
            shared += usize::from(a == b);
            if a <= b {
                left = rest_left;
            }
            if b <= a {
                right = rest_right;
            }
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_split_at_humps_underscores_and_numbers() {
        assert_eq!(
            words("parse_HTTPHeader2 as u64"),
            ["parse", "http", "header", "2", "as", "u", "64"]
        );
        assert_eq!(words("  x.len()==0 "), ["x", "len", "0"]);
        assert!(words("-> {}").is_empty());
    }

    #[test]
    fn likeness_is_the_share_of_common_words() {
        let mut vocabulary = Vocabulary::default();
        let a = vocabulary.set("one two three four");
        let b = vocabulary.set("four three two one one five");
        assert_eq!(a.shared(&b), 4);
        assert!(a.is_like(&b, 0.8) && b.is_like(&a, 0.8));
        assert!(!a.is_like(&b, 0.81));
        assert!(!a.is_like(&vocabulary.set("six seven eight nine"), 0.1));
    }
}
