//! Which differences between losses, and from BM25, are more than chance: paired bootstrap over queries and over groups
//! (crates).

use crate::arms::Arm;
use crate::baselines::Baselines;
use crate::cli::Options;
use crate::corpus::Corpus;
use crate::evaluate::Metric;
use crate::losses::LossKind;
use crate::p_values::{PValue, holm, p_value};
use crate::random::Random;
use crate::results::{Results, per_query};
use crate::statistics::{Interval, bootstrap, group_units, query_units};

/// The metric that decides.
pub(crate) const METRIC: Metric = Metric::NdcgAt10;
/// Below this corrected p-value a difference is called significant.
pub(crate) const LEVEL: f64 = 0.05;

/// A resample draws as many as there are: of groups it is cheap enough for a smallest p of 2 / 100,000.
const GROUP_RESAMPLES: usize = 99_999;
const QUERY_RESAMPLES: usize = 3_999;
/// Of an interval that is only drawn: its ends are not read to more than two digits.
const PLOT_RESAMPLES: usize = 1_999;
/// With fewer groups, resampling groups says nothing: with one, every resample is the same.
const FEWEST_GROUPS: usize = 5;
/// Stream of random numbers of the bootstrap.
const STREAM: u64 = 9;

/// All that is compared; each kind is corrected by itself, for the number of its own comparisons.
pub(crate) struct Comparisons {
    /// All pairs of losses in all arms.
    pub(crate) between_losses: Vec<Comparison>,
    pub(crate) with_bm25: Vec<WithBm25>,
}

/// One loss against another in one arm; positive differences are in favour of the first.
pub(crate) struct Comparison {
    pub(crate) arm: Arm,
    pub(crate) first: LossKind,
    pub(crate) second: LossKind,
    pub(crate) paired: Paired,
}

/// A trained encoder against BM25; positive differences are in favour of the encoder.
pub(crate) struct WithBm25 {
    /// The first arm that has it.
    pub(crate) arm: Arm,
    pub(crate) loss: LossKind,
    pub(crate) paired: Paired,
}

/// How much more the queries get from one ranking than from another.
pub(crate) struct Paired {
    pub(crate) difference: f64,
    pub(crate) over_queries: Interval,
    /// None if there are too few groups.
    pub(crate) over_groups: Option<Interval>,
    /// Over groups, or over queries if there are too few; corrected for the number of comparisons (Holm).
    pub(crate) p: PValue,
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
        self.p.value < LEVEL
    }
}

/// Everything that there is to compare.
pub(crate) fn compare(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
) -> Comparisons {
    Comparisons {
        between_losses: between_losses(options, corpus, results),
        with_bm25: with_bm25(options, corpus, baselines, results),
    }
}

fn between_losses(options: &Options, corpus: &Corpus, results: &Results) -> Vec<Comparison> {
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

/// Every trained encoder once, also if two arms share it.
fn with_bm25(
    options: &Options,
    corpus: &Corpus,
    baselines: &Baselines,
    results: &Results,
) -> Vec<WithBm25> {
    let bm25 = per_query(std::slice::from_ref(&baselines.bm25), METRIC);
    let distinct = results.distinct(&options.losses).into_iter();
    let mut comparisons: Vec<WithBm25> = distinct
        .map(|(arm, condition)| WithBm25 {
            arm,
            loss: condition.loss,
            paired: Paired::new(&condition.per_query(METRIC), &bm25, &corpus.test_groups),
        })
        .collect();
    correct(comparisons.iter_mut().map(|c| &mut c.paired));
    comparisons
}

/// Corrects the p-values of all comparisons that are made together.
pub(crate) fn correct<'a>(comparisons: impl Iterator<Item = &'a mut Paired>) {
    let comparisons: Vec<&mut Paired> = comparisons.collect();
    let p_values: Vec<f64> = comparisons.iter().map(|paired| paired.p.value).collect();
    for (paired, p) in comparisons.into_iter().zip(holm(&p_values)) {
        paired.p.value = p;
    }
}

/// Resampled means of `values` over queries and, if there are enough of them, over groups.
fn resampled(values: &[f64], groups: &[usize]) -> (Vec<f64>, Option<Vec<f64>>) {
    let mut random = Random::new(0, STREAM);
    let queries = bootstrap(&query_units(values), QUERY_RESAMPLES, &mut random);
    let units = group_units(values, groups);
    let groups = is_enough(units.len()).then(|| bootstrap(&units, GROUP_RESAMPLES, &mut random));
    (queries, groups)
}

/// 95 % interval of a mean over groups, or over queries if there are too few groups.
pub(crate) fn interval(values: &[f64], groups: &[usize]) -> Interval {
    let mut units = group_units(values, groups);
    if !is_enough(units.len()) {
        units = query_units(values);
    }
    Interval::of_sorted(&bootstrap(&units, PLOT_RESAMPLES, &mut Random::new(0, 0)))
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
        assert!(groups.is_none() && p_value(&queries).value > LEVEL);
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

    #[test]
    fn a_correction_keeps_bounds_and_multiplies_them_by_the_number_of_comparisons() {
        let groups: Vec<usize> = (0..60).map(|i| i / 6).collect();
        let alternating: Vec<f64> = (0..60).map(|i| f64::from(i % 2)).collect();
        let mut all = [vec![1.0; 60], vec![2.0; 60], alternating]
            .map(|values| Paired::new(&values, &[0.5; 60], &groups));
        correct(all.iter_mut());
        // None of 99,999 resamples is below zero, twice; the mean of each group of the third is zero.
        for paired in &all[..2] {
            assert!(paired.p.is_bound && paired.is_significant());
            assert!((paired.p.value - 3.0 * 2.0 / 100_000.0).abs() < 1e-12);
        }
        assert!(!all[2].p.is_bound && all[2].p.value == 1.0);
    }
}
