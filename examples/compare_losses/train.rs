//! The training loop: batches, encoder, loss, encoder backward, optimiser.

use std::time::Instant;

use crate::encoder::{Encoder, TableGradient};
use crate::evaluate::{Embedded, Metric};
use crate::negatives::Negatives;
use crate::objectives::{LossKind, Objective};
use crate::optimizer::Adam;
use crate::random::Random;
use crate::tokens::{BUCKETS, Bag, Bags};

/// Streams of random numbers of a run. All losses of one seed share them: the same start, batches and sampled negatives.
const TABLE: u64 = 1;
const ORDER: u64 = 2;
const SAMPLED: u64 = 3;

/// What all runs have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Training {
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    pub(crate) dim: usize,
    pub(crate) learning_rate: f32,
}

/// What tells a run from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) loss: LossKind,
    pub(crate) negatives: Negatives,
    /// Margin or temperature.
    pub(crate) hyper: f64,
    pub(crate) seed: u64,
}

/// One point of a training curve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    /// Mean of the loss over the batches.
    pub(crate) loss: f32,
    /// nDCG@10 on the validation split after the epoch.
    pub(crate) validation: f64,
}

/// A trained encoder and how it came about.
pub(crate) struct Trained {
    pub(crate) encoder: Encoder,
    pub(crate) curve: Vec<Epoch>,
    /// Wall-clock seconds of training, evaluation left out.
    pub(crate) seconds: f64,
}

/// The encoder that every run of this seed starts from.
pub(crate) fn untrained(dim: usize, seed: u64) -> Encoder {
    Encoder::new(BUCKETS, dim, &mut Random::new(seed, TABLE))
}

/// Trains one encoder; `on_epoch` is called after each epoch.
pub(crate) fn train(
    run: Run,
    training: &Training,
    train: &Bags,
    validation: &Bags,
    on_epoch: impl Fn(),
) -> Result<Trained, contrastive::Error> {
    let objective = Objective::new(run.loss, run.hyper)?;
    let mut state = State::new(training, run.seed);
    let mut sampler = Sampler::new(train.queries.len(), run.seed);
    let batches_per_epoch = sampler.batches(training.batch);
    let steps = (training.epochs * batches_per_epoch) as f32;
    let (mut curve, mut seconds) = (Vec::new(), 0.0);
    for epoch in 0..training.epochs {
        let start = Instant::now();
        let mut sum = 0.0;
        for (i, batch) in sampler.epoch(training.batch).into_iter().enumerate() {
            // Linear decay: the last steps are small, and the result depends less on the last batches.
            let rate = 1.0 - (epoch * batches_per_epoch + i) as f32 / steps;
            sum += state.step(&objective, run.negatives, train, &batch, rate)?;
        }
        seconds += start.elapsed().as_secs_f64();
        let ranks = Embedded::new(&state.encoder, validation).ranks();
        curve.push(Epoch {
            loss: sum / batches_per_epoch as f32,
            validation: Metric::NdcgAt10.mean(&ranks),
        });
        on_epoch();
    }
    Ok(Trained {
        encoder: state.encoder,
        curve,
        seconds,
    })
}

/// What changes from step to step.
struct State {
    encoder: Encoder,
    gradient: TableGradient,
    adam: Adam,
}

impl State {
    fn new(training: &Training, seed: u64) -> Self {
        Self {
            encoder: untrained(training.dim, seed),
            gradient: TableGradient::new(BUCKETS, training.dim),
            adam: Adam::new(BUCKETS, training.dim, training.learning_rate),
        }
    }

    /// One batch: encode, loss and its gradient, back through the encoder, update. Returns the loss.
    fn step(
        &mut self,
        objective: &Objective,
        negatives: Negatives,
        train: &Bags,
        batch: &Batch,
        rate: f32,
    ) -> Result<f32, contrastive::Error> {
        let query_bags: Vec<&Bag> = batch.pairs.iter().map(|&i| &train.queries[i]).collect();
        let sampled: &[usize] = if negatives == Negatives::Sampled {
            &batch.sampled
        } else {
            &[]
        };
        let document_bags: Vec<&Bag> = batch
            .pairs
            .iter()
            .chain(sampled)
            .map(|&i| &train.documents[i])
            .collect();

        let queries = self.encoder.encode(query_bags.iter().copied());
        let documents = self.encoder.encode(document_bags.iter().copied());
        let step = objective.step(queries.view(), documents.view(), negatives)?;

        self.gradient.clear();
        Encoder::backward(
            query_bags.into_iter(),
            step.queries.view(),
            &mut self.gradient,
        );
        Encoder::backward(
            document_bags.into_iter(),
            step.documents.view(),
            &mut self.gradient,
        );
        self.adam
            .step(&mut self.encoder.table, &self.gradient, rate);
        Ok(step.loss)
    }
}

/// Indices of the pairs of one batch, and of one more document for each.
struct Batch {
    pairs: Vec<usize>,
    sampled: Vec<usize>,
}

/// Draws batches: a new order every epoch, and for every query a document that is not its own.
struct Sampler {
    order: Vec<usize>,
    shuffle: Random,
    sample: Random,
}

impl Sampler {
    fn new(pairs: usize, seed: u64) -> Self {
        Self {
            order: (0..pairs).collect(),
            shuffle: Random::new(seed, ORDER),
            sample: Random::new(seed, SAMPLED),
        }
    }

    /// Full batches only, so that every step has the same number of negatives; a split below one batch is one batch.
    fn batches(&self, size: usize) -> usize {
        (self.order.len() / size).max(1)
    }

    fn epoch(&mut self, size: usize) -> Vec<Batch> {
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
    use crate::data::Pair;
    use crate::tokens::Vocabulary;

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

    #[test]
    fn every_loss_learns_synonyms_that_share_no_token_and_repeats_to_the_bit() {
        let word = |i: usize| ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"][i];
        let pair = |i: usize| Pair {
            group: "g".into(),
            query: word(i).into(),
            document: format!("{}{}", word(i), word((i + 3) % 8)).replace(word(i), "ox"),
        };
        let pairs: Vec<Pair> = (0..8).map(pair).collect();
        let bags = Vocabulary::new(&pairs).bags(&pairs);
        let training = Training {
            epochs: 60,
            batch: 4,
            dim: 16,
            learning_rate: 0.05,
        };
        for (loss, hyper) in [
            (LossKind::Pairwise, 0.0),
            (LossKind::Triplet, 0.5),
            (LossKind::InfoNce, 0.1),
        ] {
            for negatives in [
                Negatives::Sampled,
                Negatives::InBatch,
                Negatives::HardestInBatch,
            ] {
                let run = Run {
                    loss,
                    negatives,
                    hyper,
                    seed: 1,
                };
                let trained = train(run, &training, &bags, &bags, || {}).unwrap();
                let again = train(run, &training, &bags, &bags, || {}).unwrap();
                assert_eq!(trained.encoder.table, again.encoder.table);
                assert!(
                    trained.curve.last().unwrap().validation > 0.95,
                    "{run:?}: {:?}",
                    trained.curve.last()
                );
            }
        }
    }
}
