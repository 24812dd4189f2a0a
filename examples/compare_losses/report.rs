//! What the example prints.

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::{Embedded, Metric, rank, top};
use crate::losses::LossKind;
use crate::results::{Condition, Results};
use crate::significance::{Comparison, METRIC};
use crate::statistics::{Interval, Summary};

/// Characters of a query or a document that are shown.
const SNIPPET: usize = 66;
/// Queries that are shown with what each loss finds.
const EXAMPLES: usize = 3;

pub(crate) fn introduction(options: &Options, corpus: &Corpus) {
    let training = options.training();
    let groups = corpus.test_groups.iter().max().map_or(0, |last| last + 1);
    println!("Rust code search: the first sentence of a doc comment finds its function.");
    println!(
        "{} pairs to train, {} to validate, {} to test from {groups} crates that no encoder has seen.",
        corpus.train.queries.len(),
        corpus.validation.queries.len(),
        corpus.test.queries.len()
    );
    println!(
        "Encoder: IDF-weighted mean of {} token embeddings, {} dimensions; {} epochs, batches of {}, {} seeds.\n",
        crate::tokens::BUCKETS,
        training.dim,
        training.epochs,
        training.batch,
        options.seeds()
    );
}

/// One line per baseline, arm and loss.
pub(crate) fn table(options: &Options, baselines: &Baselines, results: &Results) {
    print!("{:<30}", "");
    Metric::ALL
        .iter()
        .for_each(|metric| print!("{:>13}", metric.name()));
    println!("{:>9}", "seconds");
    line("BM25", std::slice::from_ref(&baselines.bm25), None);
    line("untrained encoder", &baselines.untrained, None);
    for arm in Arm::ALL {
        println!("{}", arm.name());
        for condition in results.arm(arm, &options.losses) {
            let edge = if condition.choice.is_at_edge() {
                "*"
            } else {
                ""
            };
            let hyper = condition.choice.hyper;
            let label = format!(
                "  {:<9}{} {hyper}{edge}",
                condition.loss.name(),
                condition.loss.hyper_name()
            );
            let ranks: Vec<Vec<usize>> =
                condition.runs.iter().map(|run| run.ranks.clone()).collect();
            let seconds =
                condition.runs.iter().map(|run| run.seconds).sum::<f64>() / ranks.len() as f64;
            line(&label, &ranks, Some(seconds));
        }
    }
    println!(
        "Mean ± standard deviation over seeds; seconds of training per seed. Margin and temperature were chosen on"
    );
    println!(
        "the validation crates, {} trials each (* the best was at the edge of what was tried).",
        options.trials()
    );
    let fixed = options.fixed();
    for (name, value) in [("margin", fixed.margin), ("temperature", fixed.temperature)] {
        if let Some(value) = value {
            println!("The {name} was fixed at {value} by the command line, not chosen.");
        }
    }
}

fn line(label: &str, seeds: &[Vec<usize>], seconds: Option<f64>) {
    print!("{label:<30}");
    for metric in Metric::ALL {
        let summary = Summary::of(
            &seeds
                .iter()
                .map(|ranks| metric.mean(ranks))
                .collect::<Vec<_>>(),
        );
        let spread = if seeds.len() > 1 {
            format!(" ±{:.3}", summary.sd).replace("0.", ".")
        } else {
            String::new()
        };
        print!(
            "{:>13}",
            format!("{:.3}{spread}", summary.mean).replacen("0.", ".", 1)
        );
    }
    println!(
        "{}",
        seconds.map_or(String::new(), |seconds| format!("{seconds:>9.2}"))
    );
}

/// Pairs of losses with the intervals of their difference.
pub(crate) fn differences(comparisons: &[Comparison]) {
    println!(
        "\nDifferences in {}, with 95 % intervals of a paired bootstrap:",
        METRIC.name()
    );
    println!(
        "{:<18}{:<26}{:>8}{:>18}{:>18}{:>9}",
        "", "", "", "over queries", "over crates", "p"
    );
    for comparison in comparisons {
        let interval = |Interval { low, high }| format!("[{low:+.3}, {high:+.3}]");
        println!(
            "{:<18}{:<26}{:>+8.3}{:>18}{:>18}{:>9.4}{}",
            comparison.arm.name(),
            format!("{} − {}", comparison.first.name(), comparison.second.name()),
            comparison.difference,
            interval(comparison.over_queries),
            comparison
                .over_crates
                .map_or_else(|| "too few".to_owned(), interval),
            comparison.p,
            if comparison.is_significant() {
                " *"
            } else {
                ""
            }
        );
    }
    println!(
        "p: over crates, corrected for the number of comparisons; * below {}.",
        crate::significance::LEVEL
    );
}

/// A few test queries, and what the encoder of each loss puts first.
pub(crate) fn examples(options: &Options, corpus: &Corpus, results: &Results) {
    println!(
        "\nQueries of test crates, with the document that each loss, at its best, puts first:"
    );
    let embedded: Vec<(LossKind, Embedded)> = results
        .arm(Arm::EachAtItsBest, &options.losses)
        .into_iter()
        .map(|condition| {
            (
                condition.loss,
                Embedded::new(condition.first_encoder(), &corpus.test),
            )
        })
        .collect();
    let n = corpus.test_pairs.len();
    for i in (0..EXAMPLES.min(n)).map(|i| (2 * i + 1) * n / (2 * EXAMPLES)) {
        let pair = &corpus.test_pairs[i];
        println!("\n  “{}” ({})", snippet(&pair.query), pair.group);
        for (loss, embedded) in &embedded {
            let scores = embedded.scores(i);
            let first = top(scores.view(), 1)[0];
            let place = rank(scores.view(), i);
            let found = if first == i {
                "found".to_owned()
            } else {
                format!("own at {place}")
            };
            println!(
                "    {:<9}{found:<12}{}",
                loss.name(),
                snippet(&corpus.test_pairs[first].document)
            );
        }
    }
}

fn snippet(text: &str) -> String {
    let short: String = text.chars().take(SNIPPET).collect();
    if short.len() < text.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// What the numbers of this run say, and no more.
pub(crate) fn conclusion(
    options: &Options,
    baselines: &Baselines,
    results: &Results,
    comparisons: &[Comparison],
) {
    println!("\nOn this data, with this encoder and these negatives:");
    for arm in Arm::ALL {
        let mut losses = results.arm(arm, &options.losses);
        losses.sort_by(|a, b| b.mean(METRIC).total_cmp(&a.mean(METRIC)));
        let Some((best, others)) = losses.split_first() else {
            continue;
        };
        let (behind, level): (Vec<&Condition>, Vec<&Condition>) =
            others.iter().copied().partition(|other| {
                comparisons
                    .iter()
                    .any(|c| c.is_significant() && is_between(c, arm, best.loss, other.loss))
            });
        let mut sentence = format!(
            "  {}: {} is first with {:.3}",
            arm.name(),
            best.loss.name(),
            best.mean(METRIC)
        );
        if !behind.is_empty() {
            sentence += &format!(", significantly ahead of {}", names(&behind));
        }
        if !level.is_empty() {
            sentence += &format!("; its lead over {} is within chance", names(&level));
        }
        println!("{sentence}.");
    }
    let bm25 = METRIC.mean(&baselines.bm25);
    let rows: Vec<f64> = Arm::ALL
        .iter()
        .flat_map(|&arm| results.arm(arm, &options.losses))
        .map(|condition| condition.mean(METRIC))
        .collect();
    let above = rows.iter().filter(|&&score| score > bm25).count();
    println!(
        "  {above} of the {} trained rows are above BM25 ({bm25:.3}).",
        rows.len()
    );
}

fn is_between(comparison: &Comparison, arm: Arm, one: LossKind, other: LossKind) -> bool {
    let pair = [comparison.first, comparison.second];
    comparison.arm == arm && pair.contains(&one) && pair.contains(&other)
}

fn names(conditions: &[&Condition]) -> String {
    conditions
        .iter()
        .map(|condition| condition.loss.name())
        .collect::<Vec<_>>()
        .join(" and ")
}
