//! The plots, as SVG; text is left to whoever shows them, so that no font of the system is needed.

mod metrics;
mod sensitivity;
mod similarities;
mod training_curves;

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::losses::LossKind;
use crate::results::Results;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// About what a README has room for: nothing is scaled down there.
const WIDTH: u32 = 900;
/// Height of the legend above the panels.
const LEGEND: u32 = 30;
/// Text of 12 pixels: the library divides by 1.24.
const FONT: (&str, f64) = ("sans-serif", 15.0);
const GREY: RGBColor = RGBColor(130, 130, 130);

/// Colours that readers with colour-blindness can tell apart (Okabe and Ito).
fn colour(loss: LossKind) -> RGBColor {
    match loss {
        LossKind::Pairwise => RGBColor(230, 159, 0),
        LossKind::Triplet | LossKind::BatchHard | LossKind::SemiHard => RGBColor(0, 114, 178),
        LossKind::InfoNce | LossKind::LearnedTemperature | LossKind::Matryoshka => {
            RGBColor(0, 158, 115)
        }
    }
}

/// Writes all plots to the output folder.
pub(crate) fn write(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
) -> Drawn {
    let plot = training_curves::TrainingCurves::new(options, results);
    save(options, "training_curves.svg", plot.height(), |area| {
        plot.draw(area)
    })?;
    if let Some(plot) = sensitivity::Sensitivity::new(options, results) {
        save(options, "sensitivity.svg", plot.height(), |area| {
            plot.draw(area)
        })?;
    }
    let plot = metrics::Metrics::new(options, corpus, baselines, results);
    save(options, "metrics.svg", plot.height(), |area| {
        plot.draw(area)
    })?;
    let plot = similarities::Similarities::new(options, corpus, results);
    save(options, "similarities.svg", plot.height(), |area| {
        plot.draw(area)
    })
}

/// One file; what goes wrong is told with its name.
fn save(
    options: &Options,
    name: &str,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Drawn {
    let path = options.out.join(name);
    let area = SVGBackend::new(&path, (WIDTH, height)).into_drawing_area();
    let drawn = || {
        area.fill(&WHITE)?;
        draw(&area)?;
        Ok(area.present()?)
    };
    drawn().map_err(|error: Box<dyn Error>| format!("{}: {error}", path.display()).into())
}

/// Small bars of colour, each group of them with its meaning, from left to right.
fn legend(area: &Area<'_>, entries: &[(Vec<RGBColor>, String)]) -> Drawn {
    const BAR: i32 = 16;
    let mut x = 12;
    for (colours, meaning) in entries {
        for colour in colours {
            area.draw(&Rectangle::new([(x, 13), (x + BAR, 18)], colour.filled()))?;
            x += BAR + 4;
        }
        area.draw(&Text::new(meaning.clone(), (x, 9), FONT))?;
        // An average letter has about half the height of the text.
        x += 7 * meaning.chars().count() as i32 + 16;
    }
    Ok(())
}

/// The names of the losses in their colours.
fn losses(options: &Options) -> Vec<(Vec<RGBColor>, String)> {
    let entry = |&loss: &LossKind| (vec![colour(loss)], loss.name().to_owned());
    options.losses.iter().map(entry).collect()
}

/// An axis that fits the values, with a little air: not wider than that, nor so narrow that noise looks large.
fn fitted(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    const NARROWEST: f64 = 0.05;
    let (low, high) = values
        .into_iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        });
    let air = (0.06 * (high - low)).max((NARROWEST - (high - low)) / 2.0);
    low - air..high + air
}

/// A label of an axis, as the tables have it: without the leading zero.
fn short(value: &f64) -> String {
    // Rounding leaves a tick at zero as a tiny number, perhaps with a minus.
    let rounded = (value * 100.0).round() / 100.0 + 0.0;
    format!("{rounded:.2}").replacen("0.", ".", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fitted_axis_has_all_values_inside_and_is_never_empty() {
        let axis = fitted([0.3, 0.5, 0.4]);
        assert!(axis.start < 0.3 && axis.start > 0.25 && axis.end > 0.5 && axis.end < 0.55);
        let flat = fitted([0.0, 0.0]);
        assert!((flat.end - flat.start - 0.05).abs() < 1e-12);
    }

    #[test]
    fn labels_have_no_leading_zero() {
        let labels = [0.45, -0.5, 1.0, -1e-17].map(|x| short(&x));
        assert_eq!(labels, [".45", "-.50", "1.00", ".00"]);
    }
}
