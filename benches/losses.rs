//! Every loss and option family that has a path of its own, beside the limits of the machine.
//!
//! `cargo bench` runs all of it; `cargo bench -- info_nce/forward_backward` what matches. Throughput is in bytes for the row losses (inputs
//! read and gradients written, once each) and in floating-point operations for InfoNCE (three products of 2·n·m·dim), printed by criterion as
//! elements. The `limit/` rows are measured in the same run: a parallel copy and read of the same bytes, and the rate of fused multiply-adds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use contrastive::{
    CosineDistance, CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, Lp,
    PairLabel, Scalar, SquaredEuclidean, TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use ndarray::{Array1, Array2, Array3};

/// Rows with entries spread over [−1, 1), different in every row.
fn rows<A: Scalar>(n: usize, dim: usize, seed: u64) -> Array2<A> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array2::from_shape_fn((n, dim), |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        A::from((state >> 40) as f64 / f64::from(1 << 23) - 1.0).expect("a number in [-1, 1)")
    })
}

fn shape(n: usize, dim: usize) -> String {
    format!("{n}x{dim}")
}

/// Measures on the threads of the global pool, and on one.
fn on_threads(group: &mut BenchmarkGroup<'_, WallTime>, id: &str, mut work: impl FnMut() + Send) {
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

fn settings(group: &mut BenchmarkGroup<'_, WallTime>) {
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
}

const ROW_SHAPES: [(usize, usize); 4] = [(64, 384), (256, 768), (1024, 768), (65_536, 768)];

fn cosine_embedding(c: &mut Criterion) {
    for (pass, with_gradient) in [("forward", false), ("forward_backward", true)] {
        let mut group = c.benchmark_group(format!("cosine_embedding/{pass}"));
        settings(&mut group);
        for (n, dim) in ROW_SHAPES {
            let (x, y) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
            let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
            let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
            let loss = CosineEmbeddingLoss::new(0.0).expect("a margin in range");
            let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
            let mut workspace = Workspace::new();
            group.throughput(Throughput::Bytes(
                (n * dim * 4 * if with_gradient { 4 } else { 2 }) as u64,
            ));
            on_threads(&mut group, &shape(n, dim), || {
                let want = if with_gradient {
                    Want::gradient(gradient.view_mut())
                } else {
                    Want::value()
                };
                black_box(
                    loss.evaluate(input, want, &mut workspace)
                        .expect("a good batch"),
                );
            });
        }
    }
}

fn triplet_margin(c: &mut Criterion) {
    for (pass, with_gradient) in [("forward", false), ("forward_backward", true)] {
        let mut group = c.benchmark_group(format!("triplet_margin/{pass}"));
        settings(&mut group);
        for (n, dim) in ROW_SHAPES {
            let [a, p, q] = [1, 2, 3].map(|seed| rows::<f32>(n, dim, seed));
            let input = TripletMarginInput::new(a.view(), p.view(), q.view());
            let loss = TripletMarginLoss::new(1.0).expect("a positive margin");
            let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
            let mut workspace = Workspace::new();
            group.throughput(Throughput::Bytes(
                (n * dim * 4 * if with_gradient { 6 } else { 3 }) as u64,
            ));
            on_threads(&mut group, &shape(n, dim), || {
                let want = if with_gradient {
                    Want::gradient(gradient.view_mut())
                } else {
                    Want::value()
                };
                black_box(
                    loss.evaluate(input, want, &mut workspace)
                        .expect("a good batch"),
                );
            });
        }
    }
}

fn triplet_distances(c: &mut Criterion) {
    let mut group = c.benchmark_group("triplet_margin/distances");
    settings(&mut group);
    let (n, dim) = (1024, 768);
    let [a, p, q] = [1, 2, 3].map(|seed| rows::<f32>(n, dim, seed));
    let input = TripletMarginInput::new(a.view(), p.view(), q.view());
    let loss = TripletMarginLoss::new(1.0).expect("a positive margin");
    let lp = |p| Lp::new(p).expect("p of at least 1");
    group.throughput(Throughput::Bytes((n * dim * 4 * 6) as u64));
    macro_rules! bench {
        ($id:literal, $loss:expr) => {{
            let loss = $loss;
            let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
            let run = || {
                black_box(
                    loss.forward_backward(input, gradient.view_mut())
                        .expect("a good batch"),
                )
            };
            let mut run = run;
            group.bench_function($id, |bencher| bencher.iter(&mut run));
        }};
    }
    bench!("l1", loss.with_distance(lp(1.0)));
    bench!("l3", loss.with_distance(lp(3.0)));
    bench!("max", loss.with_distance(Lp::infinity()));
    bench!("squared", loss.with_distance(SquaredEuclidean));
    bench!("cosine", loss.with_distance(CosineDistance));
    bench!("swap", loss.with_swap(true));
}

fn info_nce_case<A: Scalar>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    n: usize,
    dim: usize,
    symmetric: bool,
) {
    let (q, d) = (rows::<A>(n, dim, 1), rows::<A>(n, dim, 2));
    let input = InfoNceInput::new(q.view(), d.view());
    let loss = InfoNceLoss::new(0.05)
        .expect("a positive temperature")
        .with_symmetric(symmetric);
    let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
    let mut workspace = Workspace::new();
    group.throughput(Throughput::Elements((6 * n * n * dim) as u64));
    on_threads(group, id, || {
        let want = Want::gradient(gradient.view_mut());
        black_box(
            loss.evaluate(input, want, &mut workspace)
                .expect("a good batch"),
        );
    });
}

fn info_nce(c: &mut Criterion) {
    let mut group = c.benchmark_group("info_nce/forward_backward");
    settings(&mut group);
    for (n, dim) in [(64, 384), (256, 768), (1024, 768), (4096, 768), (8192, 256)] {
        info_nce_case::<f32>(&mut group, &shape(n, dim), n, dim, false);
    }
    info_nce_case::<f64>(&mut group, "1024x768_f64", 1024, 768, false);
    group.finish();
    let mut group = c.benchmark_group("info_nce_symmetric/forward_backward");
    settings(&mut group);
    for n in [1024, 4096] {
        info_nce_case::<f32>(&mut group, &shape(n, 768), n, 768, true);
    }
}

fn info_nce_own_negatives(c: &mut Criterion) {
    let mut group = c.benchmark_group("info_nce_own_negatives/forward_backward");
    settings(&mut group);
    let (n, k, dim) = (1024, 15, 768);
    let (q, d) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
    let negatives = rows::<f32>(n * k, dim, 3)
        .into_shape_with_order((n, k, dim))
        .expect("n·k rows");
    let negatives: Array3<f32> = negatives;
    let input = InfoNceInput::new(q.view(), d.view()).with_negatives(negatives.view());
    for (id, in_batch) in [("1024x15x768", false), ("1024x15x768_in_batch", true)] {
        let loss = InfoNceLoss::new(0.05)
            .expect("a positive temperature")
            .with_in_batch_negatives(in_batch);
        let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
        let mut workspace = Workspace::new();
        group.throughput(Throughput::Bytes((2 * n * (k + 2) * dim * 4) as u64));
        on_threads(&mut group, id, || {
            let want = Want::gradient(gradient.view_mut());
            black_box(
                loss.evaluate(input, want, &mut workspace)
                    .expect("a good batch"),
            );
        });
    }
}

/// What the machine can do: bytes read, bytes copied.
fn limits(c: &mut Criterion) {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 14;
    let mut group = c.benchmark_group("limit");
    settings(&mut group);
    for (n, dim) in ROW_SHAPES {
        let from = vec![1.0_f32; 2 * n * dim];
        let mut to = vec![0.0_f32; 2 * n * dim];
        group.throughput(Throughput::Bytes((2 * n * dim * 4) as u64));
        on_threads(&mut group, &format!("read/{}", shape(n, dim)), || {
            let sum = |piece: &[f32]| {
                let lanes = piece.chunks_exact(16).fold([0_u32; 16], |mut sum, x| {
                    sum.iter_mut()
                        .zip(x)
                        .for_each(|(sum, x)| *sum ^= x.to_bits());
                    sum
                });
                lanes.into_iter().fold(0, |sum, x| sum ^ x)
            };
            black_box(from.par_chunks(PIECE).map(sum).reduce(|| 0, |x, y| x ^ y));
        });
        group.throughput(Throughput::Bytes((4 * n * dim * 4) as u64));
        on_threads(&mut group, &format!("copy/{}", shape(n, dim)), || {
            to.par_chunks_mut(PIECE)
                .zip(from.par_chunks(PIECE))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
    }
}

criterion_group!(
    benches,
    limits,
    cosine_embedding,
    triplet_margin,
    triplet_distances,
    info_nce,
    info_nce_own_negatives
);
criterion_main!(benches);
