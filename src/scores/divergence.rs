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
#[derive(Clone, Copy)]
pub(super) struct Softened<'a> {
    pub(super) scores: &'a [f64],
    /// 1/τ
    pub(super) per_temperature: f64,
}

/// A teacher's row and its exponentials, taken once for all its students.
pub(super) struct Teacher<'a> {
    row: Softened<'a>,
    exponentials: &'a [f64],
    sums: Exponentials,
}

impl<'a> Teacher<'a> {
    /// The exponentials go to `scratch`, which is of the row's length.
    #[inline(always)]
    pub(super) fn new<I: Isa>(row: Softened<'a>, scratch: &'a mut [f64]) -> Self {
        scratch.copy_from_slice(row.scores);
        let sums = exponentiate::<I>(scratch, row.per_temperature);
        Self {
            row,
            exponentials: scratch,
            sums,
        }
    }

    /// −Σ p·log p = log Σ e^d − Σ p·d
    fn entropy(&self) -> f64 {
        self.sums.log_sum() - self.sums.moment / self.sums.sum
    }
}

impl Divergence {
    /// The loss of a row, and ∂ℓ/∂z of the student, z = s/τ, in `gradient`, which is of the row's length. A score of −∞ is a candidate that is left out.
    ///
    /// With d = log p − log q, Σ p·d = Σ (p·d + q − p) because both add up to 1. Every term of the second sum is positive, and it is p·d²/2 near d = 0:
    /// no digits cancel where the student is near the teacher. So it is with q − p = p·(e^−d − 1).
    #[inline(always)]
    pub(super) fn compare<I: Isa>(
        self,
        teacher: &Teacher<'_>,
        student: Softened<'_>,
        gradient: &mut [f64],
    ) -> Compared {
        I::call(Compare {
            divergence: self,
            teacher,
            student,
            gradient,
        })
    }
}

struct Compare<'r, 's, 'o> {
    divergence: Divergence,
    teacher: &'r Teacher<'s>,
    student: Softened<'s>,
    gradient: &'o mut [f64],
}

impl Kernel for Compare<'_, '_, '_> {
    type Output = Compared;

    #[inline(always)]
    fn run<I: Isa>(self) -> Compared {
        let Self {
            teacher,
            student,
            gradient,
            ..
        } = self;
        gradient.copy_from_slice(student.scores);
        let sums = exponentiate::<I>(gradient, student.per_temperature);
        let nothing = |row: &Exponentials| row.count == 0.0 && !row.sum.is_nan();
        if nothing(&teacher.sums) {
            gradient.fill(0.0);
            return Compared::default();
        }
        if nothing(&sums) {
            // The student has none of what the teacher wants.
            for (x, e) in gradient.iter_mut().zip(teacher.exponentials) {
                *x = -e / teacher.sums.sum;
            }
            return Compared {
                loss: f64::INFINITY + teacher.sums.sum,
                entropy: teacher.entropy(),
                ..Compared::default()
            };
        }
        let pair = Pair {
            teacher,
            student,
            sums,
        };
        let mut compared = pair.sum_up(gradient);
        if self.divergence == Divergence::CrossEntropy {
            compared.loss += compared.entropy;
        }
        compared
    }
}

/// Teacher and student.
struct Pair<'r, 's> {
    teacher: &'r Teacher<'s>,
    student: Softened<'s>,
    /// Of the student's exponentials.
    sums: Exponentials,
}

impl Pair<'_, '_> {
    /// Adds up the terms of the divergence, and makes exponentials of the student's scores the gradient.
    #[inline(always)]
    fn sum_up(&self, student: &mut [f64]) -> Compared {
        let (t, s) = (&self.teacher.sums, &self.sums);
        let t_log_sum = t.log_sum();
        let apart = self.normalisers_apart();
        let apart = apart.unwrap_or(t_log_sum - s.log_sum());
        let mut compared = Compared::default();
        for (j, (e, x)) in self.teacher.exponentials.iter().zip(student).enumerate() {
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
        let of = |row: &Softened<'_>, sums: &Exponentials| {
            sums.shifted(row.scores[j], row.per_temperature)
        };
        [
            of(&self.teacher.row, &self.teacher.sums),
            of(&self.student, &self.sums),
        ]
    }

    /// The difference of the logarithms of both sums, −log Σ p·e^−g with g the difference of the scores, where the scores are close: so it
    /// has its own digits, and not those of two logarithms.
    #[inline(always)]
    fn normalisers_apart(&self) -> Option<f64> {
        let mut apart = 0.0;
        for (j, e) in self.teacher.exponentials.iter().enumerate() {
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
            apart += e / self.teacher.sums.sum * (excess(difference) - difference);
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
    use crate::{DistillationInput, DistillationLoss, DistillationReport, Loss, Want, Workspace};
    use ndarray::{Array2, array};

    const INF: f64 = f64::INFINITY;
    /// A few roundings of numbers below 1.
    const ROUNDING: f64 = 1e-15;

    fn teacher_entropy(teacher: &Array2<f64>, student: &Array2<f64>) -> f64 {
        let mut report = DistillationReport::default();
        let want = Want::value().with_report(&mut report);
        let input = DistillationInput::new(student.view(), teacher.view());
        let loss = DistillationLoss::new(1.0).unwrap();
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        report.teacher_entropy
    }

    #[test]
    fn entropy_of_the_teacher_is_its_own_whatever_the_student_leaves_out() {
        let ln3 = 3.0_f64.ln();
        // p = (1/2, 1/2), and p = (3/4, 1/4) beside a candidate that the teacher leaves out.
        let even = 2.0_f64.ln();
        let uneven = 0.75 * (4.0_f64 / 3.0).ln() + 0.25 * 4.0_f64.ln();
        for (teacher, exact) in [
            (array![[0.0, 0.0, -INF]], even),
            (array![[ln3, 0.0, -INF]], uneven),
            (
                array![[-INF, 0.0, ln3 + 900.0], [0.0, 0.0, -INF]],
                even / 2.0,
            ),
        ] {
            let rows = teacher.nrows();
            for student in [-INF, 0.0].map(|score| Array2::from_elem((rows, 3), score)) {
                let found = teacher_entropy(&teacher, &student);
                assert!((found - exact).abs() < ROUNDING, "{teacher}: {found}");
            }
        }
    }

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
