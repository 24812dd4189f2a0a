//! All documents on every rank: one all-gather, the loss of the own queries, one reduce-scatter.

use contrastive::{Error, InfoNceInput, InfoNceLoss, Loss, Reduction, Targets};
use ndarray::{ArrayView2, arr2};

use crate::shards::Shards;
use crate::{Number, Share};

/// InfoNCE of the queries `[rows, dim]` of all ranks, each against the documents of all ranks. Document i of a rank answers its query i.
///
/// # Errors
/// If the temperature is not positive, or the two sides differ in shape.
pub fn info_nce<A: Number>(
    shards: &Shards<'_>,
    temperature: f64,
    queries: ArrayView2<'_, A>,
    documents: ArrayView2<'_, A>,
) -> Result<Share<A>, Error> {
    // The mean over the whole batch. With the mean over the own rows, what the ranks add up would be too large by their number.
    let loss =
        InfoNceLoss::new(temperature)?.with_reduction(Reduction::Over(shards.total() as f64))?;
    let all = shards.all_gather(documents);
    let own = Targets::Offset(shards.offset(shards.own()));
    let input = InfoNceInput::new(queries, all.view()).with_targets(own);
    let (value, gradient) = loss.value_and_gradient(input)?;
    Ok(Share {
        value: shards.all_reduce(arr2(&[[value]]))[[0, 0]],
        // No other rank has these queries …
        queries: gradient.queries,
        // … but every rank has pushed these documents.
        documents: shards.reduce_scatter(gradient.documents.view()),
    })
}
