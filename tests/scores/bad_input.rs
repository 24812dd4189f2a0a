//! Wrong input is refused with what was expected and found, and nothing is written then.

use contrastive::{
    Csr, DenseScores, DistillationGradient, DistillationInput, DistillationLoss, Error, Loss,
    M3Gradient, M3Input, M3Loss, M3Weights, MarginMseInput, MarginMseLoss, MaxSim, Positives,
    Reduction, ScoreFunction, Sides, Similarity, SoftmaxCrossEntropyGradient,
    SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss, SparseDot, TeacherMargins, Tokens, Want,
    Workspace,
};
use ndarray::{Array1, Array2, array};

const SENTINEL: f64 = 321.0;

fn shape(name: &'static str, expected: &[usize], found: &[usize]) -> Error {
    Error::Shape {
        name,
        expected: expected.to_vec(),
        found: found.to_vec(),
    }
}

/// The refusal of a call on scores `[3, 4]`, with gradients of the given shape.
fn refuse_softmax(
    input: SoftmaxCrossEntropyInput<'_, f64>,
    gradient: (usize, usize),
    rows: usize,
) -> Error {
    let loss = SoftmaxCrossEntropyLoss::new(1.0).unwrap();
    let (mut scores, mut slope) = (Array2::from_elem(gradient, SENTINEL), SENTINEL);
    let mut rows = Array1::from_elem(rows, SENTINEL);
    let views = SoftmaxCrossEntropyGradient {
        scores: Some(scores.view_mut()),
        log_temperature: Some(&mut slope),
    };
    let want = Want::gradient(views).with_rows(rows.view_mut());
    let error = loss
        .evaluate(input, want, &mut Workspace::new())
        .unwrap_err();
    assert!(
        scores
            .iter()
            .chain(&rows)
            .chain([&slope])
            .all(|&x| x == SENTINEL),
        "written before: {error}"
    );
    error
}

#[test]
fn softmax_refuses_shapes_positives_and_weights_that_do_not_fit() {
    let scores = Array2::zeros((3, 4));
    let input = SoftmaxCrossEntropyInput::new(scores.view());
    assert_eq!(
        refuse_softmax(input, (3, 3), 3),
        shape("gradient.scores", &[3, 4], &[3, 3])
    );
    assert_eq!(refuse_softmax(input, (3, 4), 2), shape("rows", &[3], &[2]));
    let mask = Array2::from_elem((4, 3), false);
    let masked = input.with_left_out(mask.view());
    assert_eq!(
        refuse_softmax(masked, (3, 4), 3),
        shape("left_out", &[3, 4], &[4, 3])
    );
    let weights = array![1.0, -1.0, 1.0];
    let weighted = refuse_softmax(input.with_weights(weights.view()), (3, 4), 3);
    assert!(matches!(weighted, Error::Weight { row: 1, .. }));
    let index = |name, row, found| Error::Index {
        name,
        row,
        rows: 4,
        found,
    };
    let refuse = |positives| refuse_softmax(input.with_positives(positives), (3, 4), 3);
    assert_eq!(refuse(Positives::Offset(2)), index("positives", 2, 4));
    assert_eq!(
        refuse(Positives::Offset(usize::MAX)),
        index("positives", 2, usize::MAX)
    );
    let (past, short) = (array![0, 4, 1], array![0, 1]);
    assert_eq!(
        refuse(Positives::Index(past.view())),
        index("positives", 1, 4)
    );
    assert_eq!(
        refuse(Positives::Index(short.view())),
        shape("positives", &[3], &[2])
    );
    let lists = |offsets: &[usize], indices: &[usize]| {
        let positives = Positives::Lists {
            offsets: offsets.into(),
            indices: indices.into(),
        };
        let input = SoftmaxCrossEntropyInput::new(scores.view()).with_positives(positives);
        refuse_softmax(input, (3, 4), 3)
    };
    assert_eq!(
        lists(&[0, 1, 2], &[0, 1]),
        shape("positives.offsets", &[4], &[3])
    );
    let offset = |row, least, most, found| Error::Offset {
        name: "positives.offsets",
        row,
        expected: least..=most,
        found,
    };
    assert_eq!(lists(&[1, 1, 2, 2], &[0, 1]), offset(0, 0, 0, 1));
    assert_eq!(lists(&[0, 2, 1, 2], &[0, 1]), offset(2, 2, 2, 1));
    assert_eq!(lists(&[0, 1, 3, 2], &[0, 1]), offset(2, 1, 2, 3));
    assert_eq!(lists(&[0, 1, 2, 3], &[0, 1]), offset(3, 2, 2, 3));
    assert_eq!(
        lists(&[0, 1, 3, 2], &[0, 1]).to_string(),
        "positives.offsets[2]: expected an offset from 1 to 2, found 3"
    );
    assert_eq!(
        lists(&[0, 1, 2, 2], &[0, 9]),
        index("positives.indices", 1, 9)
    );
    let twice = lists(&[0, 2, 2, 2], &[1, 1]);
    assert_eq!(
        twice.to_string(),
        "positives.indices[1]: expected an index above 1, which precedes it in its row, found 1"
    );
    let empty = Array2::zeros((0, 4));
    let loss = SoftmaxCrossEntropyLoss::new(1.0).unwrap();
    let nothing = SoftmaxCrossEntropyInput::<f64>::new(empty.view());
    assert_eq!(
        loss.forward(nothing).unwrap_err(),
        Error::EmptyBatch { name: "scores" }
    );
    let sum = loss.with_reduction(Reduction::Sum).unwrap();
    assert_eq!(sum.forward(nothing).unwrap(), 0.0);
}

#[test]
fn hyper_parameters_out_of_range_are_refused() {
    let softmax = SoftmaxCrossEntropyLoss::new(1.0).unwrap();
    let distillation = DistillationLoss::new(1.0).unwrap();
    let m3 = M3Loss::new(1.0).unwrap();
    let weights = |sparse| M3Weights {
        dense: 1.0,
        sparse,
        multi_vector: 1.0,
    };
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        assert!(SoftmaxCrossEntropyLoss::new(bad).is_err() && DistillationLoss::new(bad).is_err());
        assert!(distillation.with_teacher_temperature(bad).is_err() && M3Loss::new(bad).is_err());
        for refused in [
            softmax.with_reduction(Reduction::Over(bad)).err(),
            distillation.with_reduction(Reduction::Over(bad)).err(),
            m3.with_reduction(Reduction::Over(bad)).err(),
            MarginMseLoss::new()
                .with_reduction(Reduction::Over(bad))
                .err(),
        ] {
            assert!(matches!(
                refused,
                Some(Error::Parameter {
                    name: "reduction",
                    ..
                })
            ));
        }
        if bad != 0.0 {
            assert!(softmax.with_label_smoothing(bad).is_err());
            assert!(
                m3.with_score_weights(weights(bad)).is_err()
                    && m3.with_loss_weights(weights(bad)).is_err()
            );
        }
    }
    assert!(
        softmax.with_label_smoothing(1.0).is_ok() && m3.with_loss_weights(weights(0.0)).is_ok()
    );
}

#[test]
fn distillation_and_m3_refuse_shapes_that_do_not_fit() {
    let (good, bad) = (Array2::<f64>::zeros((2, 3)), Array2::<f64>::zeros((3, 2)));
    let loss = DistillationLoss::new(1.0).unwrap();
    let input = DistillationInput::new(good.view(), bad.view());
    assert_eq!(
        loss.forward(input).unwrap_err(),
        shape("teacher", &[2, 3], &[3, 2])
    );
    let mut out = bad.clone();
    let gradient = DistillationGradient {
        student: Some(out.view_mut()),
    };
    let input = DistillationInput::new(good.view(), good.view());
    assert_eq!(
        loss.backward(input, gradient).unwrap_err(),
        shape("gradient.student", &[2, 3], &[3, 2])
    );

    let m3 = M3Loss::new(1.0).unwrap();
    let views = [good.view(), bad.view()];
    for (sparse, multi, name) in [(1, 0, "sparse"), (0, 1, "multi_vector")] {
        let input = M3Input::new(good.view(), views[sparse], views[multi]);
        assert_eq!(
            m3.forward(input).unwrap_err(),
            shape(name, &[2, 3], &[3, 2])
        );
    }
    let input = M3Input::new(good.view(), good.view(), good.view());
    let (mut dense, mut multi) = (Array2::from_elem((2, 3), SENTINEL), bad.clone());
    let gradient = M3Gradient {
        dense: Some(dense.view_mut()),
        multi_vector: Some(multi.view_mut()),
        ..M3Gradient::default()
    };
    assert_eq!(
        m3.backward(input, gradient).unwrap_err(),
        shape("gradient.multi_vector", &[2, 3], &[3, 2])
    );
    assert!(dense.iter().all(|&x| x == SENTINEL));
}

fn refuse_margins<'a>(
    positive: &'a Array1<f64>,
    negatives: &'a Array2<f64>,
    teacher: TeacherMargins<'a, f64>,
) -> Error {
    let input = MarginMseInput::new(positive.view(), negatives.view(), teacher);
    MarginMseLoss::new().forward(input).unwrap_err()
}

#[test]
fn margin_mse_refuses_shapes_that_do_not_fit() {
    let (positive, negatives, short) = (
        array![0.0, 0.0],
        Array2::zeros((2, 3)),
        Array2::zeros((2, 2)),
    );
    let margins = TeacherMargins::Margins(short.view());
    assert_eq!(
        refuse_margins(&positive, &negatives, margins),
        shape("teacher", &[2, 3], &[2, 2])
    );
    let scores = TeacherMargins::Scores {
        positive: positive.view(),
        negatives: short.view(),
    };
    assert_eq!(
        refuse_margins(&positive, &negatives, scores),
        shape("teacher.negatives", &[2, 3], &[2, 2])
    );
    let none = Array2::zeros((2, 0));
    let margins = TeacherMargins::Margins(none.view());
    assert_eq!(
        refuse_margins(&positive, &none, margins),
        shape("negatives", &[2, 1], &[2, 0])
    );
    let other = Array2::zeros((3, 2));
    assert_eq!(
        refuse_margins(&positive, &other, TeacherMargins::Margins(other.view())),
        shape("negatives", &[2, 2], &[3, 2])
    );
}

#[test]
fn score_functions_refuse_what_does_not_fit_and_write_nothing() {
    let (queries, documents) = (Array2::<f64>::zeros((2, 3)), Array2::<f64>::zeros((4, 3)));
    let mut scores = Array2::from_elem((2, 3), SENTINEL);
    let dense = DenseScores::new(Similarity::Dot);
    let sides = Sides {
        queries: queries.view(),
        documents: documents.view(),
    };
    assert_eq!(
        dense.forward(sides, scores.view_mut()).unwrap_err(),
        shape("scores", &[2, 4], &[2, 3])
    );
    let upstream = Array2::zeros((2, 4));
    let (mut good, mut bad) = (Array2::from_elem((2, 3), SENTINEL), Array2::zeros((4, 2)));
    let to = Sides {
        queries: Some(good.view_mut()),
        documents: Some(bad.view_mut()),
    };
    let error = dense.backward(sides, upstream.view(), to).unwrap_err();
    assert_eq!(error, shape("gradient.documents", &[4, 3], &[4, 2]));
    let (offsets, short) = (array![0, 1, 2], array![0, 1]);
    let tokens = |offsets| Tokens::new(queries.view(), offsets);
    let sides = Sides {
        queries: tokens(offsets.view()),
        documents: tokens(short.view()),
    };
    let error = MaxSim::mean()
        .forward(sides, scores.view_mut())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "documents.offsets[1]: expected an offset from 2 to 2, found 1"
    );
    let attention = array![true];
    let sides = Sides {
        queries: tokens(offsets.view()).with_attention_mask(attention.view()),
        documents: tokens(offsets.view()),
    };
    let error = MaxSim::mean()
        .forward(sides, scores.view_mut())
        .unwrap_err();
    assert_eq!(error, shape("queries.attention_mask", &[2], &[1]));
    let (indptr, values) = (array![0, 2], array![1.0, 1.0]);
    for (indices, message) in [
        (
            array![3, 1],
            "queries.indices[1]: expected an index above 3, which precedes it in its row, found 1",
        ),
        (
            array![3],
            "queries.indptr[1]: expected an offset from 1 to 1, found 2",
        ),
    ] {
        let rows = Csr::new(indptr.view(), indices.view(), values.view());
        let sides = Sides {
            queries: rows,
            documents: rows,
        };
        let error = SparseDot.forward(sides, scores.view_mut()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let nothing: Array1<usize> = array![];
    let rows = Csr::new(nothing.view(), nothing.view(), values.view());
    let sides = Sides {
        queries: rows,
        documents: rows,
    };
    let error = SparseDot.forward(sides, scores.view_mut()).unwrap_err();
    assert_eq!(error, shape("queries.indptr", &[1], &[0]));
    assert!(
        scores.iter().chain(&good).all(|&x| x == SENTINEL),
        "written before"
    );
}
