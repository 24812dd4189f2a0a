//! What the tests share: problems of every loss with every option, references written from the formulas, and memory layouts.
//!
//! * [`Options`] names a loss with its options; [`list`] has all of them, to be gone through one by one or drawn from.
//! * [`Problem`] adds a batch. Its differentiable inputs are [`parts`](Problem::parts), so that one test serves every loss.
//! * [`naive`] computes value and row losses in plain `f64` loops and shares no code with the crate.
//! * [`layout`] puts an array into memory in other ways than row by row.
//!
//! A new loss adds a variant to [`Options`] with its arms here and in `naive`, and its options to `list`.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test crate uses a part of it"
)]

mod answer;
pub(crate) mod cases;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod naive;
pub(crate) mod options;
pub(crate) mod pairs;
pub(crate) mod problem;
pub(crate) mod random;
pub(crate) mod strategy;

pub(crate) use options::{
    ContrastiveOptions, CosineOptions, InfoNceOptions, Metric, Options, PairOptions, Positives,
    TripletOptions,
};
pub(crate) use problem::{Outcome, Problem, Views, Wanted};

use contrastive::Scalar;

/// The exact value of a number, and its bits.
pub(crate) fn bits<A: Scalar>(x: A) -> (u64, i16, i8) {
    // NaNs are all alike here; -0 and 0 are not.
    if x.is_nan() {
        (u64::MAX, i16::MAX, 0)
    } else {
        x.integer_decode()
    }
}

/// The bits of all numbers of an array.
pub(crate) fn all_bits<'a, A: Scalar>(
    numbers: impl IntoIterator<Item = &'a A>,
) -> Vec<(u64, i16, i8)> {
    numbers.into_iter().map(|&x| bits(x)).collect()
}

/// The largest magnitude; NaN if there is one.
pub(crate) fn largest<'a, A: Scalar>(numbers: impl IntoIterator<Item = &'a A>) -> f64 {
    numbers.into_iter().fold(0.0, |largest: f64, x| {
        let x = x.to_f64().expect("a float").abs();
        if x > largest || x.is_nan() {
            x
        } else {
            largest
        }
    })
}

/// Whether there is nothing but zeros.
pub(crate) fn all_zero<'a, A: Scalar>(numbers: impl IntoIterator<Item = &'a A>) -> bool {
    numbers.into_iter().all(|&x| x == A::zero())
}

/// Asserts that value, row losses and gradients are finite, in both types.
pub(crate) fn assert_finite(problem: &Problem<f64>, what: &str) {
    let solved = problem.solve();
    let numbers = solved
        .gradient
        .iter()
        .flatten()
        .chain(&solved.rows)
        .chain([&solved.value]);
    assert!(
        numbers.into_iter().all(|x| x.is_finite()),
        "{what}: {solved:?}: {:?}",
        problem.options
    );
    let solved = problem.narrow().solve();
    let numbers = solved
        .gradient
        .iter()
        .flatten()
        .chain(&solved.rows)
        .chain([&solved.value]);
    assert!(
        numbers.into_iter().all(|x| x.is_finite()),
        "{what}, f32: {solved:?}: {:?}",
        problem.options
    );
}
