//! Batches that are beyond the caches: their gradients are stored past them, in blocks of other sizes.

use contrastive::{
    CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingOwnedGradient, CosineSimilarityLoss, Loss, OwnedGradient, PairInput, PairLabel,
    Reduction, Scalar, TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, Array2, s};

use crate::common::random::Random;

/// Gradients of 16 MiB and more are stored past the caches. A row is no whole number of cache lines.
const ROWS: usize = 5000;
const DIM: usize = 515;

fn rows<A: Scalar>(seed: u64) -> Array2<A> {
    let mut random = Random::new(seed);
    let narrow = |x: f64| A::from(x).expect("a number");
    Array2::from_shape_simple_fn((ROWS, DIM), || narrow(random.signed()))
}

/// Rows of the batch that are looked at: those of the first blocks, of the last, and some between.
fn some() -> impl Iterator<Item = usize> {
    (0..70).chain((70..ROWS).step_by(97)).chain(ROWS - 70..ROWS)
}

fn are_those_of_rows_by_themselves<A: Scalar>() {
    let [x, y, z] = [1, 2, 3].map(rows::<A>);
    let labels = Array1::from_shape_fn(ROWS, |i| {
        if i % 3 == 0 {
            PairLabel::NoMatch
        } else {
            PairLabel::Match
        }
    });
    let grades = Array1::from_shape_fn(ROWS, |i| A::from(i % 2).expect("a number"));
    let sum = "a reduction";
    let cosine = CosineEmbeddingLoss::new(0.0).and_then(|loss| loss.with_reduction(Reduction::Sum));
    let triplet = TripletMarginLoss::new(1.0).and_then(|loss| loss.with_reduction(Reduction::Sum));
    let graded = CosineSimilarityLoss::new().with_reduction(Reduction::Sum);
    let (cosine, triplet, graded) = (cosine.expect(sum), triplet.expect(sum), graded.expect(sum));
    let cosine_of = |range: std::ops::Range<usize>| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![range.clone(), ..]));
        let input = CosineEmbeddingInput::new(x, y, labels.slice(s![range]));
        cosine.value_and_gradient(input).expect("a good batch").1
    };
    let triplet_of = |range: std::ops::Range<usize>| {
        let [x, y, z] = [&x, &y, &z].map(|rows| rows.slice(s![range.clone(), ..]));
        let input = TripletMarginInput::new(x, y, z);
        triplet.value_and_gradient(input).expect("a good batch").1
    };
    let graded_of = |range: std::ops::Range<usize>| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![range.clone(), ..]));
        let input = PairInput::new(x, y, grades.slice(s![range]));
        graded.value_and_gradient(input).expect("a good batch").1
    };
    let (cosines, triplets, gradeds) =
        (cosine_of(0..ROWS), triplet_of(0..ROWS), graded_of(0..ROWS));
    for row in some() {
        let one = cosine_of(row..row + 1);
        assert_eq!(cosines.x.row(row), one.x.row(0), "cosine x {row}");
        assert_eq!(cosines.y.row(row), one.y.row(0), "cosine y {row}");
        let one = triplet_of(row..row + 1);
        assert_eq!(triplets.anchor.row(row), one.anchor.row(0), "anchor {row}");
        assert_eq!(
            triplets.positive.row(row),
            one.positive.row(0),
            "positive {row}"
        );
        assert_eq!(
            triplets.negatives.slice(s![row, 0, ..]),
            one.negatives.slice(s![0, 0, ..]),
            "negative {row}"
        );
        let one = graded_of(row..row + 1);
        assert_eq!(gradeds.x.row(row), one.x.row(0), "graded x {row}");
        assert_eq!(gradeds.y.row(row), one.y.row(0), "graded y {row}");
    }
}

#[test]
fn gradients_of_a_large_batch_have_the_bits_of_its_rows_by_themselves() {
    are_those_of_rows_by_themselves::<f32>();
    are_those_of_rows_by_themselves::<f64>();
}

/// Gradient views that lie differently to the lines of the cache, one of them in columns of a wider matrix, one with rows the other way round.
#[test]
fn gradient_views_of_any_place_get_the_same_bits_in_a_large_batch() {
    let [x, y] = [1, 2].map(rows::<f32>);
    let labels = Array1::from_elem(ROWS, PairLabel::Match);
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.0).expect("a margin");
    let mut plain = CosineEmbeddingOwnedGradient::zeros(input);
    loss.forward_backward(input, plain.view_mut())
        .expect("a good batch");
    let mut wide = Array2::from_elem((ROWS, DIM + 4), 7.0);
    let mut turned = Array2::zeros((ROWS, DIM));
    let views = CosineEmbeddingGradient {
        x: Some(wide.slice_mut(s![.., 1..=DIM])),
        y: Some(turned.slice_mut(s![..;-1, ..])),
    };
    loss.forward_backward(input, views).expect("a good batch");
    assert_eq!(wide.slice(s![.., 1..=DIM]), plain.x);
    assert_eq!(turned.slice(s![..;-1, ..]), plain.y);
    assert!(wide.column(0).iter().all(|&beside| beside == 7.0));
    assert!(
        wide.slice(s![.., DIM + 1..])
            .iter()
            .all(|&beside| beside == 7.0)
    );
    let mut strided = Array2::zeros((ROWS, 2 * DIM));
    let views = CosineEmbeddingGradient {
        x: Some(strided.slice_mut(s![.., ..;2])),
        y: None,
    };
    loss.forward_backward(input, views).expect("a good batch");
    assert_eq!(strided.slice(s![.., ..;2]), plain.x);
}
