//! A run in which every rank holds other pairs.

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use ndarray::s;

use crate::check::{encoder, features};
use crate::encoder::Exchange;
use crate::shards::Shards;

const ROWS: usize = 64;
const STEPS: usize = 20;

/// Trains on 64 pairs of each rank; rank 0 prints the loss.
pub fn run(world: &SimpleCommunicator) -> Result<(), contrastive::Error> {
    let shards = Shards::new(world, ROWS);
    let shard = s![
        shards.offset(shards.own())..shards.offset(shards.own() + 1),
        ..
    ];
    let queries = features(shards.total(), 1);
    let documents = &queries + &(features(shards.total(), 2) * 0.5);
    let (queries, documents) = (queries.slice(shard), documents.slice(shard));
    let mut encoder = encoder();
    for step in 0..STEPS {
        let value = encoder.step(&shards, Exchange::Gathered, queries, documents)?;
        if world.rank() == 0 {
            println!("step {step}: loss {value:.4} over {} pairs", shards.total());
        }
    }
    Ok(())
}
