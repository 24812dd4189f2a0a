//! Values and row losses against references written from the formulas, for every option.

use crate::common::cases::at_most;
use crate::common::{Options, Problem, largest, list, naive, strategy};
use proptest::prelude::*;

/// Relative to the larger of 1 and the largest row loss, for losses of a score over a temperature times the largest score. The references add up 70
/// products and 40 candidates one by one, and each addition rounds by ε/2 = 1.1e-16.
const ROUNDING: f64 = 2e-14;

/// What values are made of: differences of scores or distances, which round in proportion to these and not to the loss.
fn scale(problem: &Problem<f64>) -> f64 {
    match problem.options {
        Options::Cosine(_) => 1.0,
        Options::Triplet(_) | Options::Pair(_) => largest(&naive::rows(problem)).max(10.0),
        Options::InfoNce(options) => (0..problem.rows())
            .map(|i| {
                let (others, positive) = naive::scores(problem, options, i);
                largest(&others).max(positive.abs())
            })
            .fold(1.0, f64::max),
    }
}

pub(crate) fn agrees_with_the_formula(problem: &Problem<f64>) {
    let (found, rows) = (problem.solve(), naive::rows(problem));
    let tolerance = ROUNDING * scale(problem);
    for (i, (found, expected)) in found.rows.iter().zip(&rows).enumerate() {
        let off = (found - expected).abs();
        assert!(
            off <= tolerance,
            "row {i}: {found}, not {expected}: {problem:?}"
        );
    }
    let expected = naive::value(problem);
    let off = (found.value - expected).abs();
    let many = problem.rows().max(1) as f64;
    assert!(
        off <= many * tolerance,
        "{}, not {expected}: {problem:?}",
        found.value
    );
}

#[test]
fn every_option_has_the_value_of_its_formula() {
    for (n, dim) in [(1, 1), (2, 3), (7, 33), (16, 64)] {
        list::problems(list::every(), n, dim)
            .iter()
            .for_each(agrees_with_the_formula);
    }
}

/// More queries than a panel, more documents than a chunk, more numbers than are added up at a time, so that every seam is crossed.
#[test]
fn large_batches_have_the_value_of_the_formula() {
    for (n, dim) in [(40, 300), (150, 17)] {
        list::problems(list::info_nce(), n, dim)
            .iter()
            .for_each(agrees_with_the_formula);
    }
    let few = list::triplet().into_iter().chain(list::cosine()).step_by(5);
    list::problems(few.collect(), 90, 301)
        .iter()
        .for_each(agrees_with_the_formula);
}

proptest! {
    #![proptest_config(at_most(512))]

    #[test]
    fn any_batch_has_the_value_of_the_formula(problem in strategy::problems(list::every())) {
        prop_assume!(naive::clearance(&problem) > ROUNDING);
        agrees_with_the_formula(&problem);
    }
}
