//! Softmax cross-entropy of scores: digits, infinities, NaN, shares of a batch, and what is reported.

use super::{INF, close, input, softmax};
use contrastive::{
    InfoNceInput, InfoNceLoss, Loss, Positives, Reduction, ScoreFunction, SeveralPositives, Sides,
    Similarity, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyReport, Want, Workspace,
};
use ndarray::{Array1, Array2, array, s};

#[test]
fn loss_and_gradient_keep_their_digits_when_the_positive_is_far_ahead() {
    let scores = array![[300.0, -300.0]];
    let (value, gradient) = softmax(1.0).value_and_gradient(input(&scores)).unwrap();
    let exact = (-600.0_f64).exp();
    assert!((value / exact - 1.0).abs() < 1e-12);
    assert!((gradient.scores[[0, 0]] / -exact - 1.0).abs() < 1e-12);
    assert!((gradient.scores[[0, 1]] / exact - 1.0).abs() < 1e-12);
    assert!((gradient.log_temperature / (600.0 * exact) - 1.0).abs() < 1e-12);
}

#[test]
fn score_of_minus_infinity_is_a_candidate_that_is_left_out() {
    let (scores, masked) = (
        array![[1.0, -INF, 0.5], [0.0, 2.0, -INF]],
        array![[1.0, 7.0, 0.5], [0.0, 2.0, 9.0]],
    );
    let mask = array![[true, true, false], [false, false, true]]; // the first hits the positive, which stays
    for smoothing in [0.0, 0.2] {
        let loss = softmax(0.5).with_label_smoothing(smoothing).unwrap();
        let by_score = loss.value_and_gradient(input(&scores)).unwrap();
        let by_mask = loss
            .value_and_gradient(input(&masked).with_left_out(mask.view()))
            .unwrap();
        assert_eq!(by_score, by_mask);
        assert_eq!(
            (by_mask.1.scores[[0, 1]], by_mask.1.scores[[1, 2]]),
            (0.0, 0.0)
        );
        assert!(by_mask.1.scores[[0, 0]] < 0.0);
    }
}

#[test]
fn only_what_takes_part_can_make_the_loss_nan() {
    for bad in [f64::NAN, INF] {
        for at in 0..3 {
            let mut scores = array![[0.3, 0.1, 0.2]];
            scores[[0, at]] = bad;
            for form in [SeveralPositives::Together, SeveralPositives::Apart] {
                let (offsets, indices) = (array![0, 2], array![0, 1]);
                let positives = Positives::Lists {
                    offsets: offsets.view(),
                    indices: indices.view(),
                };
                let loss = softmax(1.0).with_several_positives(form);
                assert!(
                    loss.forward(input(&scores).with_positives(positives))
                        .unwrap()
                        .is_nan()
                );
            }
            assert!(softmax(1.0).forward(input(&scores)).unwrap().is_nan());
            let mut mask = Array2::from_elem((1, 3), false);
            mask[[0, at]] = true;
            let masked = softmax(1.0)
                .forward(input(&scores).with_left_out(mask.view()))
                .unwrap();
            assert_eq!(masked.is_nan(), at == 0, "the positive takes part");
            let weights = array![0.0];
            let weighted = input(&scores).with_weights(weights.view());
            let (value, gradient) = softmax(1.0).value_and_gradient(weighted).unwrap();
            assert_eq!(
                (value, gradient.scores, gradient.log_temperature),
                (0.0, Array2::zeros((1, 3)), 0.0)
            );
        }
    }
}

#[test]
fn finite_scores_have_finite_losses_and_gradients() {
    let large = f64::MAX / 8.0;
    for scores in [
        array![[large, -large, 0.0]],
        array![[-large, large, large]],
        array![[1e-300, 0.0, -1e-300]],
    ] {
        for form in [SeveralPositives::Together, SeveralPositives::Apart] {
            for several in [1, 2] {
                let (offsets, indices) = (array![0, several], Array1::from_iter(0..several));
                let positives = Positives::Lists {
                    offsets: offsets.view(),
                    indices: indices.view(),
                };
                let loss = softmax(1.0)
                    .with_several_positives(form)
                    .with_label_smoothing(0.1)
                    .unwrap();
                let (value, gradient) = loss
                    .value_and_gradient(input(&scores).with_positives(positives))
                    .unwrap();
                assert!(
                    value.is_finite() && gradient.log_temperature.is_finite(),
                    "{value} {gradient:?}"
                );
                assert!(
                    gradient.scores.iter().all(|x| x.is_finite()),
                    "{gradient:?}"
                );
            }
        }
    }
}

#[test]
fn shares_of_a_batch_add_up_to_the_whole() {
    let scores = Array2::from_shape_fn((5, 6), |(i, j)| ((i * 7 + j * 3) as f64).sin());
    let whole = softmax(0.5).value_and_gradient(input(&scores)).unwrap();
    let (mut sum, mut slope) = (0.0, 0.0);
    for (start, end) in [(0, 2), (2, 5)] {
        let share = SoftmaxCrossEntropyInput::new(scores.slice(s![start..end, ..]));
        let loss = softmax(0.5).with_reduction(Reduction::Over(5.0)).unwrap();
        let (value, gradient) = loss
            .value_and_gradient(share.with_positives(Positives::Offset(start)))
            .unwrap();
        sum += value;
        slope += gradient.log_temperature;
        for (found, expected) in gradient
            .scores
            .iter()
            .zip(whole.1.scores.slice(s![start..end, ..]))
        {
            close(*found, *expected);
        }
    }
    close(sum, whole.0);
    close(slope, whole.1.log_temperature);
    let targets = Array1::from_iter(0..5);
    let indexed = input(&scores).with_positives(Positives::Index(targets.view()));
    assert_eq!(softmax(0.5).value_and_gradient(indexed).unwrap(), whole);
}

#[test]
fn cosine_scores_give_info_nce() {
    let rows = |n: usize, phase: f64| {
        Array2::from_shape_fn((n, 4), |(i, j)| ((3 * i + j) as f64 + phase).sin())
    };
    let (queries, documents) = (rows(3, 0.0), rows(5, 0.4));
    let sides = Sides {
        queries: queries.view(),
        documents: documents.view(),
    };
    let mut scores = Array2::zeros((3, 5));
    let function = contrastive::DenseScores::new(Similarity::Cosine);
    function.forward(sides, scores.view_mut()).unwrap();
    let (value, gradient) = softmax(0.1).value_and_gradient(input(&scores)).unwrap();
    let (mut to_queries, mut to_documents) = (queries.clone(), documents.clone());
    let to = Sides {
        queries: Some(to_queries.view_mut()),
        documents: Some(to_documents.view_mut()),
    };
    function
        .backward(sides, gradient.scores.view(), to)
        .unwrap();
    let loss = InfoNceLoss::new(0.1).unwrap();
    let (expected, exact) = loss
        .value_and_gradient(InfoNceInput::new(queries.view(), documents.view()))
        .unwrap();
    close(value, expected);
    close(gradient.log_temperature, exact.log_temperature);
    let pairs = to_queries
        .iter()
        .zip(&exact.queries)
        .chain(to_documents.iter().zip(&exact.documents));
    pairs.for_each(|(&found, &expected)| {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}")
    });
}

#[test]
fn softmax_reports_ranks_probabilities_and_what_was_left_out() {
    let scores = array![[2.0, 1.0, 0.0, 5.0], [0.0, 1.0, 1.0, 3.0]];
    let mask = array![[false, false, false, true], [false, true, false, false]];
    let mut report = SoftmaxCrossEntropyReport::default();
    let want = Want::value().with_report(&mut report);
    let batch = input(&scores).with_left_out(mask.view());
    softmax(1.0)
        .evaluate(batch, want, &mut Workspace::new())
        .unwrap();
    // The mask hits the positive of the second row, which stays; its tie counts as no better, the last column does.
    assert_eq!(
        (report.accuracy, report.reciprocal_rank, report.left_out),
        (0.5, 0.75, 1)
    );
    let e = |x: f64| x.exp();
    let first = e(2.0) / (e(2.0) + e(1.0) + 1.0);
    let second = e(1.0) / (1.0 + 2.0 * e(1.0) + e(3.0));
    close(report.positive_probability, (first + second) / 2.0);
}
