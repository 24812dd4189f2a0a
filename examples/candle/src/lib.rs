//! A two-tower text encoder in candle, trained on code search with InfoNCE of `contrastive`. See `README.md`.

pub mod encoder;
pub mod evaluate;
pub mod objective;
pub mod random;
pub mod text;
pub mod times;
pub mod train;
