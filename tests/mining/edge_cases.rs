//! Batches without triplets, rows at distance zero, rows that are zero, extreme or not numbers.

use contrastive::{
    BatchDistance, BatchTripletInput, BatchTripletLoss, Loss, Reduction, TripletMining,
};
use ndarray::{Array1, Array2, array};

use crate::batch::{Batch, Options, all_options};

fn check_zero(batch: &Batch<f64>) {
    let solved = batch.solve();
    assert_eq!(solved.value, 0.0, "{:?}", batch.options);
    let numbers = solved.gradient.iter().flatten().chain(&solved.rows);
    assert!(
        numbers.into_iter().all(|&x| x == 0.0),
        "{:?}",
        batch.options
    );
    assert_eq!((solved.report.triplets, solved.report.anchors), (0, 0));
}

#[test]
fn batches_without_triplets_have_value_and_gradient_zero() {
    for options in all_options() {
        for n in [1, 2, 7] {
            let mut one_class = Batch::new(options, n, 3, 1, 1);
            check_zero(&one_class);
            one_class.labels = Array1::from_iter(100..100 + n as u64);
            check_zero(&one_class);
        }
    }
}

#[test]
fn batches_without_rows_are_zero_as_a_sum_and_an_error_as_a_mean() {
    for options in all_options() {
        let batch = Batch::new(options, 0, 3, 1, 1);
        match options.reduction {
            Reduction::Sum | Reduction::Over(_) => check_zero(&batch),
            _ => assert!(options.loss().forward(batch.input()).is_err()),
        }
    }
}

#[test]
fn candidates_of_no_anchors_have_gradient_zero() {
    let options = all_options().into_iter().filter(|options| {
        let sum = matches!(options.reduction, Reduction::Sum | Reduction::Over(_));
        options.separate && sum
    });
    for options in options {
        let full = Batch::new(options, 8, 3, 2, 1);
        let none = Batch {
            anchors: Array2::zeros((0, 3)),
            labels: Array1::zeros(0),
            weights: full.weights.as_ref().map(|_| Array1::zeros(0)),
            ..full
        };
        check_zero(&none);
    }
}

#[test]
fn rows_without_columns_have_only_margins() {
    let options = all_options()
        .into_iter()
        .filter(|options| options.reduction == Reduction::Mean);
    for options in options {
        let batch = Batch::new(options, 8, 0, 2, 3);
        let solved = batch.solve();
        let margin = if options.soft {
            options.margin.exp().ln_1p()
        } else {
            options.margin
        };
        // No triplet where a negative must be farther away than the positive, or near enough to be drawn.
        let expected = if solved.report.triplets == 0 {
            0.0
        } else {
            margin
        };
        assert!((solved.value - expected).abs() < 1e-15, "{options:?}");
    }
}

#[test]
fn equal_rows_have_gradient_zero_and_the_loss_of_the_margin() {
    for options in all_options() {
        let mut batch = Batch::new(options, 10, 4, 2, 5);
        for part in batch.parts() {
            part.fill(0.3);
        }
        let solved = batch.solve();
        let gradient = solved.gradient.iter().flatten();
        assert!(
            gradient.into_iter().all(|&x| x.abs() < 1e-15),
            "{options:?}"
        );
        if options.reduction == Reduction::Mean && solved.report.triplets > 0 {
            let margin = options.margin;
            let expected = if options.soft {
                margin.exp().ln_1p()
            } else {
                margin
            };
            assert!((solved.value - expected).abs() < 1e-15, "{options:?}");
        }
    }
}

#[test]
fn duplicates_and_zero_rows_among_others_keep_everything_finite() {
    for options in all_options() {
        let mut batch = Batch::new(options, 14, 5, 3, 6);
        for part in batch.parts() {
            let row = part.row(0).to_owned();
            part.row_mut(3).assign(&row);
            part.row_mut(4).assign(&row);
            part.row_mut(5).fill(0.0);
            part.row_mut(6).fill(0.0);
        }
        assert_finite(&batch);
    }
}

#[test]
fn extreme_rows_keep_everything_finite() {
    for options in all_options() {
        // The squares of these would overflow, and the squared distance with them.
        let scales: &[f64] = match options.distance {
            BatchDistance::SquaredEuclidean => &[1e-30, 1e-18, 1e15],
            _ => &[1e-35, 1e-25, 1e20, 1e30],
        };
        for scale in scales {
            let mut batch = Batch::new(options, 9, 5, 2, 7);
            batch.parts().into_iter().for_each(|part| *part *= *scale);
            assert_finite(&batch);
            let mut one = Batch::new(options, 9, 5, 2, 8);
            one.parts()
                .into_iter()
                .for_each(|part| part.row_mut(2).mapv_inplace(|x| x * scale));
            assert_finite(&one);
        }
    }
}

fn assert_finite(batch: &Batch<f64>) {
    let solved = batch.solve();
    let numbers = solved.gradient.iter().flatten().chain(&solved.rows);
    assert!(
        solved.value.is_finite() && numbers.into_iter().all(|x| x.is_finite()),
        "{:?}",
        batch.options
    );
    let solved = batch.narrow().solve();
    let numbers = solved.gradient.iter().flatten().chain(&solved.rows);
    assert!(
        solved.value.is_finite() && numbers.into_iter().all(|x| x.is_finite()),
        "{:?}",
        batch.options
    );
}

#[test]
fn euclidean_batches_scale_with_their_rows_from_tiny_to_huge() {
    let options = all_options()
        .into_iter()
        .filter(|options| options.distance == BatchDistance::Euclidean && !options.soft);
    for options in options {
        let batch = Batch::new(options, 20, 5, 3, 9);
        // Of the last two, the squares are beyond those that products are trusted with: subnormal, and so large that sums of two overflow.
        for exponent in [-400, 400, -512, 511] {
            let scale = 2f64.powi(exponent);
            let mut scaled = batch.map(|x| x);
            scaled.weights = batch.weights.clone();
            scaled.parts().into_iter().for_each(|part| *part *= scale);
            scaled.options.margin *= scale;
            let (found, expected) = (scaled.solve(), batch.solve());
            let off = (found.value / scale - expected.value).abs();
            assert!(off <= 1e-12 * expected.value.abs(), "{options:?}");
            for (found, expected) in found.gradient.iter().zip(&expected.gradient) {
                let off = (found - expected).mapv(f64::abs);
                assert!(
                    off.iter()
                        .all(|&x| x <= 1e-12 * (1.0 + expected.len() as f64)),
                    "{options:?}"
                );
            }
        }
    }
}

/// With two classes, every row is a candidate of every anchor.
#[test]
fn nan_row_gives_a_nan_value_and_leaves_other_gradients_alone_where_it_has_weight_zero() {
    for options in all_options() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut batch = Batch::new(
                Options {
                    weighted: false,
                    ..options
                },
                12,
                4,
                2,
                11,
            );
            batch.anchors[[4, 1]] = bad;
            assert!(batch.solve().value.is_nan(), "{options:?}");
            assert!(batch.narrow().solve().value.is_nan(), "{options:?}");
            assert!(batch.solve().rows[4].is_nan());
            assert!(batch.triplets().iter().all(|t| t.anchor != 4));
            if options.separate {
                let mut weights = Array1::ones(12);
                weights[4] = 0.0;
                batch.weights = Some(weights);
                let solved = batch.solve();
                assert!(solved.value.is_finite(), "{options:?}");
                assert!(
                    solved.gradient.iter().flatten().all(|x| x.is_finite()),
                    "{options:?}"
                );
                assert!(solved.gradient[0].row(4).iter().all(|&x| x == 0.0));
            }
        }
    }
}

#[test]
fn nan_row_that_no_anchor_meets_is_not_in_the_value() {
    for options in all_options().into_iter().filter(|options| options.separate) {
        let mut batch = Batch::new(
            Options {
                weighted: false,
                ..options
            },
            6,
            4,
            2,
            12,
        );
        // An anchor without a positive.
        batch.labels[2] = 99;
        batch.anchors.row_mut(2).fill(f64::NAN);
        let solved = batch.solve();
        assert!(solved.value.is_finite(), "{options:?}");
        assert!(
            solved.gradient.iter().flatten().all(|x| x.is_finite()),
            "{options:?}"
        );
    }
}

#[test]
fn gradients_of_translated_rows_add_up_to_zero() {
    for options in all_options()
        .into_iter()
        .filter(|o| o.distance != BatchDistance::Cosine)
    {
        let solved = Batch::new(options, 30, 3, 4, 13).solve();
        let sum: Array1<f64> = solved
            .gradient
            .iter()
            .map(|part: &Array2<f64>| part.sum_axis(ndarray::Axis(0)))
            .fold(Array1::zeros(3), |sum, x| sum + x);
        let scale: f64 = solved.gradient.iter().flatten().map(|x| x.abs()).sum();
        assert!(
            sum.iter().all(|x| x.abs() <= 1e-12 * (1.0 + scale)),
            "{options:?}"
        );
    }
}

#[test]
fn negative_at_a_distance_beyond_all_numbers_is_in_no_triplet_of_a_batch_of_all() {
    let rows = array![[1.5e308_f64], [1.0e308], [1.2e308], [-1.5e308]];
    let labels = array![5, 5, 6, 7];
    let loss = BatchTripletLoss::new(TripletMining::BatchAll, 1.0)
        .and_then(|loss| loss.with_reduction(Reduction::Sum))
        .unwrap();
    let input = BatchTripletInput::new(rows.view(), labels.view());
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    // The third row is a negative of the first two, by 0.2e308 and 0.3e308 nearer than the positive.
    assert!((value / 0.5e308 - 1.0).abs() < 1e-12, "{value}");
    let off = gradient.anchors - array![[1.0], [-1.0], [0.0], [0.0]];
    assert!(off.iter().all(|x| x.abs() < 1e-12), "{off}");
}
