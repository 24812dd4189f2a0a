//! `results.json`: the numbers that the example prints and plots, for machines.

use serde_json::{Value, json};

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Metric;
use crate::extra::Extra;
use crate::losses::LossKind;
use crate::results::{Condition, Results};
use crate::significance::{Comparison, Comparisons, METRIC, Paired, WithBm25, interval};
use crate::statistics::{Interval, Summary};

/// The file, in the output folder.
pub(crate) fn write(options: &Options, document: &Value) -> std::io::Result<()> {
    std::fs::write(options.out.join("results.json"), format!("{document:#}\n"))
}

pub(crate) fn document(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
    comparisons: &Comparisons,
    extra: Option<&Extra<'_>>,
) -> Value {
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
    let mut document = json!({
        "training": {
            "epochs": training.epochs, "batch": training.batch, "dim": training.dim,
            "learning_rate": training.learning_rate, "seeds": options.seeds(),
        },
        "rows": rows,
        "differences": comparisons.between_losses.iter().map(difference).collect::<Vec<_>>(),
        "differences_from_bm25": comparisons.with_bm25.iter().map(from_bm25).collect::<Vec<_>>(),
    });
    if let Some(extra) = extra {
        document["extra"] = self::extra(extra);
    }
    document
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
    let [first, second] = [comparison.first, comparison.second].map(LossKind::name);
    paired(comparison.arm.name(), first, second, &comparison.paired)
}

fn from_bm25(comparison: &WithBm25) -> Value {
    let (arm, loss) = (comparison.arm.name(), comparison.loss.name());
    paired(arm, loss, "BM25", &comparison.paired)
}

fn paired(arm: &str, first: &str, second: &str, paired: &Paired) -> Value {
    json!({
        "arm": arm,
        "first": first,
        "second": second,
        "metric": METRIC.name(),
        "difference": paired.difference,
        "over_queries": [paired.over_queries.low, paired.over_queries.high],
        "over_crates": paired.over_groups.map(|groups| [groups.low, groups.high]),
        "p": paired.p.value,
        "p_is_bound": paired.p.is_bound,
    })
}

fn extra(extra: &Extra<'_>) -> Value {
    let mut rows = Vec::new();
    for group in &extra.groups {
        rows.extend(group.rows.iter().map(|row| {
            let Condition {
                loss, choice, runs, ..
            } = row.condition;
            json!({
                "arm": group.title,
                "name": loss.name(),
                loss.hyper_name(): choice.hyper,
                "learned": runs.iter().map(|run| run.temperature).collect::<Vec<_>>(),
                "metrics": metrics(&row.ranks),
            })
        }));
    }
    let against = LossKind::InfoNce.name();
    let differences = extra.comparisons.iter();
    let differences = differences.map(|c| paired(&c.title, c.loss.name(), against, &c.paired));
    json!({ "rows": rows, "differences": differences.collect::<Vec<_>>() })
}
