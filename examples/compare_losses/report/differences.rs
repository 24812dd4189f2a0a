//! Pairs of losses with the intervals of their difference.

use std::io::{Result, Write};

use crate::cli::Options;
use crate::significance::{Comparison, LEVEL, METRIC, Paired};
use crate::statistics::Interval;

/// All comparisons; nothing if there is only one loss.
pub(crate) fn differences(
    out: &mut impl Write,
    options: &Options,
    comparisons: &[Comparison],
) -> Result<()> {
    let Some(first) = comparisons.first() else {
        return Ok(());
    };
    writeln!(
        out,
        "\nDifferences in {}, with 95 % intervals of a paired bootstrap:",
        METRIC.name()
    )?;
    writeln!(out, "{}", heading(options))?;
    for Comparison {
        arm,
        first,
        second,
        paired,
    } in comparisons
    {
        let pair = format!("{} − {}", first.name(), second.name());
        writeln!(out, "{}", line(arm.name(), &pair, paired))?;
    }
    writeln!(out, "{}", note(options, &first.paired))
}

pub(super) fn heading(options: &Options) -> String {
    let over_groups = format!("over {}", options.groups());
    format!(
        "{:<52}{:>18}{over_groups:>18}{:>9}",
        "", "over queries", "p"
    )
}

/// What was resampled for p.
pub(super) fn resampled(options: &Options, paired: &Paired) -> String {
    let groups = options.groups();
    match paired.over_groups {
        Some(_) => format!("over {groups}"),
        None => format!("over queries for want of {groups}"),
    }
}

/// What the last column is.
pub(super) fn note(options: &Options, first: &Paired) -> String {
    let resampled = resampled(options, first);
    format!("p: {resampled}, corrected for the number of comparisons; * below {LEVEL}.")
}

pub(super) fn line(title: &str, pair: &str, paired: &Paired) -> String {
    let interval = |Interval { low, high }| format!("[{low:+.3}, {high:+.3}]");
    let over_groups = paired.over_groups.map(interval);
    format!(
        "{title:<18}{pair:<26}{:>+8.3}{:>18}{:>18}{:>9}{}",
        paired.difference,
        interval(paired.over_queries),
        over_groups.as_deref().unwrap_or("too few"),
        paired.p,
        if paired.is_significant() { " *" } else { "" }
    )
}
