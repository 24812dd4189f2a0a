//! Calls from pools of any size, from busy ones, and with user code that panics: later calls are right, and nothing waits for ever.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::random::Random;
use contrastive::{
    Distance, Loss, Scalar, SquaredEuclidean, TripletMarginInput, TripletMarginLoss,
    TripletMarginOwnedGradient, Want, Workspace,
};
use ndarray::Array2;

/// Rows enough for several blocks on several threads.
const ROWS: usize = 4000;
const DIM: usize = 19;

/// A row that begins with this number makes [`Fragile`] panic.
const POISON: f64 = 77.0;

/// The squared distance by a user who panics at some rows, and counts calls from outside of any pool.
#[derive(Default)]
struct Fragile {
    outside: AtomicUsize,
}

impl<A: Scalar> Distance<A> for Fragile {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        if x[0].to_f64() == Some(POISON) {
            // A panic without the message on the terminal.
            resume_unwind(Box::new("poison"));
        }
        if rayon::current_thread_index().is_none() {
            self.outside.fetch_add(1, Ordering::Relaxed);
        }
        SquaredEuclidean.distance(x, y)
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        SquaredEuclidean.gradient(x, y, dx, dy);
    }
}

/// Anchors, positives and negatives.
struct Batch([Array2<f64>; 3]);

impl Batch {
    fn new() -> Self {
        let mut random = Random::new(5);
        Self([(); 3].map(|()| Array2::from_shape_fn((ROWS, DIM), |_| random.signed())))
    }

    fn poisoned(row: usize) -> Self {
        let mut batch = Self::new();
        batch.0[0][[row, 0]] = POISON;
        batch
    }

    fn input(&self) -> TripletMarginInput<'_, f64> {
        let [anchor, positive, negative] = &self.0;
        TripletMarginInput::new(anchor.view(), positive.view(), negative.view())
    }

    fn solve(&self, distance: &Fragile) -> (f64, TripletMarginOwnedGradient<f64>) {
        let loss = TripletMarginLoss::new(1.0).unwrap().with_distance(distance);
        loss.value_and_gradient(self.input()).unwrap()
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().expect("a pool")
}

/// A call that panics, in the same buffers before and after calls that do not.
fn panics_and_recovers() {
    let (batch, distance) = (Batch::new(), Fragile::default());
    let loss = TripletMarginLoss::new(1.0)
        .unwrap()
        .with_distance(&distance);
    let (mut workspace, (value, mut gradient)) = (Workspace::new(), batch.solve(&distance));
    let expected = gradient.clone();
    for row in [0, 1, ROWS / 2, ROWS - 1] {
        let poisoned = Batch::poisoned(row);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let want = Want::gradient(gradient.view_mut());
            loss.evaluate(poisoned.input(), want, &mut workspace)
        }));
        let message = panic.expect_err("one row is poison");
        assert_eq!(
            message.downcast_ref(),
            Some(&"poison"),
            "the user's own panic"
        );
        let want = Want::gradient(gradient.view_mut());
        let again = loss.evaluate(batch.input(), want, &mut workspace);
        assert_eq!((again.unwrap(), &gradient), (value, &expected));
    }
}

#[test]
fn panic_of_a_user_s_distance_reaches_the_caller_and_later_calls_are_right() {
    panics_and_recovers();
}

#[test]
fn panic_of_a_user_s_distance_leaves_pools_of_any_size_usable() {
    for threads in [1, 2, 8] {
        pool(threads).install(panics_and_recovers);
    }
}

#[test]
fn panics_on_some_threads_do_not_disturb_calls_on_others() {
    let pool = pool(2);
    let (expected, distance) = (Batch::new().solve(&Fragile::default()), Fragile::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, expected, distance) = (&pool, &expected, &distance);
            scope.spawn(move || {
                for round in 0..4 {
                    if thread % 2 == 0 {
                        let poisoned = Batch::poisoned(round * 999);
                        let work = || pool.install(|| poisoned.solve(distance));
                        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
                    } else {
                        let solved = pool.install(|| Batch::new().solve(distance));
                        assert_eq!(solved, *expected);
                    }
                }
            });
        }
    });
}

#[test]
fn a_pool_of_one_thread_that_is_inside_another_pool_does_not_wait_for_itself() {
    let (batch, distance) = (Batch::new(), Fragile::default());
    let expected = batch.solve(&distance);
    let (one, two) = (pool(1), pool(2));
    let solved = one.install(|| two.install(|| one.install(|| batch.solve(&distance))));
    assert_eq!(solved, expected);
    let both = one.install(|| rayon::join(|| batch.solve(&distance), || batch.solve(&distance)));
    assert_eq!(both, (expected.clone(), expected));
}

#[test]
fn a_pool_that_is_busy_with_other_work_gives_the_same_bits() {
    let (batch, distance) = (Batch::new(), Fragile::default());
    let expected = batch.solve(&distance);
    let calls = AtomicUsize::new(0);
    for threads in [1, 3, 8] {
        pool(threads).scope(|scope| {
            for load in 0..24 {
                let (batch, expected, distance, calls) = (&batch, &expected, &distance, &calls);
                scope.spawn(move |_| {
                    if load % 3 == 0 {
                        assert_eq!(batch.solve(distance), *expected);
                        calls.fetch_add(1, Ordering::Relaxed);
                    } else {
                        std::hint::black_box((0..200_000_u64).fold(load, |x, y| x ^ (x << 1) ^ y));
                    }
                });
            }
        });
    }
    assert_eq!(calls.into_inner(), 24);
}

#[test]
fn rows_are_worked_on_in_the_caller_s_pool_alone() {
    let (batch, distance) = (Batch::new(), Fragile::default());
    pool(2).install(|| batch.solve(&distance));
    assert_eq!(distance.outside.into_inner(), 0);
}
