//! One line per baseline, arm and loss.

use std::io::{Result, Write};

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::evaluate::Metric;
use crate::results::{Condition, Results};
use crate::statistics::Summary;
use crate::text::number;

/// All metrics of everything, and what was chosen for it.
pub(crate) fn table(
    out: &mut impl Write,
    options: &Options,
    baselines: &Baselines,
    results: &Results,
) -> Result<()> {
    let names = Metric::ALL.map(|metric| format!("{:>13}", metric.name()));
    writeln!(out, "{:<30}{}{:>9}", "", names.concat(), "seconds")?;
    let bm25 = std::slice::from_ref(&baselines.bm25);
    writeln!(out, "{}", line("BM25", bm25))?;
    writeln!(out, "{}", line("untrained encoder", &baselines.untrained))?;
    for arm in Arm::ALL {
        writeln!(out, "{}", arm.name())?;
        for condition in results.arm(arm, &options.losses) {
            let seconds = condition.mean_over_seeds(|run| run.seconds);
            let line = line(&label(condition), &condition.ranks());
            writeln!(out, "{line}{seconds:>9.2}")?;
        }
    }
    writeln!(
        out,
        "Mean ± standard deviation over seeds; seconds of training per seed."
    )?;
    choices(out, options)
}

fn label(condition: &Condition) -> String {
    let (loss, choice) = (condition.loss, &condition.choice);
    let edge = if choice.is_at_edge() { "*" } else { "" };
    let hyper = number(choice.hyper);
    format!("  {:<9}{} {hyper}{edge}", loss.name(), loss.hyper_name())
}

pub(super) fn line(label: &str, seeds: &[Vec<usize>]) -> String {
    let cell = |metric: Metric| {
        let means: Vec<f64> = seeds.iter().map(|ranks| metric.mean(ranks)).collect();
        let Summary { mean, sd } = Summary::of(&means);
        let mean = format!("{mean:.3}").replacen("0.", ".", 1);
        let spread = match seeds.len() {
            1 => String::new(),
            _ => format!(" ±{sd:.3}").replacen("0.", ".", 1),
        };
        format!("{:>13}", mean + &spread)
    };
    format!("{label:<30}{}", Metric::ALL.map(cell).concat())
}

/// How margin and temperature came about.
fn choices(out: &mut impl Write, options: &Options) -> Result<()> {
    let mut chosen: Vec<&str> = Vec::new();
    let mut fixed: Vec<(&str, f64)> = Vec::new();
    for &loss in &options.losses {
        let name = loss.hyper_name();
        match options.fixed().of(loss) {
            Some(value) if !fixed.contains(&(name, value)) => fixed.push((name, value)),
            None if !chosen.contains(&name) => chosen.push(name),
            _ => {}
        }
    }
    if !chosen.is_empty() {
        writeln!(
            out,
            "{}: best of {} trials {}on the validation {} (* at the edge of the grid).",
            capitalised(&chosen.join(" and ")),
            options.trials(),
            if chosen.len() > 1 { "each " } else { "" },
            options.groups()
        )?;
    }
    for (name, value) in fixed {
        let name = capitalised(name);
        writeln!(out, "{name}: {value:?}, as the command line has it.")?;
    }
    Ok(())
}

fn capitalised(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}
