//! The table.

use std::io::{Result, Write};

use crate::cases::{self, Distance, Family, Form, Similarity, Softmax};
use crate::inputs::{Input, Type};
use crate::measure::{Exact, Spread};
use crate::{ours, peers};

pub(crate) fn print(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "Relative errors of row losses and of gradient rows: the largest, and the median. In brackets the largest in roundings, which 4 bound.\n"
    )?;
    write!(out, "{:26}", "")?;
    write!(out, "{:^52}", "contrastive")?;
    for name in peers::NAMES {
        write!(out, "{name:^36}")?;
    }
    write!(out, "\n{:26}{:^26}{:^26}", "", "loss", "gradient")?;
    for _ in peers::NAMES {
        write!(out, "{:^18}{:^18}", "loss", "gradient")?;
    }
    writeln!(out)?;
    let mut family = None;
    for case in cases::all() {
        if family != Some(case.family) {
            writeln!(out, "{}", case.family.name())?;
            family = Some(case.family);
        }
        let (exact, found) = (Exact::of(case), ours::found(case));
        let (errors, roundings) = (exact.errors(&found), exact.roundings(&found));
        write!(out, "  {:20} {:3}", case.input.name(), case.number.name())?;
        let spreads = [Some(errors.loss), errors.gradient];
        for (spread, roundings) in spreads.into_iter().zip(roundings) {
            let bracket = spread.map_or(String::new(), |_| format!("({roundings:.2})"));
            write!(out, "{} {bracket:7}", column(spread))?;
        }
        for errors in peers::recorded(case) {
            let spreads = [Some(errors.loss), errors.gradient];
            write!(out, "{}", spreads.map(column).concat())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The largest errors of the main losses in f32, in Markdown.
pub(crate) fn summary(out: &mut impl Write) -> Result<()> {
    let [torch, jax] = peers::NAMES;
    writeln!(
        out,
        "| loss | rows | value: ours | {torch} | {jax} | gradient: ours | {torch} | {jax} |"
    )?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|")?;
    let families = [
        Family::Match,
        Family::Triplet(Distance::Lp(2.0), Form::Hinge),
        Family::Triplet(Distance::Cosine, Form::Hinge),
        Family::InfoNce(Similarity::Cosine, Softmax::Plain, 0.05),
    ];
    let shown = |case: &cases::Case| {
        let inputs = [Input::Ordinary, Input::Parallel, Input::Huge];
        case.number == Type::F32 && families.contains(&case.family) && inputs.contains(&case.input)
    };
    for case in cases::all().into_iter().filter(shown) {
        let ours = Exact::of(case).errors(&ours::found(case));
        let [torch, jax] = peers::recorded(case);
        let all = [ours, torch, jax];
        let values = all.map(|errors| number(errors.loss.largest));
        let gradients = all.map(|errors| {
            let spread = errors.gradient;
            spread.map_or(String::new(), |spread| number(spread.largest))
        });
        let numbers = [values, gradients].concat().join(" | ");
        let (family, input) = (case.family.name(), case.input.name());
        writeln!(out, "| {family} | {input} | {numbers} |")?;
    }
    Ok(())
}

fn column(spread: Option<Spread>) -> String {
    spread.map_or(" ".repeat(18), |spread| {
        let [largest, median] = [spread.largest, spread.median].map(number);
        format!("  {largest:>7} {median:>7} ")
    })
}

fn number(error: f64) -> String {
    match error {
        0.0 => "0".into(),
        f64::INFINITY => "∞".into(),
        error if error.is_nan() => "NaN".into(),
        error => format!("{error:.1e}"),
    }
}
