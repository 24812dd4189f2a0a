//! Graphs that are refused, and those that have nothing to say.

use contrastive::{Error, InfoNceInput, InfoNceLoss, Loss, PartitionMode, Targets};
use ndarray::{Array2, array};

use super::list::directions;

#[test]
fn a_batch_without_any_positive_costs_nothing_and_has_no_gradient() {
    let embeddings = array![[1.0, 2.0], [0.5, f64::NAN], [3.0, -1.0]];
    let labels = array![1, 2, 3];
    let input = InfoNceInput::labelled(embeddings.view(), labels.view());
    let (value, gradient) = InfoNceLoss::new(0.1)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    assert_eq!(value, 0.0);
    assert_eq!(gradient.queries, Array2::<f64>::zeros((3, 2)));
}

#[test]
fn ill_defined_graphs_are_refused_with_the_reason() {
    let rows = Array2::from_shape_fn((3, 2), |(i, j)| 1.0 + (i * 2 + j) as f64);
    let plain = InfoNceInput::new(rows.view(), rows.view());
    let labels = array![1, 1, 2];
    let labelled = InfoNceInput::labelled(rows.view(), labels.view());
    let loss = InfoNceLoss::new(0.5).unwrap();
    let sigmoid = InfoNceLoss::sigmoid(0.5, 0.0).unwrap();
    let (offsets, documents) = (array![0, 2, 2, 3], array![0, 1, 2]);
    let lists = plain.with_targets(Targets::Lists {
        offsets: offsets.view(),
        documents: documents.view(),
    });
    let per_direction = |bits| loss.with_directions(directions(bits), PartitionMode::PerDirection);
    let joint = |bits| loss.with_directions(directions(bits), PartitionMode::Joint);
    let refused = [
        (per_direction(1), plain, "no positive of their own"),
        (per_direction(4), plain, "no positive of their own"),
        (
            joint(7).with_in_batch_negatives(false),
            plain.with_pool(rows.view()),
            "needs in-batch negatives",
        ),
        (joint(1), labelled, "labelled batch"),
        (joint(2), lists, "exactly one positive"),
        (
            sigmoid.with_symmetric(true),
            plain,
            "same in both directions",
        ),
        (sigmoid.with_decoupled(true), plain, "no softmax"),
        (
            loss.with_label_smoothing(0.1).unwrap(),
            lists,
            "cannot be smoothed",
        ),
        (loss.with_decoupled(true), lists, "keep them apart"),
    ];
    for (loss, input, reason) in refused {
        match loss.forward(input) {
            Err(Error::IllDefined { reason: found }) => assert!(found.contains(reason), "{found}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn offsets_of_negatives_that_decrease_or_overrun_are_refused() {
    let rows = Array2::from_shape_fn((3, 2), |(i, j)| 1.0 + (i * 2 + j) as f64);
    let refuse = |offsets: &ndarray::Array1<usize>| {
        let input = InfoNceInput::new(rows.view(), rows.view());
        let input = input.with_ragged_negatives(rows.view(), offsets.view());
        InfoNceLoss::new(0.5).unwrap().forward(input).unwrap_err()
    };
    for (offsets, row, found) in [
        (array![0, 2, 1, 3], 2, 1),
        (array![0, 1, 2, 4], 3, 4),
        (array![1, 1, 2, 3], 0, 1),
    ] {
        let error = refuse(&offsets);
        let expected =
            matches!(error, Error::Offset { row: at, found: was, .. } if (at, was) == (row, found));
        assert!(expected, "{error}");
    }
    let short = array![0, 3];
    let error = refuse(&short);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}
