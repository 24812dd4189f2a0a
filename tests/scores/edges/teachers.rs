//! Losses whose teacher is given: distillation and margin MSE.

use super::{INF, close};
use contrastive::{
    DistillationInput, DistillationLoss, DistillationReport, Divergence, Loss, MarginMseInput,
    MarginMseLoss, MarginMseReport, TeacherMargins, Want, Workspace,
};
use ndarray::{Array2, array, s};

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
