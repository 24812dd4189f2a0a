//! Hinges, ties and zero distances: the documented side of each kink, exactly.

use crate::common::{
    CosineOptions, Metric, Options, Problem, TripletOptions, all_zero, largest, list,
};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, Loss, Lp, PairLabel, TripletMarginInput,
    TripletMarginLoss,
};
use ndarray::{Array3, Axis, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-13;

#[test]
fn zero_distance_has_gradient_zero_for_every_distance() {
    for metric in list::metrics() {
        let options = TripletOptions {
            margin: 0.5,
            soft: false,
            swap: false,
            metric,
            negatives: 1,
        };
        let mut problem = Problem::new(Options::Triplet(options), 2, 6, 9);
        if matches!(metric, Metric::User)
            || matches!(metric, Metric::Lp { epsilon, .. } if epsilon > 0.0)
        {
            continue;
        }
        // All at one point: the triplet is active, and nothing can be said of where to go.
        let same = problem.parts[0].clone();
        problem.parts[1] = same.clone();
        problem.parts[2] = same.insert_axis(Axis(1));
        let solved = problem.solve();
        assert!((solved.value - 0.5).abs() < ROUNDING, "{metric:?}");
        for gradient in &solved.gradient {
            assert!(largest(gradient) < ROUNDING, "{metric:?}: {gradient}");
        }
    }
}

#[test]
fn pytorch_s_epsilon_gives_equal_rows_a_gradient_of_norm_one() {
    let x = array![[1.0, 2.0, 3.0, 4.0]];
    let input = TripletMarginInput::new(x.view(), x.view(), x.view());
    let loss = TripletMarginLoss::new(1.0)
        .unwrap()
        .with_distance(Lp::euclidean().with_epsilon(1e-6).unwrap());
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    assert_eq!(value, 1.0);
    let norm = gradient.positive.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() < ROUNDING);
}

#[test]
fn pair_exactly_at_its_margin_is_inactive() {
    // cos = 0.6, exactly.
    let (x, y) = (array![[3.0, 4.0]], array![[1.0, 0.0]]);
    for (options, label) in [
        (
            CosineOptions {
                margin: 0.6,
                positive_margin: 1.0,
                epsilon: 0.0,
            },
            PairLabel::NoMatch,
        ),
        (
            CosineOptions {
                margin: 0.0,
                positive_margin: 0.5,
                epsilon: 0.0,
            },
            PairLabel::Match,
        ),
    ] {
        let labels = array![label];
        let loss = CosineEmbeddingLoss::new(options.margin)
            .unwrap()
            .with_positive_margin(options.positive_margin)
            .unwrap();
        let (value, gradient) = loss
            .value_and_gradient(CosineEmbeddingInput::new(x.view(), y.view(), labels.view()))
            .unwrap();
        assert!(
            value == 0.0 && all_zero(&gradient.x) && all_zero(&gradient.y),
            "{label:?}"
        );
    }
}

#[test]
fn triplet_exactly_at_its_margin_is_inactive() {
    // 1 + 5 − 6
    let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[3.0, 4.0]], array![[6.0, 0.0]]);
    let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
    let (value, gradient) = TripletMarginLoss::new(1.0)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    assert!(
        value == 0.0
            && all_zero(&gradient.anchor)
            && all_zero(&gradient.positive)
            && all_zero(&gradient.negatives)
    );
}

#[test]
fn inactive_rows_have_exactly_zero_gradient_and_active_ones_have_not() {
    for problem in list::problems(
        [list::cosine(), list::triplet(), list::pairs()].concat(),
        12,
        5,
    ) {
        let solved = problem.solve();
        for (i, &loss) in solved.rows.iter().enumerate() {
            let weight = problem.weights.as_ref().map_or(1.0, |weights| weights[i]);
            let zero = solved
                .gradient
                .iter()
                .all(|part| all_zero(part.index_axis(Axis(0), i)));
            if loss == 0.0 || weight == 0.0 {
                assert!(zero, "row {i}: {:?}", problem.options);
            } else {
                assert!(!zero, "row {i}: {:?}", problem.options);
            }
        }
    }
}

#[test]
fn tie_of_swap_counts_for_the_anchor() {
    // The negative is at distance 5 from both.
    let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[6.0, 0.0]], array![[3.0, 4.0]]);
    let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
    let loss = TripletMarginLoss::new(1.0).unwrap();
    let swapped = loss.with_swap(true).value_and_gradient(input).unwrap();
    assert_eq!(swapped, loss.value_and_gradient(input).unwrap());
    assert_eq!(swapped.1.positive, array![[1.0, 0.0]]);
}

#[test]
fn tied_coordinates_share_the_gradient_of_the_infinity_norm() {
    let (anchor, positive) = (array![[0.0, 0.0, 0.0, 0.0]], array![[2.0, -2.0, 1.0, 2.0]]);
    let far = array![[0.0, 0.0, 0.0, 2.5]];
    let input = TripletMarginInput::new(anchor.view(), positive.view(), far.view());
    let loss = TripletMarginLoss::new(1.0)
        .unwrap()
        .with_distance(Lp::infinity());
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    let third: f64 = 1.0 / 3.0;
    assert_eq!(value, 0.5);
    assert_eq!(gradient.positive, array![[third, -third, 0.0, third]]);
    assert_eq!(
        gradient.negatives,
        Array3::from_shape_vec((1, 1, 4), vec![0.0, 0.0, 0.0, -1.0]).unwrap()
    );
}
