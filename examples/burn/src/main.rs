//! `cargo run --release` trains for two epochs and prints the loss.

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use contrastive::InfoNceLoss;
use contrastive_burn::encoder::{Encoder, Sizes};
use contrastive_burn::objective::{Error, info_nce};
use contrastive_burn::text::{self, Vocabulary};

const BATCH: usize = 256;
const EPOCHS: usize = 2;
const LEARNING_RATE: f64 = 3e-3;

fn main() -> Result<(), Error> {
    let pairs = text::read(&text::file())?.train;
    let vocabulary = Vocabulary::new(&pairs);
    let device = Device::flex().autodiff();
    device.seed(1);
    let sizes = Sizes {
        vocabulary: vocabulary.size(),
        width: 64,
        dim: 128,
    };
    let mut encoder = Encoder::new(sizes, &device);
    let mut optimizer = AdamWConfig::new().init();
    let loss = InfoNceLoss::new(0.05)?;
    let ids = |texts: Vec<&str>, length| -> Tensor<2, Int> {
        let shape = [texts.len(), length];
        let ids = vocabulary.ids(texts.into_iter(), length);
        Tensor::from_data(TensorData::new(ids, shape), &device)
    };
    for epoch in 1..=EPOCHS {
        let batches = pairs.chunks_exact(BATCH);
        let (steps, mut sum) = (batches.len(), 0.0);
        for batch in batches {
            let queries = ids(batch.iter().map(|pair| pair.query.as_str()).collect(), 24);
            let documents = ids(
                batch.iter().map(|pair| pair.document.as_str()).collect(),
                48,
            );
            let (q, d) = (encoder.queries(queries), encoder.documents(documents));
            let value = info_nce::<f32>(&loss, q, d)?;
            let gradients = GradientsParams::from_grads(value.backward(), &encoder);
            encoder = optimizer.step(LEARNING_RATE, encoder, gradients);
            sum += value.into_scalar::<f32>();
        }
        println!("epoch {epoch}: loss {:.3}", sum / steps as f32);
    }
    Ok(())
}
