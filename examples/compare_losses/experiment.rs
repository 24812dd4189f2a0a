//! The experiment: tunes every loss in every arm, trains it from several seeds, ranks the test documents.

use contrastive::Error;

use crate::arms::Arm;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Embedded;
use crate::extra;
use crate::jobs::run_all;
use crate::losses::LossKind;
use crate::negatives::Negatives;
use crate::progress::Progress;
use crate::results::{Condition, Finished, Results};
use crate::train::{Run, Trained, train};
use crate::tuning::{Choice, Trial, grid};

/// Hyper-parameters are chosen with this seed, results come from the seeds after it.
const TUNING_SEED: u64 = 0;
pub(crate) const FIRST_SEED: u64 = TUNING_SEED + 1;

/// Tunes and trains everything.
pub(crate) fn run(options: &Options, corpus: &Corpus) -> Result<Results, Error> {
    let settings = settings(options);
    let choices = tune(&settings, options, corpus)?;
    Ok(Results {
        conditions: train_chosen(&settings, choices, options, corpus)?,
    })
}

/// What is to be tuned and trained, each once: arms may share it.
fn settings(options: &Options) -> Vec<(LossKind, Negatives)> {
    let mut settings = Vec::new();
    let of_arm = |arm: Arm| options.losses.iter().map(move |&l| (l, arm.negatives(l)));
    let extra = extra::SETTINGS.into_iter().filter(|_| options.extra);
    for setting in Arm::ALL.into_iter().flat_map(of_arm).chain(extra) {
        if !settings.contains(&setting) {
            settings.push(setting);
        }
    }
    settings
}

/// The hyper-parameter of every setting: the best of its trials on the validation split, or the one of the command line.
fn tune(
    settings: &[(LossKind, Negatives)],
    options: &Options,
    corpus: &Corpus,
) -> Result<Vec<Choice>, Error> {
    let fixed = |loss| options.fixed().of(loss);
    let tried = |loss| match fixed(loss) {
        Some(_) => Vec::new(),
        None => grid(loss, options.trials()),
    };
    let mut runs = Vec::new();
    for &(loss, negatives) in settings {
        runs.extend(tried(loss).into_iter().map(|hyper| Run {
            loss,
            negatives,
            hyper,
            seed: TUNING_SEED,
        }));
    }
    let scores = train_all("tuning", &runs, options, corpus, |_, trained| {
        trained.curve.last().map_or(0.0, |epoch| epoch.validation)
    })?;

    // The runs stand in the order of the settings.
    let mut scores = scores.into_iter();
    let choice = |&(loss, _): &(LossKind, Negatives)| {
        let trials = tried(loss).into_iter().zip(scores.by_ref());
        let trials = trials.map(|(hyper, validation)| Trial { hyper, validation });
        fixed(loss).map_or_else(|| Choice::from_trials(trials.collect()), Choice::fixed)
    };
    Ok(settings.iter().map(choice).collect())
}

/// Every setting with its chosen hyper-parameter, trained from every seed.
fn train_chosen(
    settings: &[(LossKind, Negatives)],
    choices: Vec<Choice>,
    options: &Options,
    corpus: &Corpus,
) -> Result<Vec<Condition>, Error> {
    let mut runs = Vec::new();
    for (&(loss, negatives), choice) in settings.iter().zip(&choices) {
        let seeds = FIRST_SEED..FIRST_SEED + options.seeds() as u64;
        runs.extend(seeds.map(|seed| Run {
            loss,
            negatives,
            hyper: choice.hyper,
            seed,
        }));
    }
    let finished = train_all("training", &runs, options, corpus, |run, trained| {
        finish(run, trained, options, corpus)
    })?;

    // The runs stand in the order of the settings.
    let mut finished = finished.into_iter();
    let condition = |(&(loss, negatives), choice)| Condition {
        loss,
        negatives,
        choice,
        runs: finished.by_ref().take(options.seeds()).collect(),
    };
    Ok(settings.iter().zip(choices).map(condition).collect())
}

/// Ranks the test documents.
fn finish(run: &Run, trained: Trained, options: &Options, corpus: &Corpus) -> Finished {
    let embedded = Embedded::new(&trained.encoder, &corpus.test);
    let on_prefixes = options.extra && extra::has_prefixes((run.loss, run.negatives));
    let prefixes = extra::prefixes(options.training().dim).filter(|_| on_prefixes);
    Finished {
        ranks: embedded.ranks(),
        prefix_ranks: prefixes.map(|dim| embedded.prefix(dim).ranks()).collect(),
        encoder: (run.seed == FIRST_SEED).then_some(trained.encoder),
        curve: trained.curve,
        seconds: trained.seconds,
        temperature: trained.temperature,
    }
}

/// Trains all runs, some at the same time, and keeps of each what `keep` makes of it.
fn train_all<R: Send>(
    what: &str,
    runs: &[Run],
    options: &Options,
    corpus: &Corpus,
    keep: impl Fn(&Run, Trained) -> R + Sync,
) -> Result<Vec<R>, Error> {
    let training = options.training();
    let progress = Progress::new(what, runs, training.epochs);
    let results = run_all(runs, options.threads(), |run| {
        let on_epoch = || progress.epoch(run.loss);
        let trained = train(*run, &training, &corpus.train, &corpus.validation, on_epoch)?;
        Ok(keep(run, trained))
    });
    progress.finish();
    results.into_iter().collect()
}
