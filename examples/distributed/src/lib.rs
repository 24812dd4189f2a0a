//! InfoNCE over the documents of all ranks of an MPI program. See `README.md`.
//!
//! Each rank embeds its shard of the batch. [`gathered`] brings all documents to all ranks; [`ring`] sends them round, so that no rank
//! ever holds all. Both give the value of the whole batch and the gradients of the rank's own embeddings, as one process would.

pub mod check;
pub mod encoder;
pub mod gathered;
pub mod paper;
pub mod ring;
pub mod shards;
pub mod traffic;
pub mod train;

use mpi::traits::Equivalence;
use ndarray::Array2;

/// The element type of embeddings: what both the losses and MPI know.
pub trait Number: contrastive::Scalar + Equivalence {}

impl Number for f32 {}
impl Number for f64 {}

/// What a step of one rank ends with.
#[derive(Clone, Debug)]
pub struct Share<A> {
    /// The loss of the whole batch, the same on all ranks.
    pub value: A,
    /// Its gradient for the queries of this rank.
    pub queries: Array2<A>,
    /// Its gradient for the documents of this rank, complete: the queries of all ranks have added to it.
    pub documents: Array2<A>,
}
