//! What the numbers of this run say, and no more.

use std::io::{Result, Write};

use super::differences::resampled;
use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::results::{Condition, Results};
use crate::significance::{Comparison, Comparisons, METRIC, Paired, WithBm25};
use crate::text::count;

/// Which loss is first in each arm, whether its lead is more than chance, and where BM25 stands.
pub(crate) fn conclusion(
    out: &mut impl Write,
    options: &Options,
    baselines: &Baselines,
    results: &Results,
    comparisons: &Comparisons,
) -> Result<()> {
    writeln!(
        out,
        "\nOn this data, with this encoder and these negatives, by {}:",
        METRIC.name()
    )?;
    for arm in Arm::ALL {
        let of_arm = |comparison: &&Comparison| comparison.arm == arm;
        let all = comparisons.between_losses.iter();
        let of_arm: Vec<&Comparison> = all.filter(of_arm).collect();
        let verdict = verdict(results.arm(arm, &options.losses), &of_arm);
        writeln!(out, "  {}: {verdict}", arm.name())?;
    }
    let bm25 = METRIC.mean(&baselines.bm25);
    writeln!(out, "{}", against(bm25, &comparisons.with_bm25, options))
}

/// The sentence on BM25: every encoder counts once, and only with a difference that is more than chance.
fn against(score: f64, comparisons: &[WithBm25], options: &Options) -> String {
    let (n, first) = (comparisons.len(), &comparisons[0].paired);
    let significant = comparisons.iter().map(|c| &c.paired);
    let significant: Vec<&Paired> = significant.filter(|p| p.is_significant()).collect();
    let above = significant.iter().filter(|p| p.difference > 0.0).count();
    let (below, level) = (significant.len() - above, n - significant.len());
    format!(
        "  BM25 has {score:.3}; of {}, {above} significantly above it, {below} below, {level} within chance\n    \
         (paired, {}, corrected for {}).",
        count(n, "trained encoder"),
        resampled(options, first),
        count(n, "comparison")
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
