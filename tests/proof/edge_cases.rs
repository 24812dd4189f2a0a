//! Zero rows, identical rows, rows without numbers and queries without rivals: what is documented holds, exactly.

use crate::common::{Problem, all_zero, assert_finite, largest, list};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    Similarity,
};
use ndarray::{Array1, Array2, ArrayD, Axis, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-13;

/// Puts zero rows into all parts: the first row of each, the second of some.
fn with_zero_rows(mut problem: Problem<f64>) -> Problem<f64> {
    for (index, part) in problem.parts.iter_mut().enumerate() {
        if part.ndim() > 0 {
            part.index_axis_mut(Axis(0), 0).fill(0.0);
            if index % 2 == 0 && part.shape()[0] > 1 {
                part.index_axis_mut(Axis(0), 1).fill(0.0);
            }
        }
    }
    problem
}

#[test]
fn zero_rows_have_finite_losses_and_gradients_in_every_option() {
    for problem in list::problems(list::every(), 5, 7) {
        assert_finite(&with_zero_rows(problem), "zero rows");
    }
}

#[test]
fn identical_rows_have_finite_losses_and_gradients_in_every_option() {
    for mut problem in list::problems(list::every(), 5, 7) {
        for part in &mut problem.parts {
            if part.ndim() > 0 {
                part.fill(0.3);
            }
        }
        assert_finite(&problem, "identical rows");
    }
}

#[test]
fn rows_of_no_numbers_have_finite_losses_in_every_option() {
    for options in list::every() {
        assert_finite(&Problem::new(options, 5, 0, 1), "no numbers");
    }
}

#[test]
fn zero_row_has_cosine_zero_and_gradient_zero() {
    let (x, y) = (
        array![[0.0, 0.0], [1.0, 2.0]],
        array![[3.0, 1.0], [0.0, 0.0]],
    );
    let loss = CosineEmbeddingLoss::new(-0.25).unwrap();
    for (label, expected) in [(PairLabel::Match, 1.0), (PairLabel::NoMatch, 0.25)] {
        let labels = Array1::from_elem(2, label);
        let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        assert_eq!(value, expected);
        assert!(all_zero(&gradient.x) && all_zero(&gradient.y));
    }
}

/// With PyTorch's ε a zero row has the norm √ε, and −y/(√ε‖y‖) is the gradient by it of a matching pair.
#[test]
fn zero_row_with_epsilon_has_the_gradient_of_its_norm_whatever_the_other_row() {
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let loss = loss.with_epsilon(1e-12).unwrap();
    let labels = array![PairLabel::Match];
    for size in [0.5_f32, 1.0, 64.0, 1e6] {
        let (x, y) = (array![[0.0, 0.0]], array![[3.0 * size, -4.0 * size]]);
        let gradients = [(&x, &y), (&y, &x)].map(|(x, y)| {
            let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
            loss.value_and_gradient(input).unwrap().1
        });
        let [first, second] = gradients;
        for zero in [first.x, second.y] {
            let relative = &zero / &array![[-6e5, 8e5]];
            let right = |ratio: &f32| (ratio - 1.0).abs() <= 4.0 * f32::EPSILON;
            assert!(relative.iter().all(right), "{size}: {zero}");
        }
    }
}

#[test]
fn zero_query_and_zero_document_get_gradient_zero_and_take_part_with_cosine_zero() {
    let queries = array![[0.0, 0.0], [1.0, 0.0]];
    let documents = array![[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]];
    for symmetric in [false, true] {
        let loss = InfoNceLoss::new(1.0).unwrap().with_symmetric(symmetric);
        let mut rows = Array1::zeros(2);
        let input = InfoNceInput::new(queries.view(), documents.view());
        loss.forward_rows(input, rows.view_mut()).unwrap();
        let (_, gradient) = loss.value_and_gradient(input).unwrap();
        let (e, half) = (1.0_f64.exp(), 0.5_f64.sqrt());
        // The first query scores 0 everywhere, the second √½, 1 and 0.
        let by_query = [3.0_f64.ln(), (half.exp() + e + 1.0).ln() - 1.0];
        let by_document = [(1.0 + half.exp()).ln(), (1.0 + e).ln() - 1.0];
        for i in 0..2 {
            let expected = if symmetric {
                0.5 * (by_query[i] + by_document[i])
            } else {
                by_query[i]
            };
            assert!((rows[i] - expected).abs() < ROUNDING, "{rows}");
        }
        assert!(all_zero(gradient.queries.row(0)) && all_zero(gradient.documents.row(2)));
        assert!(!all_zero(gradient.queries.row(1)) && !all_zero(gradient.documents.row(0)));
    }
}

#[test]
fn identical_rows_cost_nothing_and_have_no_gradient() {
    let x: Array2<f64> = array![[0.3, -0.7, 1.1], [1e-8, 3.0, 0.1], [5e8, 1.0, 2.0]];
    let labels = Array1::from_elem(3, PairLabel::Match);
    let input = CosineEmbeddingInput::new(x.view(), x.view(), labels.view());
    let (value, gradient) = CosineEmbeddingLoss::new(0.0)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    assert!(value.abs() < 1e-30, "{value}");
    for (gradient, row) in gradient.x.rows().into_iter().zip(x.rows()) {
        let norm = row.dot(&row).sqrt();
        assert!(largest(gradient) < f64::EPSILON / norm, "{gradient}");
    }
}

#[test]
fn query_without_other_candidates_costs_exactly_nothing() {
    let (query, document) = (array![[1.0, 2.0]], array![[-3.0, 0.5]]);
    for similarity in [Similarity::Cosine, Similarity::Dot] {
        for symmetric in [false, true] {
            let loss = InfoNceLoss::new(0.1)
                .unwrap()
                .with_similarity(similarity)
                .with_symmetric(symmetric);
            let input = InfoNceInput::new(query.view(), document.view());
            let (value, gradient) = loss.value_and_gradient(input).unwrap();
            assert!(value == 0.0 && gradient.log_temperature == 0.0);
            assert!(all_zero(&gradient.queries) && all_zero(&gradient.documents));
        }
    }
}

#[test]
fn candidates_that_equal_the_positive_share_its_probability() {
    let rows = Array2::from_elem((8, 3), 0.7);
    for symmetric in [false, true] {
        let loss = InfoNceLoss::new(0.05).unwrap().with_symmetric(symmetric);
        let (value, gradient) = loss
            .value_and_gradient(InfoNceInput::new(rows.view(), rows.view()))
            .unwrap();
        assert!((value - 8.0_f64.ln()).abs() < ROUNDING, "{value}");
        assert!(largest(&gradient.queries) < ROUNDING && largest(&gradient.documents) < ROUNDING);
        assert!(gradient.log_temperature.abs() < ROUNDING);
    }
}

#[test]
fn queries_that_share_a_document_may_all_have_it_as_their_positive() {
    // All three queries ask for document 1: in the symmetric form the other two are rivals of each.
    let mut problem = Problem::new(list::info_nce()[list::info_nce().len() - 1], 3, 4, 2);
    problem.targets.fill(0);
    let documents = problem.parts[1].shape()[0];
    problem.targets.fill(documents - 1);
    let (found, expected) = (problem.solve().value, crate::common::naive::value(&problem));
    assert!((found - expected).abs() < ROUNDING * expected.max(1.0));
}

#[test]
fn buffers_are_overwritten_whatever_they_held() {
    for problem in list::problems(list::every(), 4, 5) {
        let from_nan = problem.solve();
        let mut from_ones: Vec<_> = problem
            .parts
            .iter()
            .map(|part| ArrayD::ones(part.raw_dim()))
            .collect();
        let wanted = crate::common::Wanted {
            gradient: Some(
                from_ones
                    .iter_mut()
                    .map(|part| Some(part.view_mut()))
                    .collect(),
            ),
            rows: None,
        };
        problem
            .evaluate(&problem.views(), wanted, &mut contrastive::Workspace::new())
            .unwrap();
        assert!(from_nan.gradient == from_ones, "{:?}", problem.options);
    }
}
