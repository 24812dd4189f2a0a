//! How similar test queries end up with their own and with another document: one panel for each arm and loss.

use plotters::prelude::*;

use super::{Area, Drawn, FONT, GREY, LEGEND, colour, legend, short};
use crate::arms::Arm;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Embedded;
use crate::results::{Condition, Results};
use crate::text::number;

const PANEL_HEIGHT: u32 = 180;
const BINS: usize = 50;

/// Share of the queries in each bin of the cosine from -1 to 1.
type Density = [f64; BINS];

struct Panel<'a> {
    arm: Arm,
    condition: &'a Condition,
    own: Density,
    other: Density,
}

pub(super) struct Similarities<'a> {
    /// Arm by arm.
    panels: Vec<Panel<'a>>,
    columns: usize,
}

impl<'a> Similarities<'a> {
    pub(super) fn new(options: &Options, corpus: &Corpus, results: &'a Results) -> Self {
        let panel = |arm, condition: &'a Condition| {
            let embedded = Embedded::new(condition.first_encoder(), &corpus.test);
            Panel {
                arm,
                condition,
                own: density(&embedded.positive_similarities()),
                other: density(&embedded.negative_similarities()),
            }
        };
        let arm = |arm| {
            let conditions = results.arm(arm, &options.losses).into_iter();
            conditions.map(move |condition| panel(arm, condition))
        };
        Self {
            panels: Arm::ALL.into_iter().flat_map(arm).collect(),
            columns: options.losses.len(),
        }
    }

    fn rows(&self) -> usize {
        self.panels.len() / self.columns
    }

    pub(super) fn height(&self) -> u32 {
        LEGEND + PANEL_HEIGHT * self.rows() as u32
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let (top, grid) = area.split_vertically(LEGEND);
        let first_row = self.panels[..self.columns].iter();
        let colours = first_row.map(|panel| colour(panel.condition.loss));
        let entries = [
            (colours.collect(), "own document".to_owned()),
            (vec![GREY], "another document".to_owned()),
        ];
        legend(&top, &entries)?;

        // All panels have the same axes.
        let densities = || {
            self.panels
                .iter()
                .flat_map(|panel| [panel.own, panel.other])
        };
        let is_used = |bin: &usize| densities().any(|density| density[*bin] > 0.0);
        let lowest = (0..BINS)
            .find(is_used)
            .map_or(-1.0, |bin| middle(bin) - 0.1);
        let highest = 1.1 * densities().flatten().fold(0.0, f64::max);
        let areas = grid.split_evenly((self.rows(), self.columns));
        for (panel, area) in self.panels.iter().zip(areas) {
            panel.draw(lowest.max(-1.0), highest, &area)?;
        }
        Ok(())
    }
}

impl Panel<'_> {
    fn draw(&self, lowest: f64, highest: f64, area: &Area<'_>) -> Drawn {
        let (loss, hyper) = (self.condition.loss, number(self.condition.choice.hyper));
        let (arm, name, hyper_name) = (self.arm.name(), loss.name(), loss.hyper_name());
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{arm}: {name}, {hyper_name} {hyper}"), FONT)
            .margin(6)
            .margin_right(20)
            .x_label_area_size(34)
            .y_label_area_size(48)
            .build_cartesian_2d(lowest..1.0, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .x_labels(8)
            .y_labels(4)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .x_desc("cosine")
            .y_desc("share of queries")
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        for (density, colour) in [(self.own, colour(loss)), (self.other, GREY)] {
            let points = (0..BINS).map(middle).zip(density);
            let points = points.filter(|&(cosine, _)| cosine >= lowest);
            let area = AreaSeries::new(points, 0.0, colour.mix(0.35));
            chart.draw_series(area.border_style(colour.stroke_width(2)))?;
        }
        Ok(())
    }
}

fn density(cosines: &[f32]) -> Density {
    let mut density = [0.0; BINS];
    for &cosine in cosines {
        let bin = (f64::from(cosine) + 1.0) / 2.0 * BINS as f64;
        density[(bin as usize).min(BINS - 1)] += 1.0 / cosines.len() as f64;
    }
    density
}

/// The cosine in the middle of a bin.
fn middle(bin: usize) -> f64 {
    (bin as f64 + 0.5) * 2.0 / BINS as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cosine_falls_into_the_bin_around_it_and_shares_sum_to_one() {
        let density = density(&[-1.0, -0.001, 0.001, 1.0, 1.000_001]);
        assert_eq!((density[0], density[BINS - 1]), (0.2, 0.4));
        assert_eq!((density[BINS / 2 - 1], density[BINS / 2]), (0.2, 0.2));
        assert!((density.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((middle(BINS / 2) - 0.02).abs() < 1e-12);
    }
}
