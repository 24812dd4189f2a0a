//! What all ranks together compute against what one process computes of the whole batch.

use contrastive::{InfoNceInput, InfoNceLoss, Loss};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use ndarray::{Array2, ArrayView2, s};

use crate::encoder::{Encoder, Exchange, RATE, TEMPERATURE};
use crate::shards::Shards;

const FEATURES: usize = 13;
const DIM: usize = 8;
const STEPS: usize = 3;
/// Relative to the largest element: f64, scores divided by 0.1, sums of a few dozen rows in another order.
const ROUNDING: f64 = 1e-12;

/// Trains on shards of the given `rows`, one for each rank, in both ways, and beside it alone on the whole batch.
///
/// # Errors
/// With what differs.
pub fn run(world: &SimpleCommunicator, rows: &[usize]) -> Result<(), String> {
    let total = rows.iter().sum();
    let queries = features(total, 1);
    let documents = &queries + &(features(total, 2) * 0.5);
    let own = world.rank() as usize;
    let shards = Shards::new(world, rows[own]);
    let shard = shards.offset(own)..shards.offset(own + 1);
    for exchange in [Exchange::Gathered, Exchange::Ring] {
        let (mut together, mut alone) = (encoder(), encoder());
        for step in 0..STEPS {
            let what = |name| format!("{exchange:?}, step {step}, rank {own} of {rows:?}: {name}");
            let local = |all: &Array2<f64>| all.slice(s![shard.clone(), ..]).to_owned();
            let (q, d) = (local(&queries), local(&documents));
            let expected = whole_batch(&mut alone, queries.view(), documents.view());

            let (embedded_q, embedded_d) = (q.dot(&together.weights), d.dot(&together.weights));
            let share = exchange
                .info_nce(&shards, TEMPERATURE, embedded_q.view(), embedded_d.view())
                .map_err(|error| error.to_string())?;
            compare(&what("queries"), share.queries, &local(&expected.queries))?;
            compare(
                &what("documents"),
                share.documents,
                &local(&expected.documents),
            )?;

            let value = together
                .step(&shards, exchange, q.view(), d.view())
                .map_err(|error| error.to_string())?;
            let one = |x| Array2::from_elem((1, 1), x);
            compare(&what("value"), one(value), &one(expected.value))?;
            compare(&what("weights"), together.weights.clone(), &alone.weights)?;
        }
    }
    Ok(())
}

/// The weights that every run starts from, the same on every rank.
pub fn encoder() -> Encoder {
    Encoder {
        weights: features(FEATURES, 3).slice_move(s![.., ..DIM]),
    }
}

/// The step of one process that has all rows.
fn whole_batch(
    encoder: &mut Encoder,
    queries: ArrayView2<'_, f64>,
    documents: ArrayView2<'_, f64>,
) -> crate::Share<f64> {
    let (q, d) = (
        queries.dot(&encoder.weights),
        documents.dot(&encoder.weights),
    );
    let (value, gradient) = InfoNceLoss::new(TEMPERATURE)
        .and_then(|loss| loss.value_and_gradient(InfoNceInput::new(q.view(), d.view())))
        .expect("a valid batch");
    let change = queries.t().dot(&gradient.queries) + documents.t().dot(&gradient.documents);
    encoder.weights.scaled_add(-RATE, &change);
    crate::Share {
        value,
        queries: gradient.queries,
        documents: gradient.documents,
    }
}

fn compare(what: &str, found: Array2<f64>, expected: &Array2<f64>) -> Result<(), String> {
    if found.dim() != expected.dim() {
        return Err(format!(
            "{what}: expected shape {:?}, found {:?}",
            expected.dim(),
            found.dim()
        ));
    }
    let largest = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    // Written so that a NaN fails.
    if worst <= ROUNDING * largest {
        Ok(())
    } else {
        Err(format!(
            "{what}: off by {worst:e} where the largest is {largest:e}"
        ))
    }
}

/// Numbers in [−1, 1), `[rows, features]`, the same on every rank (SplitMix64).
pub fn features(rows: usize, seed: u64) -> Array2<f64> {
    let mut state = seed << 32;
    Array2::from_shape_simple_fn((rows, FEATURES), || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        2.0 * ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 1.0
    })
}
