//! Two towers over one embedding table: self-attention over the tokens of a text, their mean, a projection.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::softmax;

use crate::random::Random;
use crate::text::PADDING;

/// Sizes of an encoder.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Columns of the embedding table.
    pub width: usize,
    /// Columns of an embedding.
    pub dim: usize,
}

/// The encoder of both sides.
pub struct Encoder {
    table: Var,
    queries: Tower,
    documents: Tower,
}

/// What the two sides do not share.
struct Tower {
    query: Var,
    key: Var,
    value: Var,
    projection: Var,
}

impl Encoder {
    /// Weights uniform in ±√(3/inputs), the same for the same seed.
    pub fn new(sizes: Sizes, dtype: DType, seed: u64) -> Result<Self> {
        let mut random = Random(seed);
        Ok(Self {
            table: uniform((sizes.vocabulary, sizes.width), 1, dtype, &mut random)?,
            queries: Tower::new(sizes, dtype, &mut random)?,
            documents: Tower::new(sizes, dtype, &mut random)?,
        })
    }

    /// Embeddings `[n, dim]` of queries, from token ids `[n, length]`.
    pub fn queries(&self, ids: &Tensor) -> Result<Tensor> {
        self.queries.embed(&self.table, ids)
    }

    /// Embeddings `[n, dim]` of documents, from token ids `[n, length]`.
    pub fn documents(&self, ids: &Tensor) -> Result<Tensor> {
        self.documents.embed(&self.table, ids)
    }

    /// All that is trained.
    pub fn variables(&self) -> Vec<Var> {
        let tower = |t: &Tower| {
            [&t.query, &t.key, &t.value, &t.projection]
                .map(Var::clone)
                .to_vec()
        };
        let mut variables = vec![self.table.clone()];
        variables.extend(tower(&self.queries));
        variables.extend(tower(&self.documents));
        variables
    }
}

impl Tower {
    fn new(sizes: Sizes, dtype: DType, random: &mut Random) -> Result<Self> {
        let Sizes { width, dim, .. } = sizes;
        let mut square = || uniform((width, width), width, dtype, random);
        let (query, key, value) = (square()?, square()?, square()?);
        Ok(Self {
            query,
            key,
            value,
            projection: uniform((width, dim), width, dtype, random)?,
        })
    }

    fn embed(&self, table: &Var, ids: &Tensor) -> Result<Tensor> {
        let (n, length) = ids.dims2()?;
        let width = table.dim(1)?;
        let present = ids.ne(PADDING)?.to_dtype(table.dtype())?;
        let tokens = table.index_select(&ids.flatten_all()?, 0)?;
        let by = |weights: &Var| tokens.matmul(weights)?.reshape((n, length, width));

        let scores = by(&self.query)?.matmul(&by(&self.key)?.t()?.contiguous()?)?;
        let padding = present.affine(1e9, -1e9)?.unsqueeze(1)?;
        let scores = (scores / (width as f64).sqrt())?.broadcast_add(&padding)?;
        let mixed = softmax(&scores, D::Minus1)?.matmul(&by(&self.value)?)?;
        let mixed = (mixed + tokens.reshape((n, length, width))?)?;

        let sum = mixed.broadcast_mul(&present.unsqueeze(2)?)?.sum(1)?;
        let count = present.sum_keepdim(1)?.maximum(1.0)?;
        sum.broadcast_div(&count)?.matmul(&self.projection)
    }
}

fn uniform(shape: (usize, usize), inputs: usize, dtype: DType, random: &mut Random) -> Result<Var> {
    let bound = (3.0 / inputs as f64).sqrt();
    let numbers: Vec<f64> = (0..shape.0 * shape.1)
        .map(|_| random.within(bound))
        .collect();
    Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)?)
}
