//! How well the documents of the test pairs are found by their queries.

use candle_core::{D, Result, Tensor};

use crate::encoder::Encoder;
use crate::train::Ids;

/// Rows that are embedded or ranked at a time.
const CHUNK: usize = 256;

/// The mean reciprocal rank of each query's document among those of all pairs.
pub fn mean_reciprocal_rank(encoder: &Encoder, ids: &Ids) -> Result<f64> {
    let queries = chunks(&ids.queries, |ids| encoder.queries(ids))?;
    let documents = Tensor::cat(&chunks(&ids.documents, |ids| encoder.documents(ids))?, 0)?.t()?;
    let mut sum = 0.0;
    let mut own = 0;
    for queries in &queries {
        for scores in queries.matmul(&documents)?.to_vec2::<f32>()? {
            let better = scores.iter().filter(|&&score| score > scores[own]).count();
            sum += 1.0 / (better + 1) as f64;
            own += 1;
        }
    }
    Ok(sum / own as f64)
}

/// Embeddings of length 1, without a graph behind them.
fn chunks(ids: &Tensor, embed: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let n = ids.dim(0)?;
    (0..n)
        .step_by(CHUNK)
        .map(|start| {
            let rows = embed(&ids.narrow(0, start, CHUNK.min(n - start))?)?.detach();
            rows.broadcast_div(&rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
        })
        .collect()
}
