//! `contrastive` against PyTorch, JAX, candle and burn, on the same inputs in one interleaved run.

pub mod agreement;
pub mod case;
pub mod drive;
pub mod engines;
pub mod footprint;
pub mod inputs;
pub mod measure;
pub mod memory;
pub mod options;
pub mod probes;
pub mod serve;
pub mod setting;
pub mod suites;
pub mod table;
pub mod worker;
