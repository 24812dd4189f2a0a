//! Matryoshka: the sum of the losses of copies that are cut short.

use contrastive::{
    AngleLoss, BatchContrastiveInput, BatchContrastiveLoss, BatchTripletInput, BatchTripletLoss,
    CoSentLoss, ContrastiveLoss, CosineEmbeddingInput, CosineEmbeddingLoss, CosineSimilarityLoss,
    Error, InfoNceGradient, InfoNceInput, InfoNceLoss, Loss, Lp, Matryoshka, Nested, PairInput,
    PairLabel, PairOwnedGradient, TripletMarginInput, TripletMarginLoss, TripletMining, Want,
    Workspace,
};
use ndarray::{Array1, Array2, ArrayD, Axis, array, s};

use crate::common::random::Random;

/// Two additions of numbers of order 1.
const ROUNDING: f64 = 1e-15;
/// Relative to the largest of 1 and the slope. A central difference with step h = ∛ε is off by h²/6 times the third derivative, some hundreds for
/// distances of order 1, and by ε/h times the value: each below 1e-8.
const SLOPE: f64 = 2e-8;
const DIMS: [usize; 3] = [2, 3, 6];
const WEIGHTS: [f64; 3] = [0.5, 0.0, 2.0];

fn rows(n: usize, dim: usize, part: usize) -> Array2<f64> {
    let rows: ArrayD<f64> = Random::new(7).rows(&[n, dim], part);
    rows.into_dimensionality().expect("two axes")
}

/// The weighted sum of gradients of prefixes, and zeros beyond the longest.
fn sum(gradients: &[Array2<f64>], dim: usize) -> Array2<f64> {
    let mut sum = Array2::zeros((gradients[0].nrows(), dim));
    for (gradient, weight) in gradients.iter().zip(WEIGHTS) {
        sum.slice_mut(s![.., ..gradient.ncols()])
            .scaled_add(weight, gradient);
    }
    sum
}

fn close(found: &Array2<f64>, expected: &Array2<f64>) {
    assert_eq!(found.dim(), expected.dim());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= ROUNDING * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }
}

fn nested<L>(loss: L) -> Matryoshka<L> {
    Matryoshka::new(loss, &DIMS)
        .unwrap()
        .with_weights(&WEIGHTS)
        .unwrap()
}

#[test]
fn info_nce_over_prefixes_is_the_sum_over_copies() {
    let (queries, documents, pool) = (rows(5, 8, 0), rows(6, 8, 1), rows(3, 8, 2));
    let loss = InfoNceLoss::clip(0.4).unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view());
    let mut found_rows = Array1::zeros(5);
    let (value, gradient) = nested(loss).value_and_gradient(input).unwrap();
    nested(loss)
        .forward_rows(input, found_rows.view_mut())
        .unwrap();
    let parts = DIMS.map(|dim| {
        let cut = |rows: &Array2<f64>| rows.slice(s![.., ..dim]).to_owned();
        let (queries, documents, pool) = (cut(&queries), cut(&documents), cut(&pool));
        let input = InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view());
        let mut rows = Array1::zeros(5);
        loss.forward_rows(input, rows.view_mut()).unwrap();
        (loss.value_and_gradient(input).unwrap(), rows)
    });
    let total = |of: &dyn Fn(usize) -> f64| (0..3).map(|k| WEIGHTS[k] * of(k)).sum::<f64>();
    assert!((value - total(&|k| parts[k].0.0)).abs() < ROUNDING * 10.0);
    assert!(
        (gradient.log_temperature - total(&|k| parts[k].0.1.log_temperature)).abs()
            < ROUNDING * 10.0
    );
    for i in 0..5 {
        assert!((found_rows[i] - total(&|k| parts[k].1[i])).abs() < ROUNDING * 10.0);
    }
    close(
        &gradient.queries,
        &sum(&parts.each_ref().map(|part| part.0.1.queries.clone()), 8),
    );
    close(
        &gradient.documents,
        &sum(&parts.each_ref().map(|part| part.0.1.documents.clone()), 8),
    );
    let pools = parts.each_ref().map(|part| part.0.1.pool.clone().unwrap());
    close(&gradient.pool.unwrap(), &sum(&pools, 8));
}

#[test]
fn row_losses_over_prefixes_are_the_sum_over_copies() {
    let (x, y, z) = (rows(4, 6, 0), rows(4, 6, 1), rows(4, 6, 2));
    let labels = Array1::from_shape_fn(4, |i| PairLabel::from(i % 2 == 0));
    let pairs = |x, y| CosineEmbeddingInput::new(x, y, labels.view());
    let loss = CosineEmbeddingLoss::new(-0.9).unwrap();
    let (_, gradient) = nested(loss)
        .value_and_gradient(pairs(x.view(), y.view()))
        .unwrap();
    let parts = DIMS.map(|dim| {
        let input = pairs(x.slice(s![.., ..dim]), y.slice(s![.., ..dim]));
        loss.value_and_gradient(input).unwrap().1
    });
    close(
        &gradient.x,
        &sum(&parts.each_ref().map(|part| part.x.clone()), 6),
    );
    close(
        &gradient.y,
        &sum(&parts.each_ref().map(|part| part.y.clone()), 6),
    );

    let loss = TripletMarginLoss::new(3.0).unwrap();
    let input = TripletMarginInput::new(x.view(), y.view(), z.view());
    let (_, gradient) = nested(loss).value_and_gradient(input).unwrap();
    let parts = DIMS.map(|dim| {
        let [x, y, z] = [&x, &y, &z].map(|rows| rows.slice(s![.., ..dim]));
        loss.value_and_gradient(TripletMarginInput::new(x, y, z))
            .unwrap()
            .1
    });
    close(
        &gradient.anchor,
        &sum(&parts.each_ref().map(|part| part.anchor.clone()), 6),
    );
    let negatives = |negatives: &ndarray::Array3<f64>| negatives.index_axis(Axis(1), 0).to_owned();
    close(
        &negatives(&gradient.negatives),
        &sum(&parts.each_ref().map(|part| negatives(&part.negatives)), 6),
    );
}

/// ∂value/∂rows by central differences, against a gradient.
pub(crate) fn is_the_slope(
    found: &Array2<f64>,
    rows: &Array2<f64>,
    value: impl Fn(&Array2<f64>) -> f64,
) {
    let step = f64::EPSILON.cbrt();
    for (index, &found) in found.indexed_iter() {
        let at = |step: f64| {
            let mut moved = rows.clone();
            moved[index] += step;
            value(&moved)
        };
        let expected = (at(step) - at(-step)) / (2.0 * step);
        assert!(
            (found - expected).abs() <= SLOPE * expected.abs().max(1.0),
            "{index:?}: {found} {expected}"
        );
    }
}

/// Value and gradient of a loss of pairs over prefixes against copies that are cut short, and against slopes.
fn pairs_are_the_sum<L, T: Copy + 'static>(loss: L, labels: [T; 5])
where
    L: Nested<f64> + Copy,
    L: for<'a> Loss<
            f64,
            Input<'a> = PairInput<'a, f64, T>,
            OwnedGradient = PairOwnedGradient<f64, T>,
        >,
{
    let (x, y) = (rows(5, 7, 3), rows(5, 7, 4));
    let labels = Array1::from_iter(labels);
    let input = PairInput::new(x.view(), y.view(), labels.view());
    let (value, gradient) = nested(loss).value_and_gradient(input).unwrap();
    let parts = DIMS.map(|dim| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![.., ..dim]).to_owned());
        let input = PairInput::new(x.view(), y.view(), labels.view());
        loss.value_and_gradient(input).unwrap()
    });
    let expected: f64 = parts.iter().zip(WEIGHTS).map(|(part, w)| w * part.0).sum();
    assert!((value - expected).abs() <= 10.0 * ROUNDING * value.max(1.0));
    let by_x = parts.each_ref().map(|part| part.1.x.clone());
    close(&gradient.x, &sum(&by_x, 7));
    let by_y = parts.each_ref().map(|part| part.1.y.clone());
    close(&gradient.y, &sum(&by_y, 7));
    let at = |x: &Array2<f64>, y: &Array2<f64>| {
        let input = PairInput::new(x.view(), y.view(), labels.view());
        nested(loss).forward(input).unwrap()
    };
    is_the_slope(&gradient.x, &x, |x| at(x, &y));
    is_the_slope(&gradient.y, &y, |y| at(&x, y));
}

#[test]
fn losses_of_pairs_over_prefixes_are_the_sum_over_copies_with_its_slope() {
    use PairLabel::{Match, NoMatch};
    let labels = [Match, NoMatch, NoMatch, Match, NoMatch];
    let contrastive = ContrastiveLoss::new(1.9).unwrap();
    pairs_are_the_sum(contrastive, labels);
    pairs_are_the_sum(contrastive.with_hard_pairs(true), labels);
    pairs_are_the_sum(contrastive.with_distance(Lp::new(1.0).unwrap()), labels);
    let grades = [0.25, 1.0, 0.0, 0.75, 0.5];
    pairs_are_the_sum(CosineSimilarityLoss::new(), grades);
    pairs_are_the_sum(CoSentLoss::new(2.0).unwrap(), grades);
    pairs_are_the_sum(AngleLoss::new(2.0).unwrap(), grades);
}

/// Two classes, and a row by itself.
fn classes() -> Array1<u64> {
    array![4, 9, 4, 4, 9, 1, 9]
}

#[test]
fn pairs_of_a_batch_over_prefixes_are_the_sum_over_copies_with_its_slope() {
    let (embeddings, classes) = (rows(7, 8, 5), classes());
    let weights = array![1.0, 0.5, 2.0, 1.0, 0.0, 1.5, 1.0];
    let pairs = ContrastiveLoss::new(1.5).unwrap();
    let loss = BatchContrastiveLoss::new(pairs.with_distance(Lp::euclidean()));
    let of = |rows: &Array2<f64>| {
        let input = BatchContrastiveInput::new(rows.view(), classes.view());
        nested(loss)
            .value_and_gradient(input.with_weights(weights.view()))
            .unwrap()
    };
    let parts = DIMS.map(|dim| {
        let copy = embeddings.slice(s![.., ..dim]).to_owned();
        let input = BatchContrastiveInput::new(copy.view(), classes.view());
        loss.value_and_gradient(input.with_weights(weights.view()))
            .unwrap()
    });
    let (value, gradient) = of(&embeddings);
    let expected: f64 = parts.iter().zip(WEIGHTS).map(|(part, w)| w * part.0).sum();
    assert!((value - expected).abs() <= 10.0 * ROUNDING * value.max(1.0));
    close(
        &gradient.embeddings,
        &sum(&parts.map(|part| part.1.embeddings), 8),
    );
    is_the_slope(&gradient.embeddings, &embeddings, |rows| of(rows).0);
}

#[test]
fn triplets_of_a_batch_over_prefixes_are_the_sum_over_copies_with_its_slope() {
    let (anchors, others, labels) = (rows(7, 8, 6), rows(7, 8, 9), classes());
    let strategies = [TripletMining::BatchAll, TripletMining::BatchHard];
    for strategy in strategies {
        let loss = BatchTripletLoss::soft(strategy, 0.1).unwrap();
        let of = |x: &Array2<f64>, y: &Array2<f64>| {
            let input = BatchTripletInput::new(x.view(), labels.view());
            let input = input.with_candidates(y.view(), labels.view());
            nested(loss).value_and_gradient(input).unwrap()
        };
        let parts = DIMS.map(|dim| {
            let [x, y] = [&anchors, &others].map(|rows| rows.slice(s![.., ..dim]).to_owned());
            let input = BatchTripletInput::new(x.view(), labels.view());
            let input = input.with_candidates(y.view(), labels.view());
            loss.value_and_gradient(input).unwrap()
        });
        let (value, gradient) = of(&anchors, &others);
        let expected: f64 = parts.iter().zip(WEIGHTS).map(|(part, w)| w * part.0).sum();
        assert!((value - expected).abs() <= 10.0 * ROUNDING * value.max(1.0));
        let by_anchors = parts.each_ref().map(|part| part.1.anchors.clone());
        close(&gradient.anchors, &sum(&by_anchors, 8));
        let by_candidates = parts.map(|part| part.1.candidates.unwrap());
        let candidates = gradient.candidates.unwrap();
        close(&candidates, &sum(&by_candidates, 8));
        is_the_slope(&gradient.anchors, &anchors, |x| of(x, &others).0);
        is_the_slope(&candidates, &others, |y| of(&anchors, y).0);
    }
}

#[test]
fn gradients_of_many_rows_are_added_row_for_row() {
    let (queries, documents) = (rows(150, 8, 0), rows(150, 8, 1));
    let loss = InfoNceLoss::new(0.2).unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (_, gradient) = nested(loss).value_and_gradient(input).unwrap();
    let parts = DIMS.map(|dim| {
        let [queries, documents] = [&queries, &documents].map(|rows| rows.slice(s![.., ..dim]));
        loss.value_and_gradient(InfoNceInput::new(queries, documents))
            .unwrap()
            .1
    });
    let of_queries = parts.each_ref().map(|part| part.queries.clone());
    close(&gradient.queries, &sum(&of_queries, 8));
    let of_documents = parts.map(|part| part.documents);
    close(&gradient.documents, &sum(&of_documents, 8));
}

#[test]
fn one_prefix_of_all_columns_is_the_loss_itself() {
    let (queries, documents) = (rows(5, 4, 0), rows(5, 4, 1));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let loss = InfoNceLoss::new(0.1).unwrap();
    let nested = Matryoshka::new(loss, &[4]).unwrap();
    assert_eq!(
        nested.value_and_gradient(input),
        loss.value_and_gradient(input)
    );
}

#[test]
fn prefixes_that_are_none_are_refused_and_nothing_is_written() {
    let loss = InfoNceLoss::new(0.1).unwrap();
    for dims in [&[][..], &[0], &[2, 2], &[3, 1]] {
        assert!(matches!(
            Matryoshka::new(loss, dims),
            Err(Error::Parameter { name: "dims", .. })
        ));
    }
    let nested = Matryoshka::new(loss, &[2, 5]).unwrap();
    assert!(nested.clone().with_weights(&[1.0]).is_err());
    assert!(nested.clone().with_weights(&[1.0, f64::NAN]).is_err());
    assert!(nested.clone().with_weights(&[0.0, 0.0]).is_err());
    let rows = rows(3, 4, 0);
    let input = InfoNceInput::new(rows.view(), rows.view());
    assert!(matches!(
        nested.forward(input),
        Err(Error::Parameter {
            name: "dims",
            found: 5.0,
            ..
        })
    ));

    let nested = Matryoshka::new(loss, &[2, 4]).unwrap();
    let (mut good, mut bad) = (
        Array2::from_elem((3, 4), 7.0),
        Array2::from_elem((3, 3), 7.0),
    );
    let gradient = InfoNceGradient {
        queries: Some(good.view_mut()),
        documents: Some(bad.view_mut()),
        ..Default::default()
    };
    let error = nested.evaluate(input, Want::gradient(gradient), &mut Workspace::new());
    assert!(matches!(error, Err(Error::Shape { .. })));
    assert!(good.iter().chain(&bad).all(|&x| x == 7.0));
}

#[test]
fn embeddings_of_another_length_are_refused_though_their_prefixes_would_do() {
    let (queries, documents) = (Array2::<f64>::ones((3, 4)), Array2::ones((3, 6)));
    let loss = Matryoshka::new(InfoNceLoss::new(0.1).unwrap(), &[2, 4]).unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view());
    let expected = Error::Shape {
        name: "documents",
        expected: vec![3, 4],
        found: vec![3, 6],
    };
    assert_eq!(loss.forward(input).unwrap_err(), expected);
    let loss = Matryoshka::new(CosineSimilarityLoss::new(), &[2, 4]).unwrap();
    let grades = array![1.0, 0.0, 0.5];
    let input = PairInput::new(queries.view(), documents.view(), grades.view());
    assert!(matches!(
        loss.forward(input),
        Err(Error::Shape { name: "y", .. })
    ));
}

#[test]
fn prefix_of_weight_zero_takes_no_part_whatever_its_numbers() {
    let (mut x, y) = (rows(3, 4, 1), rows(3, 4, 2));
    let labels = array![PairLabel::Match, PairLabel::NoMatch, PairLabel::Match];
    x.column_mut(3).fill(f64::NAN);
    let loss = CosineEmbeddingLoss::new(-0.5).unwrap();
    let nested = Matryoshka::new(loss, &[2, 4]).unwrap();
    let nested = nested.with_weights(&[1.0, 0.0]).unwrap();
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let (value, gradient) = nested.value_and_gradient(input).unwrap();
    let (short_x, short_y) = (x.slice(s![.., ..2]), y.slice(s![.., ..2]));
    let input = CosineEmbeddingInput::new(short_x, short_y, labels.view());
    let (expected, short) = loss.value_and_gradient(input).unwrap();
    assert_eq!(value, expected);
    assert_eq!(gradient.x.slice(s![.., ..2]), short.x);
    assert!(gradient.x.slice(s![.., 2..]).iter().all(|&g| g == 0.0));
}
