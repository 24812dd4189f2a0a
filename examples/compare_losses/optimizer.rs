//! Adam on the rows that a batch touched.

use ndarray::{Array2, Zip};

use crate::encoder::TableGradient;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Lazy Adam (Kingma and Ba 2015): moments of a row move only when a batch has a gradient for it, so that a step costs as
/// much as the batch is large, not as the table. Each row counts its own steps for the correction of its bias; with the
/// count of all steps, the first update of a rare token would be three times too long.
pub(crate) struct Adam {
    learning_rate: f32,
    first: Array2<f32>,
    second: Array2<f32>,
    steps: Vec<i32>,
}

impl Adam {
    pub(crate) fn new(rows: usize, dim: usize, learning_rate: f32) -> Self {
        let zeros = || Array2::zeros((rows, dim));
        Self {
            learning_rate,
            first: zeros(),
            second: zeros(),
            steps: vec![0; rows],
        }
    }

    /// One step of `table` [rows, dim] against `gradient`; `rate` in 0..=1 scales the learning rate.
    pub(crate) fn step(&mut self, table: &mut Array2<f32>, gradient: &TableGradient, rate: f32) {
        for &row in &gradient.touched {
            let row = row as usize;
            self.steps[row] += 1;
            let correction_1 = 1.0 - BETA_1.powi(self.steps[row]);
            let correction_2 = 1.0 - BETA_2.powi(self.steps[row]);
            let step = rate * self.learning_rate / correction_1;
            Zip::from(table.row_mut(row))
                .and(self.first.row_mut(row))
                .and(self.second.row_mut(row))
                .and(gradient.rows.row(row))
                .for_each(|x, m, v, &g| {
                    *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                    *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                    *x -= step * *m / ((*v / correction_2).sqrt() + EPSILON);
                });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Encoder;
    use ndarray::array;

    fn gradient(values: Array2<f32>) -> TableGradient {
        let mut gradient = TableGradient::new(values.nrows(), values.ncols());
        let bags: Vec<_> = (0..values.nrows())
            .map(|row| vec![(row as u32, 1.0)])
            .collect();
        Encoder::backward(bags.iter(), values.view(), &mut gradient);
        gradient
    }

    #[test]
    fn the_first_step_has_the_length_of_the_learning_rate() {
        let mut table = array![[1.0, 1.0]];
        Adam::new(1, 2, 0.1).step(&mut table, &gradient(array![[5.0, -0.01]]), 1.0);
        assert!(
            (table[[0, 0]] - 0.9).abs() < 1e-5 && (table[[0, 1]] - 1.1).abs() < 1e-5,
            "{table}"
        );
    }

    #[test]
    fn a_row_without_gradient_stays_and_its_moments_too() {
        let mut adam = Adam::new(2, 1, 0.1);
        let mut table = array![[1.0], [1.0]];
        let mut one = TableGradient::new(2, 1);
        Encoder::backward([vec![(1, 1.0)]].iter(), array![[2.0]].view(), &mut one);
        adam.step(&mut table, &one, 1.0);
        assert_eq!((table[[0, 0]], adam.steps[0]), (1.0, 0));
        assert_eq!(adam.steps[1], 1);
    }

    #[test]
    fn it_finds_the_minimum_of_a_parabola() {
        let mut adam = Adam::new(1, 1, 0.05);
        let mut table = array![[3.0]];
        for _ in 0..500 {
            let at = array![[2.0 * (table[[0, 0]] - 1.0)]];
            adam.step(&mut table, &gradient(at), 1.0);
        }
        assert!((table[[0, 0]] - 1.0).abs() < 1e-2, "{table}");
    }
}
