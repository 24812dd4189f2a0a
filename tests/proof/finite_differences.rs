//! Every gradient of every option against central differences in `f64`, of the formula and of the crate's own value.

use crate::common::cases::at_most;
use crate::common::random::Random;
use crate::common::{Options, Problem, largest, list, naive, strategy};
use contrastive::{InfoNceInput, InfoNceLoss, Loss, Similarity, Targets};
use ndarray::{ArrayD, array};
use proptest::prelude::*;

/// Relative to the largest of 1, the value and the part's gradient. A central difference with step h is off by h²f'''/6 + ε|f|/h; with h = ∛ε = 6e-6 the
/// first is 6e-12·f''', where f''' reaches some thousand times f' for rows of norm 1/2 at a temperature of 1/5, and the second is 4e-11·|f|.
const TOLERANCE: f64 = 2e-8;

/// Coordinates looked at one by one in each part; the rest takes part in the random direction.
const COORDINATES: usize = 10;

/// Checks ∂L/∂part for some coordinates of each part, and for a random direction of all of them.
pub(crate) fn check(problem: &Problem<f64>, seed: u64) {
    let gradient = problem.solve().gradient;
    let mut random = Random::new(seed);
    let names = problem.options.part_names();
    for (part, (gradient, name)) in gradient.iter().zip(names).enumerate() {
        let len = gradient.len();
        let scale = largest(gradient).max(naive::value(problem).abs()).max(1.0);
        for sample in 0..COORDINATES.min(len) {
            let index = if len <= COORDINATES {
                sample
            } else {
                random.below(len)
            };
            let mut direction = ArrayD::zeros(gradient.raw_dim());
            *direction
                .iter_mut()
                .nth(index)
                .expect("an index below the length") = 1.0;
            let at = problem.parts[part]
                .iter()
                .nth(index)
                .expect("the same shape");
            let step = f64::EPSILON.cbrt() * at.abs().max(1.0);
            let slope = *gradient.iter().nth(index).expect("the same shape");
            compare(
                problem,
                part,
                &direction,
                step,
                slope,
                scale,
                &format!("{name} {index}"),
            );
        }
        if len > 0 {
            let length = (len as f64).sqrt();
            let direction = gradient.mapv(|_| random.sign() / length);
            let slope = (&direction * gradient).sum();
            compare(
                problem,
                part,
                &direction,
                f64::EPSILON.cbrt(),
                slope,
                scale * length.cbrt(),
                name,
            );
        }
    }
}

fn compare(
    problem: &Problem<f64>,
    part: usize,
    direction: &ArrayD<f64>,
    step: f64,
    slope: f64,
    scale: f64,
    name: &str,
) {
    let mut moved = problem.clone();
    let mut at = |step: f64| {
        moved.parts[part] = &problem.parts[part] + &(direction * step);
        (naive::value(&moved), moved.value())
    };
    let (above, below) = (at(step), at(-step));
    for (what, difference) in [("formula", above.0 - below.0), ("value", above.1 - below.1)] {
        let expected = difference / (2.0 * step);
        assert!(
            (slope - expected).abs() <= TOLERANCE * scale,
            "{name}: gradient {slope}, slope of the {what} {expected}: {problem:?}"
        );
    }
}

/// Few rows and numbers, so that nearly all coordinates are looked at, and enough of them to cross the lanes of a register.
pub(crate) fn check_all(options: Vec<Options>) {
    for (n, dim) in [(1, 2), (3, 3), (5, 17)] {
        for (index, problem) in list::problems(options.clone(), n, dim).iter().enumerate() {
            check(problem, index as u64);
        }
    }
}

#[test]
fn cosine_embedding_gradient_is_the_slope_for_every_option() {
    check_all(list::cosine());
}

#[test]
fn triplet_margin_gradient_is_the_slope_for_every_option() {
    check_all(list::triplet());
}

#[test]
fn info_nce_gradient_is_the_slope_for_every_option() {
    check_all(list::info_nce());
}

#[test]
fn gradient_of_pairs_is_the_slope_for_every_option() {
    check_all([list::pairs(), list::joint_pairs()].concat());
}

/// More queries than a panel and more documents than a chunk; few rows of own negatives.
#[test]
fn info_nce_gradient_is_the_slope_across_panels_and_chunks() {
    let options = list::info_nce().into_iter().step_by(3).collect();
    for (index, problem) in list::problems(options, 70, 9).iter().enumerate() {
        check(problem, index as u64);
    }
}

proptest! {
    #![proptest_config(at_most(160))]

    #[test]
    fn cosine_embedding_gradient_is_the_slope(problem in strategy::problems(list::cosine()), seed: u64) {
        prop_assume!(naive::clearance(&problem) > naive::CLEAR);
        check(&problem, seed);
    }

    #[test]
    fn triplet_margin_gradient_is_the_slope(problem in strategy::problems(list::triplet()), seed: u64) {
        prop_assume!(naive::clearance(&problem) > naive::CLEAR);
        check(&problem, seed);
    }

    #[test]
    fn gradient_of_pairs_is_the_slope(
        problem in strategy::problems([list::pairs(), list::joint_pairs()].concat()),
        seed: u64,
    ) {
        prop_assume!(naive::clearance(&problem) > naive::CLEAR);
        check(&problem, seed);
    }

    #[test]
    fn info_nce_gradient_is_the_slope(problem in strategy::problems(list::info_nce()), seed: u64) {
        check(&problem, seed);
    }
}

#[test]
fn sigmoid_gradient_by_log_temperature_and_bias_is_the_formula_s() {
    // Scores s/τ of 4, −2 and 2, of which the first and the last are positives.
    let (queries, documents) = (array![[1.0_f64]], array![[2.0], [-1.0], [1.0]]);
    let (offsets, positives) = (array![0, 2], array![0, 2]);
    let mut input = InfoNceInput::new(queries.view(), documents.view());
    input.targets = Targets::Lists {
        offsets: offsets.view(),
        documents: positives.view(),
    };
    let loss = InfoNceLoss::sigmoid(0.5, 0.0)
        .unwrap()
        .with_similarity(Similarity::Dot);
    let (_, gradient) = loss.value_and_gradient(input).unwrap();
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let by_temperature = 4.0 * sigmoid(-4.0) + 2.0 * sigmoid(-2.0) + 2.0 * sigmoid(-2.0);
    let by_bias = sigmoid(-2.0) - sigmoid(-4.0) - sigmoid(-2.0);
    assert!((gradient.log_temperature - by_temperature).abs() < 1e-14);
    assert!((gradient.bias - by_bias).abs() < 1e-14);
}
