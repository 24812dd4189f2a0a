//! Prefixes of row losses, in one pass over the rows: what each prefix gives by itself.

use contrastive::{
    CosineDistance, CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss,
    CosineEmbeddingReport, Loss, Lp, Matryoshka, Nested, PairLabel, Reduction, Scalar,
    TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Ix2, s};

use crate::common::layout::{self, Laid};
use crate::common::random::Random;
use crate::common::{all_zero, largest};

const DIMS: [usize; 4] = [3, 16, 17, 300];
const WEIGHTS: [f64; 4] = [0.5, 2.0, 0.0, 1.25];

/// Each prefix rounds its gradient once, and each sum of two once more; so does the value.
const ROUNDINGS: f64 = 5.0;
/// What the sums of a row lose in f64 where they cancel, relative to the largest number of a gradient.
const CANCELLED: f64 = 1e-15;
/// The same for the gradient of an anchor, which is a sum of two that may be rounded to f32 before.
const OF_ANCHOR: f64 = 2.0 * f32::EPSILON as f64;

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

/// A gradient against those of the prefixes by themselves. What cancels in its sums is so many times as large as its numbers.
fn is_the_sum<A: Scalar>(found: &ArrayD<A>, parts: &[ArrayD<A>], cancels: f64) {
    let largest = cancels * largest(parts.iter().flatten());
    for (index, &found) in found.indexed_iter() {
        let parts = parts.iter();
        let parts = parts.map(|part| part.get(index.clone()).map_or(0.0, |&x| wide(x)));
        close(found, parts, largest);
    }
}

fn cosines_are_the_sum<A: Scalar>(
    [x, y]: [Array2<A>; 2],
    reduction: Reduction,
    weighted: bool,
    cancels: f64,
) {
    let n = x.nrows();
    let labels = labels(n);
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
    assert_eq!(report.active, alone.active);
    // Means of cosines in f64; wider rows are summed up in smaller blocks.
    for (found, expected) in [
        (report.match_cosine, alone.match_cosine),
        (report.no_match_cosine, alone.no_match_cosine),
    ] {
        assert!((found - expected).abs() <= 1e-15 || found.is_nan() && expected.is_nan());
    }
    close(value, parts.each_ref().map(|part| wide(part.0)), 0.0);
    for i in 0..n {
        close(rows[i], parts.each_ref().map(|part| wide(part.2[i])), 0.0);
    }
    let of = |gradient: &Array2<A>| gradient.clone().into_dyn();
    is_the_sum(
        &of(&gradient.x),
        &parts.each_ref().map(|part| of(&part.1.x)),
        cancels,
    );
    is_the_sum(
        &of(&gradient.y),
        &parts.each_ref().map(|part| of(&part.1.y)),
        cancels,
    );
    assert!(all_zero(gradient.x.slice(s![.., 300..])));
}

fn pairs<A: Scalar>(n: usize) -> [Array2<A>; 2] {
    [matrix(n, 320, 1), matrix(n, 320, 2)]
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
            cosines_are_the_sum(pairs::<f64>(9), reduction, weighted, 1.0);
            cosines_are_the_sum(pairs::<f32>(9), reduction, weighted, 1.0);
        }
    }
    // More than what is written past the caches.
    cosines_are_the_sum(pairs::<f32>(7000), Reduction::Mean, false, 1.0);
}

#[test]
fn cosines_of_prefixes_of_large_and_small_rows_are_the_sum_over_copies() {
    for factor in [1e-200, 1e-120, 1e120, 1e200] {
        let [x, y] = pairs::<f64>(9);
        cosines_are_the_sum([x * factor, y], Reduction::Mean, true, 1.0);
    }
    for factor in [1e-30, 1e-13, 1e13, 1e30] {
        let [x, y] = pairs::<f32>(9);
        cosines_are_the_sum([x, y * factor], Reduction::Mean, true, 1.0);
    }
}

#[test]
fn cosines_of_nearly_parallel_prefixes_are_the_sum_over_copies() {
    fn parallel<A: Scalar>(angle: f64) -> [Array2<A>; 2] {
        let [x, noise] = pairs::<A>(9);
        let angle = A::from(angle).expect("a float");
        let y = &x + &noise.mapv(|noise| noise * angle);
        [x, y]
    }
    for angle in [1e-2, 1e-4] {
        cosines_are_the_sum(parallel::<f32>(angle), Reduction::Mean, true, 1.0 / angle);
        cosines_are_the_sum(parallel::<f64>(angle), Reduction::Mean, true, 1.0);
    }
}

/// What [`Matryoshka`] would refuse, and more prefixes than are passed over together.
#[test]
fn any_number_of_prefixes_in_any_order_are_the_sum_of_each_and_none_are_refused() {
    let ([x, y], labels) = (pairs::<f64>(9), labels(9));
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let cut = |dim| {
        let [x, y] = [&x, &y].map(|rows| rows.slice(s![.., ..dim]));
        CosineEmbeddingInput::new(x, y, labels.view())
    };
    let many = (1..=40).map(|k| (8 * k, 1.0)).collect();
    for prefixes in [many, vec![(300, 1.0), (4, 0.5), (4, 0.25)]] {
        let (mut to_x, mut to_y) = (&x * f64::NAN, &y * f64::NAN);
        let want = Want::gradient(CosineEmbeddingGradient {
            x: Some(to_x.view_mut()),
            y: Some(to_y.view_mut()),
        });
        let found = loss.evaluate_prefixes(&prefixes, cut(320), want, &mut Workspace::new());
        let mut sum = 0.0;
        for (dim, weight) in prefixes {
            let (value, gradient) = loss.value_and_gradient(cut(dim)).unwrap();
            sum += weight * value;
            for (to, part) in [(&mut to_x, &gradient.x), (&mut to_y, &gradient.y)] {
                to.slice_mut(s![.., ..dim]).scaled_add(-weight, part);
            }
        }
        assert!((found.unwrap() - sum).abs() <= ROUNDINGS * f64::EPSILON * sum);
        // Forty prefixes, of which the shortest have gradients of order 1.
        assert!(largest(to_x.iter().chain(&to_y)) <= 40.0 * ROUNDINGS * f64::EPSILON);
    }
    let want = Want::<f64, CosineEmbeddingGradient<f64>, _>::value();
    let refused = loss.evaluate_prefixes(&[], cut(320), want, &mut Workspace::new());
    assert!(refused.is_err());
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
        OF_ANCHOR / CANCELLED,
    );
    is_the_sum(
        &rows(&gradient.positive),
        &parts.each_ref().map(|part| rows(&part.positive)),
        1.0,
    );
    let negatives = parts
        .each_ref()
        .map(|part| part.negatives.clone().into_dyn());
    is_the_sum(&gradient.negatives.into_dyn(), &negatives, 1.0);
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
            crate::common::all_bits([&value].into_iter().chain(&gradient.x).chain(&gradient.y))
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
