//! What the numbers of this run say, and no more.

use std::io::{Result, Write};

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::results::{Condition, Results};
use crate::significance::{Comparison, METRIC};

/// Which loss is first in each arm, and whether its lead is more than chance.
pub(crate) fn conclusion(
    out: &mut impl Write,
    options: &Options,
    baselines: &Baselines,
    results: &Results,
    comparisons: &[Comparison],
) -> Result<()> {
    writeln!(
        out,
        "\nOn this data, with this encoder and these negatives, by {}:",
        METRIC.name()
    )?;
    for arm in Arm::ALL {
        let of_arm = |comparison: &&Comparison| comparison.arm == arm;
        let comparisons: Vec<&Comparison> = comparisons.iter().filter(of_arm).collect();
        let verdict = verdict(results.arm(arm, &options.losses), &comparisons);
        writeln!(out, "  {}: {verdict}", arm.name())?;
    }
    let bm25 = METRIC.mean(&baselines.bm25);
    let rows = Arm::ALL.map(|arm| results.arm(arm, &options.losses));
    let rows: Vec<f64> = rows.iter().flatten().map(|row| row.mean(METRIC)).collect();
    let above = rows.iter().filter(|&&score| score > bm25).count();
    writeln!(
        out,
        "  {above} of the {} trained rows are above BM25 ({bm25:.3}).",
        rows.len()
    )
}

/// The sentence on one arm, from its comparisons.
fn verdict(mut losses: Vec<&Condition>, comparisons: &[&Comparison]) -> String {
    losses.sort_by(|a, b| b.mean(METRIC).total_cmp(&a.mean(METRIC)));
    let (best, others) = (losses[0], &losses[1..]);
    let score = best.mean(METRIC);
    if others.is_empty() {
        return format!("{} has {score:.3}.", best.loss.name());
    }
    if others.iter().all(|other| other.mean(METRIC) == score) {
        return format!("all losses have {score:.3}.");
    }
    let is_behind = |other: &&Condition| {
        comparisons.iter().any(|comparison| {
            let pair = [comparison.first, comparison.second];
            comparison.paired.is_significant()
                && pair.contains(&best.loss)
                && pair.contains(&other.loss)
        })
    };
    let (behind, level): (Vec<&Condition>, Vec<&Condition>) =
        others.iter().copied().partition(is_behind);
    let mut sentence = format!("{} is first with {score:.3}", best.loss.name());
    if !behind.is_empty() {
        sentence += &format!(", significantly ahead of {}", names(&behind));
    }
    if !level.is_empty() {
        let rest = format!("its lead over {} is within chance", names(&level));
        sentence += &format!(";\n    {rest}");
    }
    sentence + "."
}

fn names(conditions: &[&Condition]) -> String {
    let names: Vec<&str> = conditions.iter().map(|c| c.loss.name()).collect();
    names.join(" and ")
}
