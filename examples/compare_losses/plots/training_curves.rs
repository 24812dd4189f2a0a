//! nDCG@10 on the validation split after every epoch, one panel for each arm.

use std::ops::Range;

use plotters::prelude::*;

use super::{Area, Drawn, FONT, LEGEND, colour, fitted, legend, losses, short};
use crate::arms::Arm;
use crate::cli::Options;
use crate::results::{Condition, Results};

const PANEL_HEIGHT: u32 = 270;

pub(super) struct TrainingCurves<'a> {
    options: &'a Options,
    results: &'a Results,
    /// The same for all panels.
    axis: Range<f64>,
}

impl<'a> TrainingCurves<'a> {
    pub(super) fn new(options: &'a Options, results: &'a Results) -> Self {
        let conditions = Arm::ALL.map(|arm| results.arm(arm, &options.losses));
        let runs = conditions.iter().flatten().flat_map(|c| &c.runs);
        let scores = runs.flat_map(|run| &run.curve).map(|e| e.validation);
        Self {
            options,
            results,
            axis: fitted(scores),
        }
    }

    pub(super) fn height(&self) -> u32 {
        LEGEND + PANEL_HEIGHT
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let (top, panels) = area.split_vertically(LEGEND);
        let mut entries = losses(self.options);
        entries.push((Vec::new(), "thin: each seed, thick: their mean".to_owned()));
        legend(&top, &entries)?;
        for (arm, panel) in Arm::ALL.into_iter().zip(panels.split_evenly((1, 3))) {
            self.panel(arm, &panel)?;
        }
        Ok(())
    }

    fn panel(&self, arm: Arm, area: &Area<'_>) -> Drawn {
        let epochs = self.options.training().epochs;
        let mut chart = ChartBuilder::on(area)
            .caption(arm.name(), FONT)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(0.7..epochs as f64 + 0.3, self.axis.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .x_labels(epochs.min(10))
            .x_label_formatter(&whole)
            .y_label_formatter(&short)
            .x_desc("epoch")
            .y_desc("validation nDCG@10")
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        for condition in self.results.arm(arm, &self.options.losses) {
            let colour = colour(condition.loss);
            for run in &condition.runs {
                let scores = run.curve.iter().map(|epoch| epoch.validation);
                let thin = colour.mix(0.4).stroke_width(1);
                chart.draw_series(LineSeries::new((1..).map(f64::from).zip(scores), thin))?;
            }
            let mean = means(condition, epochs);
            let dots = mean.iter().map(|&at| Circle::new(at, 3, colour.filled()));
            chart.draw_series(dots)?;
            chart.draw_series(LineSeries::new(mean.clone(), colour.stroke_width(2)))?;
        }
        Ok(())
    }
}

/// Epoch and score, averaged over the seeds.
fn means(condition: &Condition, epochs: usize) -> Vec<(f64, f64)> {
    let mean = |epoch: usize| {
        let score = condition.mean_over_seeds(|run| run.curve[epoch].validation);
        (epoch as f64 + 1.0, score)
    };
    (0..epochs).map(mean).collect()
}

/// Labels whole epochs only.
fn whole(epoch: &f64) -> String {
    if epoch.fract() == 0.0 {
        format!("{epoch:.0}")
    } else {
        String::new()
    }
}
