//! The table of `--extra`, and its differences from InfoNCE.

use std::io::{Result, Write};

use super::differences::{heading, line as difference_line, note};
use super::table::line;
use crate::cli::Options;
use crate::extra::Extra;
use crate::losses::LossKind;
use crate::results::Condition;
use crate::significance::METRIC;
use crate::text::number;

/// All rows, then what tells them from InfoNCE.
pub(crate) fn extra(
    out: &mut impl Write,
    options: &Options,
    Extra {
        groups,
        comparisons,
    }: &Extra<'_>,
) -> Result<()> {
    writeln!(
        out,
        "\nVariants with the same candidates, and what the first dimensions alone find:"
    )?;
    for group in groups {
        writeln!(out, "{}", group.title)?;
        for row in &group.rows {
            let seconds = row.condition.mean_over_seeds(|run| run.seconds);
            let line = line(&label(row.condition), &row.ranks);
            writeln!(out, "{line}{seconds:>9.2}")?;
        }
    }
    writeln!(
        out,
        "Columns, choice of margin and temperature, and seeds are those of the table above.\n\
         Learned τ: where training began and, in the mean, ended; nothing was tuned."
    )?;

    writeln!(out, "\nDifferences from InfoNCE in {}:", METRIC.name())?;
    writeln!(out, "{}", heading(options))?;
    for comparison in comparisons {
        let pair = format!("{} − InfoNCE", comparison.loss.name());
        let line = difference_line(&comparison.title, &pair, &comparison.paired);
        writeln!(out, "{line}")?;
    }
    comparisons.first().map_or(Ok(()), |first| {
        writeln!(out, "{}", note(options, &first.paired))
    })
}

fn label(condition: &Condition) -> String {
    let (loss, choice) = (condition.loss, &condition.choice);
    let hyper = number(choice.hyper);
    let value = if loss == LossKind::LearnedTemperature {
        let end = condition.mean_over_seeds(|run| run.temperature.unwrap_or(choice.hyper));
        // The reciprocal of a scale has a last digit of its own.
        let start = number((choice.hyper * 1e9).round() / 1e9);
        format!("{start} → {end:.3}")
    } else {
        let edge = if choice.is_at_edge() { "*" } else { "" };
        format!("{} {hyper}{edge}", loss.hyper_name())
    };
    format!("  {:<11}{value}", loss.name())
}
