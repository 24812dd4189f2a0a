//! Replays the corpus of the fuzzer: what it has reached of the public API holds on any toolchain. `-- --ignored` mutates it for a minute.
//!
//! How to fuzz is told in `tests/fuzz/README.md`.

mod checks;
mod mutations;

use std::path::Path;
use std::time::Duration;

use mutations::{Mutations, check_for};

type Check = fn(&[u8]);

/// The targets that have a corpus.
const TARGETS: [(&str, Check); 11] = [
    ("batch_triplet", checks::batch_triplet),
    ("chunks", checks::chunks),
    ("cosine_embedding", checks::cosine_embedding),
    ("hard_negatives", checks::hard_negatives),
    ("info_nce", checks::info_nce),
    ("matryoshka", checks::matryoshka),
    ("memory_queue", checks::memory_queue),
    ("pairs", checks::pairs),
    ("score_functions", checks::score_functions),
    ("scores", checks::scores),
    ("triplet_margin", checks::triplet_margin),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&corpus).expect("the corpus is part of the repository");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("a readable directory").path())
        .collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("a readable file");
    paths.iter().map(read).collect()
}

/// All targets at once, `FUZZ_SECONDS` (60) of the clock, from `FUZZ_SEED` (0) on.
#[test]
#[ignore = "takes a minute"]
fn mutations_of_the_corpus_hold() {
    let number = |name: &str, otherwise| match std::env::var(name) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => otherwise,
    };
    let time = Duration::from_secs(number("FUZZ_SECONDS", 60));
    let seed = number("FUZZ_SEED", 0);
    std::thread::scope(|scope| {
        for (target, check) in TARGETS {
            scope.spawn(move || {
                let mutations = Mutations::new(corpus(target), seed);
                let count = check_for(time, target, mutations, check);
                println!("{target}: {count} mutations");
            });
        }
    });
}

/// Checks every file of the corpus of a target, after a few inputs that need no file.
fn replay(target: &str, check: Check) {
    check(&[]);
    (0..=u8::MAX).for_each(|byte| check(&[byte]));
    corpus(target).iter().for_each(|file| check(file));
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
