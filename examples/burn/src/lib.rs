//! A two-tower text encoder in burn, trained on code search with InfoNCE of `contrastive`. See `README.md`.

pub mod encoder;
pub mod objective;
// The data is read as in the candle companion.
#[path = "../../candle/src/text.rs"]
pub mod text;
