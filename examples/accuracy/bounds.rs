//! What holds of the table, on every instruction set.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::cases::{self, Case, Distance, Family, Similarity, Softmax};
use crate::inputs::{Input, Type};
use crate::measure::{Errors, Exact, Spread};
use crate::{ours, peers};

/// How many roundings of what a result is made from it may be off: one of the result, and a few on the way there.
const ROUNDINGS: f64 = 4.0;
/// By how many roundings a result may be beyond the same from elsewhere and be no worse: two ways to add up the same terms differ by as much.
const ROUNDING: f64 = 1.0;
/// The goals for ordinary inputs, as relative errors: a unit in the last place is at most an ε of the number.
const ULPS: f64 = 4.0;
const GRADIENT_F32: f64 = 1e-6;
const GRADIENT_F64: f64 = 1e-14;

/// A case with the errors of the crate's answer: relative ones, and those in roundings.
struct Judged {
    case: Case,
    errors: Errors,
    roundings: [f64; 2],
}

impl Judged {
    /// The largest relative errors of losses and gradient.
    fn largest(&self) -> [f64; 2] {
        largest(self.errors)
    }
}

fn largest(errors: Errors) -> [f64; 2] {
    let largest = |spread: Spread| spread.largest;
    [largest(errors.loss), errors.gradient.map_or(0.0, largest)]
}

/// All cases, judged once for all tests.
fn all() -> &'static [Judged] {
    static ALL: OnceLock<Vec<Judged>> = OnceLock::new();
    ALL.get_or_init(|| {
        let judge = |case| {
            let (exact, found) = (Exact::of(case), ours::found(case));
            Judged {
                case,
                errors: exact.errors(&found),
                roundings: exact.roundings(&found),
            }
        };
        cases::all().into_par_iter().map(judge).collect()
    })
}

/// Asserts that some numbers of losses and gradient are within bounds wherever there are some, and lists those that are not.
fn within(
    of: impl Fn(&Judged) -> bool,
    found: impl Fn(&Judged) -> [f64; 2],
    bound: impl Fn(&Judged) -> [f64; 2],
) {
    let held: Vec<_> = all().iter().filter(|judged| of(judged)).collect();
    assert!(!held.is_empty(), "nothing to hold");
    let mut beyond = Vec::new();
    for judged in held {
        let ([loss, gradient], bound) = (found(judged), bound(judged));
        // A NaN is beyond every bound.
        if !(loss <= bound[0] && gradient <= bound[1]) {
            let case = judged.case;
            let (name, number) = (case.name(), case.number.name());
            beyond.push(format!(
                "{name}, {number}: loss {loss:.1e}, not {:.1e}; gradient {gradient:.1e}, not {:.1e}",
                bound[0], bound[1]
            ));
        }
    }
    let (count, list) = (beyond.len(), beyond.join("\n"));
    assert!(beyond.is_empty(), "{count} beyond:\n{list}");
}

fn is_info_nce(case: Case) -> bool {
    matches!(case.family, Family::InfoNce(..))
}

/// The loss to an ε of itself and 2⁻²⁹ε of margin + d⁺ + d⁻, a gradient row to an ε of itself and 2⁻²⁹ε of the gradients it is the sum of: only the
/// result is rounded to f32, and the last operations of a gradient.
#[test]
fn pairs_and_triplets_of_f32_rows_are_within_4_roundings_of_themselves_on_every_input() {
    let of = |judged: &Judged| !is_info_nce(judged.case) && judged.case.number == Type::F32;
    within(of, |judged| judged.roundings, |_| [ROUNDINGS; 2]);
}

/// A matching pair and its gradient to an ε of themselves; the other losses to an ε of what they are the sum of, because cosines and distances are
/// rounded to f64 before they are added: c and the margin, or the margin, d⁺ and d⁻.
#[test]
fn pairs_and_triplets_of_f64_rows_are_within_4_roundings_of_their_terms_on_every_input() {
    let of = |judged: &Judged| !is_info_nce(judged.case) && judged.case.number == Type::F64;
    within(of, |judged| judged.roundings, |_| [ROUNDINGS; 2]);
}

/// A score is off by an ε of the norms of its rows, that over the temperature by an ε/τ, and so is a probability, relatively: a row of the gradient is
/// off by ε/τ of the sum of what pulls and what pushes, each as large as 1/(τ‖x‖), and a small loss, the sum of the others' probabilities, by ε/τ of
/// itself.
#[test]
fn info_nce_is_within_4_epsilon_over_the_temperature_on_every_input() {
    let of = |judged: &Judged| is_info_nce(judged.case);
    within(of, |judged| judged.roundings, |_| [ROUNDINGS; 2]);
}

#[test]
fn ordinary_f32_pairs_and_triplets_are_within_4_ulp_and_their_gradient_rows_within_1e_6() {
    let of = |judged: &Judged| {
        let Case { input, number, .. } = judged.case;
        !is_info_nce(judged.case) && input == Input::Ordinary && number == Type::F32
    };
    let bound = [ULPS * Type::F32.epsilon(), GRADIENT_F32];
    within(of, Judged::largest, |_| bound);
}

/// Where the terms of the loss do not cancel: sums of powers do, by nature.
#[test]
fn ordinary_f64_cosines_are_within_4_ulp_and_all_gradient_rows_within_1e_14() {
    let of = |judged: &Judged| {
        let Case { input, number, .. } = judged.case;
        !is_info_nce(judged.case) && input == Input::Ordinary && number == Type::F64
    };
    within(of, Judged::largest, |judged| {
        let lengths = matches!(
            judged.case.family,
            Family::Triplet(Distance::Lp(_) | Distance::SquaredEuclidean, _)
        );
        let ulps = if lengths { f64::INFINITY } else { ULPS };
        [ulps * Type::F64.epsilon(), GRADIENT_F64]
    });
}

/// By more than a rounding of what the result is made from.
#[test]
fn nothing_is_worse_than_with_pytorch_or_jax() {
    for peer in 0..peers::NAMES.len() {
        let worse = |judged: &Judged| {
            let ours = judged.largest();
            let theirs = largest(peers::recorded(judged.case)[peer]);
            [0, 1].map(|at| {
                // Nothing is worse than its NaN.
                if theirs[at] < ours[at] {
                    judged.roundings[at] * (1.0 - theirs[at] / ours[at])
                } else {
                    0.0
                }
            })
        };
        within(|_| true, worse, |_| [ROUNDING; 2]);
    }
}

#[test]
fn where_pytorch_cancels_digits_are_kept_at_least_a_hundred_times_better() {
    // Whether the loss cancels, and whether its gradient does.
    let cancels = |case: Case| match case.family {
        Family::Match => [true, true],
        Family::Triplet(Distance::Cosine, _) => [false, true],
        Family::InfoNce(Similarity::Cosine, Softmax::Plain | Softmax::Symmetric, 0.05) => {
            [true, false]
        }
        _ => [false, false],
    };
    let of = |judged: &Judged| {
        judged.case.input == Input::Parallel && cancels(judged.case).contains(&true)
    };
    within(of, Judged::largest, |judged| {
        let theirs = largest(peers::recorded(judged.case)[0]);
        let cancels = cancels(judged.case);
        [0, 1].map(|at| {
            if cancels[at] {
                theirs[at] / 100.0
            } else {
                f64::INFINITY
            }
        })
    });
}
