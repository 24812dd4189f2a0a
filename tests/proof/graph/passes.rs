//! Graphs in one pass or several, on any number of threads, from any memory layout.

use contrastive::{Directions, InfoNceInput, Loss, Workspace};

use super::batch::Batch;
use super::case::{Case, OwnKind, PLAIN};
use super::formula::ROUNDING;
use super::list::{all, batches};

/// A workspace that holds a few tiles at a time: scores are computed again for the gradient.
#[test]
fn graphs_hold_when_scores_are_computed_again() {
    for batch in batches(all(), &[(500, 6)]) {
        let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
        let narrow = batch
            .solve::<f64>(&mut Workspace::with_limit(1 << 16).unwrap())
            .unwrap();
        let all = wide.flat().into_iter().zip(narrow.flat());
        for (wide, narrow) in all.chain([(wide.value, narrow.value)]) {
            assert!(
                (wide - narrow).abs() < ROUNDING * wide.abs().max(20.0),
                "{wide} {narrow} {:?}",
                batch.case
            );
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn graphs_give_the_same_bits_for_any_number_of_threads() {
    for batch in batches(all(), &[(200, 33)]) {
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| batch.solve::<f32>(&mut Workspace::new()).unwrap().bits())
        };
        let first = bits(1);
        assert!(
            [2, 3, 8].into_iter().all(|threads| bits(threads) == first),
            "{:?}",
            batch.case
        );
    }
}

/// Negatives `[n, K, dim]` that cannot be counted through in place are copied, and their gradient is brought back.
#[test]
fn pooled_negatives_and_their_gradient_may_have_any_layout() {
    let case = Case {
        own: OwnKind::Fixed(3),
        pooled: true,
        directions: Directions::ALL,
        ..PLAIN
    };
    let batch = Batch::new(case, 6, 4, 3);
    let (queries, documents) = (&batch.parts.queries, &batch.parts.documents);
    let straight = batch
        .parts
        .negatives
        .clone()
        .into_shape_with_order((6, 3, 4))
        .unwrap();
    let mut turned = ndarray::Array3::zeros((3, 4, 6)).permuted_axes([2, 0, 1]);
    turned.assign(&straight);
    let loss = batch.loss().unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (value, gradient) = loss
        .value_and_gradient(input.with_negatives(straight.view()))
        .unwrap();
    let mut other = gradient.clone();
    other.negatives = Some(ndarray::Array3::zeros((4, 6, 3)).permuted_axes([1, 2, 0]));
    let again = loss
        .forward_backward(input.with_negatives(turned.view()), other.view_mut())
        .unwrap();
    assert_eq!(value, again);
    assert_eq!(gradient, other);
}
