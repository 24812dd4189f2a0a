//! Which differences between losses are more than chance: paired bootstrap over queries and over groups (crates).

use crate::arms::Arm;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Metric;
use crate::losses::LossKind;
use crate::random::Random;
use crate::results::Results;
use crate::statistics::{Interval, bootstrap, group_units, holm, p_value, query_units};

/// The metric that decides.
pub(crate) const METRIC: Metric = Metric::NdcgAt10;
/// Below this corrected p-value a difference is called significant.
pub(crate) const LEVEL: f64 = 0.05;

const RESAMPLES: usize = 4000;
/// With fewer groups, resampling groups says nothing: with one, every resample is the same.
const FEWEST_GROUPS: usize = 5;
/// Stream of random numbers of the bootstrap.
const STREAM: u64 = 9;

/// One loss against another in one arm; positive differences are in favour of the first.
pub(crate) struct Comparison {
    pub(crate) arm: Arm,
    pub(crate) first: LossKind,
    pub(crate) second: LossKind,
    pub(crate) paired: Paired,
}

/// How much more the queries get from one ranking than from another.
pub(crate) struct Paired {
    pub(crate) difference: f64,
    pub(crate) over_queries: Interval,
    /// None if there are too few groups.
    pub(crate) over_groups: Option<Interval>,
    /// Over groups, or over queries if there are too few; corrected for the number of comparisons (Holm).
    pub(crate) p: f64,
}

impl Paired {
    /// `left` minus `right`, both a value for each query; not yet corrected.
    pub(crate) fn new(left: &[f64], right: &[f64], groups: &[usize]) -> Self {
        let differences: Vec<f64> = left
            .iter()
            .zip(right)
            .map(|(left, right)| left - right)
            .collect();
        let (queries, crates) = resampled(&differences, groups);
        Self {
            difference: differences.iter().sum::<f64>() / differences.len() as f64,
            over_queries: Interval::of_sorted(&queries),
            over_groups: crates.as_deref().map(Interval::of_sorted),
            p: p_value(crates.as_deref().unwrap_or(&queries)),
        }
    }

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
                comparisons.push(Comparison {
                    arm,
                    first: first.loss,
                    second: second.loss,
                    paired: Paired::new(&left, &right, &corpus.test_groups),
                });
            }
        }
    }
    correct(comparisons.iter_mut().map(|c| &mut c.paired));
    comparisons
}

/// Corrects the p-values of all comparisons that are made together.
pub(crate) fn correct<'a>(comparisons: impl Iterator<Item = &'a mut Paired>) {
    let comparisons: Vec<&mut Paired> = comparisons.collect();
    let p_values: Vec<f64> = comparisons.iter().map(|paired| paired.p).collect();
    for (paired, p) in comparisons.into_iter().zip(holm(&p_values)) {
        paired.p = p;
    }
}

/// Resampled means of `values` over queries and, if there are enough of them, over groups.
fn resampled(values: &[f64], groups: &[usize]) -> (Vec<f64>, Option<Vec<f64>>) {
    let mut random = Random::new(0, STREAM);
    let queries = bootstrap(&query_units(values), RESAMPLES, &mut random);
    let units = group_units(values, groups);
    let groups = is_enough(units.len()).then(|| bootstrap(&units, RESAMPLES, &mut random));
    (queries, groups)
}

/// 95 % interval of a mean over groups, or over queries if there are too few groups.
pub(crate) fn interval(values: &[f64], groups: &[usize]) -> Interval {
    let mut units = group_units(values, groups);
    if !is_enough(units.len()) {
        units = query_units(values);
    }
    Interval::of_sorted(&bootstrap(&units, RESAMPLES / 2, &mut Random::new(0, 0)))
}

/// Whether there are enough groups for the interval to be one over groups.
pub(crate) fn resamples_groups(groups: &[usize]) -> bool {
    is_enough(groups.iter().max().map_or(0, |last| last + 1))
}

fn is_enough(groups: usize) -> bool {
    groups >= FEWEST_GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_falls_back_to_queries_and_makes_nothing_significant() {
        let values: Vec<f64> = (0..60)
            .map(|i| if i % 2 == 0 { 1.0 } else { -0.9 })
            .collect();
        let (queries, groups) = resampled(&values, &[0; 60]);
        assert!(groups.is_none() && p_value(&queries) > LEVEL);
        let Interval { low, high } = interval(&values, &[0; 60]);
        assert!(low < 0.0 && high > 0.0);
    }

    #[test]
    fn enough_groups_are_resampled_as_a_whole() {
        let groups: Vec<usize> = (0..60).map(|i| i / 6).collect();
        let values: Vec<f64> = groups.iter().map(|&group| group as f64).collect();
        let (queries, groups) = resampled(&values, &groups);
        let width =
            |means: &[f64]| Interval::of_sorted(means).high - Interval::of_sorted(means).low;
        assert!(width(&groups.unwrap()) > 2.0 * width(&queries));
    }
}
