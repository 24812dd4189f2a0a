//! Cosine embedding and triplet margin.

use contrastive::{
    CosineDistance, CosineEmbeddingInput, CosineEmbeddingLoss, Distance, Lp, Matryoshka, PairLabel,
    Scalar, SquaredEuclidean, TripletMarginInput, TripletMarginLoss,
};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use ndarray::{Array1, Array3, ArrayView2};

use crate::measure::{Pass, group, loss, rows, shape};

pub(crate) const SHAPES: [(usize, usize); 4] = [(64, 384), (256, 768), (1024, 768), (65_536, 768)];
const PASSES: [Pass; 3] = [Pass::Forward, Pass::ForwardBackward, Pass::ValueAndGradient];

pub(crate) fn cosine_embedding(c: &mut Criterion) {
    for pass in PASSES {
        let mut group = group(c, &format!("cosine_embedding/{}", pass.name()));
        for (n, dim) in SHAPES {
            pairs::<f32>(&mut group, pass, n, dim);
        }
        pairs::<f64>(&mut group, pass, 1024, 768);
    }
}

/// The loss over prefixes, beside `plain`, the same batch without any. Bytes are those of `plain`.
pub(crate) fn matryoshka(c: &mut Criterion) {
    const DIMS: [usize; 5] = [64, 128, 256, 512, 768];
    let (pass, dim) = (Pass::ForwardBackward, 768);
    let mut group = group(c, "cosine_embedding/matryoshka");
    let cosine = CosineEmbeddingLoss::new(0.0).expect("a margin in range");
    let nested = Matryoshka::new(cosine, &DIMS).expect("rising lengths");
    for n in [1024, 8192] {
        let (x, y) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
        let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
        let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
        let bytes = Throughput::Bytes((2 * n * dim * size_of::<f32>() * pass.transfers()) as u64);
        let id = shape::<f32>(n, dim);
        let plain = format!("{id}_plain");
        loss(&mut group, &plain, bytes.clone(), pass, &cosine, input);
        loss(&mut group, &id, bytes, pass, &nested, input);
    }
}

/// Gradients at the same place of their pages as the rows, if arrays of this size begin at the same one, and `ahead` by 48 bytes, as those of an allocator that
/// aligns to 64 bytes are beside rows of one that aligns to 16.
pub(crate) fn places(c: &mut Criterion) {
    const PAGE: usize = 4096 / size_of::<f32>();
    let (pass, (n, dim)) = (Pass::ForwardBackward, (65_536, 768));
    let mut group = group(c, "cosine_embedding/places");
    let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
    let cosine = CosineEmbeddingLoss::new(0.0).expect("a margin in range");
    let [x, y] = [1, 2].map(|seed| rows::<f32>(n + PAGE.div_ceil(dim), dim, seed));
    for (place, start) in [("together", 0), ("ahead", PAGE - 12)] {
        let [x, y] = [&x, &y].map(|rows| {
            let rows = &rows.as_slice().expect("contiguous rows")[start..][..n * dim];
            ArrayView2::from_shape((n, dim), rows).expect("as many numbers")
        });
        let input = CosineEmbeddingInput::new(x, y, labels.view());
        let bytes = Throughput::Bytes((2 * n * dim * size_of::<f32>() * pass.transfers()) as u64);
        let id = format!("{}_{place}", shape::<f32>(n, dim));
        loss(&mut group, &id, bytes, pass, &cosine, input);
    }
}

fn pairs<A: Scalar>(group: &mut BenchmarkGroup<'_, WallTime>, pass: Pass, n: usize, dim: usize) {
    let (x, y) = (rows::<A>(n, dim, 1), rows::<A>(n, dim, 2));
    let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let cosine = CosineEmbeddingLoss::new(0.0).expect("a margin in range");
    let bytes = 2 * n * dim * size_of::<A>() * pass.transfers();
    let throughput = Throughput::Bytes(bytes as u64);
    loss(group, &shape::<A>(n, dim), throughput, pass, &cosine, input);
}

fn margin() -> TripletMarginLoss {
    TripletMarginLoss::new(1.0).expect("a positive margin")
}

pub(crate) fn triplet_margin(c: &mut Criterion) {
    for pass in PASSES {
        let mut group = group(c, &format!("triplet_margin/{}", pass.name()));
        for (n, dim) in SHAPES {
            triplets::<f32, _>(&mut group, &shape::<f32>(n, dim), pass, (n, dim), margin());
        }
        let id = shape::<f64>(1024, 768);
        triplets::<f64, _>(&mut group, &id, pass, (1024, 768), margin());
    }
}

/// Every distance, the swap, the soft form, and several negatives.
pub(crate) fn triplet_options(c: &mut Criterion) {
    let (pass, shape) = (Pass::ForwardBackward, (1024, 768));
    let mut group = group(c, "triplet_margin/options");
    let lp = |p| Lp::new(p).expect("p of at least 1");
    let epsilon = lp(2.0).with_epsilon(1e-6).expect("a small number");
    let soft = TripletMarginLoss::soft(0.0).expect("a finite margin");
    triplets::<f32, _>(
        &mut group,
        "l1",
        pass,
        shape,
        margin().with_distance(lp(1.0)),
    );
    triplets::<f32, _>(
        &mut group,
        "l3",
        pass,
        shape,
        margin().with_distance(lp(3.0)),
    );
    let largest = margin().with_distance(Lp::infinity());
    triplets::<f32, _>(&mut group, "max", pass, shape, largest);
    triplets::<f32, _>(
        &mut group,
        "epsilon",
        pass,
        shape,
        margin().with_distance(epsilon),
    );
    let squared = margin().with_distance(SquaredEuclidean);
    triplets::<f32, _>(&mut group, "squared", pass, shape, squared);
    let cosine = margin().with_distance(CosineDistance);
    triplets::<f32, _>(&mut group, "cosine", pass, shape, cosine);
    triplets::<f32, _>(&mut group, "swap", pass, shape, margin().with_swap(true));
    triplets::<f32, _>(&mut group, "soft", pass, shape, soft);
    several_negatives(&mut group);
}

fn triplets<A: Scalar, D: Distance<A>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    pass: Pass,
    (n, dim): (usize, usize),
    triplet: TripletMarginLoss<D>,
) {
    let [anchor, positive, negative] = [1, 2, 3].map(|seed| rows::<A>(n, dim, seed));
    let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
    let bytes = 3 * n * dim * size_of::<A>() * pass.transfers();
    let throughput = Throughput::Bytes(bytes as u64);
    loss(group, id, throughput, pass, &triplet, input);
}

fn several_negatives(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (n, k, dim) = (1024, 4, 768);
    let (anchor, positive) = (rows::<f32>(n, dim, 1), rows::<f32>(n, dim, 2));
    let negatives: Array3<f32> = rows(n * k, dim, 3)
        .into_shape_with_order((n, k, dim))
        .expect("n·k rows");
    let input =
        TripletMarginInput::with_negatives(anchor.view(), positive.view(), negatives.view());
    let throughput = Throughput::Bytes((2 * (k + 2) * n * dim * 4) as u64);
    let pass = Pass::ForwardBackward;
    loss(group, "four_negatives", throughput, pass, &margin(), input);
}
