//! The training loop: batches, encoder, loss, encoder backward, optimiser.

use std::time::Instant;

use crate::batches::{Batch, Sampler};
use crate::encoder::{Encoder, TableGradient};
use crate::evaluate::{Embedded, Metric};
use crate::losses::LossKind;
use crate::negatives::Negatives;
use crate::objectives::Objective;
use crate::optimizer::Adam;
use crate::random::Random;
use crate::temperature::LearnedTemperature;
use crate::tokens::{BUCKETS, Bag, Bags};

/// Stream of random numbers. All losses of one seed share it: the same start.
const TABLE: u64 = 1;

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
    /// Where a learned temperature ended.
    pub(crate) temperature: Option<f64>,
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
    let mut state = State::new(run, training)?;
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
            sum += state.step(train, &batch, rate)?;
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
        temperature: state.temperature.map(|learned| learned.temperature()),
    })
}

/// Everything that a step reads and updates. The gradient of a temperature that is learned comes with the step of the
/// objective, its update stands beside the one of the encoder.
struct State {
    objective: Objective,
    temperature: Option<LearnedTemperature>,
    negatives: Negatives,
    encoder: Encoder,
    gradient: TableGradient,
    adam: Adam,
}

impl State {
    fn new(run: Run, training: &Training) -> Result<Self, contrastive::Error> {
        let learns_temperature = run.loss == LossKind::LearnedTemperature;
        let temperature = || LearnedTemperature::new(run.hyper, training.learning_rate);
        Ok(Self {
            objective: Objective::new(run.loss, run.hyper, training.dim)?,
            temperature: learns_temperature.then(temperature).transpose()?,
            negatives: run.negatives,
            encoder: untrained(training.dim, run.seed),
            gradient: TableGradient::new(BUCKETS, training.dim),
            adam: Adam::new(BUCKETS, training.dim, training.learning_rate),
        })
    }

    /// One batch: encode, loss and its gradient, back through the encoder, update. Returns the loss.
    fn step(&mut self, train: &Bags, batch: &Batch, rate: f32) -> Result<f32, contrastive::Error> {
        let (query_bags, document_bags) = self.bags(train, batch);
        let queries = self.encoder.encode(query_bags.iter().copied());
        let documents = self.encoder.encode(document_bags.iter().copied());

        let step = self
            .objective
            .step(queries.view(), documents.view(), self.negatives)?;

        self.gradient.clear();
        for (bags, at_embeddings) in [(query_bags, step.queries), (document_bags, step.documents)] {
            Encoder::backward(bags.into_iter(), at_embeddings.view(), &mut self.gradient);
        }
        self.adam
            .step(&mut self.encoder.table, &self.gradient, rate);
        if let Some(temperature) = &mut self.temperature {
            temperature.step(step.log_temperature, rate)?;
            self.objective = Objective::InfoNce(temperature.loss()?);
        }
        Ok(step.loss)
    }

    /// The texts of a batch: its queries; its documents, then the sampled ones if the run trains with them.
    fn bags<'a>(&self, train: &'a Bags, batch: &Batch) -> (Vec<&'a Bag>, Vec<&'a Bag>) {
        let sampled: &[usize] = match self.negatives {
            Negatives::Sampled => &batch.sampled,
            Negatives::InBatch | Negatives::HardestInBatch => &[],
        };
        let queries = batch.pairs.iter().map(|&i| &train.queries[i]);
        let documents = batch.pairs.iter().chain(sampled);
        (
            queries.collect(),
            documents.map(|&i| &train.documents[i]).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pair;
    use crate::tokens::Vocabulary;

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
