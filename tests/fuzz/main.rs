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
fn cosine_embedding_holds_on_its_corpus() {
    replay("cosine_embedding", checks::cosine_embedding);
}

#[test]
fn triplet_margin_holds_on_its_corpus() {
    replay("triplet_margin", checks::triplet_margin);
}

#[test]
fn info_nce_holds_on_its_corpus() {
    replay("info_nce", checks::info_nce);
}
