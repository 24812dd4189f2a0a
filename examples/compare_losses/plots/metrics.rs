//! Every metric of every loss in every arm, with intervals: one panel for each metric, one line for each loss.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, Drawn, FONT, GREY, LEGEND, colour, fitted, legend, short};
use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Metric;
use crate::results::{Condition, Results};
use crate::significance::{interval, resamples_groups};
use crate::statistics::Interval;

/// Width of the names on the left, which all panels share.
const NAMES: u32 = 130;
const LINE_HEIGHT: u32 = 21;
/// Height of the title of a panel and of its axis.
const AROUND: u32 = 64;

/// One line of all panels.
enum Line<'a> {
    Heading(Arm),
    Loss(&'a Condition),
}

pub(super) struct Metrics<'a> {
    options: &'a Options,
    corpus: &'a Corpus,
    baselines: &'a Baselines,
    lines: Vec<Line<'a>>,
}

impl<'a> Metrics<'a> {
    pub(super) fn new(
        options: &'a Options,
        corpus: &'a Corpus,
        baselines: &'a Baselines,
        results: &'a Results,
    ) -> Self {
        let mut lines = Vec::new();
        for arm in Arm::ALL {
            lines.push(Line::Heading(arm));
            lines.extend(
                results
                    .arm(arm, &options.losses)
                    .into_iter()
                    .map(Line::Loss),
            );
        }
        Self {
            options,
            corpus,
            baselines,
            lines,
        }
    }

    pub(super) fn height(&self) -> u32 {
        LEGEND + AROUND + LINE_HEIGHT * self.lines.len() as u32
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let (top, rest) = area.split_vertically(LEGEND);
        let unit = if resamples_groups(&self.corpus.test_groups) {
            self.options.groups()
        } else {
            "queries"
        };
        let entries = [
            (vec![BLACK], "BM25".to_owned()),
            (vec![GREY], "untrained encoder".to_owned()),
            (
                Vec::new(),
                format!("dot: mean over seeds, bar: 95 % interval over {unit}"),
            ),
        ];
        legend(&top, &entries)?;
        let (names, panels) = rest.split_horizontally(NAMES);
        let panels = panels.split_evenly((1, Metric::ALL.len()));
        for (metric, panel) in Metric::ALL.into_iter().zip(&panels) {
            let middles = self.panel(metric, panel)?;
            if metric == Metric::ALL[0] {
                self.names(&middles, &names)?;
            }
        }
        Ok(())
    }

    /// Mean and interval of each line; none for a heading.
    fn estimates(&self, metric: Metric) -> Vec<Option<(f64, Interval)>> {
        let estimate = |line: &Line<'_>| match line {
            Line::Heading(_) => None,
            Line::Loss(condition) => {
                let interval = interval(&condition.per_query(metric), &self.corpus.test_groups);
                Some((condition.mean(metric), interval))
            }
        };
        self.lines.iter().map(estimate).collect()
    }

    /// Returns the heights of the lines, in pixels from the top of the panel.
    fn panel(&self, metric: Metric, area: &Area<'_>) -> Result<Vec<i32>, Box<dyn Error>> {
        let estimates = self.estimates(metric);
        let seeds = &self.baselines.untrained;
        let untrained = seeds.iter().map(|ranks| metric.mean(ranks)).sum::<f64>();
        let baselines = [
            (metric.mean(&self.baselines.bm25), BLACK),
            (untrained / seeds.len() as f64, GREY),
        ];
        let ends = estimates
            .iter()
            .flatten()
            .flat_map(|(_, i)| [i.low, i.high]);
        let axis = fitted(ends.chain(baselines.map(|(value, _)| value)));
        let bottom = self.lines.len() as f64;

        let mut chart = ChartBuilder::on(area)
            .caption(metric.name(), FONT)
            .margin(8)
            .x_label_area_size(24)
            .build_cartesian_2d(axis, 0.0..bottom)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .max_light_lines(0)
            .x_labels(4)
            .x_label_formatter(&short)
            .label_style(FONT)
            .draw()?;
        for (value, colour) in baselines {
            let line = [(value, 0.0), (value, bottom)];
            chart.draw_series(LineSeries::new(line, colour.stroke_width(1)))?;
        }
        let y = |line: usize| bottom - line as f64 - 0.5;
        for (i, (line, estimate)) in self.lines.iter().zip(estimates).enumerate() {
            let (Line::Loss(condition), Some((mean, Interval { low, high }))) = (line, estimate)
            else {
                continue;
            };
            let colour = colour(condition.loss);
            let bar = [(low, y(i)), (high, y(i))];
            chart.draw_series(LineSeries::new(bar, colour.stroke_width(3)))?;
            chart.draw_series([Circle::new((mean, y(i)), 5, colour.filled())])?;
        }
        let top = area.get_base_pixel().1;
        let middle = |line| chart.backend_coord(&(0.0, y(line))).1 - top;
        Ok((0..self.lines.len()).map(middle).collect())
    }

    /// The arms and the losses, left of the panels.
    fn names(&self, middles: &[i32], area: &Area<'_>) -> Drawn {
        let middle_left = Pos::new(HPos::Left, VPos::Center);
        for (line, &middle) in self.lines.iter().zip(middles) {
            let (text, x, style) = match line {
                Line::Heading(arm) => (arm.name(), 10, FontStyle::Bold),
                Line::Loss(condition) => (condition.loss.name(), 26, FontStyle::Normal),
            };
            let style = TextStyle::from(FONT.into_font().style(style)).pos(middle_left);
            area.draw(&Text::new(text, (x, middle), style))?;
        }
        Ok(())
    }
}
