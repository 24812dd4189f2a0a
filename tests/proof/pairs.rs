//! What the losses of pairs promise beyond what all losses do.

use crate::common::{Problem, Wanted, all_zero, largest, list};
use contrastive::{
    AngleLoss, CoSentLoss, ContrastiveLoss, ContrastiveReport, CosineSimilarityLoss,
    CosineSimilarityReport, Error, Loss, Lp, PairGradient, PairInput, PairLabel, PairOwnedGradient,
    RankingReport, Reduction, Want, Workspace,
};
use ndarray::{Array1, Array2, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-13;

/// What any loss of graded pairs answers.
trait Graded:
    for<'a> Loss<
        f64,
        Input<'a> = PairInput<'a, f64, f64>,
        Gradient<'a> = PairGradient<'a, f64>,
        OwnedGradient = PairOwnedGradient<f64, f64>,
        Report = RankingReport,
    >
{
    fn solve(
        &self,
        x: &Array2<f64>,
        y: &Array2<f64>,
        grades: &Array1<f64>,
        weights: Option<&Array1<f64>>,
    ) -> (f64, Array2<f64>) {
        let mut input = PairInput::new(x.view(), y.view(), grades.view());
        input.weights = weights.map(|weights| weights.view());
        let (value, gradient) = self.value_and_gradient(input).unwrap();
        (value, gradient.x)
    }
}

impl Graded for CoSentLoss {}
impl Graded for AngleLoss {}

fn batch(n: usize) -> (Array2<f64>, Array2<f64>, Array1<f64>) {
    let mut random = crate::common::random::Random::new(n as u64);
    let mut rows = || Array2::from_shape_fn((n, 6), |_| random.signed());
    let (x, y) = (rows(), rows());
    (x, y, Array1::from_shape_fn(n, |i| (i * 3 % 4) as f64 / 3.0))
}

fn twice_is_weight_two(loss: &impl Graded) {
    let (x, y, grades) = batch(9);
    let weights = Array1::from_shape_fn(9, |i| if i == 4 { 2.0 } else { 1.0 });
    let (value, gradient) = loss.solve(&x, &y, &grades, Some(&weights));
    let rows: Vec<_> = (0..9).chain([4]).collect();
    let repeat = |rows_of: &Array2<f64>| rows_of.select(ndarray::Axis(0), &rows);
    let grades = grades.select(ndarray::Axis(0), &rows);
    let (expected, repeated) = loss.solve(&repeat(&x), &repeat(&y), &grades, None);
    assert!((value - expected).abs() < ROUNDING * expected);
    for i in 0..9 {
        let factor = if i == 4 { 2.0 } else { 1.0 };
        let off = largest(&(&gradient.row(i) - &(&repeated.row(i) * factor)));
        assert!(off < ROUNDING * 20.0, "{i}: {off}");
    }
}

#[test]
fn pair_of_weight_two_counts_as_if_it_were_there_twice() {
    twice_is_weight_two(&CoSentLoss::new(20.0).unwrap());
    twice_is_weight_two(&AngleLoss::new(20.0).unwrap());
}

fn without_comparisons_nothing_counts(loss: &impl Graded) {
    let (mut x, y, _) = batch(5);
    x[[1, 2]] = f64::NAN;
    let (value, gradient) = loss.solve(&x, &y, &Array1::from_elem(5, 0.7), None);
    assert!(value == 0.0 && all_zero(&gradient));
}

#[test]
fn equal_grades_are_not_compared_and_their_pairs_cost_exactly_nothing() {
    without_comparisons_nothing_counts(&CoSentLoss::new(20.0).unwrap());
    without_comparisons_nothing_counts(&AngleLoss::new(20.0).unwrap());
}

fn nan_counts_if_its_pair_does(loss: &impl Graded) {
    let (x, y, grades) = batch(6);
    let weights = array![1.0, 2.0, 0.0, 1.0, 0.5, 1.0];
    let clean = loss.solve(&x, &y, &grades, Some(&weights));
    for bad in [f64::NAN, f64::INFINITY] {
        let mut spoilt = x.clone();
        spoilt[[2, 3]] = bad;
        assert_eq!(loss.solve(&spoilt, &y, &grades, Some(&weights)), clean);
        assert!(loss.solve(&spoilt, &y, &grades, None).0.is_nan());
    }
}

#[test]
fn nan_in_a_pair_of_a_comparison_gives_nan_and_in_one_of_weight_zero_nothing() {
    nan_counts_if_its_pair_does(&CoSentLoss::new(20.0).unwrap());
    nan_counts_if_its_pair_does(&AngleLoss::new(20.0).unwrap());
}

#[test]
fn rankings_refuse_row_losses_negative_weights_and_grades_that_are_not_finite() {
    const SENTINEL: f64 = 321.0;
    for options in list::ranked() {
        let problem = Problem::new(options, 3, 5, 1);
        let mut weighted = problem.clone();
        weighted.weights = Some(array![1.0, -0.5, 1.0]);
        let error = weighted
            .evaluate(&weighted.views(), Wanted::value(), &mut Workspace::new())
            .unwrap_err();
        assert!(matches!(error, Error::Weight { row: 1, .. }), "{error}");
    }
    let (x, y, mut grades) = batch(3);
    let loss = CoSentLoss::new(20.0).unwrap();
    let mut rows = Array1::from_elem(3, SENTINEL);
    let input = PairInput::new(x.view(), y.view(), grades.view());
    let error = loss.forward_rows(input, rows.view_mut()).unwrap_err();
    assert!(matches!(error, Error::IllDefined { .. }) && error.to_string().contains("row losses"));
    assert!(rows.iter().all(|&x| x == SENTINEL));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        grades[1] = bad;
        let input = PairInput::new(x.view(), y.view(), grades.view());
        for error in [
            loss.forward(input).unwrap_err(),
            AngleLoss::new(1.0).unwrap().forward(input).unwrap_err(),
            CosineSimilarityLoss::new().forward(input).unwrap_err(),
        ] {
            let message = format!("labels[1]: expected a finite grade, found {bad}");
            assert_eq!(error.to_string(), message);
        }
    }
}

#[test]
fn rankings_of_no_pairs_and_of_one_are_zero() {
    for n in [0, 1] {
        let (x, y, grades) = batch(n);
        let (value, gradient) = CoSentLoss::new(20.0).unwrap().solve(&x, &y, &grades, None);
        assert!(value == 0.0 && all_zero(&gradient));
    }
}

#[test]
fn rankings_far_apart_keep_the_digits_of_a_tiny_loss() {
    // Cosines 1 and −1 in the right order: log(1 + e^−2·scale).
    let (x, y) = (
        array![[1.0, 0.0], [1.0, 0.0]],
        array![[2.0, 0.0], [-3.0, 0.0]],
    );
    let grades = array![1.0, 0.0];
    let (value, _) = CoSentLoss::new(50.0).unwrap().solve(&x, &y, &grades, None);
    assert!(
        (value / (-100.0_f64).exp() - 1.0).abs() < ROUNDING,
        "{value}"
    );
    // And in the wrong one, at a scale whose exponential is no number.
    let (value, _) = CoSentLoss::new(1e6).unwrap().solve(&x, &y, &-&grades, None);
    assert_eq!(value, 2e6);
}

#[test]
fn equal_and_opposite_rows_have_angle_similarity_one_and_zero_rows_zero() {
    // Compared with a zero pair of another grade, the loss tells the similarity: log(1 + e^±s).
    let rows = array![[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]];
    for (other, expected) in [
        (array![0.6, -2.0, 4.0], 1.0),
        (array![-0.3, 1.0, -2.0], 1.0),
    ] {
        let mut y = rows.clone();
        y.row_mut(0).assign(&other);
        let grades = array![0.0, 1.0];
        let (value, gradient) = AngleLoss::new(1.0).unwrap().solve(&rows, &y, &grades, None);
        assert!(
            (value - f64::exp(expected).ln_1p()).abs() < ROUNDING,
            "{value}"
        );
        assert!(all_zero(gradient.row(1)));
    }
}

#[test]
fn angle_similarity_zero_has_gradient_zero() {
    // h = 1 − i: real and imaginary part cancel.
    let (x, y) = (
        array![[1.0, 0.0], [1.0, 0.0]],
        array![[1.0, 1.0], [1.0, 0.0]],
    );
    let (_, gradient) = AngleLoss::new(1.0)
        .unwrap()
        .solve(&x, &y, &array![1.0, 0.0], None);
    assert!(all_zero(gradient.row(0)) && !all_zero(gradient.row(1)));
}

#[test]
fn unpaired_coordinate_of_an_odd_dimension_is_real() {
    let (x, y, grades) = batch(8);
    let odd = |rows: &Array2<f64>| rows.slice(ndarray::s![.., ..5]).to_owned();
    let padded = |rows: &Array2<f64>| {
        let mut padded = rows.clone();
        padded.column_mut(5).fill(0.0);
        padded
    };
    let loss = AngleLoss::new(5.0).unwrap();
    let (value, gradient) = loss.solve(&odd(&x), &odd(&y), &grades, None);
    let (expected, of_padded) = loss.solve(&padded(&x), &padded(&y), &grades, None);
    assert!((value - expected).abs() < ROUNDING);
    assert!(largest(&(gradient - of_padded.slice(ndarray::s![.., ..5]))) < ROUNDING);
}

/// Rows (1, 0) and (1, θ): 1 − c = θ² / (r(1 + r)) with r = √(1 + θ²), and ∂(1 − c)/∂x = −(0, θ/r).
#[test]
fn nearly_parallel_pairs_keep_their_digits() {
    for angle in [1e-3_f64, 1e-6, 1e-9] {
        let (x, y) = (array![[1.0, 0.0]], array![[1.0, angle]]);
        let length = angle.hypot(1.0);
        let distance = angle * angle / (length * (1.0 + length));
        let labels = array![PairLabel::Match];
        let input = PairInput::new(x.view(), y.view(), labels.view());
        let loss = ContrastiveLoss::new(0.5).unwrap();
        let contrastive = loss.value_and_gradient(input).unwrap();
        let grades = array![1.0];
        let input = PairInput::new(x.view(), y.view(), grades.view());
        let squared = CosineSimilarityLoss::new()
            .value_and_gradient(input)
            .unwrap();
        for (value, slope, factor) in [
            (contrastive.0, contrastive.1.x[[0, 1]], 0.5),
            (squared.0, squared.1.x[[0, 1]], 1.0),
        ] {
            let exact = factor * distance * distance;
            assert!(
                (value / exact - 1.0).abs() < ROUNDING,
                "{angle}: {value} {exact}"
            );
            let exact = -2.0 * factor * distance * angle / length;
            assert!(
                (slope / exact - 1.0).abs() < ROUNDING,
                "{angle}: {slope} {exact}"
            );
        }
    }
}

#[test]
fn hard_pairs_without_the_other_kind_are_beyond_the_mean() {
    // Distances 1, 2 and 6, mean 3.
    let (x, y) = (Array2::zeros((3, 1)), array![[1.0], [2.0], [6.0]]);
    for (label, expected) in [(true, [0.0, 0.0, 6.0]), (false, [4.0, 3.0, 0.0])] {
        let labels = Array1::from_elem(3, PairLabel::from(label));
        let loss = ContrastiveLoss::new(5.0)
            .unwrap()
            .with_distance(Lp::euclidean())
            .with_linear(true)
            .with_hard_pairs(true);
        let mut rows = Array1::zeros(3);
        let input = PairInput::new(x.view(), y.view(), labels.view());
        loss.forward_rows(input, rows.view_mut()).unwrap();
        assert_eq!(rows.to_vec(), expected);
    }
}

#[test]
fn nan_in_a_pair_shows_among_hard_pairs_but_not_with_weight_zero() {
    let (mut x, y, _) = batch(8);
    let labels = Array1::from_shape_fn(8, |i| PairLabel::from(i % 2 == 0));
    let loss = ContrastiveLoss::new(0.9).unwrap().with_hard_pairs(true);
    let weights = Array1::from_shape_fn(8, |i| if i == 3 { 0.0 } else { 1.0 });
    let solve = |x: &Array2<f64>, weights: Option<&Array1<f64>>| {
        let mut input = PairInput::new(x.view(), y.view(), labels.view());
        input.weights = weights.map(|weights| weights.view());
        loss.value_and_gradient(input).unwrap()
    };
    let clean = solve(&x, Some(&weights));
    x[[3, 1]] = f64::NAN;
    assert_eq!(solve(&x, Some(&weights)), clean);
    assert!(solve(&x, None).0.is_nan());
}

#[test]
fn reports_of_pairs_are_those_of_a_hand() {
    let x = array![[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]];
    let y = array![[3.0, 4.0], [2.0, 0.0], [0.0, 5.0], [4.0, 3.0]];
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < ROUNDING, "{found} {expected}")
    };
    let labels = [true, true, false, false].map(PairLabel::from);
    let labels = Array1::from_vec(labels.to_vec());
    let mut report = ContrastiveReport::default();
    let input = PairInput::new(x.view(), y.view(), labels.view());
    let want = Want::value().with_report(&mut report);
    let loss = ContrastiveLoss::new(0.5).unwrap();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    close(report.active, 0.5); // the first and the last
    close(report.match_distance, 0.2); // 0.4 and 0
    close(report.no_match_distance, 0.6); // 1 and 0.2

    let grades = array![0.5, 0.0, 0.5, 1.0];
    let mut report = CosineSimilarityReport::default();
    let input = PairInput::new(x.view(), y.view(), grades.view());
    let want = Want::value().with_report(&mut report);
    let loss = CosineSimilarityLoss::new();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    close(report.cosine, 0.6); // 0.6, 1, 0, 0.8
    close(report.absolute_error, (0.1 + 1.0 + 0.5 + 0.2) / 4.0);

    // Compared are 3 with all others, 0 and 2 with 1: right are 3 above 0 and 2.
    let mut report = RankingReport::default();
    let want = Want::value().with_report(&mut report);
    let loss = CoSentLoss::new(20.0).unwrap();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    assert_eq!((report.comparisons, report.concordance), (5.0, 0.4));
}

#[test]
fn means_over_no_pairs_are_nan_in_reports() {
    let (x, y, grades) = batch(0);
    let input = PairInput::new(x.view(), y.view(), grades.view());
    let mut report = RankingReport::default();
    let want = Want::value().with_report(&mut report);
    let loss = CoSentLoss::new(20.0).unwrap();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    assert!(report.comparisons == 0.0 && report.concordance.is_nan());
    let mut report = CosineSimilarityReport::default();
    let want = Want::value().with_report(&mut report);
    let loss = CosineSimilarityLoss::new()
        .with_reduction(Reduction::Sum)
        .unwrap();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    assert!(report.cosine.is_nan() && report.absolute_error.is_nan());
}
