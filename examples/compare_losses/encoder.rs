//! The encoder that every loss trains: the weighted mean of embedding rows, one table for queries and documents.

use ndarray::{Array2, ArrayView2, Zip};

use crate::random::Random;
use crate::tokens::Bag;

/// Embedding table [buckets, dim]; a text x = Σ wₜ·Eₜ over the tokens of its bag.
#[derive(Clone)]
pub(crate) struct Encoder {
    pub(crate) table: Array2<f32>,
}

impl Encoder {
    /// Rows uniform in ±1: before any training this is a random projection of the bag of tokens.
    pub(crate) fn new(buckets: usize, dim: usize, random: &mut Random) -> Self {
        Self {
            table: Array2::from_shape_simple_fn((buckets, dim), || {
                (2.0 * random.uniform() - 1.0) as f32
            }),
        }
    }

    /// Embeddings [texts, dim]. An empty bag gives a zero row.
    pub(crate) fn encode<'a>(&self, bags: impl ExactSizeIterator<Item = &'a Bag>) -> Array2<f32> {
        let mut embeddings = Array2::zeros((bags.len(), self.table.ncols()));
        for (mut row, bag) in embeddings.rows_mut().into_iter().zip(bags) {
            for &(bucket, weight) in bag {
                row.scaled_add(weight, &self.table.row(bucket as usize));
            }
        }
        embeddings
    }

    /// Adds ∂L/∂Eₜ = Σ wₜ·∂L/∂x to `gradient`, from the gradient [texts, dim] at the embeddings of `bags`.
    pub(crate) fn backward<'a>(
        bags: impl ExactSizeIterator<Item = &'a Bag>,
        at_embeddings: ArrayView2<'_, f32>,
        gradient: &mut TableGradient,
    ) {
        for (row, bag) in at_embeddings.rows().into_iter().zip(bags) {
            for &(bucket, weight) in bag {
                gradient.touch(bucket);
                gradient
                    .rows
                    .row_mut(bucket as usize)
                    .scaled_add(weight, &row);
            }
        }
    }
}

/// Gradient of the table. A batch touches a small part of the rows; only those are summed, read and cleared.
pub(crate) struct TableGradient {
    pub(crate) rows: Array2<f32>,
    pub(crate) touched: Vec<u32>,
    is_touched: Vec<bool>,
}

impl TableGradient {
    pub(crate) fn new(buckets: usize, dim: usize) -> Self {
        Self {
            rows: Array2::zeros((buckets, dim)),
            touched: Vec::new(),
            is_touched: vec![false; buckets],
        }
    }

    fn touch(&mut self, bucket: u32) {
        if !std::mem::replace(&mut self.is_touched[bucket as usize], true) {
            self.touched.push(bucket);
        }
    }

    /// Back to zero, for the next batch.
    pub(crate) fn clear(&mut self) {
        for bucket in self.touched.drain(..) {
            self.rows.row_mut(bucket as usize).fill(0.0);
            self.is_touched[bucket as usize] = false;
        }
    }
}

/// Rows divided by their norm, so that a dot product is a cosine. A zero row stays zero.
pub(crate) fn normalized(mut embeddings: Array2<f32>) -> Array2<f32> {
    for mut row in embeddings.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row /= norm;
        }
    }
    embeddings
}

/// Cosine of row i of `x` and row i of `y`, both of norm 1.
pub(crate) fn row_cosines(x: &Array2<f32>, y: ArrayView2<'_, f32>) -> Vec<f32> {
    Zip::from(x.rows())
        .and(y.rows())
        .map_collect(|x, y| x.dot(&y))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, array};

    fn bags() -> [Bag; 3] {
        [vec![(0, 0.25), (2, 0.75)], vec![], vec![(1, 0.5), (2, 0.5)]]
    }

    #[test]
    fn a_text_is_the_weighted_mean_of_its_rows() {
        let encoder = Encoder {
            table: array![[4.0, 0.0], [2.0, 2.0], [0.0, 8.0]],
        };
        assert_eq!(
            encoder.encode(bags().iter()),
            array![[1.0, 6.0], [0.0, 0.0], [1.0, 5.0]]
        );
    }

    #[test]
    fn backward_agrees_with_finite_differences() {
        let (bags, upstream) = (bags(), array![[1.0, -2.0], [3.0, 4.0], [0.5, 0.25]]);
        let encoder = Encoder::new(4, 2, &mut Random::new(1, 0));
        let value = |encoder: &Encoder| (encoder.encode(bags.iter()) * &upstream).sum();
        let mut gradient = TableGradient::new(4, 2);
        Encoder::backward(bags.iter(), upstream.view(), &mut gradient);
        for ((row, column), &analytic) in gradient.rows.indexed_iter() {
            // The value is linear in the table: a step of 1 has no truncation error.
            let mut moved = encoder.clone();
            moved.table[[row, column]] += 1.0;
            assert!((value(&moved) - value(&encoder) - analytic).abs() < 1e-5);
        }
    }

    #[test]
    fn only_rows_of_the_batch_are_touched_and_clear_empties_them() {
        let mut gradient = TableGradient::new(4, 2);
        Encoder::backward(bags().iter(), Array2::ones((3, 2)).view(), &mut gradient);
        assert_eq!(gradient.touched, [0, 2, 1]);
        gradient.clear();
        assert!(gradient.touched.is_empty() && gradient.rows.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn normalized_rows_have_norm_one_and_zero_rows_stay() {
        let unit = normalized(array![[3.0, 4.0], [0.0, 0.0]]);
        assert_eq!(unit.index_axis(Axis(0), 0).to_vec(), [0.6, 0.8]);
        assert_eq!(unit.index_axis(Axis(0), 1).to_vec(), [0.0, 0.0]);
    }
}
