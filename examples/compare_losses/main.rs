//! Which retrieval embedding loss works best? Trains one small encoder with each of three losses on Rust code search.
//!
//! The parts, for whoever copies them into a training loop of their own: `encoder` (text to embedding, and back), `optimizer`
//! (Adam), `objectives` (how each loss is called), `train` (the loop), `evaluate` (ranks and metrics).

mod arms;
mod baselines;
mod batches;
mod bm25;
mod cli;
mod corpus;
mod data;
mod encoder;
mod evaluate;
mod experiment;
mod extra;
mod jobs;
mod json;
mod losses;
mod negatives;
mod objectives;
mod optimizer;
mod p_values;
mod plots;
mod printer;
mod progress;
mod random;
mod report;
mod results;
mod significance;
mod statistics;
mod step;
mod temperature;
mod text;
mod tokens;
mod train;
mod tuning;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use baselines::Baselines;
use cli::Options;
use corpus::Corpus;
use data::Dataset;
use extra::Extra;
use printer::Printer;

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
    let data = Dataset::read(&options.data_file())?;
    // A folder that can't be made is told before the training, not after it.
    let problem = |error: std::io::Error| format!("{}: {error}", options.out.display());
    std::fs::create_dir_all(&options.out).map_err(problem)?;

    let mut out = Printer;
    let corpus = Corpus::new(data, options.training_pairs());
    report::introduction(&mut out, options, &corpus)?;

    let results = experiment::run(options, &corpus)?;
    let baselines = Baselines::new(options, &corpus);
    let comparisons = significance::compare(options, &corpus, &baselines, &results);

    report::table(&mut out, options, &baselines, &results)?;
    report::differences(&mut out, options, &comparisons.between_losses)?;
    report::queries(&mut out, options, &corpus, &results)?;
    report::conclusion(&mut out, options, &baselines, &results, &comparisons)?;
    let extra = Extra::new(options, &corpus, &results);
    if let Some(extra) = &extra {
        report::extra(&mut out, options, extra)?;
    }

    plots::write(options, &corpus, &baselines, &results)?;
    let document = json::document(
        options,
        &corpus,
        &baselines,
        &results,
        &comparisons,
        extra.as_ref(),
    );
    json::write(options, &document).map_err(problem)?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "\n{seconds:.0} s in all. Plots and results.json are in {}",
        options.out.display()
    )?;
    Ok(())
}
