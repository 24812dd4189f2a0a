//! Which differences between losses are more than chance: paired bootstrap over queries and over crates.

use crate::arms::Arm;
use crate::cli::Options;
use crate::evaluate::Metric;
use crate::experiment::{Corpus, Results};
use crate::objectives::LossKind;
use crate::random::Random;
use crate::statistics::{Interval, bootstrap, group_units, holm, p_value, query_units};

/// The metric that decides.
pub(crate) const METRIC: Metric = Metric::NdcgAt10;
/// Below this corrected p-value a difference is called significant.
pub(crate) const LEVEL: f64 = 0.05;

const RESAMPLES: usize = 4000;
/// Stream of random numbers of the bootstrap.
const STREAM: u64 = 9;

/// One loss against another in one arm; positive differences are in favour of the first.
pub(crate) struct Comparison {
    pub(crate) arm: Arm,
    pub(crate) first: LossKind,
    pub(crate) second: LossKind,
    pub(crate) difference: f64,
    pub(crate) over_queries: Interval,
    pub(crate) over_crates: Interval,
    /// Over crates, corrected for the number of comparisons (Holm).
    pub(crate) p: f64,
}

impl Comparison {
    pub(crate) fn is_significant(&self) -> bool {
        self.p < LEVEL
    }
}

/// All pairs of losses in all arms.
pub(crate) fn compare(options: &Options, corpus: &Corpus, results: &Results) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for arm in Arm::ALL {
        let losses = results.arm(arm, &options.losses);
        for (i, first) in losses.iter().enumerate() {
            for second in &losses[i + 1..] {
                let (left, right) = (first.per_query(METRIC), second.per_query(METRIC));
                let differences: Vec<f64> = left
                    .iter()
                    .zip(&right)
                    .map(|(left, right)| left - right)
                    .collect();
                let mut random = Random::new(0, STREAM);
                let queries = bootstrap(&query_units(&differences), RESAMPLES, &mut random);
                let crates = bootstrap(
                    &group_units(&differences, &corpus.test_groups),
                    RESAMPLES,
                    &mut random,
                );
                comparisons.push(Comparison {
                    arm,
                    first: first.loss,
                    second: second.loss,
                    difference: differences.iter().sum::<f64>() / differences.len() as f64,
                    over_queries: Interval::of_sorted(&queries),
                    over_crates: Interval::of_sorted(&crates),
                    p: p_value(&crates),
                });
            }
        }
    }
    let corrected = holm(
        &comparisons
            .iter()
            .map(|comparison| comparison.p)
            .collect::<Vec<_>>(),
    );
    for (comparison, p) in comparisons.iter_mut().zip(corrected) {
        comparison.p = p;
    }
    comparisons
}
