//! What must hold of every call of a loss, and calls made from arbitrary bytes.
//!
//! Whatever shapes, layouts, numbers, options and ids a call is given:
//!
//! * it does not panic, and comes to an end
//! * a refusal leaves every buffer as it was, and does not depend on the layout of the arrays
//! * value, row losses and gradients have the same bits in every layout, and nothing between the numbers of a view is written
//! * the value by itself has the bits of the value that comes with a gradient, also from a workspace that has been used
//! * finite numbers have a finite result, unless the exact one is too large
//! * `f32` is near `f64`

#[path = "../../proof/common/layout.rs"]
#[allow(dead_code, reason = "shared with the proof")]
mod layout;

mod batch_triplet;
mod bytes;
mod call;
mod chunks;
mod cosine_embedding;
mod hard_negatives;
mod info_nce;
mod matryoshka;
mod memory_queue;
mod metric;
mod pairs;
mod score_functions;
mod scores;
mod targets;
mod triplet_margin;

use contrastive::Error;

use bytes::Bytes;
pub(crate) use call::{bits, same};

/// Checks a call that was made from the bytes, unless a constructor has refused its options.
fn check<C: call::Call>(bytes: &[u8], from: impl FnOnce(&mut Bytes<'_>) -> Result<C, Error>) {
    let mut bytes = Bytes::new(bytes);
    if let Ok(call) = from(&mut bytes) {
        call::check(&call, &mut bytes);
    }
}

/// [`contrastive::BatchTripletLoss`] on a batch made from these bytes.
pub(crate) fn batch_triplet(bytes: &[u8]) {
    check(bytes, batch_triplet::BatchTriplet::from);
}

/// [`contrastive::InfoNceLoss`] over chunks of documents made from these bytes.
pub(crate) fn chunks(bytes: &[u8]) {
    check(bytes, chunks::Chunks::from);
}

/// [`contrastive::CosineEmbeddingLoss`] on a batch made from these bytes.
pub(crate) fn cosine_embedding(bytes: &[u8]) {
    check(bytes, cosine_embedding::Cosine::from);
}

/// [`contrastive::HardNegativeMiner`] on queries and documents made from these bytes.
pub(crate) fn hard_negatives(bytes: &[u8]) {
    let _refused = hard_negatives::check(&mut Bytes::new(bytes));
}

/// [`contrastive::InfoNceLoss`] on a batch made from these bytes.
pub(crate) fn info_nce(bytes: &[u8]) {
    check(bytes, info_nce::InfoNce::from);
}

/// [`contrastive::Matryoshka`] over one of its losses, on a batch made from these bytes.
pub(crate) fn matryoshka(bytes: &[u8]) {
    let (&[which], bytes) = bytes.split_at(bytes.len().min(1)) else {
        return;
    };
    match which % 3 {
        0 => check(bytes, |bytes| {
            Ok(cosine_embedding::Cosine::from(bytes)?.nested(bytes))
        }),
        1 => check(bytes, |bytes| {
            Ok(triplet_margin::Triplet::from(bytes)?.nested(bytes))
        }),
        _ => check(bytes, |bytes| {
            Ok(info_nce::InfoNce::from(bytes)?.nested(bytes))
        }),
    }
}

/// [`contrastive::MemoryQueue`] with batches made from these bytes.
pub(crate) fn memory_queue(bytes: &[u8]) {
    let _refused = memory_queue::check(&mut Bytes::new(bytes));
}

/// The losses of pairs on a batch made from these bytes.
pub(crate) fn pairs(bytes: &[u8]) {
    check(bytes, pairs::Pairs::from);
}

/// The score functions on queries and documents made from these bytes.
pub(crate) fn score_functions(bytes: &[u8]) {
    check(bytes, score_functions::ScoreFunctions::from);
}

/// The losses over scores on scores made from these bytes.
pub(crate) fn scores(bytes: &[u8]) {
    check(bytes, scores::Scores::from);
}

/// [`contrastive::TripletMarginLoss`] on a batch made from these bytes.
pub(crate) fn triplet_margin(bytes: &[u8]) {
    check(bytes, triplet_margin::Triplet::from);
}
