//! One loss on one batch: on all threads, and on one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use contrastive::{Loss, OwnedGradient, Scalar, Want, Workspace};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use ndarray::Array2;

/// What is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The value.
    Forward,
    /// Value and gradients, into arrays of the caller's.
    ForwardBackward,
    /// Value and gradients, into fresh arrays.
    ValueAndGradient,
}

impl Pass {
    /// As the ids call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ForwardBackward => "forward_backward",
            Self::ValueAndGradient => "value_and_gradient",
        }
    }

    /// How often each number of the inputs is read or written.
    pub(crate) fn transfers(self) -> usize {
        if self == Self::Forward { 1 } else { 2 }
    }

    /// Matrix products of InfoNCE.
    pub(crate) fn products(self) -> usize {
        if self == Self::Forward { 1 } else { 3 }
    }
}

/// A group of measurements, short ones.
pub(crate) fn group<'c>(c: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group
}

/// Measures a loss.
pub(crate) fn loss<'a, A: Scalar, L: Loss<A> + Sync>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    throughput: Throughput,
    pass: Pass,
    loss: &L,
    input: L::Input<'a>,
) where
    L::Input<'a>: Send,
    L::OwnedGradient: Send,
{
    let mut gradient = L::OwnedGradient::zeros(input);
    let mut workspace = Workspace::new();
    group.throughput(throughput);
    on_threads(group, id, move || {
        let value = match pass {
            Pass::Forward => loss.evaluate(input, Want::value(), &mut workspace),
            Pass::ForwardBackward => {
                loss.evaluate(input, Want::gradient(gradient.view_mut()), &mut workspace)
            }
            Pass::ValueAndGradient => loss
                .value_and_gradient(input)
                .map(|(value, fresh)| (value, black_box(fresh)).0),
        };
        black_box(value.expect("a good batch"));
    });
}

/// Measures on the threads of the global pool, and on one.
pub(crate) fn on_threads(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    mut work: impl FnMut() + Send,
) {
    group.bench_function(BenchmarkId::new("threads=all", id), |bencher| {
        bencher.iter(&mut work)
    });
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a pool of one thread");
    group.bench_function(BenchmarkId::new("threads=1", id), |bencher| {
        bencher.iter_custom(|times| {
            one.install(|| {
                let start = Instant::now();
                (0..times).for_each(|_| work());
                start.elapsed()
            })
        });
    });
}

/// Rows with entries spread over [−1, 1), different in every row.
pub(crate) fn rows<A: Scalar>(n: usize, dim: usize, seed: u64) -> Array2<A> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array2::from_shape_fn((n, dim), |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        A::from((state >> 40) as f64 / f64::from(1 << 23) - 1.0).expect("a number in [-1, 1)")
    })
}

/// `1024x768`, and `1024x768_f64` for `f64`.
pub(crate) fn shape<A>(n: usize, dim: usize) -> String {
    let suffix = if size_of::<A>() == 8 { "_f64" } else { "" };
    format!("{n}x{dim}{suffix}")
}
