//! Value and gradient of one batch, and how the gradient at gathered documents finds back to the rows they came from.

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis};

/// Result of one call of an objective: those of embeddings have their shapes.
pub(crate) struct Step {
    pub(crate) loss: f32,
    pub(crate) queries: Array2<f32>,
    pub(crate) documents: Array2<f32>,
    /// ∂L/∂log τ; 0 for a loss without a temperature.
    pub(crate) log_temperature: f32,
}

impl Step {
    pub(crate) fn zero(queries: ArrayView2<'_, f32>, documents: ArrayView2<'_, f32>) -> Self {
        Self {
            loss: 0.0,
            queries: Array2::zeros(queries.dim()),
            documents: Array2::zeros(documents.dim()),
            log_temperature: 0.0,
        }
    }

    /// Adds the gradient at the positives, which are documents 0..n, and at the gathered negatives.
    pub(crate) fn add_documents(
        &mut self,
        weight: f32,
        positives: &Array2<f32>,
        negatives: Array3<f32>,
        came_from: &Array1<usize>,
    ) {
        self.documents
            .slice_axis_mut(Axis(0), (..positives.nrows()).into())
            .scaled_add(weight, positives);
        let shape = (came_from.len(), positives.ncols());
        let rows = negatives
            .into_shape_with_order(shape)
            .expect("gradients of the library are contiguous");
        self.add_rows(weight, rows.view(), came_from.view());
    }

    /// Adds each row of a gradient, times `weight`, to the document that it came from.
    pub(crate) fn add_rows(
        &mut self,
        weight: f32,
        gradient: ArrayView2<'_, f32>,
        came_from: ArrayView1<'_, usize>,
    ) {
        for (&to, row) in came_from.iter().zip(gradient.rows()) {
            self.documents.row_mut(to).scaled_add(weight, &row);
        }
    }
}

/// The documents that `rows` [n, K] names, as [n, K, d], and the flat list of their rows.
pub(crate) fn gathered(
    documents: ArrayView2<'_, f32>,
    rows: ArrayView2<'_, usize>,
) -> (Array3<f32>, Array1<usize>) {
    let (n, k) = rows.dim();
    let came_from: Array1<usize> = rows.iter().copied().collect();
    let flat = documents.select(Axis(0), &came_from.to_vec());
    (
        flat.into_shape_with_order((n, k, documents.ncols()))
            .expect("n·K rows were selected"),
        came_from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn gathered_rows_follow_the_list_query_by_query() {
        let documents = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let (rows, came_from) = gathered(documents.view(), array![[2, 0], [1, 2]].view());
        assert_eq!(
            rows,
            array![[[5.0, 6.0], [1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]
        );
        assert_eq!(came_from, array![2, 0, 1, 2]);
    }

    #[test]
    fn a_document_named_twice_gets_the_sum_of_both_gradients() {
        let (queries, documents) = (Array2::zeros((2, 1)), Array2::zeros((3, 1)));
        let mut step = Step::zero(queries.view(), documents.view());
        let (positives, negatives) = (array![[1.0], [10.0]], array![[[100.0]], [[1000.0]]]);
        step.add_documents(0.5, &positives, negatives, &array![2, 2]);
        assert_eq!(step.documents, array![[0.5], [5.0], [550.0]]);
    }
}
