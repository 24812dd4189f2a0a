//! What the experiment leads to: every loss with the negatives it was trained with, and its ranks on the test split.

use crate::arms::Arm;
use crate::encoder::Encoder;
use crate::evaluate::Metric;
use crate::losses::LossKind;
use crate::negatives::Negatives;
use crate::train::Epoch;
use crate::tuning::Choice;

/// A loss with the negatives that it trains with; two arms may share one.
pub(crate) struct Condition {
    pub(crate) loss: LossKind,
    pub(crate) negatives: Negatives,
    pub(crate) choice: Choice,
    /// One for each seed.
    pub(crate) runs: Vec<Finished>,
}

/// One trained encoder on the test split.
pub(crate) struct Finished {
    /// Kept for the first seed only: a table of embeddings has some 16 MB.
    pub(crate) encoder: Option<Encoder>,
    pub(crate) curve: Vec<Epoch>,
    pub(crate) seconds: f64,
    pub(crate) ranks: Vec<usize>,
    /// Ranks by the first coordinates alone, for each of the prefixes; none where they are not asked for.
    pub(crate) prefix_ranks: Vec<Vec<usize>>,
    /// Where a learned temperature ended.
    pub(crate) temperature: Option<f64>,
}

impl Condition {
    /// The encoder of the first seed.
    pub(crate) fn first_encoder(&self) -> &Encoder {
        let encoder = self.runs[0].encoder.as_ref();
        encoder.expect("the encoder of the first seed is kept")
    }

    /// Ranks of the test queries, one list for each seed.
    pub(crate) fn ranks(&self) -> Vec<Vec<usize>> {
        self.runs.iter().map(|run| run.ranks.clone()).collect()
    }

    /// The same by the `k`-th of the prefixes.
    pub(crate) fn prefix_ranks(&self, k: usize) -> Vec<Vec<usize>> {
        let runs = self.runs.iter();
        runs.map(|run| run.prefix_ranks[k].clone()).collect()
    }

    /// The metric of every test query, averaged over the seeds.
    pub(crate) fn per_query(&self, metric: Metric) -> Vec<f64> {
        per_query(&self.ranks(), metric)
    }

    /// The metric over all test queries and seeds.
    pub(crate) fn mean(&self, metric: Metric) -> f64 {
        let values = self.per_query(metric);
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// Something of every run, averaged over the seeds.
    pub(crate) fn mean_over_seeds(&self, value: impl Fn(&Finished) -> f64) -> f64 {
        self.runs.iter().map(value).sum::<f64>() / self.runs.len() as f64
    }
}

/// The metric of every query, averaged over the lists of ranks: one list for each seed.
pub(crate) fn per_query(seeds: &[Vec<usize>], metric: Metric) -> Vec<f64> {
    let mean = |query: usize| {
        let values = seeds.iter().map(|ranks| metric.of_rank(ranks[query]));
        values.sum::<f64>() / seeds.len() as f64
    };
    (0..seeds[0].len()).map(mean).collect()
}

/// All conditions, and which one stands for a loss in an arm.
pub(crate) struct Results {
    pub(crate) conditions: Vec<Condition>,
}

impl Results {
    pub(crate) fn of(&self, arm: Arm, loss: LossKind) -> Option<&Condition> {
        self.find((loss, arm.negatives(loss)))
    }

    pub(crate) fn find(&self, setting: (LossKind, Negatives)) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| (condition.loss, condition.negatives) == setting)
    }

    /// Every condition of the arms once, with the first arm that has it.
    pub(crate) fn distinct(&self, losses: &[LossKind]) -> Vec<(Arm, &Condition)> {
        let mut distinct: Vec<(Arm, &Condition)> = Vec::new();
        for arm in Arm::ALL {
            for condition in self.arm(arm, losses) {
                if !distinct
                    .iter()
                    .any(|&(_, other)| std::ptr::eq(other, condition))
                {
                    distinct.push((arm, condition));
                }
            }
        }
        distinct
    }

    /// The losses of an arm in the order of the command line.
    pub(crate) fn arm(&self, arm: Arm, losses: &[LossKind]) -> Vec<&Condition> {
        losses
            .iter()
            .filter_map(|&loss| self.of(arm, loss))
            .collect()
    }
}
