//! InfoNCE over every kind of candidate graph: several positives, ragged and pooled negatives, all directions, labelled batches, the sigmoid form,
//! distances; with false negatives, a guide, log weights and smoothed labels. Values against the formula, gradients against its central differences.

mod answer;
mod any;
mod batch;
mod candidates;
mod case;
mod extras;
mod formula;
mod judged;
mod list;
mod naive;
mod passes;
mod precision;
mod refused;
mod ruled;
