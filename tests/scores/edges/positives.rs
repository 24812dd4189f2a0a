//! Softmax cross-entropy of rows with no positive, with several, with nothing else, or with one that is left out.

use super::{INF, close, input, softmax};
use contrastive::{
    Loss, Positives, Reduction, SeveralPositives, SoftmaxCrossEntropyReport, Want, Workspace,
};
use ndarray::{Array1, Array2, array};

#[test]
fn rows_without_a_positive_are_counted_and_not_divided_by() {
    let scores = array![[1.0, 0.0], [f64::NAN, 3.0], [0.0, 1.0]];
    let (offsets, indices) = (array![0, 1, 1, 2], array![0, 1]);
    let positives = Positives::Lists {
        offsets: offsets.view(),
        indices: indices.view(),
    };
    let one = (-1.0_f64).exp().ln_1p();
    let weights = array![1.0, 5.0, 3.0];
    for (reduction, z) in [
        (Reduction::Mean, 1.0),
        (Reduction::MeanActive, 1.0),
        (Reduction::Sum, 0.5),
        (Reduction::Over(4.0), 2.0),
    ] {
        let loss = softmax(1.0).with_reduction(reduction).unwrap();
        let mut report = SoftmaxCrossEntropyReport::default();
        let want = Want::value().with_report(&mut report);
        let value = loss
            .evaluate(
                input(&scores).with_positives(positives),
                want,
                &mut Workspace::new(),
            )
            .unwrap();
        close(value, one / z);
        assert_eq!((report.without_positive, report.accuracy), (1, 1.0));
        assert_eq!(report.reciprocal_rank, 1.0);
        let weighted = loss
            .forward(
                input(&scores)
                    .with_positives(positives)
                    .with_weights(weights.view()),
            )
            .unwrap();
        close(weighted, if z == 1.0 { one } else { 2.0 * one / z });
        let (_, gradient) = loss
            .value_and_gradient(input(&scores).with_positives(positives))
            .unwrap();
        assert_eq!(gradient.scores.row(1), array![0.0, 0.0]);
    }
    let (offsets, indices) = (Array1::zeros(4), Array1::zeros(0));
    let none = Positives::Lists {
        offsets: offsets.view(),
        indices: indices.view(),
    };
    let (value, gradient) = softmax(1.0)
        .value_and_gradient(input(&scores).with_positives(none))
        .unwrap();
    assert_eq!(
        (value, gradient.log_temperature, gradient.scores),
        (0.0, 0.0, Array2::zeros((3, 2)))
    );
}

#[test]
fn positive_that_is_left_out_by_its_score_costs_infinitely_much() {
    let scores = array![[-INF, 0.0, 0.0]];
    let (value, gradient) = softmax(1.0).value_and_gradient(input(&scores)).unwrap();
    assert_eq!((value, gradient.scores), (INF, array![[-1.0, 0.5, 0.5]]));
    let all = array![[-INF, -INF]];
    assert_eq!(softmax(1.0).forward(input(&all)).unwrap(), INF);
}

#[test]
fn lone_candidate_costs_nothing() {
    let scores = array![[3.0]];
    for smoothing in [0.0, 0.5] {
        let loss = softmax(0.1).with_label_smoothing(smoothing).unwrap();
        let (value, gradient) = loss.value_and_gradient(input(&scores)).unwrap();
        assert_eq!(
            (value, gradient.scores[[0, 0]], gradient.log_temperature),
            (0.0, 0.0, 0.0)
        );
    }
    let (offsets, indices) = (array![0, 2], array![0, 1]);
    let positives = Positives::Lists {
        offsets: offsets.view(),
        indices: indices.view(),
    };
    let scores = array![[2.0, 2.0]];
    let loss = softmax(1.0).with_several_positives(SeveralPositives::Apart);
    assert_eq!(
        loss.forward(input(&scores).with_positives(positives))
            .unwrap(),
        0.0
    );
    let (value, gradient) = softmax(1.0)
        .value_and_gradient(input(&scores).with_positives(positives))
        .unwrap();
    close(value, 2.0_f64.ln());
    assert_eq!(gradient.scores, array![[0.0, 0.0]]);
}

#[test]
fn softmax_reports_the_mean_probability_of_several_positives() {
    // Exponentials 1, 2 and 3, of which the first and the last are positives.
    let scores = array![[1.0_f64.ln(), 2.0_f64.ln(), 3.0_f64.ln()]];
    let (offsets, indices) = (array![0, 2], array![0, 2]);
    let positives = Positives::Lists {
        offsets: offsets.view(),
        indices: indices.view(),
    };
    for (several, sum) in [
        (SeveralPositives::Together, 1.0 / 6.0 + 3.0 / 6.0),
        (SeveralPositives::Apart, 1.0 / 3.0 + 3.0 / 5.0),
    ] {
        let mut report = SoftmaxCrossEntropyReport::default();
        let want = Want::value().with_report(&mut report);
        softmax(1.0)
            .with_several_positives(several)
            .evaluate(
                input(&scores).with_positives(positives),
                want,
                &mut Workspace::new(),
            )
            .unwrap();
        close(report.positive_probability, sum / 2.0);
    }
}

#[test]
fn positive_of_minus_infinity_among_others_costs_infinity_and_the_gradient_is_that_of_the_rest() {
    let scores = array![[-INF, 0.0, 0.0]];
    let (offsets, indices) = (array![0, 2], array![0, 1]);
    let positives = Positives::Lists {
        offsets: offsets.view(),
        indices: indices.view(),
    };
    let together = softmax(1.0).with_several_positives(SeveralPositives::Together);
    let (value, gradient) = together
        .value_and_gradient(input(&scores).with_positives(positives))
        .unwrap();
    assert_eq!(value, INF);
    // p − 1/2 of the positives, p of the other.
    assert_eq!(gradient.scores, array![[-0.5, 0.0, 0.5]]);

    // With nothing but positives there is no rest, and what is left out stays out of it.
    let scores = array![[-INF, -INF, -INF]];
    let (value, gradient) = together
        .value_and_gradient(input(&scores).with_positives(positives))
        .unwrap();
    assert_eq!((value, gradient.scores), (INF, array![[-0.5, -0.5, 0.0]]));
}
