//! The plots, as SVG: training curves, the metric with its intervals, and the similarities that each loss ends with.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Embedded;
use crate::losses::LossKind;
use crate::results::{Condition, Results};
use crate::significance::{METRIC, interval};
use crate::statistics::Interval;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const PANEL: (u32, u32) = (420, 360);
const BINS: usize = 50;

/// Colours that readers with colour-blindness can tell apart (Okabe and Ito).
fn colour(loss: LossKind) -> RGBColor {
    match loss {
        LossKind::Pairwise => RGBColor(230, 159, 0),
        LossKind::Triplet => RGBColor(0, 114, 178),
        LossKind::InfoNce => RGBColor(0, 158, 115),
    }
}

/// Writes all plots to the output folder.
pub(crate) fn write(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
) -> Drawn {
    panels(options, "training_curves.svg", Arm::ALL.len(), |i, area| {
        training_curves(options, results, Arm::ALL[i], area)
    })?;
    panels(options, "metrics.svg", Arm::ALL.len(), |i, area| {
        metrics(options, corpus, baselines, results, Arm::ALL[i], area)
    })?;
    let best = results.arm(Arm::EachAtItsBest, &options.losses);
    panels(options, "similarities.svg", best.len(), |i, area| {
        similarities(corpus, best[i], area)
    })
}

/// A file with panels side by side.
fn panels(
    options: &Options,
    file: &str,
    count: usize,
    draw: impl Fn(usize, &Area<'_>) -> Drawn,
) -> Drawn {
    let path = options.out.join(file);
    let root = SVGBackend::new(&path, (PANEL.0 * count as u32, PANEL.1)).into_drawing_area();
    root.fill(&WHITE)?;
    for (i, area) in root.split_evenly((1, count)).iter().enumerate() {
        draw(i, area)?;
    }
    root.present()?;
    Ok(())
}

fn training_curves(options: &Options, results: &Results, arm: Arm, area: &Area<'_>) -> Drawn {
    let conditions = results.arm(arm, &options.losses);
    let epochs = options.training().epochs;
    let highest = conditions
        .iter()
        .flat_map(|c| &c.runs)
        .flat_map(|run| &run.curve)
        .map(|epoch| epoch.validation);
    let top = highest.fold(0.1, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(arm.name(), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(46)
        .build_cartesian_2d(0.5..epochs as f64 + 0.5, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("validation nDCG@10")
        .x_labels(epochs.min(10) + 1)
        .light_line_style(WHITE)
        .draw()?;
    for condition in conditions {
        let colour = colour(condition.loss);
        let mean = |epoch: usize| {
            let values = condition.runs.iter().map(|run| run.curve[epoch].validation);
            (
                epoch as f64 + 1.0,
                values.sum::<f64>() / condition.runs.len() as f64,
            )
        };
        let points: Vec<(f64, f64)> = (0..epochs).map(mean).collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(condition.loss.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 3, colour.filled())),
        )?;
    }
    legend(&mut chart)
}

fn legend<'a, C: CoordTranslate>(chart: &mut ChartContext<'a, SVGBackend<'a>, C>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn metrics(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
    arm: Arm,
    area: &Area<'_>,
) -> Drawn {
    let conditions = results.arm(arm, &options.losses);
    let interval =
        |condition: &Condition| interval(&condition.per_query(METRIC), &corpus.test_groups);
    let bm25 = METRIC.mean(&baselines.bm25);
    let untrained = METRIC.mean(&baselines.untrained[0]);
    let mut top = bm25;
    for arm in Arm::ALL {
        top = results
            .arm(arm, &options.losses)
            .into_iter()
            .map(interval)
            .fold(top, |top, i| top.max(i.high));
    }
    let count = conditions.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(arm.name(), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..count, 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_desc(format!("test {}", METRIC.name()))
        .light_line_style(WHITE)
        .draw()?;
    for (i, condition) in conditions.into_iter().enumerate() {
        let (x, colour) = (i as f64 + 0.5, colour(condition.loss));
        let values = condition.per_query(METRIC);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let Interval { low, high } = interval(condition);
        chart.draw_series([Rectangle::new(
            [(x - 0.25, 0.0), (x + 0.25, mean)],
            colour.mix(0.75).filled(),
        )])?;
        chart.draw_series([PathElement::new(
            [(x, low), (x, high)],
            BLACK.stroke_width(2),
        )])?;
        chart.draw_series([Text::new(
            condition.loss.name(),
            (x - 0.22, top * 0.04),
            ("sans-serif", 14),
        )])?;
    }
    // After the bars, so that they stay readable.
    for (name, value) in [("BM25", bm25), ("untrained", untrained)] {
        chart.draw_series(LineSeries::new(
            [(0.0, value), (count, value)],
            BLACK.mix(0.6),
        ))?;
        chart.draw_series([Text::new(
            name,
            (0.02, value + top * 0.035),
            ("sans-serif", 12),
        )])?;
    }
    Ok(())
}

/// Densities of the cosine of test queries with their own and with another document.
fn similarities(corpus: &Corpus, condition: &Condition, area: &Area<'_>) -> Drawn {
    let embedded = Embedded::new(condition.first_encoder(), &corpus.test);
    let density = |cosines: Vec<f32>| {
        let mut bins = vec![0.0; BINS];
        for cosine in &cosines {
            let bin = (f64::from(*cosine) + 1.0) / 2.0 * BINS as f64;
            bins[(bin as usize).min(BINS - 1)] += 1.0 / cosines.len() as f64;
        }
        bins
    };
    let own = density(embedded.positive_similarities());
    let other = density(embedded.negative_similarities());
    let top = own.iter().chain(&other).copied().fold(0.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .caption(condition.loss.name(), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(46)
        .build_cartesian_2d(-1.0..1.0, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("cosine")
        .y_desc("share of queries")
        .light_line_style(WHITE)
        .draw()?;
    for (name, bins, colour) in [
        ("own document", own, colour(condition.loss)),
        ("another document", other, RGBColor(130, 130, 130)),
    ] {
        let at =
            |(bin, share): (usize, &f64)| ((bin as f64 + 0.5) * 2.0 / BINS as f64 - 1.0, *share);
        let points: Vec<(f64, f64)> = bins.iter().enumerate().map(at).collect();
        chart
            .draw_series(
                AreaSeries::new(points, 0.0, colour.mix(0.35)).border_style(colour.stroke_width(2)),
            )?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
