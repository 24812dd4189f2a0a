//! What is refused, and that nothing is written then.

use contrastive::{
    BatchTripletGradient, BatchTripletInput, BatchTripletLoss, Error, FalseNegatives,
    HardNegativeInput, HardNegativeMiner, Loss, Reduction, Targets, TripletMining, Want, Workspace,
};
use ndarray::{Array1, Array2, Axis, array};

#[test]
fn hyper_parameters_out_of_range_are_refused() {
    for margin in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(BatchTripletLoss::new(TripletMining::BatchAll, margin).is_err());
    }
    for margin in [f64::NAN, f64::NEG_INFINITY] {
        assert!(BatchTripletLoss::soft(TripletMining::BatchAll, margin).is_err());
    }
    let loss = BatchTripletLoss::new(TripletMining::BatchHard, 1.0).unwrap();
    assert!(loss.with_reduction(Reduction::Over(0.0)).is_err());
    assert!(HardNegativeMiner::new(0).is_err());
    let miner = HardNegativeMiner::new(1).unwrap();
    assert!(
        miner
            .with_false_negatives(FalseNegatives::Absolute(f64::NAN))
            .is_err()
    );
}

/// An input that does not fit, and the name of what is wrong with it.
fn check(input: BatchTripletInput<'_, f64>, name: &str) {
    let loss = BatchTripletLoss::new(TripletMining::BatchAll, 1.0).unwrap();
    let mut by_anchors = Array2::from_elem(input.anchors.dim(), 7.0);
    let mut by_candidates = input
        .candidates
        .map(|candidates| Array2::from_elem(candidates.rows.dim(), 7.0));
    let mut rows = Array1::from_elem(input.anchors.nrows(), 7.0);
    let gradient = BatchTripletGradient {
        anchors: Some(by_anchors.view_mut()),
        candidates: by_candidates.as_mut().map(|rows| rows.view_mut()),
    };
    let want = Want::gradient(gradient).with_rows(rows.view_mut());
    let error = loss
        .evaluate(input, want, &mut Workspace::new())
        .unwrap_err();
    assert!(error.to_string().starts_with(name), "{error}");
    let written = by_anchors
        .iter()
        .chain(&rows)
        .chain(by_candidates.iter().flatten());
    assert!(written.into_iter().all(|&x| x == 7.0));
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_buffers_untouched() {
    let (rows, other) = (Array2::zeros((4, 3)), Array2::zeros((5, 2)));
    let (labels, few) = (array![1, 1, 2, 2], array![1, 1, 2]);
    let input = BatchTripletInput::new(rows.view(), labels.view());
    check(BatchTripletInput::new(rows.view(), few.view()), "labels");
    check(
        input.with_candidates(other.view(), few.view()),
        "candidates",
    );
    check(
        input.with_candidates(rows.view(), few.view()),
        "candidates.labels",
    );
    let (short, negative) = (array![1.0, 1.0, 1.0], array![1.0, 1.0, -1.0, 1.0]);
    check(input.with_weights(short.view()), "weights");
    check(input.with_weights(negative.view()), "weights[2]");
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    let (rows, labels) = (Array2::<f64>::zeros((4, 3)), array![1, 1, 2, 2]);
    let loss = BatchTripletLoss::new(TripletMining::BatchAll, 1.0).unwrap();
    let input = BatchTripletInput::new(rows.view(), labels.view());
    assert!(
        loss.forward_rows(input, Array1::zeros(3).view_mut())
            .is_err()
    );
    let mut narrow = Array2::zeros((4, 2));
    let gradient = BatchTripletGradient {
        anchors: Some(narrow.view_mut()),
        ..Default::default()
    };
    assert!(loss.backward(input, gradient).is_err());
    // A gradient by candidates that are not there.
    let gradient = BatchTripletGradient {
        candidates: Some(narrow.view_mut()),
        ..Default::default()
    };
    assert!(loss.backward(input, gradient).is_err());
}

#[test]
fn searches_that_do_not_fit_are_refused() {
    let (queries, documents) = (Array2::<f32>::zeros((2, 3)), Array2::zeros((4, 3)));
    let miner = HardNegativeMiner::new(1).unwrap();
    let input = HardNegativeInput::new(queries.view(), documents.view());
    let refused = |input| miner.find(input).unwrap_err();
    let short = documents.slice_axis(Axis(1), (..2).into());
    assert!(matches!(
        refused(HardNegativeInput::new(queries.view(), short)),
        Error::Shape { .. }
    ));
    let offset = input.with_targets(Targets::Offset(3));
    assert!(matches!(refused(offset), Error::Index { .. }));
    let (two, three) = (array![1, 2], array![1, 2, 3]);
    assert!(matches!(
        refused(input.with_ids(two.view(), three.view())),
        Error::Shape { .. }
    ));
    assert!(matches!(
        refused(input.with_ids(three.view(), three.view())),
        Error::Shape { .. }
    ));
    let margin = miner
        .with_false_negatives(FalseNegatives::Relative(0.1))
        .unwrap();
    assert!(matches!(margin.find(input), Err(Error::IllDefined { .. })));
}
