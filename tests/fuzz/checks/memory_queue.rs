//! Queues of embeddings from earlier steps.

use contrastive::{Error, MemoryQueue};
use ndarray::ArrayD;

use super::bytes::Bytes;
use super::call::{matrix, same};
use super::layout::{self, Laid};

/// Pushes some batches, and compares what the queue holds with a list of all rows.
pub(crate) fn check(bytes: &mut Bytes<'_>) -> Result<(), Error> {
    let (capacity, dim) = (bytes.length(), bytes.length());
    let mut queue = MemoryQueue::<f32>::new(capacity, dim)?;
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for _ in 0..bytes.below(8) {
        let shape = [bytes.length(), bytes.about(dim)];
        let batch: ArrayD<f32> = bytes.array(&shape, None);
        let laid = Laid::new(&batch, bytes.one_of(&layout::ALL), f32::NAN);
        let taken = queue.push(matrix(&laid.view()));
        assert_eq!(taken.is_ok(), shape[1] == dim, "{taken:?}");
        if taken.is_ok() {
            let batch = matrix(&batch.view());
            rows.extend(batch.rows().into_iter().map(|row| row.to_vec()));
        }
        let held = &rows[rows.len().saturating_sub(capacity)..];
        assert_eq!(
            (queue.len(), queue.is_empty()),
            (held.len(), held.is_empty())
        );
        let rows = queue.rows();
        let has = |row: &Vec<f32>| {
            rows.rows()
                .into_iter()
                .any(|held| same(held.iter(), row.iter()))
        };
        assert!(held.iter().all(has));
    }
    Ok(())
}
