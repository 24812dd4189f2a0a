//! Wrong input is refused with what was expected and found, and nothing is written then.

use crate::common::problem::Problem;
use crate::common::{
    ContrastiveOptions, CosineOptions, InfoNceOptions, Metric, Options, PairOptions, Positives,
    TripletOptions, Wanted, list,
};
use contrastive::{
    Error, InfoNceGradient, InfoNceInput, InfoNceLoss, Loss, PairLabel, Similarity, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD};

/// What the buffers hold before and must hold after.
const SENTINEL: f64 = 321.0;

pub(crate) const COSINE: Options = Options::Cosine(CosineOptions {
    margin: 0.0,
    positive_margin: 1.0,
    epsilon: 0.0,
});
pub(crate) const TRIPLET: Options = Options::Triplet(TripletOptions {
    margin: 1.0,
    soft: false,
    swap: false,
    metric: Metric::Lp {
        p: 2.0,
        epsilon: 0.0,
    },
    negatives: 2,
});
pub(crate) const CONTRASTIVE: Options =
    Options::Pair(PairOptions::Contrastive(ContrastiveOptions {
        margin: 1.0,
        positive_margin: 0.0,
        linear: false,
        hard_pairs: true,
        metric: Metric::Cosine,
    }));
pub(crate) const INFO_NCE: InfoNceOptions = InfoNceOptions {
    temperature: 0.5,
    similarity: Similarity::Cosine,
    in_batch: true,
    symmetric: false,
    own: 2,
    pool: 4,
    positives: Positives::Index,
};

/// A batch of 3 rows of 5 numbers.
pub(crate) fn problem(options: Options) -> Problem<f64> {
    let mut problem = Problem::new(options, 3, 5, 1);
    if let Options::InfoNce(InfoNceOptions {
        positives: Positives::Index,
        ..
    }) = options
    {
        // As many documents as queries, whatever the random batch had.
        problem.parts[1] = ArrayD::ones(vec![3, 5]);
        problem.targets = ndarray::array![0, 2, 1];
    }
    problem
}

/// The parts, their gradients and the row losses may differ from the problem's in shape.
fn refuse_with(problem: &Problem<f64>, gradients: &[ArrayD<f64>], rows: usize) -> Error {
    let mut gradients: Vec<_> = gradients
        .iter()
        .map(|part| part.mapv(|_| SENTINEL))
        .collect();
    let mut row_losses = Array1::from_elem(rows, SENTINEL);
    let wanted = Wanted {
        gradient: Some(
            gradients
                .iter_mut()
                .map(|part| Some(part.view_mut()))
                .collect(),
        ),
        rows: Some(row_losses.view_mut()),
    };
    let error = problem
        .evaluate(&problem.views(), wanted, &mut Workspace::new())
        .unwrap_err();
    let written = gradients
        .iter()
        .flatten()
        .chain(&row_losses)
        .any(|&x| x != SENTINEL);
    assert!(!written, "written before: {error}");
    let alone = problem.evaluate(&problem.views(), Wanted::value(), &mut Workspace::new());
    if let Err(alone) = alone {
        assert_eq!(alone.to_string(), error.to_string());
    }
    error
}

pub(crate) fn refuse(problem: &Problem<f64>) -> Error {
    refuse_with(problem, &problem.parts, problem.rows())
}

pub(crate) fn shape(name: &'static str, expected: &[usize], found: &[usize]) -> Error {
    Error::Shape {
        name,
        expected: expected.to_vec(),
        found: found.to_vec(),
    }
}

/// The error, and that its message has what was expected and what was found.
pub(crate) fn says(error: &Error, expected: &Error, message: &str) {
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), message);
}

#[test]
fn every_part_of_another_shape_is_refused() {
    let part = |options: Options, part: usize, found: &[usize]| {
        let mut problem = problem(options);
        problem.parts[part] = ArrayD::zeros(found);
        refuse(&problem)
    };
    says(
        &part(COSINE, 1, &[3, 4]),
        &shape("y", &[3, 5], &[3, 4]),
        "y: expected shape [3, 5], found [3, 4]",
    );
    assert_eq!(part(COSINE, 1, &[4, 5]), shape("y", &[3, 5], &[4, 5]));
    assert_eq!(
        part(TRIPLET, 1, &[3, 6]),
        shape("positive", &[3, 5], &[3, 6])
    );
    assert_eq!(
        part(TRIPLET, 1, &[2, 5]),
        shape("positive", &[3, 5], &[2, 5])
    );
    assert_eq!(
        part(TRIPLET, 2, &[2, 2, 5]),
        shape("negatives", &[3, 2, 5], &[2, 2, 5])
    );
    assert_eq!(
        part(TRIPLET, 2, &[3, 2, 4]),
        shape("negatives", &[3, 2, 5], &[3, 2, 4])
    );
    assert_eq!(
        part(TRIPLET, 2, &[3, 0, 5]),
        shape("negatives", &[3, 1, 5], &[3, 0, 5])
    );
    let info_nce = Options::InfoNce(INFO_NCE);
    assert_eq!(
        part(info_nce, 1, &[3, 4]),
        shape("documents", &[3, 5], &[3, 4])
    );
    assert_eq!(
        part(info_nce, 2, &[4, 2, 5]),
        shape("negatives", &[3, 2, 5], &[4, 2, 5])
    );
    assert_eq!(
        part(info_nce, 2, &[3, 2, 1]),
        shape("negatives", &[3, 2, 5], &[3, 2, 1])
    );
    assert_eq!(
        part(info_nce, 2, &[3, 0, 5]),
        shape("negatives", &[3, 1, 5], &[3, 0, 5])
    );
    assert_eq!(part(info_nce, 3, &[4, 6]), shape("pool", &[4, 5], &[4, 6]));
    assert_eq!(part(info_nce, 3, &[0, 5]), shape("pool", &[1, 5], &[0, 5]));
}

#[test]
fn every_gradient_of_another_shape_is_refused() {
    for options in [COSINE, TRIPLET, CONTRASTIVE, Options::InfoNce(INFO_NCE)] {
        let problem = problem(options);
        for (part, name) in options.part_names().into_iter().enumerate() {
            for axis in 0..problem.parts[part].ndim() {
                let mut found = problem.parts[part].shape().to_vec();
                found[axis] += 1;
                let mut gradients = problem.parts.clone();
                gradients[part] = ArrayD::zeros(found.clone());
                let Error::Shape {
                    name: found_name,
                    expected,
                    found: found_shape,
                } = refuse_with(&problem, &gradients, 3)
                else {
                    panic!("{name}: another error");
                };
                assert_eq!(found_name, format!("gradient.{name}"));
                assert_eq!(
                    (&expected[..], found_shape),
                    (problem.parts[part].shape(), found)
                );
            }
        }
    }
}

#[test]
fn gradients_of_candidates_that_are_not_there_are_refused() {
    let x = Array2::<f64>::ones((3, 5));
    let loss = InfoNceLoss::new(1.0).unwrap();
    let input = InfoNceInput::new(x.view(), x.view());
    let mut negatives = Array3::from_elem((3, 1, 5), SENTINEL);
    let gradient = InfoNceGradient {
        negatives: Some(negatives.view_mut()),
        ..Default::default()
    };
    let error = loss.backward(input, gradient).unwrap_err();
    assert_eq!(error, shape("gradient.negatives", &[0, 0, 0], &[3, 1, 5]));
    let mut pool = Array2::from_elem((3, 5), SENTINEL);
    let gradient = InfoNceGradient {
        pool: Some(pool.view_mut()),
        ..Default::default()
    };
    let error = loss.backward(input, gradient).unwrap_err();
    assert_eq!(error, shape("gradient.pool", &[0, 0], &[3, 5]));
    assert!(negatives.iter().chain(&pool).all(|&x| x == SENTINEL));
}

#[test]
fn row_losses_of_another_length_are_refused() {
    for options in [COSINE, TRIPLET, CONTRASTIVE, Options::InfoNce(INFO_NCE)] {
        let problem = problem(options);
        for rows in [0, 2, 4] {
            assert_eq!(
                refuse_with(&problem, &problem.parts, rows),
                shape("rows", &[3], &[rows])
            );
        }
    }
}

#[test]
fn labels_weights_and_targets_of_another_length_are_refused() {
    for options in [COSINE, CONTRASTIVE, list::ranked()[0]] {
        let mut pairs = problem(options);
        pairs.labels = Array1::from_elem(2, PairLabel::Match);
        assert_eq!(refuse(&pairs), shape("labels", &[3], &[2]));
    }
    for options in [COSINE, TRIPLET, CONTRASTIVE, Options::InfoNce(INFO_NCE)] {
        let weighted = Problem {
            weights: Some(Array1::ones(4)),
            ..problem(options)
        };
        assert_eq!(refuse(&weighted), shape("weights", &[3], &[4]));
    }
    let mut queries = problem(Options::InfoNce(INFO_NCE));
    queries.targets = Array1::zeros(4);
    assert_eq!(refuse(&queries), shape("targets", &[3], &[4]));
}
