//! Replays the corpus of the fuzzer: what it has reached of the public API holds on any toolchain.
//!
//! How to fuzz is told in `tests/fuzz/README.md`.

mod checks;

use std::path::Path;

/// Checks every file of the corpus of a target, after a few inputs that need no file.
fn replay(target: &str, check: fn(&[u8])) {
    check(&[]);
    (0..=u8::MAX).for_each(|byte| check(&[byte]));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&corpus).expect("the corpus is part of the repository");
    for file in files {
        let path = file.expect("a readable directory").path();
        check(&std::fs::read(&path).expect("a readable file"));
    }
}

#[test]
fn batch_triplet_holds_on_its_corpus() {
    replay("batch_triplet", checks::batch_triplet);
}

#[test]
fn chunks_hold_on_their_corpus() {
    replay("chunks", checks::chunks);
}

#[test]
fn cosine_embedding_holds_on_its_corpus() {
    replay("cosine_embedding", checks::cosine_embedding);
}

#[test]
fn hard_negatives_hold_on_their_corpus() {
    replay("hard_negatives", checks::hard_negatives);
}

#[test]
fn info_nce_holds_on_its_corpus() {
    replay("info_nce", checks::info_nce);
}

#[test]
fn matryoshka_holds_on_its_corpus() {
    replay("matryoshka", checks::matryoshka);
}

#[test]
fn memory_queue_holds_on_its_corpus() {
    replay("memory_queue", checks::memory_queue);
}

#[test]
fn pairs_hold_on_their_corpus() {
    replay("pairs", checks::pairs);
}

#[test]
fn score_functions_hold_on_their_corpus() {
    replay("score_functions", checks::score_functions);
}

#[test]
fn scores_hold_on_their_corpus() {
    replay("scores", checks::scores);
}

#[test]
fn triplet_margin_holds_on_its_corpus() {
    replay("triplet_margin", checks::triplet_margin);
}
