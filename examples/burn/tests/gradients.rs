//! The recipe against burn's own autograd of the same loss.

use burn::tensor::{Device, DeviceConfig, FloatDType, Gradients, Int, Tensor, TensorData};
use contrastive::InfoNceLoss;
use contrastive_burn::encoder::{Encoder, Sizes};
use contrastive_burn::objective::{composed, info_nce};
use contrastive_burn::text::{self, Vocabulary};

const BATCH: usize = 48;
const TEMPERATURE: f64 = 0.05;
/// Relative to the largest element. Scores are divided by 0.05, and sums have up to 48 · 48 terms: some hundred ε.
const ROUNDING: f64 = 1e-12;

fn numbers(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().try_into_vec().unwrap()
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    let largest = theirs.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= ROUNDING * largest, "{what}: {a} and {b}");
    }
}

#[test]
fn value_and_gradients_of_all_weights_are_those_of_burns_autograd() {
    let mut device = Device::flex().autodiff();
    let f64s = DeviceConfig::default().float_dtype(FloatDType::F64);
    device.configure(f64s).unwrap();
    device.seed(7);
    let pairs = text::read(&text::file()).unwrap().train;
    let pairs = &pairs[..BATCH];
    let vocabulary = Vocabulary::new(pairs);
    let sizes = Sizes {
        vocabulary: vocabulary.size(),
        width: 12,
        dim: 20,
    };
    let encoder = Encoder::new(sizes, &device);
    let ids = |side: fn(&text::Pair) -> &str, length| -> Tensor<2, Int> {
        let ids = vocabulary.ids(pairs.iter().map(side), length);
        Tensor::from_data(TensorData::new(ids, [BATCH, length]), &device)
    };
    let embed = || {
        let queries = encoder.queries(ids(|pair| &pair.query, 24));
        (queries, encoder.documents(ids(|pair| &pair.document, 48)))
    };

    // Twice the loss, to see that what comes back from above is passed on.
    let (q, d) = embed();
    let loss = InfoNceLoss::new(TEMPERATURE).unwrap();
    let ours = info_nce::<f64>(&loss, q, d).unwrap() * 2.0;
    let (q, d) = embed();
    let theirs = composed(q, d, TEMPERATURE) * 2.0;

    let value = |tensor: &Tensor<1>| [tensor.clone().into_scalar::<f64>()];
    assert_close(&value(&ours), &value(&theirs), "value");
    let (our_gradients, their_gradients) = (ours.backward(), theirs.backward());
    for (i, weights) in encoder.weights().iter().enumerate() {
        let of = |gradients: &Gradients| numbers(weights.grad(gradients).unwrap());
        let what = format!("weights {i}");
        assert_close(&of(&our_gradients), &of(&their_gradients), &what);
    }
}
