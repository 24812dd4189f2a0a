//! Random problems.

use contrastive::Reduction;
use proptest::prelude::*;

use super::{Options, Problem};

/// Up to how many rows a batch has.
pub(crate) const ROWS: usize = 17;
/// Up to how many numbers a row has.
pub(crate) const DIMS: usize = 70;

/// Some of the options with a batch of 0 to 17 rows of 1 to 70 numbers, any reduction, with weights and without.
pub(crate) fn problems(options: Vec<Options>) -> impl Strategy<Value = Problem<f64>> {
    let reductions = prop_oneof![
        Just(Reduction::Mean),
        Just(Reduction::Sum),
        Just(Reduction::MeanActive),
        (0.5..20.0).prop_map(Reduction::Over),
    ];
    let options = prop::sample::select(options);
    let shape = (0..=ROWS, 1..=DIMS);
    (options, shape, reductions, any::<bool>(), any::<u64>()).prop_map(
        |(options, (n, dim), reduction, weighted, seed)| {
            let problem = Problem::new(options, n, dim, seed);
            let problem = match reduction {
                // A mean over no rows is an error, tested as such.
                Reduction::Mean | Reduction::MeanActive if n == 0 => problem,
                reduction => problem.reduced(reduction),
            };
            if weighted {
                problem.weighted(!seed)
            } else {
                problem
            }
        },
    )
}
