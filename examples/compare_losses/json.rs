//! `results.json`: the numbers that the example prints and plots, for machines.

use serde_json::{Value, json};

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Metric;
use crate::results::{Condition, Results};
use crate::significance::{Comparison, METRIC, interval};
use crate::statistics::{Interval, Summary};

pub(crate) fn write(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
    comparisons: &[Comparison],
) -> std::io::Result<()> {
    let training = options.training();
    let mut rows = vec![
        json!({ "name": "BM25", "metrics": metrics(std::slice::from_ref(&baselines.bm25)) }),
        json!({ "name": "untrained encoder", "metrics": metrics(&baselines.untrained) }),
    ];
    for arm in Arm::ALL {
        let losses = results.arm(arm, &options.losses);
        rows.extend(
            losses
                .into_iter()
                .map(|condition| row(arm, condition, &corpus.test_groups)),
        );
    }
    let document = json!({
        "training": {
            "epochs": training.epochs, "batch": training.batch, "dim": training.dim,
            "learning_rate": training.learning_rate, "seeds": options.seeds(),
        },
        "rows": rows,
        "differences": comparisons.iter().map(difference).collect::<Vec<_>>(),
    });
    std::fs::write(options.out.join("results.json"), format!("{document:#}\n"))
}

fn row(arm: Arm, condition: &Condition, groups: &[usize]) -> Value {
    let trials: Vec<Value> = condition
        .choice
        .trials
        .iter()
        .map(|trial| json!({ "value": trial.hyper, "validation": trial.validation }))
        .collect();
    let curves: Vec<Value> = condition
        .runs
        .iter()
        .map(|run| {
            run.curve
                .iter()
                .map(|epoch| json!({ "loss": epoch.loss, "validation": epoch.validation }))
                .collect()
        })
        .collect();
    json!({
        "arm": arm.name(),
        "name": condition.loss.name(),
        condition.loss.hyper_name(): condition.choice.hyper,
        "trials": trials,
        "seconds": condition.runs.iter().map(|run| run.seconds).collect::<Vec<_>>(),
        "curves": curves,
        "metrics": metrics(&condition.ranks()),
        "intervals": intervals(condition, groups),
    })
}

/// Mean and standard deviation over seeds.
fn metrics(seeds: &[Vec<usize>]) -> Value {
    let summary = |metric: Metric| {
        let Summary { mean, sd } = Summary::of(
            &seeds
                .iter()
                .map(|ranks| metric.mean(ranks))
                .collect::<Vec<_>>(),
        );
        (metric.name().to_owned(), json!({ "mean": mean, "sd": sd }))
    };
    Value::Object(Metric::ALL.into_iter().map(summary).collect())
}

/// 95 % intervals of the metrics, as the plot has them.
fn intervals(condition: &Condition, groups: &[usize]) -> Value {
    let entry = |metric: Metric| {
        let Interval { low, high } = interval(&condition.per_query(metric), groups);
        (metric.name().to_owned(), json!([low, high]))
    };
    Value::Object(Metric::ALL.into_iter().map(entry).collect())
}

fn difference(comparison: &Comparison) -> Value {
    json!({
        "arm": comparison.arm.name(),
        "first": comparison.first.name(),
        "second": comparison.second.name(),
        "metric": METRIC.name(),
        "difference": comparison.difference,
        "over_queries": [comparison.over_queries.low, comparison.over_queries.high],
        "over_crates": comparison.over_groups.map(|groups| [groups.low, groups.high]),
        "p": comparison.p,
    })
}
