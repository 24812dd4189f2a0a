//! The same bits on any number of threads, and with a workspace that has been used.

use contrastive::{BatchDistance, HardNegativeInput, HardNegativeMiner, Workspace};
use rayon::ThreadPoolBuilder;

use crate::batch::{Batch, Outcome, Random, all_options};

fn bits(outcome: &Outcome<f32>) -> Vec<u32> {
    let gradient = outcome.gradient.iter().flat_map(|part| part.iter());
    let numbers = [&outcome.value]
        .into_iter()
        .chain(gradient)
        .chain(&outcome.rows);
    numbers.map(|x| x.to_bits()).collect()
}

/// Enough rows for several panels, and for the work to be shared.
fn batches() -> impl Iterator<Item = Batch<f32>> {
    let options = all_options().into_iter().enumerate();
    options.step_by(2).map(|(index, options)| {
        let (n, classes) = [(200, 3), (150, 60)][index / 2 % 2];
        Batch::new(options, n, 64, classes, index as u64).narrow()
    })
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let pools = [1, 2, 3, 8].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
    });
    for batch in batches() {
        let expected = bits(&pools[0].install(|| batch.solve()));
        for pool in &pools[1..] {
            assert_eq!(
                bits(&pool.install(|| batch.solve())),
                expected,
                "{:?}",
                batch.options
            );
        }
    }
}

#[test]
fn used_workspace_gives_the_bits_of_a_new_one() {
    let mut workspace = Workspace::new();
    for batch in batches() {
        let used = bits(&batch.solve_with(&mut workspace));
        assert_eq!(used, bits(&batch.solve()), "{:?}", batch.options);
    }
}

/// 64 KiB have no room for the distances of each pair in advance. |x|² + |y|² − 2x·y is the same from either end; x̂·y/‖y‖ is not.
#[test]
fn distances_in_advance_have_the_bits_of_distances_from_either_end() {
    let mut batches: Vec<_> = batches().collect();
    batches
        .retain(|batch| !batch.options.separate && batch.options.distance != BatchDistance::Cosine);
    assert!(batches.len() > 5);
    for mut batch in batches {
        batch.anchors = Random(batch.anchors.len() as u64)
            .rows(200, 64)
            .mapv(|x| x as f32);
        batch.labels = (0..200).map(|row| row % 61).collect();
        batch.weights = None;
        let small = &mut Workspace::with_limit(1 << 16).unwrap();
        let expected = bits(&batch.solve_with(small));
        assert_eq!(bits(&batch.solve()), expected, "{:?}", batch.options);
    }
}

#[test]
fn hard_negatives_do_not_depend_on_the_number_of_threads() {
    let mut random = Random(5);
    let queries = random.rows(300, 8).mapv(|x| x as f32);
    let documents = random.rows(70_000, 8).mapv(|x| x as f32);
    let find = |threads| {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let miner = HardNegativeMiner::new(4).unwrap().with_skip(2);
        let input = HardNegativeInput::new(queries.view(), documents.view());
        pool.install(|| miner.find(input).unwrap())
    };
    let expected = find(1);
    for threads in [2, 3, 8] {
        assert_eq!(find(threads), expected);
    }
}
