//! A NaN or an infinity in a row that takes part shows in the value, and nowhere else than where it belongs.

use crate::common::{Metric, Options, Outcome, Problem, largest, list};
use contrastive::{InfoNceInput, InfoNceLoss, Loss, Similarity};
use ndarray::{Array1, Axis, array};

/// What lists of problems have as their number of rows.
const ROWS: usize = 4;

fn problems() -> Vec<Problem<f64>> {
    list::problems(list::all(), ROWS, 6)
        .into_iter()
        .map(|problem| Problem {
            weights: None,
            ..problem
        })
        .collect()
}

/// The problem with a bad number in row 1 of a part.
fn spoilt(problem: &Problem<f64>, part: usize, bad: f64) -> Problem<f64> {
    let mut problem = problem.clone();
    let last = problem.parts[part].shape()[0] - 1;
    let mut row = problem.parts[part].index_axis_mut(Axis(0), 1.min(last));
    *row.iter_mut().nth(2).expect("a number") = bad;
    problem
}

/// The parts whose rows are rows of the loss: all but documents, pool and temperature.
fn parts_with_rows(problem: &Problem<f64>) -> Vec<usize> {
    match problem.options {
        Options::InfoNce(options) => [0].into_iter().chain(options.negatives_part()).collect(),
        _ => (0..problem.parts.len()).collect(),
    }
}

#[test]
fn nan_in_a_row_gives_nan_in_the_value_and_in_that_row_alone() {
    for problem in problems() {
        let clean = problem.solve();
        for part in parts_with_rows(&problem) {
            let spoilt = spoilt(&problem, part, f64::NAN);
            for (value, rows) in [
                (spoilt.solve().value, spoilt.solve().rows),
                (
                    spoilt.narrow().solve().value.into(),
                    spoilt.narrow().solve().rows.mapv(f64::from),
                ),
            ] {
                assert!(
                    value.is_nan(),
                    "part {part}: {value}: {:?}",
                    problem.options
                );
                assert!(
                    rows[1].is_nan(),
                    "part {part}: {rows}: {:?}",
                    problem.options
                );
                let symmetric =
                    matches!(problem.options, Options::InfoNce(options) if options.symmetric);
                let others = rows
                    .iter()
                    .zip(&clean.rows)
                    .enumerate()
                    .filter(|&(i, _)| i != 1 && !symmetric);
                for (i, (found, clean)) in others {
                    assert!(
                        (found - clean).abs() < 1e-4,
                        "row {i}: {:?}",
                        problem.options
                    );
                }
            }
        }
    }
}

/// What an infinity in a row of a loss made of a number that one could train on: `options: part, infinity, value`.
fn finite_values(problem: &Problem<f64>) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in parts_with_rows(problem) {
        for bad in [f64::INFINITY, f64::NEG_INFINITY] {
            let spoilt = spoilt(problem, part, bad);
            let (double, single) = (spoilt.solve(), spoilt.narrow().solve());
            for (value, row) in [
                (double.value, double.rows[1]),
                (single.value.into(), single.rows[1].into()),
            ] {
                if value.is_finite() || row.is_finite() {
                    let name = problem.options.part_names()[part];
                    wrong.push(format!(
                        "{:?}: {name}, {bad}: value {value}, row {row}",
                        problem.options
                    ));
                }
            }
        }
    }
    wrong
}

fn none_is_finite(of: impl Fn(Options) -> bool) {
    let problems = problems().into_iter().filter(|problem| of(problem.options));
    let wrong: Vec<_> = problems
        .flat_map(|problem| finite_values(&problem))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} finite values:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn infinity_in_a_row_gives_no_finite_value_where_cosines_are_compared() {
    none_is_finite(|options| match options {
        Options::Cosine(_) => true,
        Options::Pair(_) => options
            .metric()
            .is_none_or(|metric| metric == Metric::Cosine),
        Options::Triplet(options) => options.metric == Metric::Cosine,
        Options::InfoNce(options) => options.similarity == Similarity::Cosine,
    });
}

#[test]
fn infinity_in_a_row_gives_no_finite_value_where_distances_are_compared() {
    none_is_finite(
        |options| matches!(options.metric(), Some(metric) if !matches!(metric, Metric::Cosine | Metric::User)),
    );
}

#[test]
fn infinity_in_a_row_gives_no_finite_value_where_dot_products_are_compared() {
    none_is_finite(
        |options| matches!(options, Options::InfoNce(options) if options.similarity == Similarity::Dot),
    );
}

#[test]
fn nan_in_a_candidate_of_all_queries_gives_nan() {
    for problem in problems() {
        let Options::InfoNce(options) = problem.options else {
            continue;
        };
        let shared = options
            .pool_part()
            .into_iter()
            .chain(options.in_batch.then_some(1));
        for part in shared {
            let spoilt = spoilt(&problem, part, f64::NAN);
            assert!(spoilt.solve().value.is_nan(), "part {part}: {options:?}");
            assert!(
                spoilt.narrow().solve().value.is_nan(),
                "part {part}, f32: {options:?}"
            );
        }
    }
}

#[test]
fn document_that_nobody_asks_for_does_not_take_part_without_in_batch_negatives() {
    let queries = array![[1.0, 2.0], [0.5, -1.0]];
    let pool = array![[0.3, 0.1], [1.0, 1.0]];
    let (clean, spoilt) = (
        array![[1.0, 1.0], [0.0, 1.0], [2.0, 2.0]],
        array![[1.0, 1.0], [0.0, 1.0], [f64::NAN, 2.0]],
    );
    for similarity in [Similarity::Cosine, Similarity::Dot] {
        let loss = InfoNceLoss::new(0.5)
            .unwrap()
            .with_in_batch_negatives(false)
            .with_similarity(similarity);
        let of = |documents: &ndarray::Array2<f64>| {
            loss.value_and_gradient(
                InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view()),
            )
            .unwrap()
        };
        assert_eq!(of(&clean), of(&spoilt));
        assert!(of(&spoilt).1.documents.row(2).iter().all(|&x| x == 0.0));
    }
}

/// Row 1 has weight 0.
fn unweighted_row(problem: &Problem<f64>) -> Problem<f64> {
    let weights = Array1::from_shape_fn(ROWS, |i| if i == 1 { 0.0 } else { 1.0 });
    Problem {
        weights: Some(weights),
        ..problem.clone()
    }
}

/// Rows that are not finite are multiplied as normalised copies, which moves the last bits.
const ROUNDING: f64 = 1e-13;

/// In what the outcome differs from the clean one.
fn differences(found: &Outcome<f64>, clean: &Outcome<f64>) -> Vec<String> {
    let mut differences = Vec::new();
    let off = (found.value - clean.value).abs();
    if off > ROUNDING * clean.value.abs().max(1.0) || off.is_nan() {
        differences.push(format!("value {}", found.value));
    }
    for (part, (found, clean)) in found.gradient.iter().zip(&clean.gradient).enumerate() {
        let off = largest(&(found - clean));
        if off > ROUNDING * largest(clean).max(1.0) || off.is_nan() {
            differences.push(format!("gradient {part}: off by {off}"));
        }
    }
    differences
}

#[test]
fn row_of_weight_zero_does_not_count_even_with_a_nan() {
    let mut wrong = Vec::new();
    for problem in problems() {
        if matches!(problem.options, Options::InfoNce(options) if options.symmetric) {
            // Its query is a rival of the others.
            continue;
        }
        let clean = unweighted_row(&problem);
        for part in parts_with_rows(&problem) {
            for bad in [f64::NAN, f64::INFINITY] {
                let spoilt = spoilt(&clean, part, bad);
                for difference in differences(&spoilt.solve(), &clean.solve()) {
                    wrong.push(format!(
                        "{bad} in part {part}: {difference}: {:?}",
                        clean.options
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn overflow_of_the_exact_result_is_infinite_and_not_nan() {
    let options = list::triplet().into_iter().filter(|options| {
        matches!(options, Options::Triplet(options) if options.metric == Metric::SquaredEuclidean && !options.swap)
    });
    for mut problem in list::problems(options.collect(), ROWS, 3) {
        problem.weights = None;
        problem.parts[1].mapv_inplace(|x| x * 1e200);
        assert_eq!(
            problem.solve().value,
            f64::INFINITY,
            "{:?}",
            problem.options
        );
    }
}
