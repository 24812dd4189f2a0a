//! Which pairs come together in a batch, and which further documents are drawn as negatives.

use crate::random::Random;

/// Streams of random numbers. All losses of one seed share them: the same batches and sampled negatives.
const ORDER: u64 = 2;
const SAMPLED: u64 = 3;

/// Indices of the pairs of one batch, and of one more document for each.
pub(crate) struct Batch {
    pub(crate) pairs: Vec<usize>,
    pub(crate) sampled: Vec<usize>,
}

/// Draws batches: a new order every epoch, and for every query a document that is not its own.
pub(crate) struct Sampler {
    order: Vec<usize>,
    shuffle: Random,
    sample: Random,
}

impl Sampler {
    pub(crate) fn new(pairs: usize, seed: u64) -> Self {
        Self {
            order: (0..pairs).collect(),
            shuffle: Random::new(seed, ORDER),
            sample: Random::new(seed, SAMPLED),
        }
    }

    /// Full batches only, so that every step has the same number of negatives; a split below one batch is one batch.
    pub(crate) fn batches(&self, size: usize) -> usize {
        (self.order.len() / size).max(1)
    }

    /// The batches of the next epoch.
    pub(crate) fn epoch(&mut self, size: usize) -> Vec<Batch> {
        self.shuffle.shuffle(&mut self.order);
        let n = self.order.len();
        let batches = self.order.chunks(size).take(self.batches(size));
        batches
            .map(|pairs| {
                let other = |&own: &usize| (own + 1 + self.sample.below(n - 1)) % n;
                Batch {
                    pairs: pairs.to_vec(),
                    sampled: pairs.iter().map(other).collect(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_full_batches_of_different_pairs_and_samples_never_the_own_document() {
        let mut sampler = Sampler::new(11, 1);
        let batches = sampler.epoch(4);
        assert_eq!(batches.len(), 2);
        let mut pairs: Vec<usize> = batches
            .iter()
            .flat_map(|batch| batch.pairs.clone())
            .collect();
        assert!(batches.iter().all(|b| {
            b.pairs
                .iter()
                .zip(&b.sampled)
                .all(|(a, b)| a != b && *b < 11)
        }));
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 8);
        assert_eq!(Sampler::new(3, 1).epoch(4).len(), 1);
    }
}
