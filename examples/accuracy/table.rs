//! The table.

use std::io::{Result, Write};

use crate::cases;
use crate::measure::{Errors, Exact, Spread};
use crate::{ours, peers};

pub(crate) fn print(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "Relative errors of row losses and of gradient rows: the largest, and the median.\n"
    )?;
    write!(out, "{:26}", "")?;
    for name in ["contrastive", peers::NAMES[0], peers::NAMES[1]] {
        write!(out, "{name:^35}")?;
    }
    write!(out, "\n{:26}", "")?;
    for _ in 0..3 {
        write!(out, "{:^17} {:^17}", "loss", "gradient")?;
    }
    writeln!(out)?;
    let mut family = None;
    for case in cases::all() {
        if family != Some(case.family) {
            writeln!(out, "{}", case.family.name())?;
            family = Some(case.family);
        }
        let errors = Exact::of(case).errors(&ours::found(case));
        write!(out, "  {:20} {:3}", case.input.name(), case.number.name())?;
        for errors in [errors].into_iter().chain(peers::recorded(case)) {
            write!(out, "{}", columns(errors))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn columns(errors: Errors) -> String {
    [Some(errors.loss), errors.gradient].map(column).concat()
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
