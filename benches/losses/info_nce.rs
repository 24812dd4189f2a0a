//! InfoNCE: in-batch, with each of its options, and with candidates of other sources.

use contrastive::{
    Directions, FalseNegatives, Guide, Ids, InfoNceInput, InfoNceLoss, LogWeights, Matryoshka,
    PartitionMode, Scalar, SeveralPositives, Similarity, Sources,
};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use ndarray::{Array1, Array3};

use crate::measure::{Pass, group, loss, rows, shape};

fn info_nce() -> InfoNceLoss {
    InfoNceLoss::new(0.05).expect("a positive temperature")
}

/// Floating-point operations of a batch of n queries and m documents.
fn operations(pass: Pass, n: usize, m: usize, dim: usize) -> Throughput {
    Throughput::Elements((pass.products() * 2 * n * m * dim) as u64)
}

pub(crate) fn in_batch(c: &mut Criterion) {
    for pass in [Pass::Forward, Pass::ForwardBackward, Pass::ValueAndGradient] {
        let mut group = group(c, &format!("info_nce/{}", pass.name()));
        for (n, dim) in [(64, 384), (256, 768), (1024, 768), (4096, 768), (8192, 256)] {
            square::<f32>(&mut group, pass, n, dim, info_nce());
        }
        square::<f64>(&mut group, pass, 1024, 768, info_nce());
    }
    let pass = Pass::ForwardBackward;
    let mut group = group(c, "info_nce_symmetric/forward_backward");
    for n in [1024, 4096] {
        square::<f32>(&mut group, pass, n, 768, info_nce().with_symmetric(true));
    }
}

fn square<A: Scalar>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    pass: Pass,
    n: usize,
    dim: usize,
    info_nce: InfoNceLoss,
) {
    let (queries, documents) = (rows::<A>(n, dim, 1), rows::<A>(n, dim, 2));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let operations = operations(pass, n, n, dim);
    loss(
        group,
        &shape::<A>(n, dim),
        operations,
        pass,
        &info_nce,
        input,
    );
}

/// The loss over prefixes, beside `plain`, the same batch without any. Operations are those of `plain`.
pub(crate) fn matryoshka(c: &mut Criterion) {
    const DIMS: [usize; 5] = [64, 128, 256, 512, 768];
    let (pass, dim) = (Pass::ForwardBackward, 768);
    let mut group = group(c, "info_nce/matryoshka");
    let nested = Matryoshka::new(info_nce(), &DIMS).expect("rising lengths");
    for n in [1024, 4096] {
        let (queries, documents) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
        let input = InfoNceInput::new(queries.view(), documents.view());
        let (id, operations) = (shape::<f32>(n, dim), operations(pass, n, n, dim));
        let plain = format!("{id}_plain");
        loss(
            &mut group,
            &plain,
            operations.clone(),
            pass,
            &info_nce(),
            input,
        );
        loss(&mut group, &id, operations, pass, &nested, input);
    }
}

/// Rules and forms beside `plain`, the same batch without any: what they cost.
pub(crate) fn options(c: &mut Criterion) {
    let (pass, n, dim) = (Pass::ForwardBackward, 4096, 768);
    let mut group = group(c, "info_nce/options");
    let (queries, documents) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let ids = Array1::from_shape_fn(n, |i| i as u64 / 2);
    let groups = ids.view();
    let labelled = InfoNceInput::labelled(queries.view(), groups);
    let weights = Array1::from_shape_fn(n, |i| i as f32 / n as f32);
    let ids = input.with_ids(Ids {
        queries: groups,
        documents: Some(groups),
        negatives: None,
        pool: None,
    });
    let weighted = input.with_log_weights(LogWeights {
        documents: Some(weights.view()),
        ..LogWeights::default()
    });
    let guided = input.with_guide(Guide {
        queries: documents.view(),
        documents: queries.view(),
        negatives: None,
        pool: None,
    });
    let margin = FalseNegatives::Absolute(-0.05);
    let similar = info_nce().with_false_negatives(margin, Sources::ALL);
    let hard = info_nce().with_hardness(1.0, Sources::ALL);
    let smoothed = info_nce().with_label_smoothing(0.1);
    for (id, info_nce, input) in [
        ("plain", info_nce(), input),
        ("dot", info_nce().with_similarity(Similarity::Dot), input),
        (
            "euclidean",
            info_nce().with_similarity(Similarity::SquaredEuclidean),
            input,
        ),
        (
            "directions",
            info_nce().with_directions(Directions::ALL, PartitionMode::Joint),
            input,
        ),
        ("labelled", info_nce(), labelled),
        (
            "labelled_apart",
            info_nce().with_several_positives(SeveralPositives::Apart),
            labelled,
        ),
        ("ids", info_nce(), ids),
        ("log_weights", info_nce(), weighted),
        ("guide", info_nce(), guided),
        ("false_negatives", similar.expect("a finite margin"), input),
        ("hardness", hard.expect("a finite strength"), input),
        ("smoothing", smoothed.expect("a share"), input),
        ("decoupled", info_nce().with_decoupled(true), input),
    ] {
        let operations = operations(pass, n, n, dim);
        loss(&mut group, id, operations, pass, &info_nce, input);
    }
    let pool = rows::<f32>(n, dim, 3);
    let operations = operations(pass, n, 2 * n, dim);
    let pooled = input.with_pool(pool.view());
    loss(&mut group, "pool", operations, pass, &info_nce(), pooled);
}

/// Candidates of one query each.
pub(crate) fn listed(c: &mut Criterion) {
    let pass = Pass::ForwardBackward;
    let mut group = group(c, "info_nce_own_negatives/forward_backward");
    let (n, k, dim) = (1024, 15, 768);
    let (queries, documents) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
    let negatives: Array3<f32> = rows(n * k, dim, 3)
        .into_shape_with_order((n, k, dim))
        .expect("n·k rows");
    let input =
        InfoNceInput::new(queries.view(), documents.view()).with_negatives(negatives.view());
    let alone = info_nce().with_in_batch_negatives(false);
    let pooled = info_nce().with_pooled_negatives(true);
    for (id, info_nce) in [
        ("1024x15x768", alone),
        ("1024x15x768_in_batch", info_nce()),
        ("1024x15x768_pooled", pooled),
    ] {
        let bytes = Throughput::Bytes((2 * n * (k + 2) * dim * 4) as u64);
        loss(&mut group, id, bytes, pass, &info_nce, input);
    }
}
