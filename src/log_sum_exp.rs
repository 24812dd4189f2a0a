//! The logarithm of a sum of exponentials, while the sum is still being taken.

/// log Σ eˣ over scores that come one by one or in parts: shifted by the largest, so that nothing overflows, and merged without loss.
///
/// Parts of a row of scores may be summed anywhere (in chunks, on other machines) and merged in any grouping, to rounding.
///
/// ```
/// use contrastive::LogSumExp;
///
/// let (mut left, mut right) = (LogSumExp::new(), LogSumExp::new());
/// left.update(1000.0);
/// left.update(1000.0);
/// right.update(999.0);
/// let exact = 1000.0 + (2.0 + (-1.0_f64).exp()).ln();
/// assert_eq!(left.merge(right).finish(), exact);
/// assert_eq!(LogSumExp::new().finish(), f64::NEG_INFINITY); // of nothing
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSumExp {
    max: f64,
    /// Σ e^(x − max)
    sum: f64,
}

impl LogSumExp {
    /// Over nothing.
    pub const fn new() -> Self {
        Self {
            max: f64::NEG_INFINITY,
            sum: 0.0,
        }
    }

    /// From the largest score and Σ e^(x − max).
    pub(crate) fn of_parts(max: f64, sum: f64) -> Self {
        Self { max, sum }
    }

    /// Adds a score. −∞ adds nothing; NaN stays.
    pub fn update(&mut self, score: f64) {
        if score != f64::NEG_INFINITY {
            *self = self.merge(Self {
                max: score,
                sum: 1.0,
            });
        }
    }

    /// Over the scores of both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let max = self.max.max(other.max);
        Self {
            max,
            sum: self.relative_to(max) + other.relative_to(max),
        }
    }

    fn relative_to(self, max: f64) -> f64 {
        // Nothing, or a NaN, which stays.
        if self.max == max || self.max == f64::NEG_INFINITY || self.max.is_nan() {
            return if self.max.is_nan() {
                f64::NAN
            } else {
                self.sum
            };
        }
        self.sum * (self.max - max).exp()
    }

    /// log Σ eˣ; −∞ over nothing.
    pub fn finish(self) -> f64 {
        if self.sum == 0.0 {
            return f64::NEG_INFINITY;
        }
        self.max + self.sum.ln()
    }
}

impl Default for LogSumExp {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few roundings of a number near 5.
    const ROUNDING: f64 = 1e-14;

    #[test]
    fn parts_merge_in_any_grouping() {
        let scores = [0.5, -3.0, 5.0, 4.5, f64::NEG_INFINITY, -700.0];
        let exact = scores.iter().map(|x: &f64| x.exp()).sum::<f64>().ln();
        for cut in 0..=scores.len() {
            let (mut left, mut right) = (LogSumExp::new(), LogSumExp::new());
            scores[..cut].iter().for_each(|&x| left.update(x));
            scores[cut..].iter().for_each(|&x| right.update(x));
            assert!((left.merge(right).finish() - exact).abs() < ROUNDING);
        }
    }

    #[test]
    fn nan_stays_whatever_comes_before_or_after() {
        for scores in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
            let mut sum = LogSumExp::new();
            scores.iter().for_each(|&x| sum.update(x));
            assert!(sum.finish().is_nan());
        }
    }
}
