//! nDCG@10 on the validation split at every margin or temperature that was tried, one panel for each arm.

use std::ops::Range;

use plotters::prelude::*;

use super::{Area, Drawn, FONT, LEGEND, colour, fitted, legend, losses, short};
use crate::arms::Arm;
use crate::cli::Options;
use crate::results::Results;

const PANEL_HEIGHT: u32 = 270;

pub(super) struct Sensitivity<'a> {
    options: &'a Options,
    results: &'a Results,
    /// The same for all panels.
    axis: Range<f64>,
    /// Margins and temperatures from 0 to the largest.
    values: Range<f64>,
}

impl<'a> Sensitivity<'a> {
    /// Nothing where every value was fixed, so that none was tried.
    pub(super) fn new(options: &'a Options, results: &'a Results) -> Option<Self> {
        let conditions = Arm::ALL.map(|arm| results.arm(arm, &options.losses));
        let trials = || conditions.iter().flatten().flat_map(|c| &c.choice.trials);
        let largest = trials().map(|trial| trial.hyper).reduce(f64::max)?;
        Some(Self {
            options,
            results,
            axis: fitted(trials().map(|trial| trial.validation)),
            values: -0.05..largest + 0.05,
        })
    }

    pub(super) fn height(&self) -> u32 {
        LEGEND + PANEL_HEIGHT
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let (top, panels) = area.split_vertically(LEGEND);
        let mut entries = losses(self.options);
        entries.push((Vec::new(), "large: the value that was chosen".to_owned()));
        legend(&top, &entries)?;
        for (arm, panel) in Arm::ALL.into_iter().zip(panels.split_evenly((1, 3))) {
            self.panel(arm, &panel)?;
        }
        Ok(())
    }

    fn panel(&self, arm: Arm, area: &Area<'_>) -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .caption(arm.name(), FONT)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(self.values.clone(), self.axis.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .x_labels(6)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .x_desc("margin or temperature")
            .y_desc("validation nDCG@10")
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        for condition in self.results.arm(arm, &self.options.losses) {
            let (colour, choice) = (colour(condition.loss), &condition.choice);
            let trials = choice.trials.iter();
            let points: Vec<_> = trials.map(|t| (t.hyper, t.validation)).collect();
            let dots = points.iter().map(|&(hyper, validation)| {
                let size = if hyper == choice.hyper { 5 } else { 3 };
                Circle::new((hyper, validation), size, colour.filled())
            });
            chart.draw_series(dots)?;
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
        }
        Ok(())
    }
}
