//! What the trained encoders are held against: test ranks without any training.

use crate::bm25::Bm25;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Embedded;
use crate::experiment::FIRST_SEED;
use crate::train::untrained;

/// Ranks of the test queries.
pub(crate) struct Baselines {
    pub(crate) bm25: Vec<usize>,
    /// One list for each seed.
    pub(crate) untrained: Vec<Vec<usize>>,
}

impl Baselines {
    pub(crate) fn new(options: &Options, corpus: &Corpus) -> Self {
        let untrained = |seed| {
            let encoder = untrained(options.training().dim, seed);
            Embedded::new(&encoder, &corpus.test).ranks()
        };
        Self {
            bm25: Bm25::new(&corpus.train_pairs, &corpus.test_pairs).ranks(&corpus.test_pairs),
            untrained: (FIRST_SEED..FIRST_SEED + options.seeds() as u64)
                .map(untrained)
                .collect(),
        }
    }
}
