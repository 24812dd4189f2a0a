//! A small workspace changes how a pass is cut, and results by no more than rounding.

use crate::common::cases::at_most;
use crate::common::{Outcome, Problem, largest, list, strategy};
use contrastive::{Scalar, Workspace};
use proptest::prelude::*;

/// In units of the type's ε, relative to the largest number of each array, times the largest score: sums of some hundred terms in another order.
const ROUNDINGS: f64 = 32.0;

/// Scores of the problems of [`list::info_nce`] and with them the errors of exponents stay below this.
const LARGEST_SCORE: f64 = 20.0;

fn agree<A: Scalar>(problem: &Problem<A>) {
    let small = problem.solve_with(&mut Workspace::with_limit(1 << 16).expect("the least limit"));
    let large = problem.solve();
    let epsilon = A::epsilon().to_f64().expect("a float");
    let arrays = |outcome: &Outcome<A>| {
        let mut arrays: Vec<Vec<f64>> = vec![vec![outcome.value.to_f64().expect("a float")]];
        arrays.push(
            outcome
                .rows
                .iter()
                .map(|x| x.to_f64().expect("a float"))
                .collect(),
        );
        arrays.extend(
            outcome
                .gradient
                .iter()
                .map(|part| part.iter().map(|x| x.to_f64().expect("a float")).collect()),
        );
        arrays
    };
    for (index, (small, large)) in arrays(&small).iter().zip(&arrays(&large)).enumerate() {
        let tolerance = ROUNDINGS * LARGEST_SCORE * epsilon * largest(large).max(1e-3);
        for (small, large) in small.iter().zip(large) {
            let off = (small - large).abs();
            assert!(
                off <= tolerance,
                "array {index}: {small}, not {large}: {:?}",
                problem.options
            );
        }
    }
}

#[test]
fn small_workspace_agrees_with_the_default_for_every_option() {
    // 64 KiB hold 4 tiles of 64 documents and a panel: these take one slab and block, several slabs, and several blocks of queries.
    for (n, dim) in [(5, 3), (100, 20), (300, 7)] {
        for problem in list::problems(list::info_nce(), n, dim) {
            agree(&problem);
            agree(&problem.narrow());
        }
    }
}

#[test]
fn results_agree_with_thousands_of_documents() {
    for problem in list::problems(list::info_nce().into_iter().step_by(7).collect(), 2100, 4) {
        agree(&problem);
        agree(&problem.narrow());
    }
}

proptest! {
    #![proptest_config(at_most(64))]

    #[test]
    fn small_workspace_agrees_with_the_default(problem in strategy::problems(list::info_nce())) {
        agree(&problem);
        agree(&problem.narrow());
    }
}
