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

mod bytes;
mod call;
mod cosine_embedding;
mod info_nce;
mod triplet_margin;

use bytes::Bytes;
pub(crate) use call::{bits, same};
use cosine_embedding::Cosine;
use info_nce::InfoNce;
use triplet_margin::Triplet;

/// [`contrastive::CosineEmbeddingLoss`] on a batch made from these bytes.
pub(crate) fn cosine_embedding(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    if let Ok(call) = Cosine::from(&mut bytes) {
        call::check(&call, &mut bytes);
    }
}

/// [`contrastive::TripletMarginLoss`] on a batch made from these bytes.
pub(crate) fn triplet_margin(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    if let Ok(call) = Triplet::from(&mut bytes) {
        call::check(&call, &mut bytes);
    }
}

/// [`contrastive::InfoNceLoss`] on a batch made from these bytes.
pub(crate) fn info_nce(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    if let Ok(call) = InfoNce::from(&mut bytes) {
        call::check(&call, &mut bytes);
    }
}
