//! The recipe against candle's own autograd of the same loss.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use candle_nn::optim::{Optimizer, SGD};
use contrastive_candle::encoder::{Encoder, Sizes};
use contrastive_candle::objective::{InfoNce, composed};
use contrastive_candle::text::{self, Vocabulary};
use contrastive_candle::train::{Ids, TEMPERATURE};

const BATCH: usize = 48;
/// Relative to the largest element. Scores are divided by 0.05, and sums have up to 48 · 48 terms: some hundred ε.
const ROUNDING: f64 = 1e-12;

/// A small encoder in f64, and the first pairs of the data.
fn setting() -> (Encoder, Ids) {
    let pairs = text::read(&text::file()).unwrap().train;
    let pairs = &pairs[..BATCH];
    let vocabulary = Vocabulary::new(pairs);
    let sizes = Sizes {
        vocabulary: vocabulary.size(),
        width: 12,
        dim: 20,
    };
    let encoder = Encoder::new(sizes, DType::F64, 7).unwrap();
    (encoder, Ids::new(&vocabulary, pairs).unwrap())
}

fn by_recipe(encoder: &Encoder, ids: &Ids) -> (f64, GradStore) {
    let q = encoder.queries(&ids.queries).unwrap();
    let d = encoder.documents(&ids.documents).unwrap();
    let mut info_nce = InfoNce::<f64>::new(TEMPERATURE).unwrap();
    info_nce.backward(&q, &d).unwrap()
}

fn by_candle(encoder: &Encoder, ids: &Ids) -> (f64, GradStore) {
    let q = encoder.queries(&ids.queries).unwrap();
    let d = encoder.documents(&ids.documents).unwrap();
    let loss = composed(&q, &d, TEMPERATURE).unwrap();
    (loss.to_scalar().unwrap(), loss.backward().unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    let largest = theirs.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= ROUNDING * largest, "{what}: {a} and {b}");
    }
}

#[test]
fn gradients_of_all_weights_are_those_of_candles_autograd() {
    let (encoder, ids) = setting();
    let ((ours, our_gradients), (theirs, their_gradients)) =
        (by_recipe(&encoder, &ids), by_candle(&encoder, &ids));
    assert_close(&[ours], &[theirs], "value");
    for (i, variable) in encoder.variables().iter().enumerate() {
        let of = |store: &GradStore| numbers(store.get(variable).unwrap());
        let what = format!("variable {i}");
        assert_close(&of(&our_gradients), &of(&their_gradients), &what);
    }
}

#[test]
fn steps_by_the_recipe_and_by_candle_lead_to_the_same_weights() {
    let train = |step: fn(&Encoder, &Ids) -> (f64, GradStore)| {
        let (encoder, ids) = setting();
        let mut optimizer = SGD::new(encoder.variables(), 0.1).unwrap();
        let values: Vec<f64> = (0..5)
            .map(|_| {
                let (value, gradients) = step(&encoder, &ids);
                optimizer.step(&gradients).unwrap();
                value
            })
            .collect();
        assert!(values[4] < values[0], "it does not learn: {values:?}");
        let weights: Vec<Var> = encoder.variables();
        weights.iter().flat_map(|w| numbers(w)).collect::<Vec<_>>()
    };
    assert_close(&train(by_recipe), &train(by_candle), "weights");
}
