//! What the example prints, part by part.

mod conclusion;
mod differences;
mod extra;
mod queries;
mod table;

use std::io::{Result, Write};

pub(crate) use conclusion::conclusion;
pub(crate) use differences::differences;
pub(crate) use extra::extra;
pub(crate) use queries::queries;
pub(crate) use table::table;

use crate::cli::Options;
use crate::corpus::Corpus;
use crate::text::count;
use crate::tokens::BUCKETS;

/// The data and the encoder.
pub(crate) fn introduction(out: &mut impl Write, options: &Options, corpus: &Corpus) -> Result<()> {
    match &options.data {
        None => writeln!(
            out,
            "Rust code search: the first sentence of a doc comment finds its function."
        )?,
        Some(file) => writeln!(out, "Queries and documents of {}", file.display())?,
    }
    writeln!(
        out,
        "{} pairs to train, {} to validate, {} to test from {}.",
        corpus.train.queries.len(),
        corpus.validation.queries.len(),
        corpus.test.queries.len(),
        origin(options, corpus)
    )?;
    let training = options.training();
    writeln!(
        out,
        "Encoder: IDF-weighted mean of {BUCKETS} token embeddings, {}.\n\
         Training: {}, batches of {}, {}.",
        count(training.dim, "dimension"),
        count(training.epochs, "epoch"),
        training.batch,
        count(options.seeds(), "seed")
    )?;
    if options.quick {
        writeln!(
            out,
            "A quick run shows that everything works; it is too small to judge by."
        )?;
    }
    writeln!(out)
}

/// Where the test pairs come from; not claimed to be unseen if they are not.
fn origin(options: &Options, corpus: &Corpus) -> String {
    let name = options.groups();
    let groups = corpus.test_groups.iter().max().map_or(0, |last| last + 1);
    match corpus.seen_test_groups {
        0 => format!("{groups} {name} that no encoder has seen"),
        seen => format!("{groups} {name}, {seen} of them in other splits too"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arms::Arm;
    use crate::baselines::Baselines;
    use crate::data::{Dataset, Pair};
    use crate::extra::{self, Extra};
    use crate::losses::LossKind;
    use crate::negatives::Negatives;
    use crate::results::{Condition, Finished, Results};
    use crate::significance::compare;
    use crate::text::{WIDTH, width};
    use crate::tuning::Choice;

    const QUERIES: usize = 12;

    fn options(arguments: &str) -> Options {
        Options::parse_from(std::iter::once("compare_losses").chain(arguments.split_whitespace()))
    }

    /// `QUERIES` pairs in each split, two of a group; test groups are named with `test`.
    fn corpus(test: &str) -> Corpus {
        let pairs = |split: &str| {
            let pair = |i| Pair {
                group: format!("{split} {}", i / 2),
                query: format!("query {i}"),
                document: format!("document {i}"),
            };
            (0..QUERIES).map(pair).collect()
        };
        let data = Dataset {
            train: pairs("train"),
            validation: pairs("validation"),
            test: pairs(test),
        };
        Corpus::new(data, usize::MAX)
    }

    /// Every loss in every arm and what is extra; the ranks of the k-th condition are k or k + 1, and one more by a prefix.
    fn results(options: &Options, hyper: f64) -> Results {
        let of_arm = |arm: Arm| options.losses.iter().map(move |&l| (l, arm.negatives(l)));
        let settings = Arm::ALL.into_iter().flat_map(of_arm);
        let condition = |(k, (loss, negatives)): (usize, (LossKind, Negatives))| {
            let run = |seed: usize| {
                let ranks = |first| (0..QUERIES).map(|i| first + (i + seed) % 2).collect();
                Finished {
                    encoder: None,
                    curve: Vec::new(),
                    seconds: 12_345.678,
                    ranks: ranks(k + 1),
                    prefix_ranks: vec![ranks(k + 2); 3],
                    temperature: Some(0.012_345),
                }
            };
            Condition {
                loss,
                negatives,
                choice: Choice::fixed(hyper),
                runs: (0..options.seeds()).map(run).collect(),
            }
        };
        let settings = settings.chain(extra::SETTINGS).enumerate();
        Results {
            conditions: settings.map(condition).collect(),
        }
    }

    fn printed(arguments: &str, hyper: f64, test: &str) -> String {
        let (options, corpus) = (options(arguments), corpus(test));
        let results = results(&options, hyper);
        let baselines = Baselines {
            bm25: vec![1; QUERIES],
            untrained: vec![vec![20; QUERIES]; options.seeds()],
        };
        let comparisons = compare(&options, &corpus, &baselines, &results);
        let mut out = Vec::new();
        introduction(&mut out, &options, &corpus).unwrap();
        table(&mut out, &options, &baselines, &results).unwrap();
        differences(&mut out, &options, &comparisons.between_losses).unwrap();
        conclusion(&mut out, &options, &baselines, &results, &comparisons).unwrap();
        if let Some(rows) = Extra::new(&options, &corpus, &results) {
            super::extra(&mut out, &options, &rows).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        let wide = "--epochs 1000000000 --batch 1000000 --dim 100000 --seeds 9";
        let fixed = "--margin 0.12345678901234567 --temperature 1.2345678901234567e-300";
        for arguments in [
            "",
            wide,
            fixed,
            "--losses infonce",
            "--losses triplet --margin 1",
            "--extra",
            "--extra --losses pairwise",
        ] {
            for hyper in [0.5, 1.234_567e-300] {
                for line in printed(arguments, hyper, "test").lines() {
                    assert!(width(line) <= WIDTH, "{}: {line}", width(line));
                }
            }
        }
    }

    #[test]
    fn test_groups_of_other_splits_are_not_said_to_be_unseen() {
        let unseen = "6 crates that no encoder has seen";
        assert!(printed("", 0.5, "test").contains(unseen));
        let seen = printed("", 0.5, "validation");
        assert!(seen.contains("6 crates, 6 of them in other splits too"));
    }

    #[test]
    fn only_what_was_chosen_is_said_to_be_chosen() {
        let both = printed("", 0.5, "test");
        assert!(both.contains("Margin and temperature: best of 5 trials each"));
        let one = printed("--margin 0.3", 0.3, "test");
        assert!(one.contains("Temperature: best of 5 trials on"), "{one}");
        assert!(one.contains("Margin: 0.3, as the command line has it."));
        let irrelevant = printed("--losses triplet --temperature 1", 0.5, "test");
        assert!(!irrelevant.contains("Temperature"));
    }

    #[test]
    fn what_is_extra_follows_what_is_printed_without_it() {
        let (without, with) = (printed("", 0.5, "test"), printed("--extra", 0.5, "test"));
        let extra = with.strip_prefix(&without).unwrap();
        for row in [
            "\nmined triplets\n  batch-hard margin 0.5",
            "\ntrained along\n  learned τ  0.5 → 0.012",
            "\nfirst 16 dims\n  InfoNCE    temperature 0.5",
            "\nfirst 32 dims     Matryoshka − InfoNCE",
            "\nall 128 dims      Matryoshka − InfoNCE",
        ] {
            assert!(extra.contains(row), "{row}: {extra}");
        }
    }

    #[test]
    fn one_loss_alone_is_compared_with_bm25_only() {
        let alone = printed("--losses infonce", 0.1, "test");
        assert!(!alone.contains("Differences") && !alone.contains("is first"));
        assert!(alone.contains("of 2 trained encoders"), "{alone}");
    }

    #[test]
    fn an_encoder_of_two_arms_is_held_against_bm25_once() {
        // BM25 has rank 1 everywhere; all encoders fall short of it in every group, the first by as little as rank 2 costs.
        let all = printed("", 0.5, "test");
        let sentence =
            "BM25 has 1.000; of 8 trained encoders, 0 significantly above it, 8 below, 0 within";
        assert!(all.contains(sentence), "{all}");
        assert!(all.contains("(paired, over crates, corrected for 8 comparisons)."));
    }
}
