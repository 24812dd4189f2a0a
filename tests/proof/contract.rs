//! The numerical contract where the other modules leave something of it open: norms of `f64` rows, and sums over many unequal rows.

use crate::common::random::Random;
use crate::common::{Metric, Options, largest, list};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    Similarity, TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, Array2};

/// Powers of two change no digit of a row: what is left are the roundings of scaled gradients, and the other order of sums in products.
const SAME: f64 = 1e-13;

/// The exponents for which squares of rows, and of their reciprocals, leave the finite numbers.
const EXPONENTS: [i32; 6] = [-1000, -700, -500, 500, 700, 1000];

fn compares_directions(options: &Options) -> bool {
    match options {
        Options::Cosine(options) => options.epsilon == 0.0,
        Options::Triplet(options) => options.metric == Metric::Cosine,
        Options::InfoNce(options) => options.similarity == Similarity::Cosine,
        #[allow(unreachable_patterns, reason = "losses that compare scores alone")]
        _ => false,
    }
}

#[test]
fn extreme_norms_in_f64_change_no_cosine_and_divide_the_gradient() {
    let options = list::all().into_iter().filter(compares_directions);
    for problem in list::problems(options.collect(), 5, 9) {
        let expected = problem.solve();
        for exponent in EXPONENTS {
            // One factor for each part, so that the rows of a pair are of different length, too.
            let factors =
                [exponent, -exponent / 2, exponent / 4, 0, 0].map(|power| 2_f64.powi(power));
            let mut scaled = problem.clone();
            for (part, factor) in scaled.parts.iter_mut().zip(factors) {
                if part.ndim() > 0 {
                    part.mapv_inplace(|x| x * factor);
                }
            }
            let found = scaled.solve();
            let what = format!("2^{exponent}: {:?}", problem.options);
            let off = (found.value - expected.value).abs();
            assert!(
                off <= SAME * expected.value.abs().max(1.0),
                "{off:e}: {what}"
            );
            let parts = found.gradient.iter().zip(&expected.gradient);
            for ((found, expected), factor) in parts.zip(factors) {
                let factor = if found.ndim() == 0 { 1.0 } else { factor };
                let scale = largest(expected).max(1.0);
                for (&found, &expected) in found.iter().zip(expected) {
                    let off = (found * factor - expected).abs();
                    assert!(off <= SAME * scale, "{off:e}: {what}");
                }
            }
        }
    }
}

/// Neumaier's compensated mean.
fn mean(numbers: &Array1<f64>) -> f64 {
    let (mut sum, mut error) = (0.0_f64, 0.0);
    for &x in numbers {
        let next = sum + x;
        error += if sum.abs() >= x.abs() {
            (sum - next) + x
        } else {
            (x - next) + sum
        };
        sum = next;
    }
    (sum + error) / numbers.len() as f64
}

/// The mean of row losses, once by the crate and once from the row losses.
fn agrees<L: Loss<f64>>(loss: &L, input: L::Input<'_>, n: usize, what: &str) {
    let mut rows = Array1::zeros(n);
    let found = loss.forward_rows(input, rows.view_mut()).unwrap();
    let exact = mean(&rows);
    // The compensated sum is right to its last bit or the one before; the division rounds, too.
    let off = (found / exact - 1.0).abs();
    assert!(
        off <= 2.0 * f64::EPSILON,
        "{what}: {found}, not {exact}: {off:e}"
    );
}

#[test]
fn means_over_two_hundred_thousand_unequal_rows_lose_at_most_a_bit() {
    const ROWS: usize = 200_000;
    let mut random = Random::new(9);
    let mut rows = |spread: f64| {
        Array2::from_shape_fn((ROWS, 2), |(i, _)| {
            // Row losses of very different size, so that small ones vanish in a plain sum.
            let size = if i % 3 == 0 { spread } else { 1.0 };
            size * random.signed()
        })
    };
    let (x, y, z) = (rows(1.0), rows(1e7), rows(1.0));
    let labels = Array1::from_shape_fn(ROWS, |i| PairLabel::from(i % 2 == 0));
    let pairs = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    agrees(
        &CosineEmbeddingLoss::new(0.0).unwrap(),
        pairs,
        ROWS,
        "pairs",
    );
    let triplets = TripletMarginInput::new(x.view(), y.view(), z.view());
    agrees(
        &TripletMarginLoss::new(1.0).unwrap(),
        triplets,
        ROWS,
        "triplets",
    );
    let loss = InfoNceLoss::new(0.5).unwrap();
    let loss = loss
        .with_similarity(Similarity::Dot)
        .with_in_batch_negatives(false);
    let pool = z.slice(ndarray::s![..3, ..]);
    let queries = InfoNceInput::new(x.view(), y.view()).with_pool(pool);
    agrees(&loss, queries, ROWS, "queries");
}

fn cosine_with_epsilon<A: contrastive::Scalar>(x: [f64; 2], y: [f64; 2], epsilon: f64) -> f64 {
    let row = |row: [f64; 2]| Array2::from_shape_fn((1, 2), |(_, i)| A::from(row[i]).unwrap());
    let (x, y, labels) = (row(x), row(y), Array1::from_elem(1, PairLabel::Match));
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.0)
        .unwrap()
        .with_epsilon(epsilon)
        .unwrap();
    loss.forward(input).unwrap().to_f64().unwrap()
}

/// Identical rows of norm 1 have c = 1/(1 + ε): 1 − c is ε/(1 + ε), and not the zero that their difference is.
#[test]
fn epsilon_counts_for_rows_that_are_nearly_parallel() {
    let row = [1.0, 0.0];
    let single = cosine_with_epsilon::<f32>(row, row, 1e-5);
    assert!(
        (single / 1e-5 * (1.0 + 1e-5) - 1.0).abs() < 1e-6,
        "{single}"
    );
    let double = cosine_with_epsilon::<f64>(row, row, 1e-13);
    assert!((double / 1e-13 - 1.0).abs() < 1e-12, "{double}");
}

#[test]
fn epsilon_does_not_count_for_rows_whose_squares_overflow() {
    for size in [1e160, 1e300] {
        let found = cosine_with_epsilon::<f64>([3.0 * size, 4.0 * size], [size, 0.0], 1e-12);
        assert!((found - 0.4).abs() < SAME, "{size}: {found}");
    }
}

/// c = ‖x‖²/(‖x‖² + ε) is a half where ε is the square of the norm.
#[test]
fn epsilon_as_large_as_the_squares_of_huge_rows_halves_their_cosine() {
    let size = 2_f64.powi(500);
    let found = cosine_with_epsilon::<f64>([size, 0.0], [size, 0.0], size * size);
    assert!((found - 0.5).abs() < SAME, "{found}");
}
