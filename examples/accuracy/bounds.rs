//! What holds of the table, on every instruction set.

use crate::cases::{self, Case, Distance, Family, Similarity, Softmax};
use crate::inputs::{Input, Type};
use crate::measure::{Errors, Exact};
use crate::{ours, peers};

/// DESIGN.md's goals, as relative errors: a unit in the last place is at most an ε of the number.
const ULPS: f64 = 4.0;
const GRADIENT_F32: f64 = 1e-6;
const GRADIENT_F64: f64 = 1e-14;

fn all(of: impl Fn(Case) -> bool) -> Vec<(Case, Errors)> {
    let cases: Vec<_> = cases::all().into_iter().filter(|&case| of(case)).collect();
    assert!(!cases.is_empty(), "nothing to hold");
    cases
        .into_iter()
        .map(|case| (case, Exact::of(case).errors(&ours::found(case))))
        .collect()
}

/// Asserts that no error is beyond a bound, and lists those that are.
fn within(errors: Vec<(Case, Errors)>, bound: impl Fn(Case) -> [f64; 2]) {
    let mut beyond = Vec::new();
    for (case, errors) in errors {
        let [loss, gradient] = bound(case);
        let found = [Some(errors.loss), errors.gradient]
            .map(|spread| spread.map_or(0.0, |spread| spread.largest));
        // A NaN is beyond every bound.
        if !(found[0] <= loss && found[1] <= gradient) {
            let numbers = [found[0], loss, found[1], gradient].map(|x| format!("{x:.1e}"));
            let [found_loss, loss, found_gradient, gradient] = numbers;
            beyond.push(format!(
                "{}, {}: loss {found_loss}, not {loss}; gradient {found_gradient}, not {gradient}",
                case.name(),
                case.number.name()
            ));
        }
    }
    assert!(
        beyond.is_empty(),
        "{} beyond:\n{}",
        beyond.len(),
        beyond.join("\n")
    );
}

fn rounds_scores(case: Case) -> bool {
    matches!(case.family, Family::InfoNce(..)) && case.number == Type::F32
}

#[test]
fn ordinary_losses_are_within_4_ulp_and_gradient_rows_within_1e_6_in_f32_and_1e_14_in_f64() {
    let ordinary = all(|case| case.input == Input::Ordinary && !rounds_scores(case));
    within(ordinary, |case| match case.number {
        Type::F32 => [ULPS * Type::F32.epsilon(), GRADIENT_F32],
        Type::F64 => [ULPS * Type::F64.epsilon(), GRADIENT_F64],
    });
}

/// Scores of a tile are rounded to f32: s/τ by half an ε of 1/τ, and more by the norms and the products. A probability is off by as much, relatively.
#[test]
fn info_nce_in_f32_is_within_4_epsilon_over_the_temperature() {
    let cosines = all(|case| {
        matches!(case.family, Family::InfoNce(Similarity::Cosine, ..)) && rounds_scores(case)
    });
    within(cosines, |case| [rounding_of_scores(case); 2]);
}

fn rounding_of_scores(case: Case) -> f64 {
    let per_temperature = case
        .family
        .temperature()
        .map_or(1.0, |temperature| 1.0 / temperature);
    4.0 * Type::F32.epsilon() * per_temperature.max(1.0)
}

/// What counts as no error: a few roundings of the result.
fn nothing(case: Case) -> f64 {
    match case.number {
        Type::F32 => rounding_of_scores(case).max(GRADIENT_F32),
        Type::F64 => GRADIENT_F64,
    }
}

#[test]
fn nothing_is_worse_than_with_pytorch_or_jax() {
    let errors = all(|_| true);
    for peer in 0..peers::NAMES.len() {
        within(errors.clone(), |case| {
            let recorded = peers::recorded(case)[peer];
            let spreads = [Some(recorded.loss), recorded.gradient];
            // Its NaN is no excuse.
            spreads.map(|spread| {
                spread.map_or(f64::INFINITY, |spread| spread.largest.max(nothing(case)))
            })
        });
    }
}

#[test]
fn where_pytorch_cancels_digits_are_kept_at_least_a_hundred_times_better() {
    let cancels = |case: Case| {
        let near = case.input == Input::Parallel;
        match case.family {
            Family::Match | Family::Triplet(Distance::Cosine, _) => near,
            Family::InfoNce(
                Similarity::Cosine,
                Softmax::Plain | Softmax::Symmetric,
                temperature,
            ) => near && temperature == 0.05,
            _ => false,
        }
    };
    within(all(cancels), |case| {
        let [torch, _] = peers::recorded(case);
        let hundredth = |error: f64| {
            if error > 100.0 * nothing(case) {
                error / 100.0
            } else {
                nothing(case)
            }
        };
        let gradient = torch.gradient.map_or(0.0, |spread| spread.largest);
        [torch.loss.largest, gradient].map(hundredth)
    });
}
