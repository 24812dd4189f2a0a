//! Two-sided p-values from resampled means, how they are printed, and Holm's correction.

use std::fmt;

/// A p-value, or a bound of one that the resamples could not tell from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PValue {
    pub(crate) value: f64,
    /// Not one resample was on the other side of zero: p is this value or anything below.
    pub(crate) is_bound: bool,
}

/// Two-sided p-value of "the mean is zero": 2·(k + 1) / (R + 1) of R resampled means, of which k are on the rarer side of
/// zero or at it, and never above 1. The smallest is 2 / (R + 1), where k is 0; it says no more than "not above this".
pub(crate) fn p_value(means: &[f64]) -> PValue {
    let below = means.iter().filter(|&&mean| mean <= 0.0).count();
    let above = means.iter().filter(|&&mean| mean >= 0.0).count();
    let rarer = below.min(above);
    PValue {
        value: (2.0 * (rarer + 1) as f64 / (means.len() + 1) as f64).min(1.0),
        is_bound: rarer == 0,
    }
}

/// Three decimals. A bound, and what would be zero, is printed as "below the next thousandth".
impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, is_bound } = *self;
        if is_bound || value < 0.001 {
            let above = (1000.0 * value).floor() + 1.0;
            f.pad(&format!("<{:.3}", above / 1000.0))
        } else {
            f.pad(&format!("{value:.3}"))
        }
    }
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
    use crate::random::Random;
    use crate::statistics::{bootstrap, query_units};

    #[test]
    fn p_is_small_for_a_clear_difference_and_large_for_none() {
        let p = |values: &[f64]| {
            p_value(&bootstrap(
                &query_units(values),
                999,
                &mut Random::new(3, 0),
            ))
        };
        // 2 / (999 + 1): all resampled means are 0.5.
        assert_eq!(p(&[0.5; 50]), bound(0.002));
        let alternating: Vec<f64> = (0..50)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        assert!(p(&alternating).value > 0.8);
        assert_eq!(p(&[0.0; 50]), value(1.0));
    }

    fn value(value: f64) -> PValue {
        let is_bound = false;
        PValue { value, is_bound }
    }

    fn bound(value: f64) -> PValue {
        let is_bound = true;
        PValue { value, is_bound }
    }

    #[test]
    fn p_counts_the_rarer_side_and_is_a_bound_only_if_that_is_empty() {
        // Nine means: 2·(k + 1) / 10.
        let mut means = [1.0; 9];
        assert_eq!(p_value(&means), bound(0.2));
        means[0] = -1.0;
        assert_eq!(p_value(&means), value(0.4));
        means[1] = 0.0;
        assert_eq!(p_value(&means), value(0.6));
    }

    #[test]
    fn a_bound_is_printed_above_its_value_and_nothing_as_zero() {
        assert_eq!(bound(0.00018).to_string(), "<0.001");
        assert_eq!(bound(0.0045).to_string(), "<0.005");
        assert_eq!(value(0.0044).to_string(), "0.004");
        assert_eq!(value(0.0004).to_string(), "<0.001");
        assert_eq!(
            format!("{:>7}|{:>7}", bound(0.0), value(1.0)),
            " <0.001|  1.000"
        );
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
