//! Weights, targets and batches that no loss is defined for are refused, and nothing is written then.

use crate::common::problem::Problem;
use crate::common::{InfoNceOptions, Options, Positives, list};
use crate::errors::{CONTRASTIVE, COSINE, INFO_NCE, TRIPLET, problem, refuse, says};
use contrastive::{Error, Reduction};
use ndarray::{Array1, ArrayD};

#[test]
fn weights_that_are_not_finite_or_negative_in_a_mean_are_refused() {
    let reductions = [
        Reduction::Mean,
        Reduction::MeanActive,
        Reduction::Sum,
        Reduction::Over(2.0),
    ];
    for options in [COSINE, TRIPLET, CONTRASTIVE, Options::InfoNce(INFO_NCE)] {
        for (reduction, mean) in reductions.into_iter().zip([true, true, false, false]) {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
                let weights = Some(ndarray::array![1.0, bad, 1.0]);
                let weighted = Problem {
                    weights,
                    reduction,
                    ..problem(options)
                };
                if bad == -1.0 && !mean {
                    assert!(weighted.solve().value.is_finite());
                    continue;
                }
                let Error::Weight {
                    row: 1,
                    expected,
                    found,
                } = refuse(&weighted)
                else {
                    panic!("another error");
                };
                assert_eq!(found.to_bits(), bad.to_bits());
                assert_eq!(expected.contains("negative"), mean);
            }
        }
    }
    let weights = Some(ndarray::array![1.0, 1.0, -0.5]);
    let weighted = Problem {
        weights,
        ..problem(COSINE)
    };
    assert_eq!(
        refuse(&weighted).to_string(),
        "weights[2]: expected a finite weight, not negative, found -0.5"
    );
}

#[test]
fn targets_past_the_documents_are_refused() {
    let index = |row, found| Error::Index {
        name: "targets",
        row,
        rows: 3,
        found,
    };
    for symmetric in [false, true] {
        let options = InfoNceOptions {
            symmetric,
            ..INFO_NCE
        };
        let mut queries = problem(Options::InfoNce(options));
        queries.targets = ndarray::array![0, 3, 7];
        says(
            &refuse(&queries),
            &index(1, 3),
            "targets[1]: expected an index below 3, found 3",
        );
        for (offset, found) in [(1, 3), (usize::MAX, usize::MAX)] {
            let options = InfoNceOptions {
                positives: Positives::Offset(offset),
                ..options
            };
            queries.options = Options::InfoNce(options);
            assert_eq!(refuse(&queries), index(2, found));
        }
        let options = InfoNceOptions {
            positives: Positives::Aligned,
            ..options
        };
        queries.options = Options::InfoNce(options);
        queries.parts[1] = ArrayD::zeros(vec![2, 5]);
        assert_eq!(
            refuse(&queries),
            Error::Index {
                name: "targets",
                row: 2,
                rows: 2,
                found: 2
            }
        );
        queries.parts[1] = ArrayD::zeros(vec![0, 5]);
        assert_eq!(
            refuse(&queries),
            Error::Index {
                name: "targets",
                row: 2,
                rows: 0,
                found: 2
            }
        );
    }
}

#[test]
fn mean_over_no_rows_is_refused() {
    let names = [
        (COSINE, "x"),
        (TRIPLET, "anchor"),
        (CONTRASTIVE, "x"),
        (Options::InfoNce(INFO_NCE), "queries"),
    ];
    for (options, name) in names {
        for reduction in [Reduction::Mean, Reduction::MeanActive] {
            let empty = Problem::new(options, 0, 5, 1).reduced(reduction);
            let message = format!("{name}: expected at least one row to take a mean over, found 0");
            says(&refuse(&empty), &Error::EmptyBatch { name }, &message);
        }
    }
}

#[test]
fn queries_without_anything_to_compete_with_are_refused() {
    let lonely = InfoNceOptions {
        in_batch: false,
        own: 0,
        pool: 0,
        ..INFO_NCE
    };
    let one_sided = InfoNceOptions {
        in_batch: false,
        symmetric: true,
        ..INFO_NCE
    };
    for (options, word) in [
        (lonely, "without in-batch negatives"),
        (one_sided, "symmetric"),
    ] {
        let error = refuse(&problem(Options::InfoNce(options)));
        assert!(matches!(error, Error::IllDefined { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// Whichever argument is wrong, the options do not matter: nothing is written.
#[test]
fn refused_calls_write_nothing_for_any_option() {
    for options in list::every() {
        let good = problem(options);
        for part in 1..good.parts.len().min(4) {
            if good.parts[part].ndim() == 0 {
                continue;
            }
            let mut bad = good.clone();
            let mut found = bad.parts[part].shape().to_vec();
            *found.last_mut().expect("an axis") += 1;
            bad.parts[part] = ArrayD::zeros(found);
            assert!(matches!(refuse(&bad), Error::Shape { .. }));
        }
        let bad = Problem {
            weights: Some(Array1::from_elem(3, f64::NAN)),
            ..good
        };
        assert!(matches!(refuse(&bad), Error::Weight { row: 0, .. }));
    }
}
