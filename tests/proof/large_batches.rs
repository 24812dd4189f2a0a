//! Batches that are beyond the caches: their gradients are stored past them, in blocks of other sizes.

use std::ops::Range;

use contrastive::{
    CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingOwnedGradient, CosineSimilarityLoss, InfoNceInput, InfoNceLoss, Loss,
    OwnedGradient, PairInput, PairLabel, Reduction, Scalar, TripletMarginGradient,
    TripletMarginInput, TripletMarginLoss, TripletMarginOwnedGradient, Want, Workspace,
};
use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate, s};

use crate::common::all_bits;
use crate::common::random::Random;

/// Gradients of 16 MiB and more are stored past the caches. A row is no whole number of cache lines.
const ROWS: usize = 5000;
const DIM: usize = 515;

fn rows<A: Scalar>(seed: u64) -> Array2<A> {
    let mut random = Random::new(seed);
    let narrow = |x: f64| A::from(x).expect("a number");
    Array2::from_shape_simple_fn((ROWS, DIM), || narrow(random.signed()))
}

/// A batch whose rows are not all alike, so that what is done for a row cannot be done for the next: a zero row, one with a NaN, very long ones, and
/// rows next to their partners.
fn batch<A: Scalar>() -> [Array2<A>; 3] {
    let [mut x, mut y, z] = [1, 2, 3].map(rows::<A>);
    let long = A::from(1e25).expect("a number");
    for row in 0..ROWS {
        match row % 23 {
            3 => x.row_mut(row).fill(A::zero()),
            7 => x[[row, row % DIM]] = A::nan(),
            8 => y.row_mut(row).mapv_inplace(|y| y * long),
            9 => x.row_mut(row).mapv_inplace(|x| x * long),
            15 | 16 => y.row_mut(row).assign(&x.row(row)),
            _ => {}
        }
    }
    [x, y, z]
}

/// Rows of the batch that are looked at: those of the first blocks, of the last, and some between.
fn some() -> impl Iterator<Item = usize> {
    (0..70).chain((70..ROWS).step_by(97)).chain(ROWS - 70..ROWS)
}

/// The losses of the rows, and their gradients.
fn results<A: Scalar, L: Loss<A>>(
    loss: &L,
    input: L::Input<'_>,
    rows: usize,
) -> (Array1<A>, L::OwnedGradient) {
    let (mut losses, mut gradient) = (Array1::zeros(rows), L::OwnedGradient::zeros(input));
    let want = Want::gradient(gradient.view_mut()).with_rows(losses.view_mut());
    loss.evaluate(input, want, &mut Workspace::new())
        .expect("a good batch");
    (losses, gradient)
}

fn are_those_of_rows_by_themselves<A: Scalar>() {
    let [x, y, z] = batch::<A>();
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
    let cosine_of = |range: Range<usize>| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![range.clone(), ..]));
        let input = CosineEmbeddingInput::new(x, y, labels.slice(s![range]));
        results(&cosine, input, x.nrows())
    };
    let triplet_of = |range: Range<usize>| {
        let [x, y, z] = [&x, &y, &z].map(|rows| rows.slice(s![range.clone(), ..]));
        results(&triplet, TripletMarginInput::new(x, y, z), x.nrows())
    };
    let graded_of = |range: Range<usize>| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![range.clone(), ..]));
        let input = PairInput::new(x, y, grades.slice(s![range]));
        results(&graded, input, x.nrows())
    };
    let (cosines, triplets, gradeds) =
        (cosine_of(0..ROWS), triplet_of(0..ROWS), graded_of(0..ROWS));
    for row in some() {
        let same = |name, all: ArrayView1<'_, A>, one: ArrayView1<'_, A>| {
            // Not the numbers: they would fill pages.
            assert!(all_bits(all) == all_bits(one), "{name} {row}");
        };
        let one = cosine_of(row..row + 1);
        same("cosine", cosines.0.slice(s![row..=row]), one.0.view());
        same("cosine x", cosines.1.x.row(row), one.1.x.row(0));
        same("cosine y", cosines.1.y.row(row), one.1.y.row(0));
        let one = triplet_of(row..row + 1);
        same("triplet", triplets.0.slice(s![row..=row]), one.0.view());
        same("anchor", triplets.1.anchor.row(row), one.1.anchor.row(0));
        let positive = triplets.1.positive.row(row);
        same("positive", positive, one.1.positive.row(0));
        let negative = triplets.1.negatives.slice(s![row, 0, ..]);
        same("negative", negative, one.1.negatives.slice(s![0, 0, ..]));
        let one = graded_of(row..row + 1);
        same("graded", gradeds.0.slice(s![row..=row]), one.0.view());
        same("graded x", gradeds.1.x.row(row), one.1.x.row(0));
        same("graded y", gradeds.1.y.row(row), one.1.y.row(0));
    }
}

#[test]
fn results_of_a_large_batch_have_the_bits_of_its_rows_by_themselves() {
    are_those_of_rows_by_themselves::<f32>();
    are_those_of_rows_by_themselves::<f64>();
}

/// Each subset of the gradients of a large batch has the bits of all.
#[test]
fn gradients_that_are_wanted_alone_get_the_same_bits_in_a_large_batch() {
    let [x, y, z] = batch::<f32>();
    let labels = Array1::from_shape_fn(ROWS, |i| PairLabel::from(i % 3 != 0));
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.0).expect("a margin");
    let all = results(&loss, input, ROWS).1;
    for wanted in [[true, false], [false, true]] {
        let mut some = CosineEmbeddingOwnedGradient::zeros(input);
        let views = CosineEmbeddingGradient {
            x: wanted[0].then_some(some.x.view_mut()),
            y: wanted[1].then_some(some.y.view_mut()),
        };
        loss.forward_backward(input, views).expect("a good batch");
        assert!(!wanted[0] || all_bits(&some.x) == all_bits(&all.x));
        assert!(!wanted[1] || all_bits(&some.y) == all_bits(&all.y));
    }
    let input = TripletMarginInput::new(x.view(), y.view(), z.view());
    let loss = TripletMarginLoss::new(1.0).expect("a margin");
    let all = results(&loss, input, ROWS).1;
    for subset in 1..7 {
        let wanted = [1, 2, 4].map(|bit| subset & bit != 0);
        let mut some = TripletMarginOwnedGradient::zeros(input);
        let views = TripletMarginGradient {
            anchor: wanted[0].then_some(some.anchor.view_mut()),
            positive: wanted[1].then_some(some.positive.view_mut()),
            negatives: wanted[2].then_some(some.negatives.view_mut()),
        };
        loss.forward_backward(input, views).expect("a good batch");
        assert!(
            !wanted[0] || all_bits(&some.anchor) == all_bits(&all.anchor),
            "{subset}"
        );
        assert!(
            !wanted[1] || all_bits(&some.positive) == all_bits(&all.positive),
            "{subset}"
        );
        assert!(
            !wanted[2] || all_bits(&some.negatives) == all_bits(&all.negatives),
            "{subset}"
        );
    }
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

/// Own negatives of `f32` past the caches, as many for each query or any number; some of their rows are out of the ordinary.
#[test]
fn own_negatives_of_a_large_batch_have_the_bits_of_queries_by_themselves() {
    let [rows, others, _] = batch::<f32>();
    let rows = concatenate![Axis(0), rows, others];
    let loss = InfoNceLoss::new(0.05)
        .and_then(|loss| loss.with_reduction(Reduction::Sum))
        .expect("a temperature")
        .with_in_batch_negatives(false);
    let offsets: Array1<usize> = (0..=rows.nrows() / 12)
        .map(|i| 12 * i - [0, 5, 12, 1][i % 4] * usize::from(i > 0))
        .collect();
    let count = offsets.len() - 1;
    let queries = others.slice(s![..count, ..]);
    let documents = others.slice(s![count..2 * count, ..]);
    let of = |range: Range<usize>| {
        let first = offsets[range.start];
        let negatives = rows.slice(s![first..offsets[range.end], ..]);
        let offsets = offsets
            .slice(s![range.start..=range.end])
            .mapv(|at| at - first);
        let [queries, documents] =
            [queries, documents].map(|rows| rows.slice_move(s![range.clone(), ..]));
        let input =
            InfoNceInput::new(queries, documents).with_ragged_negatives(negatives, offsets.view());
        results(&loss, input, range.len())
    };
    let all = of(0..count);
    let negatives = all.1.negatives.as_ref().expect("there are some");
    assert!(size_of_val(negatives.as_slice().expect("an array of its own")) > 16 << 20);
    for query in (0..40)
        .chain((40..count).step_by(7))
        .chain(count - 20..count)
    {
        let one = of(query..query + 1);
        let same = |name, all: ArrayView1<'_, f32>, one: ArrayView1<'_, f32>| {
            assert!(all_bits(all) == all_bits(one), "{name} {query}");
        };
        same("loss", all.0.slice(s![query..=query]), one.0.view());
        same("query", all.1.queries.row(query), one.1.queries.row(0));
        let found = one.1.negatives.as_ref().expect("there are some");
        for (at, found) in (offsets[query]..).zip(found.outer_iter()) {
            same("negative", negatives.slice(s![at, 0, ..]), found.row(0));
        }
    }
}
