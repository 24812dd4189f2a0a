//! The ranking core of CoSENT: one logarithm over all comparisons of pairs, in O(n log n).
//!
//! A comparison is two pairs i and j of which i has the higher grade. With z = scale·d, the loss is L = log(1 + T) with
//! T = Σ wᵢwⱼ exp(zᵢ − zⱼ) over all comparisons. In the order of the grades T is a sum of products of each pair's own exponential with
//! that of a sum over all pairs before its group of equal grades: the log-sum-exp of a prefix, of which only the running one is kept. Another
//! walk from the highest grade down gives the sums over the pairs above, and with them the derivatives
//! ∂L/∂zᵢ = Σ_below wᵢwⱼ exp(zᵢ − zⱼ)/(1 + T) − Σ_above wᵢwⱼ exp(zⱼ − zᵢ)/(1 + T).

use ndarray::ArrayView1;

use crate::reduction::Sum;
use crate::scalar::Scalar;

/// Pairs in the order of their grades.
pub(super) struct Ranking<'a, A> {
    grades: ArrayView1<'a, A>,
    weights: Option<ArrayView1<'a, A>>,
    /// The pairs of weight other than 0, the lowest grade first.
    order: Vec<usize>,
}

/// log Σ eᶻ, as e^shift · sum.
#[derive(Clone, Copy)]
struct LogSum {
    shift: f64,
    sum: Sum,
}

impl LogSum {
    const EMPTY: Self = Self {
        shift: f64::NEG_INFINITY,
        sum: Sum::ZERO,
    };

    fn add(&mut self, z: f64) {
        if z > self.shift {
            self.sum = self.sum.times((self.shift - z).exp());
            self.shift = z;
        }
        // Infinities that are equal have no difference.
        let power = if z == self.shift {
            1.0
        } else {
            (z - self.shift).exp()
        };
        self.sum = self.sum.plus(power);
    }

    fn log(self) -> f64 {
        self.shift + self.sum.value().ln()
    }

    /// log(1 + eˡ) for this l.
    fn log_with_one(self) -> f64 {
        let sum = self.sum.value();
        if self.shift > 0.0 {
            self.shift + (sum + (-self.shift).exp()).ln()
        } else {
            (sum * self.shift.exp()).ln_1p()
        }
    }
}

impl<'a, A: Scalar> Ranking<'a, A> {
    /// The grades are finite.
    pub(super) fn new(grades: ArrayView1<'a, A>, weights: Option<ArrayView1<'a, A>>) -> Self {
        let takes_part = |&row: &usize| weights.is_none_or(|weights| weights[row] != A::zero());
        let mut order: Vec<usize> = (0..grades.len()).filter(takes_part).collect();
        // Equal grades stay in the order of the rows, so that sums are always taken in the same one.
        order.sort_by(|&i, &j| grades[i].wide().total_cmp(&grades[j].wide()));
        Self {
            grades,
            weights,
            order,
        }
    }

    /// The pairs of each grade, the lowest first.
    fn groups(&self) -> impl DoubleEndedIterator<Item = &[usize]> {
        self.order
            .chunk_by(|&i, &j| self.grades[i] == self.grades[j])
    }

    fn log_weight(&self, row: usize) -> f64 {
        self.weights.map_or(0.0, |weights| weights[row].wide().ln())
    }

    /// The loss for the distances `[n]`. With `slopes` `[n]`, also ∂L/∂d of each pair.
    pub(super) fn loss(&self, scale: f64, distances: &[f64], slopes: Option<&mut [f64]>) -> f64 {
        let z = |row: usize| scale * distances[row];
        let mut all = LogSum::EMPTY;
        self.walk(self.groups(), z, |_, z| all.add(z));
        let loss = all.log_with_one();
        if let Some(slopes) = slopes {
            slopes.fill(0.0);
            let share = |z: f64| scale * (z - loss).exp();
            self.walk(self.groups(), z, |row, z| slopes[row] += share(z));
            let up = self.groups().rev();
            self.walk(up, |row| -z(row), |row, z| slopes[row] -= share(z));
        }
        loss
    }

    /// Walks the groups and visits each pair i with log Σ wᵢwⱼ exp(zᵢ − zⱼ) over the pairs j of all groups before its own.
    fn walk<'g>(
        &self,
        groups: impl Iterator<Item = &'g [usize]>,
        z: impl Fn(usize) -> f64,
        mut visit: impl FnMut(usize, f64),
    ) {
        let mut before = LogSum::EMPTY;
        for (index, group) in groups.enumerate() {
            if index > 0 {
                let log = before.log();
                for &row in group {
                    visit(row, z(row) + self.log_weight(row) + log);
                }
            }
            for &row in group {
                before.add(self.log_weight(row) - z(row));
            }
        }
    }

    /// How many comparisons there are, and in how many of them the pair of the higher grade is the nearer one.
    pub(super) fn concordance(&self, distances: &[f64]) -> (f64, f64) {
        let mut by_distance = self.order.clone();
        by_distance.sort_by(|&i, &j| distances[i].total_cmp(&distances[j]));
        // For each pair, how many are strictly farther comes from the number of those that are not.
        let mut places = vec![0; distances.len()];
        let mut place = 0;
        for ties in by_distance.chunk_by(|&i, &j| distances[i] == distances[j]) {
            place += ties.len();
            ties.iter().for_each(|&i| places[i] = place);
        }
        let mut seen = Counts(vec![0; place + 1]);
        let (mut before, mut comparisons, mut concordant) = (0, 0.0, 0.0);
        for group in self.groups() {
            for &i in group {
                comparisons += before as f64;
                concordant += (before - seen.up_to(places[i])) as f64;
            }
            group.iter().for_each(|&i| seen.add(places[i]));
            before += group.len();
        }
        (comparisons, concordant)
    }
}

/// Counts of places from 1 on, with their prefix sums in O(log n) (Fenwick 1994).
struct Counts(Vec<usize>);

impl Counts {
    fn add(&mut self, mut place: usize) {
        while place < self.0.len() {
            self.0[place] += 1;
            place += place & place.wrapping_neg();
        }
    }

    fn up_to(&self, mut place: usize) -> usize {
        let mut count = 0;
        while place > 0 {
            count += self.0[place];
            place -= place & place.wrapping_neg();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few roundings of exponents of up to 40.
    const ROUNDING: f64 = 1e-13;

    /// Grades with ties, weights with zeros, and distances.
    fn batch(n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let numbers =
            |factor: usize, modulus: usize| (0..n).map(move |i| (i * factor % modulus) as f64);
        (
            numbers(7, 5).collect(),
            numbers(5, 4).map(|x| x / 2.0).collect(),
            numbers(37, 23).map(|x| x / 13.0).collect(),
        )
    }

    #[test]
    fn loss_and_slopes_are_those_of_the_double_sum() {
        for n in 0..40 {
            let (grades, weights, distances) = batch(n);
            for (scale, weighted) in [(1.0, false), (20.0, true), (0.01, true)] {
                let weight = |i: usize| if weighted { weights[i] } else { 1.0 };
                let (mut total, mut parts) = (0.0, vec![0.0; n]);
                for i in 0..n {
                    for j in (0..n).filter(|&j| grades[i] > grades[j]) {
                        let term =
                            (scale * (distances[i] - distances[j])).exp() * weight(i) * weight(j);
                        total += term;
                        parts[i] += term;
                        parts[j] -= term;
                    }
                }
                let given = weighted.then_some(ArrayView1::from(&weights));
                let ranking = Ranking::new(ArrayView1::from(&grades), given);
                let mut slopes = vec![f64::NAN; n];
                let loss = ranking.loss(scale, &distances, Some(&mut slopes));
                assert!(
                    (loss - total.ln_1p()).abs() <= ROUNDING * loss.max(1.0),
                    "{n}"
                );
                for (found, part) in slopes.iter().zip(&parts) {
                    let exact = scale * part / (1.0 + total);
                    assert!(
                        (found - exact).abs() <= ROUNDING * scale,
                        "{n}: {found} {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn concordance_counts_comparisons_in_which_the_higher_grade_is_strictly_nearer() {
        for n in 0..40 {
            let (grades, _, distances) = batch(n);
            let (mut comparisons, mut concordant) = (0.0, 0.0);
            for i in 0..n {
                for j in (0..n).filter(|&j| grades[i] > grades[j]) {
                    comparisons += 1.0;
                    concordant += f64::from(distances[i] < distances[j]);
                }
            }
            let ranking = Ranking::new(ArrayView1::from(&grades), None);
            assert_eq!(ranking.concordance(&distances), (comparisons, concordant));
        }
    }

    #[test]
    fn sum_far_below_one_keeps_its_digits() {
        let ranking = Ranking::new(ArrayView1::from(&[0.0, 1.0]), None);
        let loss = ranking.loss(20.0, &[2.0, 0.0], None);
        assert!((loss / (-40.0_f64).exp() - 1.0).abs() < ROUNDING, "{loss}");
    }

    #[test]
    fn zeros_of_either_sign_tie() {
        let ranking = Ranking::new(ArrayView1::from(&[0.0, -0.0, 0.0, -0.0]), None);
        assert_eq!(ranking.loss(1.0, &[3.0, 1.0, 2.0, 0.0], None), 0.0);
    }
}
