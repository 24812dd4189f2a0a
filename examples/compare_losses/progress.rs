//! Progress bars, one per loss, on a terminal only.

use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::losses::LossKind;
use crate::train::Run;

/// Bars that count epochs. Nothing is drawn where standard output or standard error is no terminal.
pub(crate) struct Progress {
    bars: Vec<(LossKind, ProgressBar)>,
}

impl Progress {
    /// One bar for every loss that some of the runs train with.
    pub(crate) fn new(what: &str, runs: &[Run], epochs: usize) -> Self {
        let quiet = !(stdout().is_terminal() && stderr().is_terminal());
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let all = MultiProgress::with_draw_target(target);
        let template = "{prefix:>19} [{bar:30}] {pos}/{len} epochs, {elapsed} gone, {eta} to go";
        let style = ProgressStyle::with_template(template)
            .expect("the template is constant")
            .progress_chars("=> ");
        let bar = |loss: LossKind| {
            let runs = runs.iter().filter(|run| run.loss == loss).count();
            let bar = all.add(ProgressBar::new((runs * epochs) as u64).with_style(style.clone()));
            bar.set_prefix(format!("{what} {}", loss.name()));
            bar.enable_steady_tick(Duration::from_millis(500));
            (loss, bar)
        };
        let mut losses: Vec<LossKind> = Vec::new();
        for run in runs {
            if !losses.contains(&run.loss) {
                losses.push(run.loss);
            }
        }
        Self {
            bars: losses.into_iter().map(bar).collect(),
        }
    }

    /// One more epoch of this loss is done.
    pub(crate) fn epoch(&self, loss: LossKind) {
        self.bars
            .iter()
            .filter(|(of, _)| *of == loss)
            .for_each(|(_, bar)| bar.inc(1));
    }

    /// Removes the bars.
    pub(crate) fn finish(self) {
        self.bars.iter().for_each(|(_, bar)| bar.finish_and_clear());
    }
}
