//! A queue of embeddings from earlier steps, for memory-bank training.

use ndarray::{Array2, ArrayView2, s};

use crate::error::{Error, check};
use crate::rows::check_shape;
use crate::scalar::Scalar;

/// The embeddings of the last steps, first in, first out: negatives for all queries that cost no encoding.
///
/// Its rows are the pool of [`InfoNceInput`](crate::InfoNceInput::with_pool); they are constants, so the gradient by the pool is not asked for (`None`). Rows
/// have been embedded by older weights: MoCo therefore fills the queue from a slowly moving copy of the encoder.
///
/// Source: He et al. 2020, <https://arxiv.org/abs/1911.05722>.
///
/// ```
/// use contrastive::{InfoNceGradient, InfoNceInput, InfoNceLoss, Loss, MemoryQueue};
/// use ndarray::array;
///
/// let mut queue = MemoryQueue::new(3, 2)?;
/// queue.push(array![[0.0, 1.0], [0.0, 2.0]].view())?;
/// queue.push(array![[0.0, 3.0], [0.0, 4.0]].view())?; // [0, 1] is gone
/// assert_eq!(queue.rows().column(1).sum(), 9.0);
///
/// let rows = array![[1.0, 0.0]];
/// let input = InfoNceInput::new(rows.view(), rows.view()).with_pool(queue.rows());
/// let value: f64 = InfoNceLoss::new(1.0)?.forward(input)?;
/// assert!((value - (3.0 * (-1.0_f64).exp()).ln_1p()).abs() < 1e-15); // 1 against three times 0
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryQueue<A> {
    rows: Array2<A>,
    /// How many rows hold something.
    filled: usize,
    /// The oldest row once all are filled: the next to be overwritten.
    next: usize,
}

impl<A: Scalar> MemoryQueue<A> {
    /// An empty queue for `capacity` rows of `dim` numbers.
    ///
    /// # Errors
    /// If the capacity is 0.
    pub fn new(capacity: usize, dim: usize) -> Result<Self, Error> {
        check(
            "capacity",
            "at least one row",
            capacity as f64,
            capacity > 0,
        )?;
        Ok(Self {
            rows: Array2::zeros((capacity, dim)),
            filled: 0,
            next: 0,
        })
    }

    /// Takes in rows `[k, dim]`, in order, in the place of the oldest ones. Of more rows than the capacity the last ones stay.
    ///
    /// # Errors
    /// If they have another number of columns.
    pub fn push(&mut self, rows: ArrayView2<'_, A>) -> Result<(), Error> {
        check_shape("rows", &[rows.nrows(), self.rows.ncols()], rows.shape())?;
        let capacity = self.rows.nrows();
        let last = rows.nrows().saturating_sub(capacity);
        for row in rows.slice_move(s![last.., ..]).rows() {
            self.rows.row_mut(self.next).assign(&row);
            self.next = (self.next + 1) % capacity;
            self.filled = capacity.min(self.filled + 1);
        }
        Ok(())
    }

    /// The rows that it holds, `[filled, dim]`, in no particular order.
    pub fn rows(&self) -> ArrayView2<'_, A> {
        self.rows.slice(s![..self.filled, ..])
    }

    /// How many rows it holds.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether it holds none. InfoNCE refuses an empty pool: leave it out until then.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    fn numbered(numbers: std::ops::Range<usize>) -> Array2<f64> {
        let column: Array1<f64> = numbers.map(|x| x as f64).collect();
        column.insert_axis(ndarray::Axis(1))
    }

    fn held(queue: &MemoryQueue<f64>) -> Vec<usize> {
        let mut held: Vec<usize> = queue.rows().iter().map(|&x| x as usize).collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn the_last_rows_stay_whatever_the_sizes_of_the_steps() {
        for capacity in 1..6 {
            for step in 1..8 {
                let mut queue = MemoryQueue::new(capacity, 1).unwrap();
                assert!(queue.is_empty());
                for start in (0..30).step_by(step) {
                    queue.push(numbered(start..start + step).view()).unwrap();
                    let end = start + step;
                    let expected: Vec<usize> = (end.saturating_sub(capacity)..end).collect();
                    assert_eq!(
                        (held(&queue), queue.len()),
                        (expected.clone(), expected.len())
                    );
                }
            }
        }
    }

    #[test]
    fn rows_of_another_length_are_refused_and_change_nothing() {
        let mut queue = MemoryQueue::new(2, 1).unwrap();
        queue.push(numbered(5..6).view()).unwrap();
        assert!(queue.push(Array2::zeros((1, 2)).view()).is_err());
        assert_eq!(held(&queue), [5]);
        assert!(MemoryQueue::<f64>::new(0, 1).is_err());
    }
}
