//! Mean and spread over seeds; paired bootstrap over queries and over groups.

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

/// A 95 % interval: the 2.5 and 97.5 % quantiles of the resampled means, which [`bootstrap`] has spread for few units.
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

/// Sorted means over resamples of the units, drawn with replacement and spread about the mean of all by
/// [`expansion`]: the percentile intervals of few units are too narrow without it.
pub(crate) fn bootstrap(units: &[Unit], resamples: usize, random: &mut Random) -> Vec<f64> {
    let (center, factor) = (mean(units.iter().copied()), expansion(units.len()));
    let mut means = resampled_means(units, resamples, random);
    for mean in &mut means {
        *mean = center + factor * (*mean - center);
    }
    means.sort_unstable_by(f64::total_cmp);
    means
}

fn resampled_means(units: &[Unit], resamples: usize, random: &mut Random) -> Vec<f64> {
    let n = units.len();
    let mut resample = || mean((0..n).map(|_| units[random.below(n)]));
    (0..resamples).map(|_| resample()).collect()
}

fn mean(units: impl Iterator<Item = Unit>) -> f64 {
    let (sum, count) = units.fold((0.0, 0.0), |(sum, count), unit| {
        (sum + unit.sum, count + unit.count)
    });
    sum / count
}

/// What the resampled means of `n` units lack in width: √(n / (n − 1)), as n units vary less about their own mean than
/// about the true one, times t / z, as their spread is itself an estimate. 1.07 for 27 units, 1.001 for 2000.
///
/// Hesterberg (2015, "What teachers should know about the bootstrap") moves the quantiles to the same end. Right for
/// 95 %; farther out the tails are still a little light.
fn expansion(n: usize) -> f64 {
    if n < 2 {
        return 1.0;
    }
    let degrees = (n - 1) as f64;
    (n as f64 / degrees).sqrt() * t_quantile(degrees) / Z
}

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// The 97.5 % quantile of Student's t, expanded in 1 / degrees (Abramowitz and Stegun 1964, 26.7.5).
fn t_quantile(degrees: f64) -> f64 {
    let power = |exponent| Z.powi(exponent);
    let first = (power(3) + Z) / 4.0;
    let second = (5.0 * power(5) + 16.0 * power(3) + 3.0 * Z) / 96.0;
    let third = (3.0 * power(7) + 19.0 * power(5) + 17.0 * power(3) - 15.0 * Z) / 384.0;
    Z + (first + (second + third / degrees) / degrees) / degrees
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

    /// The tables of t have three decimals. The expansion in 1 / degrees is worst for few: 2.769 of 2.776 for 4.
    const OF_TABLE: f64 = 1e-3;
    const OF_SMALL: f64 = 1e-2;

    #[test]
    fn the_expansion_is_the_one_of_the_table_of_t() {
        for (degrees, quantile, tolerance) in [
            (4.0, 2.776, OF_SMALL),
            (26.0, 2.056, OF_TABLE),
            (120.0, 1.980, OF_TABLE),
        ] {
            assert!(
                (t_quantile(degrees) - quantile).abs() < tolerance,
                "{degrees}"
            );
        }
        // √(27 / 26) = 1.019 and 2.056 / 1.960 = 1.049.
        assert!((expansion(27) - 1.069).abs() < OF_TABLE);
        assert_eq!(expansion(1), 1.0);
    }

    #[test]
    fn intervals_of_few_units_cover_as_often_as_they_say_only_if_expanded() {
        const EXPERIMENTS: usize = 1000;
        // Three standard deviations of a share of 0.95 or 0.89 in 1000 experiments: 3·√(0.95·0.05 / 1000) = 0.021.
        const CHANCE: f64 = 0.03;
        let mut random = Random::new(4, 0);
        let (mut plain, mut expanded) = (0, 0);
        for _ in 0..EXPERIMENTS {
            // The sum of twelve uniform numbers is nearly normal.
            let mut normal = || (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
            let values: Vec<f64> = (0..8).map(|_| normal()).collect();
            let units = query_units(&values);
            let covers = |means: &[f64]| {
                let Interval { low, high } = Interval::of_sorted(means);
                usize::from(low <= 0.0 && high >= 0.0)
            };
            expanded += covers(&bootstrap(&units, 399, &mut random));
            let mut means = resampled_means(&units, 399, &mut random);
            means.sort_unstable_by(f64::total_cmp);
            plain += covers(&means);
        }
        let share = |covered: usize| covered as f64 / EXPERIMENTS as f64;
        assert!((share(expanded) - 0.95).abs() < CHANCE, "{expanded}");
        // 1.960·√(7 / 8) = 1.833 standard errors reach 89 % of t with 7 degrees.
        assert!((share(plain) - 0.89).abs() < CHANCE, "{plain}");
    }
}
