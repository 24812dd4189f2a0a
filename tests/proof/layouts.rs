//! Any memory layout of inputs and of gradient buffers gives the bits of the contiguous copy.

use crate::common::cases::at_most;
use crate::common::layout::{self, Laid, Layout};
use crate::common::{Options, Outcome, Problem, Views, Wanted, list, strategy};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel, Scalar,
    Targets, TripletMarginInput, TripletMarginLoss, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Ix1, s};
use proptest::prelude::*;

/// What no loss computes, so that a gap that was written shows.
const SENTINEL: f64 = 12_345.0;

/// Everything laid out one way for the inputs and another way for what is written.
fn solve<A: Scalar>(problem: &Problem<A>, inputs: Layout, outputs: Layout) -> Outcome<A> {
    let sentinel = A::from(SENTINEL).expect("a float");
    let laid = |array: &ArrayD<A>, layout| Laid::new(array, layout, sentinel);
    let parts: Vec<_> = problem
        .parts
        .iter()
        .map(|part| laid(part, inputs))
        .collect();
    let weights = problem
        .weights
        .as_ref()
        .map(|weights| laid(&weights.clone().into_dyn(), inputs));
    let mut gradient: Vec<_> = problem
        .gradient_buffers()
        .iter()
        .map(|buffer| laid(buffer, outputs))
        .collect();
    let mut rows = laid(&ArrayD::from_elem(vec![problem.rows()], A::nan()), outputs);
    let views = Views {
        parts: parts.iter().map(Laid::view).collect(),
        weights: weights.as_ref().map(|weights| {
            let view = weights.view();
            view.into_dimensionality::<Ix1>().expect("one axis")
        }),
    };
    let wanted = Wanted {
        gradient: Some(
            gradient
                .iter_mut()
                .map(|part| Some(part.view_mut()))
                .collect(),
        ),
        rows: Some(
            rows.view_mut()
                .into_dimensionality::<Ix1>()
                .expect("one axis"),
        ),
    };
    let value = problem
        .evaluate(&views, wanted, &mut Workspace::new())
        .expect("well-formed");
    for written in gradient.iter().chain([&rows]) {
        assert!(
            written.gaps_are_untouched(),
            "{outputs:?}: {:?}",
            problem.options
        );
    }
    Outcome {
        value,
        gradient: gradient.iter().map(|part| part.view().to_owned()).collect(),
        rows: rows
            .view()
            .to_owned()
            .into_dimensionality::<Ix1>()
            .expect("one axis"),
    }
}

fn same_bits<A: Scalar>(problem: &Problem<A>, inputs: Layout, outputs: Layout) {
    let (expected, found) = (problem.solve(), solve(problem, inputs, outputs));
    assert!(
        expected.bits() == found.bits(),
        "{inputs:?} to {outputs:?}: {found:?}, not {expected:?}: {:?}",
        problem.options
    );
}

fn every_layout(options: Vec<Options>, n: usize, dim: usize) {
    for problem in list::problems(options, n, dim) {
        for layout in layout::ALL {
            same_bits(&problem, layout, Layout::Standard);
            same_bits(&problem, Layout::Standard, layout);
            same_bits(&problem.narrow(), layout, layout);
        }
    }
}

#[test]
fn layout_of_inputs_and_gradients_does_not_change_the_bits() {
    every_layout(list::every(), 5, 19);
}

#[test]
fn layout_does_not_change_the_bits_of_large_batches() {
    every_layout(list::info_nce().into_iter().step_by(4).collect(), 70, 33);
    // Rows are written in pieces of 256 numbers.
    every_layout(list::triplet().into_iter().step_by(9).collect(), 3, 515);
    every_layout(list::cosine().into_iter().step_by(5).collect(), 3, 515);
}

proptest! {
    #![proptest_config(at_most(256))]

    #[test]
    fn layout_of_any_batch_does_not_change_the_bits(
        problem in strategy::problems(list::every()),
        inputs in prop::sample::select(&layout::ALL[..]),
        outputs in prop::sample::select(&layout::ALL[..]),
    ) {
        same_bits(&problem, inputs, outputs);
        same_bits(&problem.narrow(), inputs, outputs);
    }
}

fn numbers(n: usize, dim: usize, seed: u64) -> Array2<f64> {
    let mut random = crate::common::random::Random::new(seed);
    Array2::from_shape_fn((n, dim), |_| random.signed())
}

#[test]
fn broadcast_rows_are_their_copies() {
    let (n, k, dim) = (9, 3, 21);
    let (one, many) = (numbers(1, dim, 1), numbers(n, dim, 2));
    let row = one.row(0);
    let (broadcast, cube) = (
        row.broadcast((n, dim)).unwrap(),
        row.broadcast((n, k, dim)).unwrap(),
    );
    let (copy, cube_copy) = (broadcast.to_owned(), cube.to_owned());
    let weight = Array1::from_elem(1, 0.5);
    let (weights, weights_copy) = (weight.broadcast(n).unwrap(), Array1::from_elem(n, 0.5));
    let label = Array1::from_elem(1, PairLabel::Match);
    let (labels, labels_copy) = (
        label.broadcast(n).unwrap(),
        Array1::from_elem(n, PairLabel::Match),
    );

    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let of = |x, labels, weights| {
        let input = CosineEmbeddingInput::new(x, many.view(), labels).with_weights(weights);
        loss.value_and_gradient(input).unwrap()
    };
    assert_eq!(
        of(broadcast, labels, weights),
        of(copy.view(), labels_copy.view(), weights_copy.view())
    );

    let loss = TripletMarginLoss::new(1.0).unwrap();
    let of = |anchor, negatives| {
        let input = TripletMarginInput::with_negatives(anchor, many.view(), negatives);
        loss.value_and_gradient(input).unwrap()
    };
    assert_eq!(of(broadcast, cube), of(copy.view(), cube_copy.view()));

    let loss = InfoNceLoss::new(0.3).unwrap().with_symmetric(true);
    let target = Array1::from_elem(1, 4);
    let (targets, targets_copy) = (target.broadcast(n).unwrap(), Array1::from_elem(n, 4));
    let of = |queries, negatives, targets| {
        let input = InfoNceInput::new(queries, many.view())
            .with_negatives(negatives)
            .with_pool(queries)
            .with_targets(Targets::Index(targets));
        loss.value_and_gradient(input).unwrap()
    };
    assert_eq!(
        of(broadcast, cube, targets),
        of(copy.view(), cube_copy.view(), targets_copy.view())
    );
}

#[test]
fn one_array_may_be_all_inputs() {
    let (x, n) = (numbers(6, 7, 3), 6);
    let (copy, third) = (x.clone(), x.clone());
    let labels = Array1::from_shape_fn(n, |i| PairLabel::from(i % 2 == 0));
    let loss = CosineEmbeddingLoss::new(-0.5).unwrap();
    let of = |y| loss.value_and_gradient(CosineEmbeddingInput::new(x.view(), y, labels.view()));
    assert_eq!(of(x.view()), of(copy.view()));
    let loss = TripletMarginLoss::new(1.0).unwrap();
    let of = |y, z| loss.value_and_gradient(TripletMarginInput::new(x.view(), y, z));
    assert_eq!(of(x.view(), x.view()), of(copy.view(), third.view()));
    let loss = InfoNceLoss::new(0.5).unwrap();
    let of = |y, z| loss.value_and_gradient(InfoNceInput::new(x.view(), y).with_pool(z));
    assert_eq!(of(x.view(), x.view()), of(copy.view(), third.view()));
}

#[test]
fn labels_and_targets_may_lie_in_any_order() {
    let (x, y) = (numbers(6, 5, 4), numbers(6, 5, 5));
    let labels = Array1::from_shape_fn(13, |i| PairLabel::from(i % 3 == 0));
    let strided = labels.slice(s![1..;-2]);
    let loss = CosineEmbeddingLoss::new(-0.5).unwrap();
    let of =
        |labels| loss.value_and_gradient(CosineEmbeddingInput::new(x.view(), y.view(), labels));
    assert_eq!(of(strided), of(strided.to_owned().view()));

    let targets = Array1::from_shape_fn(13, |i| i * 5 % 6);
    let strided = targets.slice(s![1..;-2]);
    let loss = InfoNceLoss::new(0.5).unwrap().with_symmetric(true);
    let of = |targets| {
        let input = InfoNceInput::new(x.view(), y.view()).with_targets(Targets::Index(targets));
        loss.value_and_gradient(input)
    };
    assert_eq!(of(strided), of(strided.to_owned().view()));
}

/// Own negatives often are a slice of a matrix that holds the negatives of all queries, one after the other.
#[test]
fn negatives_may_be_a_reshaped_matrix() {
    let (x, y, flat) = (numbers(4, 5, 6), numbers(4, 5, 7), numbers(12, 5, 8));
    let negatives = flat.to_shape((4, 3, 5)).unwrap();
    let one_by_one = Array3::from_shape_fn((4, 3, 5), |(i, k, j)| flat[[3 * i + k, j]]);
    let loss = InfoNceLoss::new(0.5).unwrap();
    let of = |negatives| {
        let input = InfoNceInput::new(x.view(), y.view()).with_negatives(negatives);
        loss.value_and_gradient(input)
    };
    assert_eq!(of(negatives.view()), of(one_by_one.view()));
}
