//! The losses of pairs. `cargo bench --bench pairs -- cosent` runs what matches.
//!
//! Throughput is in bytes for losses of pairs (inputs read and gradients written, once each; CoSENT and AnglE read the inputs twice) and in
//! coordinates of pairs, n²·dim, for all pairs of a labelled batch.

use std::hint::black_box;
use std::time::Duration;

use contrastive::{
    AngleLoss, BatchContrastiveInput, BatchContrastiveLoss, CoSentLoss, ContrastiveLoss,
    CosineSimilarityLoss, Loss, Lp, PairInput, PairLabel, Want, Workspace,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array1, Array2};

/// Rows with entries spread over [−1, 1), different in every row.
fn rows(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array2::from_shape_fn((n, dim), |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    })
}

/// Value and gradient, with buffers and workspace that are kept.
fn bench<L: Loss<f32>>(
    c: &mut Criterion,
    id: &str,
    throughput: Throughput,
    loss: &L,
    input: L::Input<'_>,
) {
    use contrastive::OwnedGradient;
    let mut group = c.benchmark_group("pairs");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .throughput(throughput);
    let (_, mut gradient) = loss.value_and_gradient(input).expect("a good batch");
    let mut workspace = Workspace::new();
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let want = Want::gradient(gradient.view_mut());
            let value = loss.evaluate(input, want, &mut workspace);
            black_box(value.expect("a good batch"));
        });
    });
}

fn pairs(c: &mut Criterion) {
    for (n, dim) in [(256, 768), (4096, 768), (65_536, 768)] {
        let (x, y) = (rows(n, dim, 1), rows(n, dim, 2));
        let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
        let grades = Array1::from_shape_fn(n, |i| (i * 7 % 21) as f32 / 20.0);
        let labelled = PairInput::new(x.view(), y.view(), labels.view());
        let graded = PairInput::new(x.view(), y.view(), grades.view());
        let bytes = || Throughput::Bytes((4 * n * dim * 4) as u64);
        let id = |loss: &str| format!("{loss}/forward_backward/{n}x{dim}");

        let contrastive = ContrastiveLoss::new(0.5).expect("a positive margin");
        bench(c, &id("contrastive"), bytes(), &contrastive, labelled);
        let euclidean = contrastive.with_distance(Lp::euclidean());
        bench(c, &id("contrastive_l2"), bytes(), &euclidean, labelled);
        let hard = contrastive.with_hard_pairs(true);
        bench(c, &id("contrastive_hard"), bytes(), &hard, labelled);
        let similarity = CosineSimilarityLoss::new();
        bench(c, &id("cosine_similarity"), bytes(), &similarity, graded);
        let bytes = || Throughput::Bytes((6 * n * dim * 4) as u64);
        let cosent = CoSentLoss::new(20.0).expect("a positive scale");
        bench(c, &id("cosent"), bytes(), &cosent, graded);
        let angle = AngleLoss::new(20.0).expect("a positive scale");
        bench(c, &id("angle"), bytes(), &angle, graded);
    }
}

fn batches(c: &mut Criterion) {
    for (n, dim) in [(256, 384), (1024, 384)] {
        let embeddings = rows(n, dim, 1);
        let classes = Array1::from_shape_fn(n, |i| (i / 4) as u64);
        let input = BatchContrastiveInput::new(embeddings.view(), classes.view());
        let pairs = ContrastiveLoss::new(0.5).expect("a positive margin");
        let loss = BatchContrastiveLoss::new(pairs);
        let coordinates = Throughput::Elements((n * n * dim) as u64);
        let id = format!("batch_contrastive/forward_backward/{n}x{dim}");
        bench(c, &id, coordinates, &loss, input);
    }
}

criterion_group!(benches, pairs, batches);
criterion_main!(benches);
