//! How far the softmax of one row of scores is from that of another.

use super::exponentials::{Exponentials, exponentiate};
use crate::simd::{Isa, Kernel};

/// Which number says how far the student is from the teacher. Their gradients are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Divergence {
    /// Σⱼ pⱼ·(log pⱼ − log qⱼ): 0 when the student has reached the teacher.
    #[default]
    KullbackLeibler,
    /// −Σⱼ pⱼ·log qⱼ: the same plus the teacher's entropy.
    CrossEntropy,
}

/// What a row comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compared {
    pub(super) loss: f64,
    /// ∂ℓ/∂log of the student's temperature
    pub(super) slope: f64,
    /// −Σ p·log p of the teacher
    pub(super) entropy: f64,
}

/// A row of scores as it is softened.
pub(super) struct Softened<'a> {
    pub(super) scores: &'a [f64],
    /// 1/τ
    pub(super) per_temperature: f64,
}

impl Divergence {
    /// The loss of a row, and ∂ℓ/∂z of the student, z = s/τ, in `gradient`. A score of −∞ is a candidate that is left out. `scratch` and `gradient` are of
    /// the row's length.
    ///
    /// With d = log p − log q, Σ p·d = Σ (p·d + q − p) because both add up to 1. Every term of the second sum is positive, and it is p·d²/2 near d = 0:
    /// no digits cancel where the student is near the teacher. So it is with q − p = p·(e^−d − 1).
    #[inline(always)]
    pub(super) fn compare<I: Isa>(
        self,
        teacher: &Softened<'_>,
        student: &Softened<'_>,
        scratch: &mut [f64],
        gradient: &mut [f64],
    ) -> Compared {
        I::call(Compare {
            divergence: self,
            teacher,
            student,
            scratch,
            gradient,
        })
    }
}

struct Compare<'r, 's, 'o> {
    divergence: Divergence,
    teacher: &'r Softened<'s>,
    student: &'r Softened<'s>,
    scratch: &'o mut [f64],
    gradient: &'o mut [f64],
}

impl Kernel for Compare<'_, '_, '_> {
    type Output = Compared;

    #[inline(always)]
    fn run<I: Isa>(self) -> Compared {
        let Self {
            teacher,
            student,
            scratch,
            gradient,
            ..
        } = self;
        scratch.copy_from_slice(teacher.scores);
        gradient.copy_from_slice(student.scores);
        let t = exponentiate::<I>(scratch, teacher.per_temperature);
        let s = exponentiate::<I>(gradient, student.per_temperature);
        let nothing = |row: &Exponentials| row.count == 0.0 && !row.sum.is_nan();
        if nothing(&t) {
            gradient.fill(0.0);
            return Compared::default();
        }
        if nothing(&s) {
            // The student has none of what the teacher wants.
            for (x, e) in gradient.iter_mut().zip(&*scratch) {
                *x = -e / t.sum;
            }
            return Compared {
                loss: f64::INFINITY + t.sum,
                ..Compared::default()
            };
        }
        let pair = Pair {
            scores: [teacher, student],
            sums: [t, s],
        };
        let mut compared = pair.sum_up(scratch, gradient);
        if self.divergence == Divergence::CrossEntropy {
            compared.loss += compared.entropy;
        }
        compared
    }
}

/// Teacher and student, with the sums of their exponentials.
struct Pair<'s, 't> {
    scores: [&'s Softened<'t>; 2],
    sums: [Exponentials; 2],
}

impl Pair<'_, '_> {
    /// Adds up the terms of the divergence, and makes exponentials of the student's scores the gradient.
    #[inline(always)]
    fn sum_up(&self, teacher: &[f64], student: &mut [f64]) -> Compared {
        let [t, s] = &self.sums;
        let t_log_sum = t.log_sum();
        let apart = self.normalisers_apart(teacher);
        let apart = apart.unwrap_or(t_log_sum - s.log_sum());
        let mut compared = Compared::default();
        for (j, (e, x)) in teacher.iter().zip(student).enumerate() {
            let (p, q) = (e / t.sum, *x / s.sum);
            let [teacher, student] = self.shifted(j);
            let difference = (teacher - student) - apart;
            let (divergence, pull) = term(p, q, difference);
            *x = pull;
            compared.loss += divergence;
            if p != 0.0 {
                compared.entropy -= p * (teacher - t_log_sum);
            }
            if pull != 0.0 {
                compared.slope -= pull * student;
            }
        }
        compared
    }

    /// z relative to the largest, of the teacher and of the student.
    #[inline(always)]
    fn shifted(&self, j: usize) -> [f64; 2] {
        std::array::from_fn(|side| {
            let row = self.scores[side];
            self.sums[side].shifted(row.scores[j], row.per_temperature)
        })
    }

    /// The difference of the logarithms of both sums, −log Σ p·e^−g with g the difference of the scores, where the scores are close: so it
    /// has its own digits, and not those of two logarithms.
    #[inline(always)]
    fn normalisers_apart(&self, teacher: &[f64]) -> Option<f64> {
        let mut apart = 0.0;
        for (j, e) in teacher.iter().enumerate() {
            let [teacher, student] = self.shifted(j);
            let difference = teacher - student;
            if student == f64::NEG_INFINITY && teacher == f64::NEG_INFINITY {
                continue;
            }
            // False for NaN, too.
            let near = difference.abs() < SMALL && *e != 0.0;
            if !near {
                return None;
            }
            apart += e / self.sums[0].sum * (excess(difference) - difference);
        }
        Some(-apart.ln_1p())
    }
}

/// p·d + q − p and q − p, with d = log p − log q.
#[inline(always)]
fn term(p: f64, q: f64, d: f64) -> (f64, f64) {
    if p == 0.0 {
        // Beyond the reach of the teacher's softmax only the student's probability counts.
        (q, q)
    } else if d.abs() < SMALL {
        let excess = excess(d);
        (p * excess, p * (excess - d))
    } else {
        (p * d + (q - p), q - p)
    }
}

/// Below this the terms are summed as a series.
const SMALL: f64 = 0.5;

/// 1/k
const RECIPROCALS: [f64; 17] = {
    let mut reciprocals = [0.0; 17];
    let mut k = 1;
    while k < 17 {
        reciprocals[k] = 1.0 / k as f64;
        k += 1;
    }
    reciprocals
};

/// d + e^−d − 1 for |d| < 1/2, to its own digits.
#[inline(always)]
fn excess(d: f64) -> f64 {
    // Σₖ (−d)ᵏ/k! from k = 2 on; what is left out is below 2⁻⁶⁰ of the first term.
    let mut sum = 1.0;
    for k in (3..=16).rev() {
        sum = 1.0 - sum * d * RECIPROCALS[k];
    }
    0.5 * d * d * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_keeps_its_digits_near_zero() {
        for (d, exact) in [
            (1e-8_f64, 0.5e-16 * (1.0 - 1e-8 / 3.0)),
            (-1e-8, 0.5e-16 * (1.0 + 1e-8 / 3.0)),
            (0.499, 0.499 + (-0.499_f64).exp_m1()),
            (-0.499, -0.499 + 0.499_f64.exp_m1()),
        ] {
            assert!((excess(d) / exact - 1.0).abs() < 1e-14, "{d}");
        }
        assert_eq!(excess(0.0), 0.0);
    }
}
