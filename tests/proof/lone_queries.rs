//! Queries without rivals or without a positive, and squared distances of long rows: what the documentation of InfoNCE says of them.

use contrastive::{
    Directions, FalseNegatives, InfoNceInput, InfoNceLoss, InfoNceReport, LogWeights, Loss,
    PartitionMode, SeveralPositives, Similarity, Sources, Targets, Want, Workspace,
};
use ndarray::{Array2, array};

use crate::common::random::Random;

/// A few roundings of numbers near 1.
const ROUNDING: f64 = 1e-15;

fn close(found: f64, expected: f64) {
    let off = (found - expected).abs();
    assert!(
        off <= ROUNDING * expected.abs().max(1.0),
        "{found}, not {expected}"
    );
}

#[test]
fn query_without_a_rival_costs_nothing_where_its_positive_counts_once() {
    let (query, document) = (array![[1.0, 0.0]], array![[0.6, 0.8]]);
    let input = InfoNceInput::new(query.view(), document.view());
    let plain = InfoNceLoss::new(0.5).unwrap();
    for loss in [
        plain,
        plain.with_symmetric(true),
        plain.with_decoupled(true),
        plain.with_label_smoothing(0.3).unwrap(),
        plain.with_several_positives(SeveralPositives::Apart),
    ] {
        assert_eq!(loss.forward(input), Ok(0.0), "{loss:?}");
    }
}

#[test]
fn query_without_a_rival_costs_log_2_where_document_to_query_joins_its_softmax() {
    let (query, document) = (array![[1.0, 0.0]], array![[0.6, 0.8]]);
    let input = InfoNceInput::new(query.view(), document.view());
    let loss = InfoNceLoss::new(0.5).unwrap();
    let joint = loss.with_directions(Directions::SYMMETRIC, PartitionMode::Joint);
    close(joint.forward(input).unwrap(), 2_f64.ln());
    let weight = array![0.7];
    let weighted = input.with_log_weights(LogWeights {
        documents: Some(weight.view()),
        ..Default::default()
    });
    close(joint.forward(weighted).unwrap(), (-0.7_f64).exp().ln_1p());

    // Nor does a query that loses all its rivals cost nothing.
    let (queries, documents) = (
        array![[1.0, 0.0], [0.0, 1.0]],
        array![[0.6, 0.8], [0.8, 0.6]],
    );
    let input = InfoNceInput::new(queries.view(), documents.view());
    let judged = |loss: InfoNceLoss| {
        loss.with_false_negatives(FalseNegatives::Absolute(0.0), Sources::ALL)
            .unwrap()
            .forward(input)
            .unwrap()
    };
    assert_eq!(judged(loss), 0.0);
    let lowest = loss.with_directions(Directions::SYMMETRIC, PartitionMode::Joint);
    assert!(judged(lowest) >= 2_f64.ln());
}

#[test]
fn positives_together_are_rivals_where_there_are_no_others() {
    let (query, documents) = (array![[1.0, 0.0]], array![[0.6, 0.8], [0.0, 1.0]]);
    let (offsets, all) = (array![0, 2], array![0, 1]);
    let input = InfoNceInput::new(query.view(), documents.view()).with_targets(Targets::Lists {
        offsets: offsets.view(),
        documents: all.view(),
    });
    let loss = InfoNceLoss::new(1.0).unwrap();
    let together = loss.with_several_positives(SeveralPositives::Together);
    close(
        together.forward(input).unwrap(),
        (0.6_f64.exp() + 1.0).ln() - 0.3,
    );
    let apart = loss.with_several_positives(SeveralPositives::Apart);
    assert_eq!(apart.forward(input), Ok(0.0));
}

#[test]
fn sigmoid_loss_has_a_price_for_a_lone_positive_and_for_a_query_without_one() {
    let (queries, documents) = (array![[1.0, 0.0], [0.0, 1.0]], array![[0.6, 0.8]]);
    let loss = InfoNceLoss::sigmoid(0.5, -1.0).unwrap();
    let one = InfoNceInput::new(queries.slice(ndarray::s![..1, ..]), documents.view());
    close(loss.forward(one).unwrap(), (-0.2_f64).exp().ln_1p()); // 0.6/0.5 − 1

    let (query_ids, document_ids) = (array![5, 6], array![5]);
    let input = InfoNceInput::new(queries.view(), documents.view()).with_targets(Targets::Ids {
        queries: query_ids.view(),
        documents: document_ids.view(),
    });
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    // The second query has a negative at 0.8/0.5 − 1, and the mean counts it.
    close(
        value,
        ((-0.2_f64).exp().ln_1p() + 0.6_f64.exp().ln_1p()) / 2.0,
    );
    assert!(gradient.queries[[1, 0]] != 0.0);
    let mut report = InfoNceReport::default();
    let want = Want::value().with_report(&mut report);
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    assert_eq!(report.without_positive, 1);

    let softmax = InfoNceLoss::new(0.5).unwrap();
    let (value, gradient) = softmax.value_and_gradient(input).unwrap();
    assert_eq!(value, 0.0);
    assert!(gradient.queries.row(1).iter().all(|&g| g == 0.0));
}

#[test]
fn squared_distances_of_long_rows_are_off_by_the_rounding_of_their_squares() {
    const N: usize = 24;
    let mut random = Random::new(11);
    for length in [1.0, 30.0, 300.0] {
        // Rows that are near each other and far from zero.
        let mut near = || Array2::from_shape_fn((N, 16), |_| (length + random.signed()) as f32);
        let (queries, documents) = (near(), near());
        let square = |rows: &Array2<f32>| {
            let squares = rows
                .outer_iter()
                .map(|row| row.iter().map(|&x| f64::from(x).powi(2)).sum());
            squares.fold(0.0, |most: f64, square: f64| most.max(square))
        };
        let loss = InfoNceLoss::new(4.0).unwrap();
        let loss = loss.with_similarity(Similarity::SquaredEuclidean);
        let mut rows = ndarray::Array1::zeros(N);
        let input = InfoNceInput::new(queries.view(), documents.view());
        loss.forward_rows(input, rows.view_mut()).unwrap();
        let (wide_queries, wide_documents) = (queries.mapv(f64::from), documents.mapv(f64::from));
        let mut exact = ndarray::Array1::zeros(N);
        let input = InfoNceInput::new(wide_queries.view(), wide_documents.view());
        loss.forward_rows(input, exact.view_mut()).unwrap();
        // Each of the three terms, and their sums, are rounded.
        let scores = f64::from(f32::EPSILON) * (square(&queries) + square(&documents)) / 4.0;
        for (found, exact) in rows.iter().zip(&exact) {
            let off = (f64::from(*found) - exact).abs();
            assert!(off <= 2.0 * scores + 1e-6 * exact, "{found}, not {exact}");
        }
    }
}
