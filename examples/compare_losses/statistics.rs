//! Mean and spread over seeds; paired bootstrap over queries and over groups; Holm's correction.

use crate::random::Random;

/// Mean and standard deviation (n − 1 in the denominator; 0 for one value).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) mean: f64,
    pub(crate) sd: f64,
}

impl Summary {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Self {
            mean,
            sd: if values.len() < 2 {
                0.0
            } else {
                (squares / (values.len() - 1) as f64).sqrt()
            },
        }
    }
}

/// A 95 % interval: the 2.5 and 97.5 % quantiles of the resampled means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What may be drawn again and again: a query, or a group with all its queries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Unit {
    sum: f64,
    count: f64,
}

/// Every query by itself. Right if queries were drawn one by one.
pub(crate) fn query_units(values: &[f64]) -> Vec<Unit> {
    values.iter().map(|&sum| Unit { sum, count: 1.0 }).collect()
}

/// Every group (crate) as a whole. Queries of one crate resemble each other, so this is the interval that says what to
/// expect of another crate; it is the wider one as a rule.
pub(crate) fn group_units(values: &[f64], groups: &[usize]) -> Vec<Unit> {
    let mut units = vec![Unit::default(); groups.iter().max().map_or(0, |&last| last + 1)];
    for (value, &group) in values.iter().zip(groups) {
        units[group].sum += value;
        units[group].count += 1.0;
    }
    units
}

/// Sorted means over resamples of the units, drawn with replacement.
pub(crate) fn bootstrap(units: &[Unit], resamples: usize, random: &mut Random) -> Vec<f64> {
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let mut total = Unit::default();
            for _ in 0..units.len() {
                let drawn = units[random.below(units.len())];
                total.sum += drawn.sum;
                total.count += drawn.count;
            }
            total.sum / total.count
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    means
}

impl Interval {
    pub(crate) fn of_sorted(means: &[f64]) -> Self {
        let at = |quantile: f64| means[((means.len() - 1) as f64 * quantile).round() as usize];
        Self {
            low: at(0.025),
            high: at(0.975),
        }
    }
}

/// Two-sided p-value of "the mean is zero": twice the share of resampled means on the rarer side of zero. It is never
/// below 1 / resamples, more can't be said.
pub(crate) fn p_value(means: &[f64]) -> f64 {
    let below = means.iter().filter(|&&mean| mean <= 0.0).count();
    let above = means.iter().filter(|&&mean| mean >= 0.0).count();
    (2.0 * (below.min(above) + 1) as f64 / (means.len() + 1) as f64).min(1.0)
}

/// Holm's correction (1979) for several comparisons: the chance of one false claim or more stays below the level.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0f64;
    for (step, &index) in order.iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - step) as f64);
        adjusted[index] = largest.min(1.0);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_checked_by_hand() {
        assert_eq!(
            Summary::of(&[1.0, 2.0, 3.0]),
            Summary { mean: 2.0, sd: 1.0 }
        );
        assert_eq!(Summary::of(&[4.0]), Summary { mean: 4.0, sd: 0.0 });
    }

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors_wide_on_each_side() {
        let mut random = Random::new(1, 0);
        let values: Vec<f64> = (0..400).map(|_| random.uniform()).collect();
        let means = bootstrap(&query_units(&values), 4000, &mut random);
        let (interval, summary) = (Interval::of_sorted(&means), Summary::of(&values));
        let half_width = 1.96 * summary.sd / 20.0;
        assert!((interval.high - summary.mean - half_width).abs() < 0.1 * half_width);
        assert!((summary.mean - interval.low - half_width).abs() < 0.1 * half_width);
    }

    #[test]
    fn a_group_counts_as_one_draw_so_that_equal_members_widen_the_interval() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i / 10 % 2)).collect();
        let groups: Vec<usize> = (0..100).map(|i| i / 10).collect();
        let width = |units: &[Unit]| {
            let interval = Interval::of_sorted(&bootstrap(units, 2000, &mut Random::new(2, 0)));
            interval.high - interval.low
        };
        assert!(width(&group_units(&values, &groups)) > 2.0 * width(&query_units(&values)));
    }

    #[test]
    fn p_is_small_for_a_clear_difference_and_large_for_none() {
        let p = |values: &[f64]| {
            p_value(&bootstrap(
                &query_units(values),
                999,
                &mut Random::new(3, 0),
            ))
        };
        assert_eq!(p(&[0.5; 50]), 0.002);
        let alternating: Vec<f64> = (0..50)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert!(p(&alternating) > 0.8);
        assert_eq!(p(&[0.0; 50]), 1.0);
    }

    #[test]
    fn holm_checked_by_hand() {
        let adjusted = holm(&[0.01, 0.04, 0.03]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
    }
}
