//! What the divisor and the weights do, for every loss.

use crate::common::{Options, Problem, all_zero, largest, list, naive};
use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    Reduction, TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, ArrayD, Axis, Slice, array};

/// Sums of some rows in another order, in f64.
const ROUNDING: f64 = 1e-13;

fn some() -> Vec<Options> {
    list::all().into_iter().step_by(3).collect()
}

fn close(found: &ArrayD<f64>, expected: &ArrayD<f64>, problem: &Problem<f64>) {
    let scale = largest(expected).max(1.0);
    let off = largest(&(found - expected));
    assert!(
        off <= ROUNDING * scale,
        "off by {off}: {:?}",
        problem.options
    );
}

#[test]
fn sum_is_the_mean_times_the_rows_and_over_divides_it() {
    for problem in list::problems(some(), 6, 5) {
        let problem = Problem {
            weights: None,
            ..problem
        };
        let [mean, sum, over] = [Reduction::Mean, Reduction::Sum, Reduction::Over(4.0)]
            .map(|reduction| problem.clone().reduced(reduction).solve());
        assert!((mean.value * 6.0 - sum.value).abs() <= ROUNDING * sum.value.max(1.0));
        assert!((over.value * 4.0 - sum.value).abs() <= ROUNDING * sum.value.max(1.0));
        for part in 0..problem.parts.len() {
            close(&(&mean.gradient[part] * 6.0), &sum.gradient[part], &problem);
            close(&(&over.gradient[part] * 4.0), &sum.gradient[part], &problem);
        }
        // What the rows cost does not depend on how they are added up.
        assert!(mean.rows == sum.rows && over.rows == sum.rows);
    }
}

#[test]
fn mean_active_is_the_mean_of_the_rows_that_cost_something() {
    for problem in list::problems(some(), 12, 5) {
        let mut problem = problem.reduced(Reduction::MeanActive);
        // Those that came with a sum may be negative.
        problem.weights = problem.weights.map(|weights| weights.mapv(f64::abs));
        let solved = problem.solve();
        let weight = |i: usize| problem.weights.as_ref().map_or(1.0, |weights| weights[i]);
        let active = |&(_, loss): &(usize, &f64)| *loss != 0.0;
        let rows = || solved.rows.iter().enumerate().filter(active);
        let z: f64 = rows().map(|(i, _)| weight(i)).sum();
        let sum = problem.clone().reduced(Reduction::Sum).solve();
        let expected = if z == 0.0 { 0.0 } else { sum.value / z };
        assert!((solved.value - expected).abs() <= ROUNDING * expected.max(1.0));
        for part in 0..problem.parts.len() {
            let expected = if z == 0.0 {
                &sum.gradient[part] * 0.0
            } else {
                &sum.gradient[part] / z
            };
            close(&solved.gradient[part], &expected, &problem);
        }
    }
}

#[test]
fn weights_of_one_change_nothing() {
    for problem in list::problems(list::every(), 5, 6) {
        let weighted = Problem {
            weights: Some(Array1::ones(5)),
            ..problem.clone()
        };
        let plain = Problem {
            weights: None,
            ..problem
        };
        assert!(
            weighted.solve().bits() == plain.solve().bits(),
            "{:?}",
            plain.options
        );
    }
}

#[test]
fn weights_that_are_all_zero_give_exactly_zero() {
    for problem in list::problems(list::all(), 5, 6) {
        for reduction in [
            Reduction::Mean,
            Reduction::MeanActive,
            Reduction::Sum,
            Reduction::Over(3.0),
        ] {
            let problem = Problem {
                weights: Some(Array1::zeros(5)),
                reduction,
                ..problem.clone()
            };
            let solved = problem.solve();
            assert!(
                solved.value == 0.0 && all_zero(solved.gradient.iter().flatten()),
                "{reduction:?}: {:?}",
                problem.options
            );
            // Row losses are unweighted.
            assert_eq!(
                solved.rows,
                Problem {
                    weights: None,
                    ..problem.clone()
                }
                .solve()
                .rows
            );
        }
    }
}

#[test]
fn sum_takes_an_upstream_gradient_as_weights() {
    for problem in list::problems(some(), 7, 4) {
        let upstream = Array1::from_shape_fn(7, |i| i as f64 - 3.0);
        let sum = Problem {
            weights: None,
            reduction: Reduction::Sum,
            ..problem
        };
        let weighted = Problem {
            weights: Some(upstream.clone()),
            ..sum.clone()
        };
        let expected: f64 = naive::rows(&weighted)
            .iter()
            .zip(&upstream)
            .map(|(loss, weight)| loss * weight)
            .sum();
        assert!(
            (weighted.solve().value - expected).abs() < 100.0 * ROUNDING * expected.abs().max(1.0)
        );
        let mut gradient = sum
            .gradient_buffers()
            .iter()
            .map(|buffer| buffer.mapv(|_| 0.0))
            .collect::<Vec<_>>();
        for i in 0..7 {
            let mut one = sum.clone();
            let mut weights = Array1::zeros(7);
            weights[i] = 1.0;
            one.weights = Some(weights);
            for (total, part) in gradient.iter_mut().zip(one.solve().gradient) {
                *total += &(part * upstream[i]);
            }
        }
        for (found, expected) in weighted.solve().gradient.iter().zip(&gradient) {
            close(found, expected, &weighted);
        }
    }
}

/// A shard of the queries against all documents, each divided by the whole batch: values and gradients add up to those of the whole.
#[test]
fn shards_over_the_whole_batch_add_up_to_it() {
    for options in list::info_nce() {
        let Options::InfoNce(mut inner) = options else {
            continue;
        };
        if inner.symmetric {
            continue;
        }
        inner.positives = crate::common::Positives::Index;
        let whole = Problem::new(Options::InfoNce(inner), 10, 6, 5);
        let expected = whole.solve();
        let mut value = 0.0;
        let mut documents = ArrayD::zeros(whole.parts[1].raw_dim());
        for shard in [0..4, 4..10] {
            let mut part = whole.clone().reduced(Reduction::Over(10.0));
            let slice = Slice::from(shard.clone());
            part.parts[0] = whole.parts[0].slice_axis(Axis(0), slice).to_owned();
            if let Some(own) = inner.negatives_part() {
                part.parts[own] = whole.parts[own].slice_axis(Axis(0), slice).to_owned();
            }
            part.targets = whole.targets.slice_axis(Axis(0), slice).to_owned();
            let solved = part.solve();
            value += solved.value;
            documents += &solved.gradient[1];
            let rows = expected.gradient[0].slice_axis(Axis(0), slice).to_owned();
            close(&solved.gradient[0], &rows, &whole);
        }
        assert!((value - expected.value).abs() < ROUNDING * expected.value.max(1.0));
        close(&documents, &expected.gradient[1], &whole);
    }
}

#[test]
fn empty_batch_sums_to_zero_with_zero_gradient() {
    for options in list::every() {
        for reduction in [Reduction::Sum, Reduction::Over(8.0)] {
            let problem = Problem::new(options, 0, 6, 3).reduced(reduction);
            let solved = problem.solve();
            assert!(
                solved.value == 0.0 && all_zero(solved.gradient.iter().flatten()),
                "{options:?}"
            );
            let solved = problem.narrow().solve();
            assert!(
                solved.value == 0.0 && all_zero(solved.gradient.iter().flatten()),
                "{options:?}"
            );
        }
    }
}

#[test]
fn weights_that_are_given_to_an_input_count() {
    // Of the first row the loss is 2, 2 and log(1 + e²), of the second 0, 0 and log(1 + 1); the weights leave the first to count thrice.
    let (x, y) = (array![[1.0_f64], [1.0]], array![[-1.0], [1.0]]);
    let (labels, weights) = (Array1::from_elem(2, PairLabel::Match), array![3.0, 0.0]);
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let loss = loss.with_reduction(Reduction::Sum).unwrap();
    let value = loss.forward(input.with_weights(weights.view())).unwrap();
    assert_eq!(value, 6.0);

    let input = TripletMarginInput::new(x.view(), y.view(), x.view());
    let loss = TripletMarginLoss::new(1e-300).unwrap();
    let loss = loss.with_reduction(Reduction::Sum).unwrap();
    let value = loss.forward(input.with_weights(weights.view())).unwrap();
    assert!((value - 6.0).abs() < ROUNDING);

    let input = InfoNceInput::new(x.view(), y.view());
    let loss = InfoNceLoss::new(1.0).unwrap();
    let loss = loss.with_reduction(Reduction::Sum).unwrap();
    let value = loss.forward(input.with_weights(weights.view())).unwrap();
    assert!((value - 3.0 * 2_f64.exp().ln_1p()).abs() < ROUNDING);
}
