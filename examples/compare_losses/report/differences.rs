//! Pairs of losses with the intervals of their difference.

use std::io::{Result, Write};

use crate::cli::Options;
use crate::significance::{Comparison, LEVEL, METRIC};
use crate::statistics::Interval;

/// All comparisons; nothing if there is only one loss.
pub(crate) fn differences(
    out: &mut impl Write,
    options: &Options,
    comparisons: &[Comparison],
) -> Result<()> {
    let groups = options.groups();
    let Some(first) = comparisons.first() else {
        return Ok(());
    };
    writeln!(
        out,
        "\nDifferences in {}, with 95 % intervals of a paired bootstrap:",
        METRIC.name()
    )?;
    writeln!(
        out,
        "{:<52}{:>18}{:>18}{:>9}",
        "",
        "over queries",
        format!("over {groups}"),
        "p"
    )?;
    for comparison in comparisons {
        writeln!(out, "{}", line(comparison))?;
    }
    let resampled = match first.over_groups {
        Some(_) => format!("over {groups}"),
        None => format!("over queries for want of {groups}"),
    };
    writeln!(
        out,
        "p: {resampled}, corrected for the number of comparisons; * below {LEVEL}."
    )
}

fn line(comparison: &Comparison) -> String {
    let interval = |Interval { low, high }| format!("[{low:+.3}, {high:+.3}]");
    let over_groups = comparison.over_groups.map(interval);
    let (first, second) = (comparison.first.name(), comparison.second.name());
    format!(
        "{:<18}{:<26}{:>+8.3}{:>18}{:>18}{:>9.4}{}",
        comparison.arm.name(),
        format!("{first} − {second}"),
        comparison.difference,
        interval(comparison.over_queries),
        over_groups.as_deref().unwrap_or("too few"),
        comparison.p,
        if comparison.is_significant() {
            " *"
        } else {
            ""
        }
    )
}
