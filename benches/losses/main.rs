//! Every loss and option family that has a path of its own, beside the limits of the machine.
//!
//! `cargo bench` runs all of it, `cargo bench -- info_nce/forward_backward` what matches; every id comes with `threads=all` and `threads=1`.
//! Throughput is in bytes for the row losses (inputs read and gradients written, once each) and in floating-point operations for InfoNCE
//! (2·n·m·dim for each product), which criterion prints as elements. The `limit/` ids are measured in the same run: reading and copying the
//! bytes of a row loss, and fused multiply-adds in registers. Gradients are written into the caller's arrays, and into fresh ones where the
//! id says `value_and_gradient`.
//!
//! `CONTRASTIVE_MAX_ISA=avx2 cargo bench` caps the crate and the multiply-adds of `limit/` at AVX2, for the ratios of a machine without
//! AVX-512; `portable` at what every machine of the target has.

mod info_nce;
mod limits;
mod measure;
mod row_losses;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    limits::limits,
    row_losses::cosine_embedding,
    row_losses::matryoshka,
    row_losses::places,
    row_losses::triplet_margin,
    row_losses::triplet_options,
    info_nce::in_batch,
    info_nce::matryoshka,
    info_nce::options,
    info_nce::listed
);
criterion_main!(benches);
