//! The proof of the crate through its public API: one module for each claim.
//!
//! `cargo test --test proof layouts` runs one module.

mod common;

mod bad_values;
mod batch_pairs;
mod batch_products;
mod cancellation;
mod chunks;
mod contract;
mod determinism;
mod edge_cases;
mod errors;
mod extremes;
mod finite_differences;
mod graph;
mod info_nce_edges;
mod kinks;
mod large_batches;
mod layouts;
mod lone_queries;
mod matryoshka;
mod non_finite;
mod pairs;
mod parameters;
mod precision;
mod prefix_rows;
mod prefixes;
mod reductions;
mod reference;
mod reports;
mod rules;
mod signed_zeros;
#[cfg(feature = "rayon")]
mod threads;
mod workspace;
