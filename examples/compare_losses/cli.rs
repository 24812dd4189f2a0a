//! Command-line options.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::extra;
use crate::losses::LossKind;
use crate::objectives::Objective;
use crate::train::Training;
use crate::tuning::Fixed;

/// One learning rate for all: Adam's steps do not depend on the scale of a loss.
const LEARNING_RATE: f32 = 0.05;

const AFTER_HELP: &str = "\
Data: a file, gzipped or not, each line of which has a split (train, validation or test), a group
(here the crate), a query and the document that answers it, with a tab between each two of them.

Examples:
  cargo run --release --example compare_losses -- --quick
  cargo run --release --example compare_losses -- --losses triplet,infonce --seeds 5
  cargo run --release --example compare_losses -- --margin 0.3 --out target/margin_0.3";

/// Which retrieval embedding loss works best? Trains the same small encoder with pairwise cosine,
/// triplet margin and InfoNCE on Rust code search, and compares what they find in crates that none
/// of them has seen.
// Without the feature that asks for the width of the terminal, the parser does not wrap: every text fits as it stands.
#[derive(Parser, Clone, Debug)]
#[command(name = "compare_losses", verbatim_doc_comment, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// Pairs to train and test on [default: code search, in the repository]
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,

    /// Losses to compare, separated by commas
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        hide_possible_values = true,
        default_value = "pairwise,triplet,infonce"
    )]
    pub(crate) losses: Vec<LossKind>,

    /// Encoders per loss and arm, from different seeds [default: 3, quick: 2]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    seeds: Option<usize>,

    /// Passes over the training pairs [default: 5, quick: 2]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    epochs: Option<usize>,

    /// Pairs per batch, one more than in-batch negatives
    #[arg(long, value_name = "N", default_value = "128", value_parser = at_least::<2>)]
    batch: usize,

    /// Dimensions of the embeddings [default: 128, quick: 64]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    dim: Option<usize>,

    /// Margin of pairwise (-1 to 1) and triplet (above 0) [default: tuned]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    margin: Option<f64>,

    /// Temperature of InfoNCE (above 0) [default: tuned]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f64>,

    /// Encoders trained at a time; changes no result [default: one per core]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    threads: Option<usize>,

    /// Folder for the plots and results.json
    #[arg(long, value_name = "DIR", default_value = "target/compare_losses")]
    pub(crate) out: PathBuf,

    /// A small run in seconds: fewer pairs, epochs, seeds and trials
    #[arg(long)]
    pub(crate) quick: bool,

    /// Also mined triplets, a learned temperature, and Matryoshka
    #[arg(long)]
    pub(crate) extra: bool,
}

impl Options {
    /// Parses the command line; ends the process with a message and code 2 if a value is out of range.
    pub(crate) fn from_command_line() -> Self {
        let mut options = Self::parse();
        if let Err(message) = options.check() {
            Self::command()
                .error(ErrorKind::ValueValidation, message)
                .exit();
        }
        options
    }

    /// Drops losses named twice; lets the library itself say which margins and temperatures it takes.
    fn check(&mut self) -> Result<(), String> {
        let named = std::mem::take(&mut self.losses);
        for loss in named {
            if !self.losses.contains(&loss) {
                self.losses.push(loss);
            }
        }
        let extra = extra::SETTINGS.map(|(loss, _)| loss);
        let extra = if self.extra { &extra[..] } else { &[] };
        for &loss in self.losses.iter().chain(extra) {
            if let Some(value) = self.fixed().of(loss) {
                let (option, name) = (loss.hyper_name(), loss.name());
                Objective::new(loss, value, self.training().dim).map_err(|error| {
                    format!(
                        "invalid value '{value:?}' for '--{option}' with the {name} loss:\n  {error}"
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The hyper-parameters that are not to be tuned.
    pub(crate) fn fixed(&self) -> Fixed {
        Fixed {
            margin: self.margin,
            temperature: self.temperature,
        }
    }

    pub(crate) fn training(&self) -> Training {
        Training {
            epochs: self.epochs.unwrap_or(if self.quick { 2 } else { 5 }),
            batch: self.batch,
            dim: self.dim.unwrap_or(if self.quick { 64 } else { 128 }),
            learning_rate: LEARNING_RATE,
        }
    }

    pub(crate) fn seeds(&self) -> usize {
        self.seeds.unwrap_or(if self.quick { 2 } else { 3 })
    }

    /// Values of the hyper-parameter that are tried per loss and arm.
    pub(crate) fn trials(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }

    /// Training pairs that are used at most.
    pub(crate) fn training_pairs(&self) -> usize {
        if self.quick { 4000 } else { usize::MAX }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
    }

    /// What the groups of the data are called.
    pub(crate) fn groups(&self) -> &'static str {
        match self.data {
            None => "crates",
            Some(_) => "groups",
        }
    }

    /// The data file: the one given, or the one beside the sources, or below the current folder.
    pub(crate) fn data_file(&self) -> PathBuf {
        const FILE: &str = "examples/compare_losses/data/code_search.tsv.gz";
        let beside_sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE);
        self.data.clone().unwrap_or(if beside_sources.exists() {
            beside_sources
        } else {
            FILE.into()
        })
    }
}

fn at_least<const MINIMUM: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= MINIMUM => Ok(number),
        _ => Err(format!("expected a whole number of at least {MINIMUM}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{WIDTH, width};

    fn parse(arguments: &str) -> Result<Options, String> {
        let arguments = std::iter::once("compare_losses").chain(arguments.split_whitespace());
        let mut options = Options::try_parse_from(arguments).map_err(|error| error.to_string())?;
        options.check()?;
        Ok(options)
    }

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_help_fits_on_the_page() {
        let mut command = Options::command();
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(width(line) <= WIDTH, "{}: {line}", width(line));
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused_with_a_reason() {
        for (arguments, reason) in [
            ("--epochs 0", "at least 1"),
            ("--batch 1", "at least 2"),
            ("--seeds x", "at least 1"),
            ("--losses hinge", "possible values"),
            ("--temperature -1", "'--temperature' with the InfoNCE loss"),
            ("--margin 1.5", "'--margin' with the pairwise loss"),
            ("--margin 0", "'--margin' with the triplet loss"),
            (
                "--temperature 0.001 --extra",
                "'--temperature' with the learned τ loss",
            ),
        ] {
            let message = parse(arguments).unwrap_err();
            assert!(message.contains(reason), "{arguments}: {message}");
        }
    }

    #[test]
    fn a_value_is_checked_only_for_the_losses_that_are_compared() {
        assert!(parse("--temperature 0.001").is_ok());
        assert!(parse("--margin 1.5 --losses triplet,infonce").is_ok());
        assert_eq!(
            parse("--losses triplet,triplet").unwrap().losses,
            [LossKind::Triplet]
        );
    }
}
