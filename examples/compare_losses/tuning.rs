//! Chooses margin and temperature on the validation split, with the same number of trials for every loss and arm.

use contrastive::LogitScale;

use crate::losses::LossKind;

/// Hyper-parameters that the command line fixes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) margin: Option<f64>,
    pub(crate) temperature: Option<f64>,
}

impl Fixed {
    /// A temperature that is learned begins at CLIP's; it is what training makes of it that is looked at.
    pub(crate) fn of(self, loss: LossKind) -> Option<f64> {
        match loss {
            LossKind::InfoNce | LossKind::Matryoshka => self.temperature,
            LossKind::LearnedTemperature => {
                self.temperature.or(Some(LogitScale::clip().temperature()))
            }
            LossKind::Pairwise | LossKind::Triplet | LossKind::BatchHard | LossKind::SemiHard => {
                self.margin
            }
        }
    }
}

/// One value that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) hyper: f64,
    /// nDCG@10 on the validation split after the last epoch.
    pub(crate) validation: f64,
}

/// What the trials led to.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) hyper: f64,
    /// Empty if the value was fixed.
    pub(crate) trials: Vec<Trial>,
}

impl Choice {
    /// The value with the best validation score; of equals the first.
    pub(crate) fn from_trials(trials: Vec<Trial>) -> Self {
        let best = trials.iter().fold(trials[0], |best, &trial| {
            if trial.validation > best.validation {
                trial
            } else {
                best
            }
        });
        Self {
            hyper: best.hyper,
            trials,
        }
    }

    pub(crate) fn fixed(hyper: f64) -> Self {
        Self {
            hyper,
            trials: Vec::new(),
        }
    }

    /// Whether the best value is the smallest or the largest one: then a wider grid might have found a better one.
    pub(crate) fn is_at_edge(&self) -> bool {
        match (self.trials.first(), self.trials.last()) {
            (Some(first), Some(last)) => {
                self.trials.len() > 2 && [first.hyper, last.hyper].contains(&self.hyper)
            }
            _ => false,
        }
    }
}

/// The values to try, `count` of them: from small to large, the same number for every loss.
pub(crate) fn grid(loss: LossKind, count: usize) -> Vec<f64> {
    let values = match loss {
        LossKind::Pairwise => [0.0, 0.2, 0.4, 0.6, 0.8],
        LossKind::Triplet | LossKind::BatchHard | LossKind::SemiHard => [0.1, 0.2, 0.4, 0.7, 1.0],
        LossKind::InfoNce | LossKind::LearnedTemperature | LossKind::Matryoshka => {
            [0.05, 0.1, 0.2, 0.3, 0.5]
        }
    };
    // Fewer: the middle ones.
    let skipped = (values.len() - count.min(values.len())) / 2;
    values.into_iter().skip(skipped).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_gets_the_same_number_of_trials_in_increasing_order() {
        for loss in [
            LossKind::Pairwise,
            LossKind::Triplet,
            LossKind::InfoNce,
            LossKind::BatchHard,
            LossKind::Matryoshka,
        ] {
            for count in [2, 5] {
                let grid = grid(loss, count);
                assert_eq!(grid.len(), count);
                assert!(grid.is_sorted());
            }
        }
    }

    #[test]
    fn the_best_validation_score_wins_and_edges_are_told() {
        let trials = |scores: [f64; 3]| {
            let trial = |(i, &validation)| Trial {
                hyper: i as f64,
                validation,
            };
            Choice::from_trials(scores.iter().enumerate().map(trial).collect())
        };
        assert_eq!(
            (
                trials([0.1, 0.3, 0.2]).hyper,
                trials([0.1, 0.3, 0.2]).is_at_edge()
            ),
            (1.0, false)
        );
        assert_eq!(
            (
                trials([0.3, 0.3, 0.2]).hyper,
                trials([0.3, 0.3, 0.2]).is_at_edge()
            ),
            (0.0, true)
        );
        assert!(!Choice::fixed(0.5).is_at_edge());
    }
}
