//! The training loop.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

use crate::encoder::{Encoder, Sizes};
use crate::evaluate::mean_reciprocal_rank;
use crate::objective::{Error, InfoNce};
use crate::random::Random;
use crate::text::{Pair, Pairs, Vocabulary};

/// Tokens of a query and of a document; one in a hundred is longer.
pub const LENGTHS: (usize, usize) = (24, 48);
pub const TEMPERATURE: f64 = 0.05;
pub const BATCH: usize = 256;
const LEARNING_RATE: f64 = 3e-3;
const SEED: u64 = 1;

/// Token ids of pairs: queries `[n, 24]`, documents `[n, 48]`.
pub struct Ids {
    pub queries: Tensor,
    pub documents: Tensor,
}

impl Ids {
    pub fn new(vocabulary: &Vocabulary, pairs: &[Pair]) -> Result<Self> {
        let side = |text: fn(&Pair) -> &str, length| {
            let ids = vocabulary.ids(pairs.iter().map(text), length);
            Tensor::from_vec(ids, (pairs.len(), length), &Device::Cpu)
        };
        Ok(Self {
            queries: side(|pair| &pair.query, LENGTHS.0)?,
            documents: side(|pair| &pair.document, LENGTHS.1)?,
        })
    }

    /// The pairs that `rows` name.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let rows = Tensor::new(rows, &Device::Cpu)?;
        Ok(Self {
            queries: self.queries.index_select(&rows, 0)?,
            documents: self.documents.index_select(&rows, 0)?,
        })
    }
}

/// The encoder that training starts from.
pub fn untrained(vocabulary: &Vocabulary) -> Result<Encoder> {
    let sizes = Sizes {
        vocabulary: vocabulary.size(),
        width: 64,
        dim: 128,
    };
    Encoder::new(sizes, DType::F32, SEED)
}

/// Trains for `epochs` and prints the loss and the test figure of each.
pub fn run(pairs: &Pairs, epochs: usize) -> std::result::Result<(), Error> {
    let vocabulary = Vocabulary::new(&pairs.train);
    let (train, test) = (
        Ids::new(&vocabulary, &pairs.train)?,
        Ids::new(&vocabulary, &pairs.test)?,
    );
    let encoder = untrained(&vocabulary)?;
    let mut info_nce = InfoNce::<f32>::new(TEMPERATURE)?;
    let mut optimizer = AdamW::new(
        encoder.variables(),
        ParamsAdamW {
            lr: LEARNING_RATE,
            ..ParamsAdamW::default()
        },
    )?;
    let mut order: Vec<u32> = (0..pairs.train.len() as u32).collect();
    let mut random = Random(SEED);

    let untrained = mean_reciprocal_rank(&encoder, &test)?;
    println!("untrained: MRR {untrained:.3}");
    for epoch in 1..=epochs {
        random.shuffle(&mut order);
        let batches = order.chunks_exact(BATCH);
        let (steps, mut sum) = (batches.len(), 0.0);
        for rows in batches {
            let batch = train.select(rows)?;
            let queries = encoder.queries(&batch.queries)?;
            let documents = encoder.documents(&batch.documents)?;
            let (value, gradients) = info_nce.backward(&queries, &documents)?;
            optimizer.step(&gradients)?;
            sum += value;
        }
        let loss = sum / steps as f32;
        let test = mean_reciprocal_rank(&encoder, &test)?;
        println!("epoch {epoch}: loss {loss:.3}, MRR {test:.3}");
    }
    Ok(())
}
