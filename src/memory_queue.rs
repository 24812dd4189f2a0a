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
    /// Where the next row goes: how many were ever pushed, modulo the capacity.
    next: usize,
}

impl<A: Scalar> MemoryQueue<A> {
    /// An empty queue for `capacity` rows of `dim` numbers.
    ///
    /// # Errors
    /// If the capacity is 0, or the rows are more, or take more bytes, than an array may have (`isize::MAX`).
    pub fn new(capacity: usize, dim: usize) -> Result<Self, Error> {
        check(
            "capacity",
            "at least one row",
            capacity as f64,
            capacity > 0,
        )?;
        let expected = "rows that an array can hold";
        let fits = fits_an_array::<A>(capacity, dim);
        check("capacity", expected, capacity as f64, fits)?;
        Ok(Self {
            rows: Array2::zeros((capacity, dim)),
            filled: 0,
            next: 0,
        })
    }

    /// Takes in rows `[k, dim]`, in order, in the place of the oldest ones. Of more rows than the capacity the last ones stay.
    ///
    /// # Errors
    /// If they have another number of columns. The queue stays as it was.
    pub fn push(&mut self, rows: ArrayView2<'_, A>) -> Result<(), Error> {
        check_shape("rows", &[rows.nrows(), self.rows.ncols()], rows.shape())?;
        let capacity = self.rows.nrows();
        let skipped = rows.nrows().saturating_sub(capacity);
        self.next = (self.next + skipped) % capacity;
        for row in rows.slice_move(s![skipped.., ..]).rows() {
            self.rows.row_mut(self.next).assign(&row);
            self.next = (self.next + 1) % capacity;
            self.filled = capacity.min(self.filled + 1);
        }
        Ok(())
    }

    /// The rows that it holds, `[len, dim]`: the k-th of all that were ever pushed, counted from 0, is row k mod capacity as long as it is there.
    ///
    /// What is kept of the same rows by the same rule stays aligned with them: the pool's part of [`Ids`](crate::Ids) and
    /// [`LogWeights`](crate::LogWeights) in arrays, that of a [`Guide`](crate::Guide) in a second queue.
    ///
    /// ```
    /// use contrastive::MemoryQueue;
    /// use ndarray::{Array1, array, s};
    ///
    /// let (mut queue, mut ids) = (MemoryQueue::new(3, 1)?, Array1::zeros(3));
    /// for (k, id) in [70_u64, 71, 72, 73].into_iter().enumerate() {
    ///     queue.push(array![[id as f64]].view())?;
    ///     ids[k % 3] = id;
    /// }
    /// assert_eq!(queue.rows(), array![[73.0], [71.0], [72.0]]);
    /// assert_eq!(ids.slice(s![..queue.len()]), array![73, 71, 72]);
    /// # Ok::<(), contrastive::Error>(())
    /// ```
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

/// Whether an array of this shape is possible at all.
fn fits_an_array<A>(rows: usize, columns: usize) -> bool {
    let row = columns.checked_mul(size_of::<A>());
    let bytes = row.and_then(|row| rows.checked_mul(row.max(1)));
    bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
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
    fn row_pushed_as_number_k_lies_at_k_modulo_the_capacity() {
        for capacity in 1..6 {
            for step in 1..14 {
                let mut queue = MemoryQueue::new(capacity, 1).unwrap();
                for start in (0..40).step_by(step) {
                    queue.push(numbered(start..start + step).view()).unwrap();
                    let end = start + step;
                    for k in end.saturating_sub(capacity)..end {
                        assert_eq!(queue.rows()[[k % capacity, 0]], k as f64);
                    }
                }
            }
        }
    }

    #[test]
    fn capacity_that_no_array_has_is_refused() {
        let largest = isize::MAX.unsigned_abs();
        for (capacity, dim) in [
            (usize::MAX, 2),
            (usize::MAX, 0),
            (largest + 1, 0),
            (largest / 8 + 1, 1),
            (3, usize::MAX),
            (1, largest / 8 + 1),
        ] {
            let refused = MemoryQueue::<f64>::new(capacity, dim);
            let refused = refused.map(|queue| queue.rows.dim());
            assert!(matches!(
                refused,
                Err(Error::Parameter {
                    name: "capacity",
                    ..
                })
            ));
        }
        assert!(MemoryQueue::<f32>::new(usize::MAX, 2).is_err());
        assert!(MemoryQueue::<f64>::new(largest, 0).is_ok());
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
