//! Every gradient of every option against central differences of the formula; values against the formula; `f32` against `f64`.

use crate::case::{Case, Kind, UNEQUAL, cases, kinds};
use crate::cases::at_most;
use crate::solve::{narrow, solve};
use crate::{largest, naive};
use contrastive::Reduction;
use proptest::prelude::*;

/// Relative to the largest of 1, the value and the part's gradient: a central difference with step ∛ε is off by ε^(2/3) = 4e-11 times the value and
/// the third derivative, which for scores at a temperature of 1/2 reaches some tens.
const DIFFERENCE: f64 = 1e-8;

/// Some hundred roundings in f64.
const ROUNDING: f64 = 1e-12;

/// Losses and scores compute in f64 and round once.
const SINGLE: f64 = 4.0 * f32::EPSILON as f64;

fn value_is_the_formula_s(case: &Case) {
    let found = solve::<f64>(case);
    let close = |found: f64, expected: f64| {
        assert!(
            (found - expected).abs() <= ROUNDING * expected.abs().max(1.0),
            "{found} {expected}: {case:?}"
        );
    };
    close(found.value, naive::value(case, case));
    if let Some(scores) = &found.scores {
        for ((i, j), &found) in ndarray::indices(case.left_out.dim())
            .into_iter()
            .zip(scores)
        {
            let expected = naive::score(case, i, j, &mut { f64::INFINITY });
            close(found, expected);
        }
        return;
    }
    for (&found, expected) in found.rows.iter().zip(naive::rows(case, case)) {
        close(found, expected.unwrap_or(0.0));
    }
}

fn gradient_is_the_formula_s_slope(case: &Case) {
    let gradient = solve::<f64>(case).gradient;
    let value = naive::value(case, case).abs();
    let step = f64::EPSILON.cbrt();
    for (part, gradient) in gradient.iter().enumerate() {
        let scale = largest(gradient).max(value).max(1.0);
        for index in 0..gradient.len() {
            let mut moved = case.clone();
            let mut at = |step: f64| {
                *moved.parts[part]
                    .iter_mut()
                    .nth(index)
                    .expect("the same shape") += step;
                naive::value(&moved, case)
            };
            let (above, below) = (at(step), at(-2.0 * step));
            let (expected, found) = (
                (above - below) / (2.0 * step),
                gradient.iter().nth(index).expect("the same shape"),
            );
            assert!(
                (found - expected).abs() <= DIFFERENCE * scale,
                "part {part}, {index}: {found} {expected}: {case:?}"
            );
        }
    }
}

fn single_is_double_rounded(case: &Case) {
    let single = Case {
        parts: case
            .parts
            .iter()
            .map(|part| narrow::<f32>(part).mapv(f64::from))
            .collect(),
        constants: case
            .constants
            .iter()
            .map(|part| narrow::<f32>(part).mapv(f64::from))
            .collect(),
        weights: case
            .weights
            .as_ref()
            .map(|weights| weights.mapv(|x| f64::from(x as f32))),
        ..case.clone()
    };
    let (found, expected) = (solve::<f32>(&single), solve::<f64>(&single));
    let close = |found: f32, expected: f64, scale: f64| {
        let off = (f64::from(found) - expected).abs();
        assert!(
            off <= SINGLE * expected.abs().max(scale),
            "{found} {expected}: {single:?}"
        );
    };
    if found.scores.is_none() {
        close(found.value, expected.value, 0.01);
    }
    let found = found.scores.iter().chain(&found.gradient);
    let expected = expected.scores.iter().chain(&expected.gradient);
    for (found, expected) in found.zip(expected) {
        for (&found, &x) in found.iter().zip(expected) {
            close(found, x, 0.01 * largest(expected));
        }
    }
}

fn check(case: &Case) {
    value_is_the_formula_s(case);
    gradient_is_the_formula_s_slope(case);
    single_is_double_rounded(case);
}

#[test]
fn values_and_gradients_of_every_option_are_the_formula_s() {
    for (n, m, dim) in [(1, 1, 2), (2, 3, 3), (3, 4, 5), (4, 19, 4)] {
        cases(n, m, dim).iter().for_each(check);
    }
}

proptest! {
    #![proptest_config(at_most(192))]

    #[test]
    fn values_and_gradients_of_any_batch_are_the_formula_s(
        kind in prop::sample::select(kinds()),
        n in 1..6_usize,
        m in 1..24_usize,
        dim in 3..20_usize,
        seed in 0..1000_u64,
    ) {
        // Few documents, for their tokens to be clear of ties.
        let most = if matches!(kind, Kind::MaxSim { .. }) { 6 } else { 24 };
        check(&Case::clear(kind, n, m.min(most), dim, seed));
    }
}

/// A second implementation of the recipe would take the teacher for a variable.
#[test]
fn teachers_get_no_gradient_from_self_distillation() {
    for weights in [None, Some(UNEQUAL)] {
        let kind = Kind::M3 {
            weights,
            distil: true,
            lists: false,
            masked: false,
        };
        let case = Case {
            reduction: Reduction::Sum,
            weights: None,
            ..Case::new(kind, 2, 3, 1, 9)
        };
        let gradient = solve::<f64>(&case).gradient;
        let mut moved = case.clone();
        let step = f64::EPSILON.cbrt();
        moved.parts[0][[0, 0]] += step;
        let with_teacher = (naive::value(&moved, &moved) - naive::value(&case, &case)) / step;
        assert!(
            (gradient[0][[0, 0]] - with_teacher).abs() > 1e-3,
            "the test cannot tell"
        );
        gradient_is_the_formula_s_slope(&case);
    }
}
