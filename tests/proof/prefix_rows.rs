//! Prefixes of row losses, in one pass over the rows: what each prefix gives by itself.

use contrastive::{
    CosineDistance, CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingReport, Loss, Lp, Matryoshka, PairLabel, Reduction, Scalar, TripletMarginInput,
    TripletMarginLoss, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Ix2, s};

use crate::common::layout::{self, Laid};
use crate::common::random::Random;
use crate::common::{all_bits, all_zero, largest};

const DIMS: [usize; 4] = [3, 16, 17, 300];
const WEIGHTS: [f64; 4] = [0.5, 2.0, 0.0, 1.25];

/// Each prefix rounds its gradient once, and each sum of two once more; so does the value.
const ROUNDINGS: f64 = 5.0;
/// What the sums of a row lose in f64 where they cancel, relative to the largest number of a gradient.
const CANCELLED: f64 = 1e-15;

fn numbers<A: Scalar>(shape: &[usize], seed: u64) -> ArrayD<A> {
    let mut random = Random::new(seed);
    ArrayD::from_shape_simple_fn(shape, || A::from(random.signed()).expect("a float"))
}

fn matrix<A: Scalar>(n: usize, dim: usize, seed: u64) -> Array2<A> {
    let rows = numbers::<A>(&[n, dim], seed);
    rows.into_dimensionality().expect("two axes")
}

fn labels(n: usize) -> Array1<PairLabel> {
    Array1::from_shape_fn(n, |i| PairLabel::from(i % 3 == 0))
}

fn nested<L>(loss: L) -> Matryoshka<L> {
    let nested = Matryoshka::new(loss, &DIMS).unwrap();
    nested.with_weights(&WEIGHTS).unwrap()
}

/// Σ wₖ xₖ, and Σ wₖ |xₖ|, of numbers of the prefixes.
fn sums(parts: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let parts = parts.into_iter().zip(WEIGHTS).map(|(x, weight)| weight * x);
    parts.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()))
}

fn wide<A: Scalar>(x: A) -> f64 {
    x.to_f64().expect("a float")
}

fn close<A: Scalar>(found: A, parts: impl IntoIterator<Item = f64>, largest: f64) {
    let ((expected, size), epsilon) = (sums(parts), wide(A::epsilon()));
    let off = (wide(found) - expected).abs();
    assert!(
        off <= ROUNDINGS * epsilon * size + CANCELLED * largest,
        "{found}, not {expected}"
    );
}

/// A gradient against those of the prefixes by themselves.
fn is_the_sum<A: Scalar>(found: &ArrayD<A>, parts: &[ArrayD<A>]) {
    let largest = largest(parts.iter().flatten());
    for (index, &found) in found.indexed_iter() {
        let parts = parts.iter();
        let parts = parts.map(|part| part.get(index.clone()).map_or(0.0, |&x| wide(x)));
        close(found, parts, largest);
    }
}

fn cosines_are_the_sum<A: Scalar>(n: usize, reduction: Reduction, weighted: bool) {
    let (x, y, labels) = (matrix::<A>(n, 320, 1), matrix(n, 320, 2), labels(n));
    let weights = Array1::from_shape_fn(n, |i| A::from([1.0, 0.0, 2.5][i % 3]).expect("a float"));
    let loss = CosineEmbeddingLoss::new(-0.05)
        .and_then(|loss| loss.with_reduction(reduction))
        .unwrap();
    let input = |dim| {
        let input = CosineEmbeddingInput::new(
            x.slice(s![.., ..dim]),
            y.slice(s![.., ..dim]),
            labels.view(),
        );
        if weighted {
            input.with_weights(weights.view())
        } else {
            input
        }
    };
    let (value, gradient) = nested(loss).value_and_gradient(input(320)).unwrap();
    let mut rows = Array1::from_elem(n, A::nan());
    let mut report = CosineEmbeddingReport::default();
    let want = Want::value()
        .with_rows(rows.view_mut())
        .with_report(&mut report);
    assert_eq!(
        nested(loss).evaluate(input(320), want, &mut Workspace::new()),
        Ok(value)
    );
    let mut alone = CosineEmbeddingReport::default();
    let parts = DIMS.map(|dim| {
        let mut rows = Array1::zeros(n);
        let want = Want::value()
            .with_rows(rows.view_mut())
            .with_report(&mut alone);
        let value = loss
            .evaluate(input(dim), want, &mut Workspace::new())
            .unwrap();
        let (_, gradient) = loss.value_and_gradient(input(dim)).unwrap();
        (value, gradient, rows)
    });
    assert_eq!(report, alone);
    close(value, parts.each_ref().map(|part| wide(part.0)), 0.0);
    for i in 0..n {
        close(rows[i], parts.each_ref().map(|part| wide(part.2[i])), 0.0);
    }
    let of = |gradient: &Array2<A>| gradient.clone().into_dyn();
    is_the_sum(
        &of(&gradient.x),
        &parts.each_ref().map(|part| of(&part.1.x)),
    );
    is_the_sum(
        &of(&gradient.y),
        &parts.each_ref().map(|part| of(&part.1.y)),
    );
    assert!(all_zero(gradient.x.slice(s![.., 300..])));
}

#[test]
fn cosines_of_prefixes_in_one_pass_are_the_sum_over_copies() {
    for reduction in [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Over(3.0),
        Reduction::MeanActive,
    ] {
        for weighted in [false, true] {
            cosines_are_the_sum::<f64>(9, reduction, weighted);
            cosines_are_the_sum::<f32>(9, reduction, weighted);
        }
    }
    // More than what goes past the caches where there is one prefix.
    cosines_are_the_sum::<f32>(7000, Reduction::Mean, false);
}

fn triplets_are_the_sum<D: contrastive::Distance<f32> + Copy>(
    loss: TripletMarginLoss<D>,
    k: usize,
) {
    let (anchor, positive) = (matrix::<f32>(11, 310, 1), matrix(11, 310, 2));
    let negatives = numbers::<f32>(&[11, k, 310], 3);
    let negatives: Array3<f32> = negatives.into_dimensionality().expect("three axes");
    let input = |dim| {
        let [anchor, positive] = [&anchor, &positive].map(|rows| rows.slice(s![.., ..dim]));
        TripletMarginInput::with_negatives(anchor, positive, negatives.slice(s![.., .., ..dim]))
    };
    let (value, gradient) = nested(loss).value_and_gradient(input(310)).unwrap();
    let parts = DIMS.map(|dim| loss.value_and_gradient(input(dim)).unwrap());
    close(value, parts.each_ref().map(|part| wide(part.0)), 0.0);
    let parts = parts.map(|part| part.1);
    let rows = |rows: &Array2<f32>| rows.clone().into_dyn();
    is_the_sum(
        &rows(&gradient.anchor),
        &parts.each_ref().map(|part| rows(&part.anchor)),
    );
    is_the_sum(
        &rows(&gradient.positive),
        &parts.each_ref().map(|part| rows(&part.positive)),
    );
    let negatives = parts
        .each_ref()
        .map(|part| part.negatives.clone().into_dyn());
    is_the_sum(&gradient.negatives.into_dyn(), &negatives);
}

#[test]
fn triplets_of_prefixes_in_one_pass_are_the_sum_over_copies() {
    for k in [1, 3] {
        let loss = TripletMarginLoss::new(0.3).unwrap();
        triplets_are_the_sum(loss.with_distance(CosineDistance), k);
        triplets_are_the_sum(loss.with_distance(Lp::new(1.0).unwrap()), k);
        triplets_are_the_sum(loss.with_distance(Lp::new(3.0).unwrap()).with_swap(true), k);
        triplets_are_the_sum(TripletMarginLoss::soft(0.0).unwrap(), k);
        triplets_are_the_sum(loss.with_reduction(Reduction::MeanActive).unwrap(), k);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_change_the_bits_of_prefixes_in_one_pass() {
    let (x, y, labels) = (matrix::<f32>(700, 320, 1), matrix(700, 320, 2), labels(700));
    let solve = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads can be started").install(|| {
            let loss = nested(CosineEmbeddingLoss::new(0.0).unwrap());
            let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
            let (value, gradient) = loss.value_and_gradient(input).unwrap();
            all_bits([&value].into_iter().chain(&gradient.x).chain(&gradient.y))
        })
    };
    let alone = solve(1);
    assert!(solve(2) == alone && solve(3) == alone);
}

#[test]
fn layouts_and_what_is_not_wanted_do_not_change_the_bits_of_prefixes_in_one_pass() {
    /// What no loss computes, so that a gap that was written shows.
    const SENTINEL: f64 = 12_345.0;
    let (x, y, labels) = (matrix::<f64>(9, 320, 1), matrix(9, 320, 2), labels(9));
    let loss = nested(CosineEmbeddingLoss::new(0.0).unwrap());
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let (value, expected) = loss.value_and_gradient(input).unwrap();
    for layout in layout::ALL {
        let laid = |rows: &Array2<f64>| Laid::new(&rows.clone().into_dyn(), layout, SENTINEL);
        let inputs = [&x, &y].map(laid);
        let [x, y] = inputs.each_ref().map(|rows| {
            let view = rows.view();
            view.into_dimensionality::<Ix2>().expect("two axes")
        });
        for wanted in [[true, true], [true, false], [false, true]] {
            let mut outputs = [&expected.x, &expected.y].map(|rows| laid(&(rows * f64::NAN)));
            let [to_x, to_y] = outputs.each_mut().map(|rows| {
                let view = rows.view_mut();
                view.into_dimensionality::<Ix2>().expect("two axes")
            });
            let gradient = CosineEmbeddingGradient {
                x: wanted[0].then_some(to_x),
                y: wanted[1].then_some(to_y),
            };
            let input = CosineEmbeddingInput::new(x, y, labels.view());
            assert_eq!(loss.forward_backward(input, gradient), Ok(value));
            let expected = [&expected.x, &expected.y];
            for ((output, wanted), expected) in outputs.iter().zip(wanted).zip(expected) {
                assert!(output.gaps_are_untouched());
                assert!(!wanted || output.view() == expected.view().into_dyn());
            }
        }
    }
}

#[test]
fn nan_in_a_longer_prefix_reaches_the_value_unless_its_row_does_not_take_part() {
    let (mut x, y, labels) = (matrix::<f64>(9, 320, 1), matrix(9, 320, 2), labels(9));
    let loss = nested(CosineEmbeddingLoss::new(0.0).unwrap());
    let weights = Array1::from_shape_fn(9, |i| if i == 3 { 0.0 } else { 1.0 });
    let solve = |x: &Array2<f64>| {
        let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
        let weighted = loss.value_and_gradient(input.with_weights(weights.view()));
        (loss.forward(input).unwrap(), weighted.unwrap())
    };
    let (value, weighted) = solve(&x);
    // Beyond the longest prefix it is not read.
    x[[3, 310]] = f64::NAN;
    assert_eq!(solve(&x), (value, weighted.clone()));
    x[[3, 200]] = f64::NAN;
    let (value, found) = solve(&x);
    assert!(value.is_nan());
    assert_eq!(found, weighted);
}
