//! Documented edge cases, each with numbers that can be checked by hand.

use contrastive::{
    Csr, DistillationInput, DistillationLoss, DistillationReport, Divergence, InfoNceInput,
    InfoNceLoss, Loss, M3Input, M3Loss, M3Report, M3Weights, MarginMseInput, MarginMseLoss,
    MarginMseReport, MaxSim, Positives, Reduction, ScoreFunction, SeveralPositives, Sides,
    Similarity, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss, SoftmaxCrossEntropyReport,
    SparseDot, TeacherMargins, Tokens, Want, Workspace,
};
use ndarray::{Array1, Array2, ArrayView2, array, s};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-14;

const INF: f64 = f64::INFINITY;

fn softmax(temperature: f64) -> SoftmaxCrossEntropyLoss {
    SoftmaxCrossEntropyLoss::new(temperature).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= ROUNDING * expected.abs().max(1.0),
        "{found}, not {expected}"
    );
}

fn input(scores: &Array2<f64>) -> SoftmaxCrossEntropyInput<'_, f64> {
    SoftmaxCrossEntropyInput::new(scores.view())
}

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
fn positive_that_is_left_out_by_its_score_costs_infinitely_much() {
    let scores = array![[-INF, 0.0, 0.0]];
    let (value, gradient) = softmax(1.0).value_and_gradient(input(&scores)).unwrap();
    assert_eq!((value, gradient.scores), (INF, array![[-1.0, 0.5, 0.5]]));
    let all = array![[-INF, -INF]];
    assert_eq!(softmax(1.0).forward(input(&all)).unwrap(), INF);
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

fn distilled(student: &Array2<f64>, teacher: &Array2<f64>) -> (f64, Array2<f64>) {
    let input = DistillationInput::new(student.view(), teacher.view());
    let (value, gradient) = DistillationLoss::new(1.0)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    (value, gradient.student)
}

#[test]
fn student_without_any_of_the_teacher_s_candidates_diverges_infinitely() {
    let (student, teacher) = (array![[-INF, -INF]], array![[0.0, 3.0_f64.ln()]]);
    let (value, gradient) = distilled(&student, &teacher);
    assert_eq!(value, INF);
    close(gradient[[0, 0]], -0.25);
    close(gradient[[0, 1]], -0.75);
}

#[test]
fn divergence_keeps_its_digits_when_the_student_is_near_the_teacher() {
    let teacher = array![[0.0, 0.0]];
    assert_eq!(distilled(&teacher, &teacher), (0.0, array![[0.0, 0.0]]));
    for off in [1e-3_f64, 1e-6, 1e-9] {
        // p = (1/2, 1/2); KL = log cosh(δ/2), and q − p = tanh(δ/2)/2.
        let (value, gradient) = distilled(&array![[off, 0.0]], &teacher);
        let exact = off * off / 8.0 * (1.0 - off * off / 24.0);
        assert!(
            (value / exact - 1.0).abs() < 1e-12,
            "{off}: {value} {exact}"
        );
        // What both leave out costs no digits.
        let (masked, shortened) = distilled(&array![[off, 0.0, -INF]], &array![[0.0, 0.0, -INF]]);
        assert!((masked / exact - 1.0).abs() < 1e-12, "{off}: {masked}");
        let slope = (off / 2.0).tanh() / 2.0;
        for gradient in [gradient, shortened] {
            assert!(
                (gradient[[0, 0]] / slope - 1.0).abs() < 1e-12,
                "{off}: {gradient}"
            );
        }
    }
}

#[test]
fn divergence_of_what_is_left_out() {
    let (ln3, zero) = (3.0_f64.ln(), 0.0);
    // The teacher leaves a candidate out: its p is 0, and the student is told so.
    let (value, gradient) = distilled(&array![[zero, zero, zero]], &array![[ln3, zero, -INF]]);
    close(
        value,
        0.75 * (0.75_f64 * 3.0).ln() + 0.25 * (0.25_f64 * 3.0).ln(),
    );
    close(gradient[[0, 2]], 1.0 / 3.0);
    // The student alone leaves it out: infinite, but not NaN.
    assert_eq!(
        distilled(&array![[zero, -INF]], &array![[zero, zero]]).0,
        INF
    );
    // Both do.
    let (value, gradient) = distilled(&array![[zero, zero, -INF]], &array![[ln3, zero, -INF]]);
    close(value, 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln());
    assert_eq!(gradient[[0, 2]], 0.0);
    for bad in [f64::NAN, INF] {
        assert!(
            distilled(&array![[bad, zero]], &array![[zero, zero]])
                .0
                .is_nan()
        );
        assert!(
            distilled(&array![[zero, zero]], &array![[bad, zero]])
                .0
                .is_nan()
        );
    }
    // Far beyond the reach of the exponential: log p − log q is 2000 for half of the probability.
    let (value, _) = distilled(&array![[2000.0, zero]], &array![[zero, zero]]);
    close(value, 1000.0 - 2.0_f64.ln());
}

#[test]
fn rows_of_which_the_teacher_says_nothing_are_counted_and_not_divided_by() {
    let (student, teacher) = (
        array![[0.0, 0.0], [5.0, 1.0], [2.0, f64::NAN]],
        array![[3.0_f64.ln(), 0.0], [-INF, -INF], [1.0, 1.0]],
    );
    let mask = array![[false, false], [false, false], [true, true]];
    let input = DistillationInput::new(student.view(), teacher.view()).with_left_out(mask.view());
    for (divergence, entropy) in [
        (Divergence::KullbackLeibler, 0.0),
        (Divergence::CrossEntropy, 1.0),
    ] {
        let loss = DistillationLoss::new(1.0)
            .unwrap()
            .with_divergence(divergence);
        let mut report = DistillationReport::default();
        let value = loss
            .evaluate(
                input,
                Want::value().with_report(&mut report),
                &mut Workspace::new(),
            )
            .unwrap();
        let exact = -0.75 * 0.75_f64.ln() - 0.25 * 0.25_f64.ln();
        close(
            value,
            0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln() + entropy * exact,
        );
        close(report.teacher_entropy, exact);
        assert_eq!(report.without_teacher, 2);
        let (_, gradient) = loss.value_and_gradient(input).unwrap();
        assert_eq!(
            gradient.student.slice(s![1.., ..]),
            Array2::<f64>::zeros((2, 2))
        );
    }
}

#[test]
fn margins_keep_digits_that_plain_differences_lose() {
    // (1 + 1e-17) − (−1e-17) would be 1 in f64; the teacher's margin is 1.
    let (positive, negatives) = (array![1.0], array![[-3e-17]]);
    let margins = array![[1.0]];
    let input = MarginMseInput::new(
        positive.view(),
        negatives.view(),
        TeacherMargins::Margins(margins.view()),
    );
    let (value, gradient): (f64, _) = MarginMseLoss::new().value_and_gradient(input).unwrap();
    assert!(
        (value / 9e-34 - 1.0).abs() < 1e-14 && f64::abs(gradient.positive[0] / 6e-17 - 1.0) < 1e-14
    );
}

#[test]
fn margin_mse_reports_margins_and_agreement_and_infinite_scores_are_nan() {
    let (positive, negatives) = (array![1.0, 0.0], array![[0.0, 3.0], [1.0, 2.0]]);
    let (t_positive, t_negatives) = (array![4.0, 4.0], array![[0.0, 0.0], [8.0, 8.0]]);
    let teacher = TeacherMargins::Scores {
        positive: t_positive.view(),
        negatives: t_negatives.view(),
    };
    let mut report = MarginMseReport::default();
    let want = Want::value().with_report(&mut report);
    let input = MarginMseInput::new(positive.view(), negatives.view(), teacher);
    let value = MarginMseLoss::new()
        .evaluate(input, want, &mut Workspace::new())
        .unwrap();
    assert_eq!(value, (9.0 + 36.0 + 9.0 + 4.0) / 4.0);
    assert_eq!(
        (
            report.student_margin,
            report.teacher_margin,
            report.agreement
        ),
        (-1.0, 0.0, 0.75)
    );
    let with = |score: f64| {
        let mut negatives = negatives.clone();
        negatives[[0, 0]] = score;
        negatives
    };
    let (infinite, large) = (with(-INF), with(-1e200));
    let input = MarginMseInput::new(positive.view(), infinite.view(), teacher);
    assert!(MarginMseLoss::new().forward(input).unwrap().is_nan());
    let input = MarginMseInput::new(positive.view(), large.view(), teacher);
    let value = MarginMseLoss::new().forward(input).unwrap();
    assert_eq!(value, INF, "(1e200)² is above all numbers");
}

#[test]
fn m3_reports_the_losses_of_its_heads() {
    let scores = [array![[1.0, 0.0]], array![[0.0, 0.0]], array![[0.0, 2.0]]];
    let input = M3Input::new(scores[0].view(), scores[1].view(), scores[2].view());
    let mut report = M3Report::default();
    let loss = M3Loss::new(1.0).unwrap().with_self_distillation(false);
    let value = loss
        .evaluate(
            input,
            Want::value().with_report(&mut report),
            &mut Workspace::new(),
        )
        .unwrap();
    let ce = |behind: f64| behind.exp().ln_1p();
    close(report.dense, ce(-1.0));
    close(report.sparse, 2.0_f64.ln());
    close(report.multi_vector, ce(2.0));
    close(report.integrated, ce(1.0));
    close(
        value,
        (ce(-1.0) + 0.1 * 2.0_f64.ln() + ce(2.0) + ce(1.0)) / 4.0,
    );
}

fn max_sim(
    query: ArrayView2<'_, f64>,
    document: ArrayView2<'_, f64>,
) -> (f64, Array2<f64>, Array2<f64>) {
    let (q_offsets, d_offsets) = (array![0, query.nrows()], array![0, document.nrows()]);
    let sides = Sides {
        queries: Tokens::new(query.reborrow(), q_offsets.view()),
        documents: Tokens::new(document.reborrow(), d_offsets.view()),
    };
    let (mut score, upstream) = (array![[f64::NAN]], array![[1.0]]);
    let [mut to_q, mut to_d] =
        [query.dim(), document.dim()].map(|dim| Array2::from_elem(dim, f64::NAN));
    MaxSim::mean().forward(sides, score.view_mut()).unwrap();
    let to = Sides {
        queries: Some(to_q.view_mut()),
        documents: Some(to_d.view_mut()),
    };
    MaxSim::mean().backward(sides, upstream.view(), to).unwrap();
    (score[[0, 0]], to_q, to_d)
}

#[test]
fn first_of_equal_tokens_wins() {
    let (query, document) = (
        array![[1.0, 0.0]],
        array![[0.0, 1.0], [2.0, 5.0], [2.0, -1.0]],
    );
    let (score, to_q, to_d) = max_sim(query.view(), document.view());
    assert_eq!((score, to_q), (2.0, array![[2.0, 5.0]]));
    assert_eq!(to_d, array![[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]);
}

#[test]
fn texts_without_tokens_score_zero_and_nan_stays() {
    let (none, one) = (Array2::zeros((0, 2)), array![[1.0, 1.0]]);
    let (score, _, to_d) = max_sim(none.view(), one.view());
    assert_eq!((score, to_d), (0.0, array![[0.0, 0.0]]));
    let (score, to_q, _) = max_sim(one.view(), none.view());
    assert_eq!((score, to_q), (0.0, array![[0.0, 0.0]]));
    for at in 0..3 {
        let mut document = array![[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]];
        document[[at, 1]] = f64::NAN;
        assert!(max_sim(one.view(), document.view()).0.is_nan());
        document[[at, 1]] = INF;
        assert!(max_sim(one.view(), document.view()).0.is_nan());
    }
}

#[test]
fn pairs_without_an_upstream_gradient_are_asked_for_nothing() {
    let (tokens, offsets) = (array![[f64::NAN, 1.0], [1.0, 0.0]], array![0, 1, 2]);
    let sides = Sides {
        queries: Tokens::new(tokens.view(), offsets.view()),
        documents: Tokens::new(tokens.view(), offsets.view()),
    };
    let upstream = array![[0.0, 0.0], [0.0, 1.0]];
    let mut out = Array2::from_elem((2, 2), 5.0);
    let to = Sides {
        queries: Some(out.view_mut()),
        documents: None,
    };
    MaxSim::sum().backward(sides, upstream.view(), to).unwrap();
    assert_eq!(out, array![[0.0, 0.0], [1.0, 0.0]]);
}

#[test]
fn words_that_only_one_side_has_do_not_matter() {
    let (indptr, q_words, d_words) = (array![0, 2], array![1, 5], array![2, 5]);
    let (q_values, d_values) = (array![f64::NAN, 2.0], array![INF, 3.0]);
    let mut score = Array2::zeros((1, 1));
    let sides = Sides {
        queries: Csr::new(indptr.view(), q_words.view(), q_values.view()),
        documents: Csr::new(indptr.view(), d_words.view(), d_values.view()),
    };
    SparseDot.forward(sides, score.view_mut()).unwrap();
    assert_eq!(score[[0, 0]], 6.0);
}

#[test]
fn masked_candidates_do_not_teach_where_no_head_weighs() {
    let (scores, left_out) = (array![[1.0, 0.0, 0.0]], array![[false, false, true]]);
    let none = M3Weights {
        dense: 0.0,
        sparse: 0.0,
        multi_vector: 0.0,
    };
    let loss = M3Loss::new(1.0).unwrap().with_score_weights(none).unwrap();
    let input = M3Input::new(scores.view(), scores.view(), scores.view());
    let masked: f64 = loss.forward(input.with_left_out(left_out.view())).unwrap();
    let scores = array![[1.0, 0.0]];
    let input = M3Input::new(scores.view(), scores.view(), scores.view());
    assert_eq!(masked, loss.forward(input).unwrap());
}
