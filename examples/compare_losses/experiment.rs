//! The experiment: tunes every loss in every arm, trains it from several seeds, ranks the test documents.

use crate::arms::Arm;
use crate::cli::Options;
use crate::data::{Dataset, Pair};
use crate::encoder::Encoder;
use crate::evaluate::{Embedded, Metric};
use crate::jobs::run_all;
use crate::negatives::Negatives;
use crate::objectives::LossKind;
use crate::progress::Progress;
use crate::tokens::{Bags, Vocabulary};
use crate::train::{Epoch, Run, Trained, train};
use crate::tuning::{Choice, Trial, grid};

/// Hyper-parameters are chosen with this seed, results come from the seeds after it.
const TUNING_SEED: u64 = 0;
const FIRST_SEED: u64 = TUNING_SEED + 1;

/// The data, as text and as bags.
pub(crate) struct Corpus {
    pub(crate) test_pairs: Vec<Pair>,
    pub(crate) train_pairs: Vec<Pair>,
    pub(crate) train: Bags,
    pub(crate) validation: Bags,
    pub(crate) test: Bags,
    /// The group of each test pair, counted from 0.
    pub(crate) test_groups: Vec<usize>,
}

impl Corpus {
    /// The vocabulary and its weights come from the training split alone.
    pub(crate) fn new(mut data: Dataset, most_training_pairs: usize) -> Self {
        thin(&mut data.train, most_training_pairs);
        let vocabulary = Vocabulary::new(&data.train);
        let mut names: Vec<&str> = data.test.iter().map(|pair| pair.group.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let group = |pair: &Pair| names.iter().position(|&name| name == pair.group);
        Self {
            train: vocabulary.bags(&data.train),
            validation: vocabulary.bags(&data.validation),
            test: vocabulary.bags(&data.test),
            test_groups: data.test.iter().filter_map(group).collect(),
            train_pairs: data.train,
            test_pairs: data.test,
        }
    }
}

/// Keeps at most `most` pairs, evenly spread.
fn thin(pairs: &mut Vec<Pair>, most: usize) {
    let n = pairs.len();
    if n > most {
        *pairs = (0..most).map(|i| pairs[i * n / most].clone()).collect();
    }
}

/// A loss with the negatives that it trains with; two arms may share one.
pub(crate) struct Condition {
    pub(crate) loss: LossKind,
    pub(crate) negatives: Negatives,
    pub(crate) choice: Choice,
    pub(crate) runs: Vec<Finished>,
}

/// One trained encoder on the test split.
pub(crate) struct Finished {
    /// Kept for the first seed only: a table of embeddings has some 16 MB.
    encoder: Option<Encoder>,
    pub(crate) curve: Vec<Epoch>,
    pub(crate) seconds: f64,
    pub(crate) ranks: Vec<usize>,
}

impl Condition {
    /// The encoder of the first seed.
    pub(crate) fn first_encoder(&self) -> &Encoder {
        let encoder = self.runs[0].encoder.as_ref();
        encoder.expect("the encoder of the first seed is kept")
    }

    /// The metric of every test query, averaged over the seeds.
    pub(crate) fn per_query(&self, metric: Metric) -> Vec<f64> {
        let queries = self.runs[0].ranks.len();
        let mean = |query: usize| {
            let values = self.runs.iter().map(|run| metric.of_rank(run.ranks[query]));
            values.sum::<f64>() / self.runs.len() as f64
        };
        (0..queries).map(mean).collect()
    }
}

/// All conditions, and which one stands for a loss in an arm.
pub(crate) struct Results {
    pub(crate) conditions: Vec<Condition>,
}

impl Results {
    pub(crate) fn of(&self, arm: Arm, loss: LossKind) -> Option<&Condition> {
        let negatives = arm.negatives(loss);
        self.conditions
            .iter()
            .find(|condition| condition.loss == loss && condition.negatives == negatives)
    }

    /// The losses of an arm in the order of the command line.
    pub(crate) fn arm(&self, arm: Arm, losses: &[LossKind]) -> Vec<&Condition> {
        losses
            .iter()
            .filter_map(|&loss| self.of(arm, loss))
            .collect()
    }
}

/// Tunes and trains everything.
pub(crate) fn run(options: &Options, corpus: &Corpus) -> Result<Results, contrastive::Error> {
    let mut pairs: Vec<(LossKind, Negatives)> = Vec::new();
    for arm in Arm::ALL {
        for &loss in &options.losses {
            let condition = (loss, arm.negatives(loss));
            if !pairs.contains(&condition) {
                pairs.push(condition);
            }
        }
    }

    let mut trials = Vec::new();
    for &(loss, negatives) in pairs
        .iter()
        .filter(|(loss, _)| options.fixed().of(*loss).is_none())
    {
        let hypers = grid(loss, options.trials());
        trials.extend(hypers.into_iter().map(|hyper| Run {
            loss,
            negatives,
            hyper,
            seed: TUNING_SEED,
        }));
    }
    let tried = train_all("tuning", &trials, options, corpus, |_, trained| {
        validation(&trained)
    })?;

    let choices: Vec<Choice> = pairs
        .iter()
        .map(|&(loss, negatives)| {
            let of = trials
                .iter()
                .zip(&tried)
                .filter(|(run, _)| run.loss == loss && run.negatives == negatives);
            let of = of.map(|(run, &validation)| Trial {
                hyper: run.hyper,
                validation,
            });
            options
                .fixed()
                .of(loss)
                .map_or_else(|| Choice::from_trials(of.collect()), Choice::fixed)
        })
        .collect();

    let seeds = FIRST_SEED..FIRST_SEED + options.seeds() as u64;
    let mut runs = Vec::new();
    for (&(loss, negatives), choice) in pairs.iter().zip(&choices) {
        runs.extend(seeds.clone().map(|seed| Run {
            loss,
            negatives,
            hyper: choice.hyper,
            seed,
        }));
    }
    let finish = |run: &Run, trained| finish(trained, corpus, run.seed == FIRST_SEED);
    let mut finished = train_all("training", &runs, options, corpus, finish)?.into_iter();
    let conditions = pairs
        .into_iter()
        .zip(choices)
        .map(|((loss, negatives), choice)| {
            let runs = finished.by_ref().take(options.seeds()).collect();
            Condition {
                loss,
                negatives,
                choice,
                runs,
            }
        });
    Ok(Results {
        conditions: conditions.collect(),
    })
}

fn validation(trained: &Trained) -> f64 {
    trained.curve.last().map_or(0.0, |epoch| epoch.validation)
}

fn finish(trained: Trained, corpus: &Corpus, keep_encoder: bool) -> Finished {
    let Trained {
        encoder,
        curve,
        seconds,
    } = trained;
    let ranks = Embedded::new(&encoder, &corpus.test).ranks();
    Finished {
        encoder: keep_encoder.then_some(encoder),
        curve,
        seconds,
        ranks,
    }
}

/// Trains all runs and keeps of each what `keep` makes of it.
fn train_all<R: Send>(
    what: &str,
    runs: &[Run],
    options: &Options,
    corpus: &Corpus,
    keep: impl Fn(&Run, Trained) -> R + Sync,
) -> Result<Vec<R>, contrastive::Error> {
    let training = options.training();
    let mut epochs: Vec<(LossKind, usize)> = Vec::new();
    for run in runs {
        match epochs.iter_mut().find(|(loss, _)| *loss == run.loss) {
            Some((_, count)) => *count += training.epochs,
            None => epochs.push((run.loss, training.epochs)),
        }
    }
    let progress = Progress::new(what, &epochs);
    let results = run_all(runs, options.threads(), |run| {
        let on_epoch = || progress.epoch(run.loss);
        let trained = train(*run, &training, &corpus.train, &corpus.validation, on_epoch)?;
        Ok(keep(run, trained))
    });
    progress.finish();
    results.into_iter().collect()
}
