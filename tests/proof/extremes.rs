//! Rows, scores and temperatures so large or small that a plain formula over- or underflows.

use crate::common::random::Random;
use crate::common::{Metric, Options, Outcome, PairOptions, largest, list};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, Ids, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    Scalar, Similarity, Sources, Targets, TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, Array2, Array3, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-13;

/// Gradients beyond this may overflow on the way: InfoNCE adds contributions of up to some times the result in f32, and divides by the rows at the end
/// if the reduction is `MeanActive`.
const LARGEST_GRADIENT: f64 = f32::MAX as f64 / 64.0;

/// What is left of six digits after scores are rounded to f32.
const SINGLE: f64 = 1e-5;

/// Whether the loss of pairs does not see how long rows are. The others square distances.
fn of_cosines(options: PairOptions) -> bool {
    let metric = Options::Pair(options).metric();
    metric.is_none_or(|metric| metric == Metric::Cosine)
}

/// The cosine does not see how long rows are, so these are the results at norm 1, the gradients divided by the norm.
#[test]
fn extreme_norms_in_f32_change_no_cosine_and_divide_the_gradient() {
    let options: Vec<Options> = list::every()
        .into_iter()
        .filter(|options| match options {
            Options::Cosine(options) => options.epsilon == 0.0,
            Options::Triplet(options) => options.metric == Metric::Cosine,
            Options::InfoNce(options) => options.similarity == Similarity::Cosine,
            Options::Pair(options) => of_cosines(*options),
        })
        .collect();
    for problem in list::problems(options, 5, 9) {
        let expected = problem.narrow().solve();
        // Powers of two are exact; the last one makes numbers that are subnormal.
        for exponent in [-100, -60, 60, 100, 125, -130_i32] {
            let factor = 2_f64.powi(exponent);
            let mut scaled = problem.narrow().wide();
            for part in scaled.parts.iter_mut().filter(|part| part.ndim() > 0) {
                part.mapv_inplace(|x| x * factor);
            }
            let tolerance = if exponent < -126 { 1e-4 } else { SINGLE };
            let found = scaled.narrow().solve();
            let off = (found.value - expected.value).abs() as f64;
            assert!(
                off <= tolerance * f64::from(expected.value.abs()).max(1.0),
                "2^{exponent}: {off:e}: {:?}",
                problem.options
            );
            for (found, expected) in found.gradient.iter().zip(&expected.gradient) {
                let factor = if found.ndim() == 0 { 1.0 } else { factor };
                let scale = largest(expected).max(1e-3);
                for (&found, &expected) in found.iter().zip(expected) {
                    let exact = f64::from(expected) / factor;
                    if exact.abs() > LARGEST_GRADIENT {
                        continue;
                    }
                    let off = (f64::from(found) * factor - f64::from(expected)).abs();
                    // What is below the least normal number is rounded to the grid of the subnormal ones.
                    let grid = f64::from(f32::MIN_POSITIVE) * f64::from(f32::EPSILON) * factor;
                    assert!(
                        off <= tolerance * scale + grid,
                        "2^{exponent}: {found} for {exact}: {:?}",
                        problem.options
                    );
                }
            }
        }
    }
}

/// Whether scores are products of rows, which are rounded to f32 and overflow there even where the loss does not.
fn scores_are_products(options: Options) -> bool {
    matches!(options, Options::InfoNce(options) if options.similarity == Similarity::Dot)
}

/// Value, row losses and gradients, in one row.
fn numbers<A: Scalar>(outcome: &Outcome<A>) -> impl Iterator<Item = &A> {
    let gradients = outcome.gradient.iter().flatten();
    gradients.chain(&outcome.rows).chain([&outcome.value])
}

/// Squares, and squares of squares, may be beyond f32: then the result is infinite, but only then, and never NaN.
#[test]
fn rows_of_any_norm_have_finite_losses_and_gradients_unless_the_exact_ones_overflow() {
    for problem in list::problems(list::every(), 5, 4) {
        for norm in [1e-36, 1e-30, 1e-15, 1e15, 1e30] {
            if norm > 1e16 && scores_are_products(problem.options) {
                continue;
            }
            let mut scaled = problem.clone();
            for part in scaled.parts.iter_mut().filter(|part| part.ndim() > 0) {
                part.mapv_inplace(|x| x * norm);
            }
            let single = scaled.narrow();
            let (found, exact) = (single.solve(), single.wide().solve());
            for (found, exact) in numbers(&found).zip(numbers(&exact)) {
                let overflows = exact.abs() > f64::from(f32::MAX);
                assert!(
                    exact.is_finite() && (found.is_finite() || overflows && !found.is_nan()),
                    "norm {norm}: {found} for {exact}: {problem:?}"
                );
            }
        }
    }
}

#[test]
fn pairs_of_one_tiny_and_one_huge_row_have_their_cosine() {
    let (x, y) = (array![[3e-30_f32, 4e-30]], array![[1e30_f32, 0.0]]);
    let labels = array![PairLabel::Match];
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let value = CosineEmbeddingLoss::new(0.0)
        .unwrap()
        .forward(input)
        .unwrap();
    assert!((value - 0.4).abs() < 1e-6);
    let documents = array![[1e30_f32, 0.0], [0.0, 1e-30]];
    let input = InfoNceInput::new(x.view(), documents.view());
    let (value, gradient) = InfoNceLoss::new(1.0)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    assert!(
        (f64::from(value) - 0.2_f64.exp().ln_1p()).abs() < 1e-6,
        "{value}"
    );
    assert!(
        gradient
            .queries
            .iter()
            .chain(&gradient.documents)
            .all(|x| x.is_finite())
    );
}

#[test]
fn temperature_of_a_thousandth_is_exact_for_large_gaps() {
    // Cosines 0 for the positive and 1 for the other: the gap is 1000.
    let (queries, documents) = (array![[1.0_f32, 0.0]], array![[0.0_f32, 1.0], [1.0, 0.0]]);
    let input = InfoNceInput::new(queries.view(), documents.view());
    for loss in [
        InfoNceLoss::new(1e-3).unwrap(),
        InfoNceLoss::new(1e-3).unwrap().with_symmetric(true),
    ] {
        let mut rows = Array1::zeros(1);
        loss.forward_rows(input, rows.view_mut()).unwrap();
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        let expected = if loss == InfoNceLoss::new(1e-3).unwrap() {
            1000.0
        } else {
            500.0
        };
        assert!(
            (value / expected - 1.0).abs() < 1e-6 && rows[0] == value,
            "{value}"
        );
        // The whole weight moves from the positive to the other: (0, −1)/τ.
        assert!(
            (gradient.queries[[0, 1]] / -expected - 1.0).abs() < 1e-6,
            "{}",
            gradient.queries
        );
        assert!((gradient.log_temperature / -expected - 1.0).abs() < 1e-6);
    }
}

#[test]
fn positive_far_ahead_costs_exactly_nothing_or_a_tiny_number_and_nothing_is_nan() {
    let (queries, documents) = (
        array![[1.0, 0.0], [0.0, 1.0]],
        array![[1.0, 0.0], [0.0, 1.0]],
    );
    for (temperature, expected) in [(0.01, (-100.0_f64).exp()), (1e-3, 0.0)] {
        let input = InfoNceInput::new(queries.view(), documents.view());
        let (value, gradient) = InfoNceLoss::new(temperature)
            .unwrap()
            .value_and_gradient(input)
            .unwrap();
        assert!(
            (value - expected).abs() <= ROUNDING * expected,
            "{value}, not {expected}"
        );
        assert!(
            (gradient.queries[[0, 1]] * temperature * 2.0 - expected).abs() <= ROUNDING * expected
        );
    }
}

#[test]
fn soft_margin_neither_overflows_nor_loses_small_losses() {
    for (far, expected) in [
        (0.0, 1000.0),
        (2000.0, 0.0),
        (1030.0, (-30.0_f64).exp().ln_1p()),
    ] {
        let (anchor, positive, negative) = (array![[0.0]], array![[1000.0]], array![[far]]);
        let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
        let (value, gradient) = TripletMarginLoss::soft(0.0)
            .unwrap()
            .value_and_gradient(input)
            .unwrap();
        assert!(
            (value - expected).abs() <= ROUNDING * expected,
            "{value}, not {expected}"
        );
        assert!((0.0..=1.0).contains(&gradient.positive[[0, 0]]));
    }
}

/// Rows of such norms are normalised first. What is listed for a query and what is in tiles must be added to the same gradient of either.
#[test]
fn norms_beyond_all_squares_divide_the_gradient_of_pooled_negatives() {
    let mut random = Random::new(11);
    let mut rows = |n| Array2::from_shape_fn((n, 3), |_| random.signed());
    let (queries, documents, negatives) = (rows(4), rows(4), rows(8));
    let loss = InfoNceLoss::new(0.5).unwrap().with_pooled_negatives(true);
    let solve = |scale: f64| {
        let [queries, documents, negatives] =
            [&queries, &documents, &negatives].map(|rows| rows * scale);
        let negatives = negatives.into_shape_with_order((4, 2, 3)).unwrap();
        let mut input = InfoNceInput::new(queries.view(), documents.view());
        input.negatives = Some(negatives.view());
        loss.value_and_gradient(input).unwrap()
    };
    let (value, gradient) = solve(1.0);
    for scale in [2_f64.powi(700), 2_f64.powi(-700)] {
        let (scaled, found) = solve(scale);
        assert!((scaled - value).abs() < ROUNDING * value);
        let off = |found: f64, expected: f64| (found * scale - expected).abs();
        let expected = gradient
            .queries
            .iter()
            .chain(gradient.negatives.iter().flatten());
        let found = found.queries.iter().chain(found.negatives.iter().flatten());
        found
            .zip(expected)
            .for_each(|(&found, &expected)| assert!(off(found, expected) < ROUNDING));
    }
}

/// A candidate whose score is below all numbers of f32 is not one that is left out: a smoothed label has a share for it, whatever rules add.
#[test]
fn candidates_below_all_scores_of_f32_still_have_their_share_of_a_smoothed_label() {
    let rows = array![[1e30_f32], [-1e30]];
    let (smoothing, least) = (0.25, array![0.0, f32::MIN]);
    let loss = InfoNceLoss::new(1e-3)
        .and_then(|loss| {
            loss.with_similarity(Similarity::Dot)
                .with_label_smoothing(smoothing)
        })
        .unwrap();
    let hard = loss.with_hardness(9.0, Sources::ALL).unwrap();
    let plain = InfoNceInput::new(rows.view(), rows.view());
    let mut weighed = plain;
    weighed.log_weights.documents = Some(least.view());
    // Scores are held to half of the largest number: half of the label's share is for a candidate that is as far below as the positive is above,
    // or, where the positive's distance is 0, half as far.
    let expected = f64::from(f32::MAX) * smoothing / 2.0;
    let distance = loss.with_similarity(Similarity::SquaredEuclidean);
    for (loss, input, expected) in [
        (loss, plain, expected),
        (hard, plain, expected),
        (loss, weighed, expected),
        (distance, plain, expected / 2.0),
    ] {
        let mut rows = Array1::zeros(2);
        loss.forward_rows(input, rows.view_mut()).unwrap();
        let found = f64::from(rows[0]);
        assert!(
            (found / expected - 1.0).abs() < SINGLE,
            "{found}, not {expected}"
        );
    }
}

/// Scores of 1e12 and more are rounded in f32 by so much that e^(rounding) is no number; the gradient must not see it.
#[test]
fn scores_far_beyond_the_digits_of_f32_have_finite_gradients() {
    // Query, document, own negative, pool: scores of 1.5e12 that differ by a rounding, and of 1e28.
    for [query, document, negative, pool] in [
        [1.5_f32, 1e12, 1.000_000_1e12, 1e12],
        [1.5, 1e12, -1.000_000_1e12, 0.0],
        [1.801_114e13, 3.283_894_3e10, 4.466_926_4e14, -3.938_782_7e8],
    ] {
        for in_batch in [true, false] {
            let (query, document, pool) =
                (array![[query]], array![[document], [0.0]], array![[pool]]);
            let negatives = Array3::from_elem((1, 1, 1), negative);
            let loss = InfoNceLoss::new(0.7)
                .unwrap()
                .with_similarity(Similarity::Dot)
                .with_in_batch_negatives(in_batch);
            let input = InfoNceInput::new(query.view(), document.view())
                .with_negatives(negatives.view())
                .with_pool(pool.view());
            let (value, gradient) = loss.value_and_gradient(input).unwrap();
            let of_pool = gradient.pool.iter().flatten();
            let numbers = gradient
                .queries
                .iter()
                .chain(&gradient.documents)
                .chain(of_pool)
                .chain([&value]);
            assert!(
                numbers.into_iter().all(|x| x.is_finite()),
                "{value}: {gradient:?}"
            );
        }
    }
}

/// Both queries that may ask for the first document do, the third is kept from it by its name: its column has no maximum to take off scores whose e⁻ᶻ is no
/// number.
#[test]
fn document_that_every_query_asks_for_has_finite_gradients_at_scores_far_below_zero() {
    let queries = array![[1.0_f64, 0.5], [1.0, 0.25], [0.0, 0.0]];
    let documents = array![[-1000.0_f64, 2.0], [0.0, 0.0]];
    let (targets, names, own_names) = (array![0, 0, 1], array![7, 8], array![5, 6, 7]);
    let input = InfoNceInput::new(queries.view(), documents.view())
        .with_targets(Targets::Index(targets.view()))
        .with_ids(Ids {
            queries: own_names.view(),
            documents: Some(names.view()),
            negatives: None,
            pool: None,
        });
    let (value, gradient) = InfoNceLoss::new(1.0)
        .unwrap()
        .with_similarity(Similarity::Dot)
        .with_symmetric(true)
        .value_and_gradient(input)
        .unwrap();
    let numbers = gradient.queries.iter().chain(&gradient.documents);
    assert!(
        numbers.chain([&value]).all(|x| x.is_finite()),
        "{value}: {gradient:?}"
    );
}

/// In f32 the partial sums of these products overflow, their sum does not.
#[test]
fn dot_products_whose_terms_overflow_but_whose_sum_does_not_stay_finite() {
    let queries = array![[3e19_f32, 3e19], [1.0, 0.0]];
    let documents = array![[3e19_f32, -3e19], [1.0, 0.0]];
    let loss = InfoNceLoss::new(1e20)
        .unwrap()
        .with_similarity(Similarity::Dot);
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    assert!(value.is_finite(), "{value}");
    assert!(
        gradient
            .queries
            .iter()
            .chain(&gradient.documents)
            .all(|x| x.is_finite())
    );
}

/// Beyond the largest f32 there is one score, for the positive and for whatever ties with it.
#[test]
fn nine_equal_candidates_lose_ln_9_where_their_products_overflow() {
    for sign in [1.0, -1.0] {
        let queries = Array2::from_elem((9, 1), 1e20_f32);
        let documents = Array2::from_elem((9, 1), sign * 1e20_f32);
        let own = Array3::from_elem((9, 8, 1), sign * 1e20_f32);
        let loss = InfoNceLoss::new(1.0)
            .unwrap()
            .with_similarity(Similarity::Dot);
        let input = InfoNceInput::new(queries.view(), documents.view());
        let in_batch = loss.forward(input).unwrap();
        let listed = loss
            .with_in_batch_negatives(false)
            .forward(input.with_negatives(own.view()))
            .unwrap();
        for (kind, value) in [("in-batch", in_batch), ("listed", listed)] {
            let off = f64::from(value) - 9_f64.ln();
            assert!(off.abs() < SINGLE, "{kind}, {sign}: {value}");
        }
    }
}
