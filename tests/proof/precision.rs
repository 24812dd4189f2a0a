//! How many digits are right: `f32` against `f64`, and both where plain formulas cancel.

use crate::common::cases::at_most;
use crate::common::{Metric, Options, Problem, largest, list, naive, strategy};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array2, ArrayD, ArrayView2, array};
use proptest::prelude::*;

const EPSILON: f64 = f32::EPSILON as f64;

/// Losses of independent rows compute in f64 and round each result once, by half an ε …
const ROUNDED_ONCE: f64 = 0.5 * EPSILON * (1.0 + 1e-6);

/// … but for the gradients of cosine embedding loss and of triplets by differences, which lose nothing more in f32 than their last operations round:
/// a difference of the rows (twice for a cosine), its factor, and the product.
const LAST_OPERATIONS: f64 = 4.0;

/// … but for what f64 loses on the way, relative to the largest number of an array.
const F64_LOSS: f64 = 1e-12;

/// f32 scores z are rounded by ε·|z|/2, and more by the norms, the products of hundreds of numbers and the exponential; the relative error of a
/// probability is the absolute error of its score. In these units; the worst found is 3.3 at 300 numbers.
const SCORE_ROUNDINGS: f64 = 8.0;

/// Contributions to a gradient cancel, and leave the roundings of the larger ones. The worst found is 6.3.
const GRADIENT_ROUNDINGS: f64 = 24.0;

fn close(found: f32, expected: f64, tolerance: f64, what: &str, problem: &Problem<f64>) {
    let off = (f64::from(found) - expected).abs();
    assert!(
        off <= tolerance,
        "{what}: {found}, not {expected}: {problem:?}"
    );
}

fn rounds_once(single: &Problem<f32>) {
    let double = single.wide();
    let (found, expected) = (single.solve(), double.solve());
    let distances = largest(&expected.rows).max(10.0);
    let tolerance = |x: f64, scale: f64| ROUNDED_ONCE * x.abs() + F64_LOSS * scale;
    let sum = distances * double.rows() as f64;
    close(
        found.value,
        expected.value,
        tolerance(expected.value, sum),
        "value",
        &double,
    );
    for (&found, &expected) in found.rows.iter().zip(&expected.rows) {
        close(
            found,
            expected,
            tolerance(expected, distances),
            "row",
            &double,
        );
    }
    let roundings = if ends_in_f32(double.options) {
        LAST_OPERATIONS
    } else {
        1.0
    };
    for (part, (found, of_part)) in found.gradient.iter().zip(&expected.gradient).enumerate() {
        // The gradient of a cosine of rows of one number is nothing but roundings.
        let scale = largest(of_part).max(1e-2);
        let mut terms = of_part.mapv(f64::abs);
        if let (Options::Triplet(_), 0, true) = (double.options, part, roundings > 1.0) {
            // The anchor's is the sum of the others'.
            let [_, positive, negative] = &expected.gradient[..] else {
                panic!("three parts")
            };
            let negative = negative
                .to_shape(positive.raw_dim())
                .expect("one negative a row");
            terms = positive.mapv(f64::abs) + negative.mapv(f64::abs);
        }
        for ((&found, &expected), &terms) in found.iter().zip(of_part).zip(&terms) {
            let tolerance = roundings * tolerance(terms, 0.0) + F64_LOSS * scale;
            close(found, expected, tolerance, "gradient", &double);
        }
    }
}

/// Whether the gradient of `f32` rows may be combined in `f32`: not where a multiply-add is no instruction.
fn ends_in_f32(options: Options) -> bool {
    let capped = std::env::var("CONTRASTIVE_MAX_ISA").is_ok_and(|cap| cap == "portable");
    let fused = cfg!(target_arch = "aarch64") || !capped;
    match options {
        _ if !fused => false,
        Options::Cosine(_) => true,
        Options::Triplet(options) => {
            let by_difference = options.metric == Metric::SquaredEuclidean
                || options.metric
                    == (Metric::Lp {
                        p: 2.0,
                        epsilon: 0.0,
                    });
            by_difference && options.negatives == 1
        }
        _ => false,
    }
}

fn rounds_like_its_scores(single: &Problem<f32>) {
    let double = single.wide();
    let Options::InfoNce(options) = double.options else {
        panic!("InfoNCE only")
    };
    let (found, expected) = (single.solve(), double.solve());
    let scores = (0..double.rows()).map(|i| {
        let (others, positive) = naive::scores(&double, options, i);
        largest(&others).max(positive.abs())
    });
    let largest_score = scores.fold(1.0, f64::max);
    let error = SCORE_ROUNDINGS * EPSILON * largest_score;
    let weights = double.weights.as_ref();
    let rows = double.rows() as f64;
    let weight: f64 = weights.map_or(rows, |weights| {
        weights.iter().map(|weight| weight.abs()).sum()
    });
    let value = error * largest(&expected.rows).max(1.0) * weight.max(1.0);
    close(found.value, expected.value, value, "value", &double);
    let grid = f64::from(f32::MIN_POSITIVE) * EPSILON;
    for (&found, &expected) in found.rows.iter().zip(&expected.rows) {
        // The score's error times 1 − p, which is less than the loss.
        let tolerance = error * expected.min(1.0) + EPSILON * expected + grid;
        close(found, expected, tolerance, "row", &double);
    }
    let error = GRADIENT_ROUNDINGS * EPSILON * largest_score;
    for (found, expected) in found.gradient.iter().zip(&expected.gradient) {
        // Where all of it cancels, as with rows of one number, a tenth of what one row may contribute.
        let scale = largest(expected).max(0.1 * largest_score);
        for (&found, &expected) in found.iter().zip(expected) {
            close(found, expected, error * scale, "gradient", &double);
        }
    }
}

fn off_kinks(single: &Problem<f32>) -> bool {
    naive::clearance(&single.wide()) > 1e-6
}

#[test]
fn row_losses_of_f32_are_those_of_f64_rounded_once_and_gradients_by_their_last_operations() {
    let options = [
        list::cosine(),
        list::triplet(),
        list::pairs(),
        list::joint_pairs(),
    ]
    .concat();
    for (n, dim) in [(3, 4), (16, 65), (40, 515)] {
        let problems = list::problems(options.clone(), n, dim);
        problems
            .iter()
            .map(Problem::narrow)
            .filter(off_kinks)
            .for_each(|problem| rounds_once(&problem));
    }
}

#[test]
fn info_nce_of_f32_is_that_of_f64_up_to_the_rounding_of_scores() {
    for (n, dim) in [(3, 4), (16, 65), (70, 300)] {
        for problem in list::problems(list::info_nce(), n, dim) {
            rounds_like_its_scores(&problem.narrow());
        }
    }
}

#[test]
fn temperatures_from_a_thousandth_to_ten_are_exact_to_the_rounding_of_scores() {
    for temperature in [1e-3, 1e-2, 0.1, 1.0, 10.0] {
        for problem in list::problems(list::info_nce(), 9, 33) {
            let Options::InfoNce(options) = problem.options else {
                continue;
            };
            // A dot product of these rows is about as large as 16 cosines.
            let temperature: f64 = match options.similarity {
                contrastive::Similarity::Dot => 16.0 * temperature,
                _ => temperature,
            };
            let mut problem = problem;
            *problem.parts.last_mut().unwrap() = ArrayD::from_elem(vec![], temperature.ln());
            rounds_like_its_scores(&problem.narrow());
            let (found, rows) = (problem.solve(), naive::rows(&problem));
            for (found, expected) in found.rows.iter().zip(&rows) {
                // The reference's own scores are off by some ε of f64.
                let tolerance = 64.0 * f64::EPSILON * (1.0 / temperature).max(1.0) * 16.0;
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{temperature}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn a_million_equal_rows_have_the_loss_of_one() {
    const ROWS: usize = 1_000_000;
    let (one, other) = (array![[1.0_f32, 0.2, 0.3]], array![[0.3_f32, 1.0, -0.1]]);
    fn many(row: &Array2<f32>) -> ArrayView2<'_, f32> {
        row.broadcast((ROWS, 3)).expect("one row")
    }
    let label = array![PairLabel::Match];
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let of = |x, y, labels| {
        loss.forward(CosineEmbeddingInput::new(x, y, labels))
            .unwrap()
    };
    let all = of(many(&one), many(&other), label.broadcast(ROWS).unwrap());
    assert_eq!(all, of(one.view(), other.view(), label.view()));

    let loss = TripletMarginLoss::new(1.0).unwrap();
    let of = |x, y| loss.forward(TripletMarginInput::new(x, y, x)).unwrap();
    assert_eq!(of(many(&one), many(&other)), of(one.view(), other.view()));

    let loss = InfoNceLoss::new(0.7)
        .unwrap()
        .with_in_batch_negatives(false);
    let of = |x, y| {
        loss.forward(InfoNceInput::new(x, y).with_pool(other.view()))
            .unwrap()
    };
    assert_eq!(of(many(&one), many(&one)), of(one.view(), one.view()));
}

proptest! {
    #![proptest_config(at_most(256))]

    #[test]
    fn any_row_loss_of_f32_is_that_of_f64_rounded_once_and_its_gradient_by_its_last_operations(
        problem in strategy::problems(
            [list::cosine(), list::triplet(), list::pairs(), list::joint_pairs()].concat()
        )
    ) {
        let single = problem.narrow();
        prop_assume!(off_kinks(&single));
        rounds_once(&single);
    }

    #[test]
    fn any_info_nce_of_f32_is_that_of_f64_up_to_the_rounding_of_scores(
        problem in strategy::problems(list::info_nce())
    ) {
        rounds_like_its_scores(&problem.narrow());
    }
}
