//! Which retrieval embedding loss works best? Trains one small encoder with each of three losses on Rust code search.
//!
//! The parts, for whoever copies them into a training loop of their own: `encoder` (text to embedding, and back), `optimizer`
//! (Adam), `objectives` (how each loss is called), `train` (the loop), `evaluate` (ranks and metrics).

mod arms;
mod bm25;
mod cli;
mod data;
mod encoder;
mod evaluate;
mod experiment;
mod jobs;
mod negatives;
mod objectives;
mod optimizer;
mod plots;
mod progress;
mod random;
mod report;
mod results;
mod significance;
mod statistics;
mod tokens;
mod train;
mod tuning;

use std::process::ExitCode;
use std::time::Instant;

use cli::Options;
use data::Dataset;
use evaluate::Embedded;
use experiment::Corpus;

fn main() -> ExitCode {
    match run(&Options::from_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let corpus = Corpus::new(
        Dataset::read(&options.data_file())?,
        options.training_pairs(),
    );
    report::introduction(options, &corpus);

    let results = experiment::run(options, &corpus)?;
    let baselines = Baselines::new(options, &corpus);
    let comparisons = significance::compare(options, &corpus, &results);

    report::table(options, &baselines, &results);
    report::differences(&comparisons);
    report::examples(options, &corpus, &results);
    report::conclusion(options, &baselines, &results, &comparisons);

    let problem = |error: std::io::Error| format!("{}: {error}", options.out.display());
    std::fs::create_dir_all(&options.out).map_err(problem)?;
    plots::write(options, &corpus, &baselines, &results)?;
    results::write(options, &baselines, &results, &comparisons).map_err(problem)?;
    println!(
        "\nPlots and results.json are in {} ({:.0} s in all).",
        options.out.display(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What the trained encoders are held against: test ranks without any training.
struct Baselines {
    bm25: Vec<usize>,
    /// One list for each seed.
    untrained: Vec<Vec<usize>>,
}

impl Baselines {
    fn new(options: &Options, corpus: &Corpus) -> Self {
        let untrained = |seed| {
            let encoder = train::untrained(options.training().dim, seed);
            Embedded::new(&encoder, &corpus.test).ranks()
        };
        Self {
            bm25: bm25::Bm25::new(&corpus.train_pairs, &corpus.test_pairs)
                .ranks(&corpus.test_pairs),
            untrained: (1..=options.seeds() as u64).map(untrained).collect(),
        }
    }
}
