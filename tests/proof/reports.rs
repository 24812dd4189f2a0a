//! The diagnostics of a batch, checked by hand.

use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, CosineEmbeddingReport, Ids, InfoNceInput,
    InfoNceLoss, InfoNceReport, Loss, PairLabel, Reduction, SeveralPositives, Targets,
    TripletMarginInput, TripletMarginLoss, TripletMarginReport, Want, Workspace,
};
use ndarray::{Array2, Array3, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-14;

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < ROUNDING,
        "{found}, not {expected}"
    );
}

#[test]
fn cosine_embedding_reports_active_share_and_mean_cosines() {
    let x = array![[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]];
    let y = array![[3.0, 4.0], [2.0, 0.0], [0.0, 5.0], [4.0, 3.0]];
    let labels = [true, true, false, false].map(PairLabel::from);
    let labels = array![labels[0], labels[1], labels[2], labels[3]];
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let mut report = CosineEmbeddingReport::default();
    let want = Want::value().with_report(&mut report);
    let loss = CosineEmbeddingLoss::new(0.5).unwrap();
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    close(report.active, 0.5); // the first and the last
    close(report.match_cosine, 0.8); // 0.6 and 1
    close(report.no_match_cosine, 0.4); // 0 and 0.8
}

#[test]
fn triplet_margin_reports_active_share_and_mean_distances() {
    let (anchor, positive) = (array![[0.0], [0.0]], array![[1.0], [2.0]]);
    let negatives = Array3::from_shape_vec((2, 2, 1), vec![5.0, 1.5, 2.5, 9.0]).unwrap();
    let input =
        TripletMarginInput::with_negatives(anchor.view(), positive.view(), negatives.view());
    for (margin, swap, active, negative) in [
        (1.0, false, 0.5, 18.0 / 4.0),
        (5.0, false, 0.75, 18.0 / 4.0),
        (1.0, true, 0.5, (4.0 + 0.5 + 0.5 + 7.0) / 4.0),
    ] {
        let mut report = TripletMarginReport::default();
        let loss = TripletMarginLoss::new(margin).unwrap().with_swap(swap);
        let want = Want::value().with_report(&mut report);
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        close(report.active, active);
        close(report.positive_distance, 1.5);
        close(report.negative_distance, negative);
    }
}

#[test]
fn info_nce_reports_accuracy_rank_and_the_positive_s_probability_and_similarity() {
    // Scores are the entries of the documents times 2; the ranks of the positives are 1, 3 and 1 (a tie).
    let queries: Array2<f64> = Array2::eye(3);
    let documents = array![[2.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.0, 3.0, 0.5]];
    let loss = InfoNceLoss::new(0.5)
        .unwrap()
        .with_similarity(contrastive::Similarity::Dot);
    let input = InfoNceInput::new(queries.view(), documents.view());
    for loss in [loss, loss.with_symmetric(true)] {
        let mut report = InfoNceReport::default();
        let want = Want::value().with_report(&mut report);
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        close(report.accuracy, 2.0 / 3.0);
        close(report.reciprocal_rank, (1.0 + 1.0 / 3.0 + 1.0) / 3.0);
        close(report.active, 1.0);
        close(report.positive_similarity, 2.5 / 3.0);
        close(report.negative_similarity, (8.5 - 2.5) / 6.0);
        let first = 1.0 / (1.0 + f64::exp(-2.0) + f64::exp(-4.0));
        let second = 1.0 / (1.0 + f64::exp(2.0) + f64::exp(6.0));
        close(
            report.positive_probability,
            (first + second + 1.0 / 3.0) / 3.0,
        );
    }
}

#[test]
fn info_nce_ranks_among_own_negatives_and_pool_too() {
    let (queries, documents) = (array![[1.0], [1.0]], array![[1.0], [5.0]]);
    let negatives = Array3::from_shape_vec((2, 2, 1), vec![2.0, 0.0, 3.0, 4.0]).unwrap();
    let pool = array![[1.5], [6.0], [-1.0]];
    let loss = InfoNceLoss::new(1.0)
        .unwrap()
        .with_similarity(contrastive::Similarity::Dot);
    let input = InfoNceInput::new(queries.view(), documents.view())
        .with_negatives(negatives.view())
        .with_pool(pool.view());
    // Above the first positive: 2 of its own, 1.5 and 6 of the pool, and 5 of the batch; above the second: 6.
    for (loss, first) in [(loss, 5.0), (loss.with_in_batch_negatives(false), 4.0)] {
        let mut report = InfoNceReport::default();
        let want = Want::value().with_report(&mut report);
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        close(report.accuracy, 0.0);
        close(report.reciprocal_rank, (1.0 / first + 0.5) / 2.0);
        let (own, pool, in_batch) = (9.0, 2.0 * 6.5, if first == 5.0 { 6.0 } else { 0.0 });
        let count = if first == 5.0 { 12.0 } else { 10.0 };
        close(report.negative_similarity, (own + pool + in_batch) / count);
    }
}

#[test]
fn info_nce_means_the_similarities_of_candidates_that_are_neither_positives_nor_left_out() {
    let (queries, documents) = (array![[1.0], [1.0]], array![[1.0], [5.0], [2.0]]);
    let (offsets, lists) = (array![0, 2, 3], array![0, 1, 1]);
    let targets = Targets::Lists {
        offsets: offsets.view(),
        documents: lists.view(),
    };
    // No positives: the last document for the first query; the first and the last for the second, whose id takes the last.
    let (asked, offered) = (array![7, 8], array![9, 9, 8]);
    let ids = Ids {
        queries: asked.view(),
        documents: Some(offered.view()),
        negatives: None,
        pool: None,
    };
    let plain = InfoNceInput::new(queries.view(), documents.view()).with_targets(targets);
    let loss = InfoNceLoss::new(0.5)
        .unwrap()
        .with_similarity(contrastive::Similarity::Dot);
    for form in [SeveralPositives::Apart, SeveralPositives::Together] {
        for (input, mean) in [(plain, 5.0 / 3.0), (plain.with_ids(ids), 1.5)] {
            let mut report = InfoNceReport::default();
            let want = Want::value().with_report(&mut report);
            let loss = loss.with_several_positives(form);
            loss.evaluate(input, want, &mut Workspace::new()).unwrap();
            close(report.negative_similarity, mean);
        }
    }
}

/// f32 scores of one candidate come from a product and, for positives, from f64; equal documents must still tie.
#[test]
fn info_nce_reports_the_probability_of_several_positives() {
    // Scores log 1, log 2 and log 3, of which the first and the last are positives.
    let (queries, scores) = (array![[1.0_f64]], [1.0_f64, 2.0, 3.0].map(f64::ln));
    let documents = Array2::from_shape_vec((3, 1), scores.to_vec()).unwrap();
    let (offsets, positives) = (array![0, 2], array![0, 2]);
    let mut input = InfoNceInput::new(queries.view(), documents.view());
    input.targets = Targets::Lists {
        offsets: offsets.view(),
        documents: positives.view(),
    };
    let loss = InfoNceLoss::new(1.0).unwrap();
    let apart = loss.with_several_positives(SeveralPositives::Apart);
    let sigmoid = InfoNceLoss::sigmoid(1.0, 0.0).unwrap();
    for (loss, probability) in [
        (loss, (1.0 + 3.0) / 6.0),
        (apart, (1.0 / (1.0 + 2.0) + 3.0 / (3.0 + 2.0)) / 2.0),
        (sigmoid, (1.0 / 2.0 + 3.0 / 4.0) / 2.0),
    ] {
        let loss = loss.with_similarity(contrastive::Similarity::Dot);
        let mut report = InfoNceReport::default();
        let want = Want::value().with_report(&mut report);
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        close(report.positive_probability, probability);
        // The better of the two counts.
        assert_eq!((report.accuracy, report.reciprocal_rank), (1.0, 1.0));
    }
}

#[test]
fn active_share_is_that_of_all_rows_of_a_batch_of_many_blocks() {
    let n = 40_000;
    let x = Array2::<f64>::ones((n, 1));
    let y = Array2::from_shape_fn((n, 1), |(row, _)| if row < n / 4 { -1.0 } else { 1.0 });
    let labels = ndarray::Array1::from_elem(n, PairLabel::Match);
    let mut report = CosineEmbeddingReport::default();
    let want = Want::value().with_report(&mut report);
    CosineEmbeddingLoss::new(0.0)
        .unwrap()
        .evaluate(
            CosineEmbeddingInput::new(x.view(), y.view(), labels.view()),
            want,
            &mut Workspace::new(),
        )
        .unwrap();
    assert_eq!((report.active, report.match_cosine), (0.25, 0.5));
}

#[test]
fn copies_of_the_positive_do_not_cost_accuracy() {
    let mut random = crate::common::random::Random::new(7);
    for dim in [3, 64, 700] {
        let row = Array2::from_shape_fn((1, dim), |_| random.signed() as f32);
        let rows = row.broadcast((40, dim)).unwrap();
        let mut report = InfoNceReport::default();
        let want = Want::value().with_report(&mut report);
        let loss = InfoNceLoss::new(0.05).unwrap();
        loss.evaluate(InfoNceInput::new(rows, rows), want, &mut Workspace::new())
            .unwrap();
        assert_eq!(
            (report.accuracy, report.reciprocal_rank),
            (1.0, 1.0),
            "{dim} numbers"
        );
    }
}

#[test]
fn report_does_not_change_the_value_nor_depend_on_weights() {
    let mut random = crate::common::random::Random::new(8);
    let queries = Array2::from_shape_fn((30, 5), |_| random.signed());
    let documents = Array2::from_shape_fn((30, 5), |_| random.signed());
    let weights = ndarray::Array1::from_shape_fn(30, |i| i as f64);
    let loss = InfoNceLoss::new(0.3).unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view());
    let of = |input| {
        let mut report = InfoNceReport::default();
        let value = loss
            .evaluate(
                input,
                Want::value().with_report(&mut report),
                &mut Workspace::new(),
            )
            .unwrap();
        assert_eq!(value, loss.forward(input).unwrap());
        report
    };
    assert_eq!(of(input), of(input.with_weights(weights.view())));
}

#[test]
fn means_over_nothing_are_nan() {
    let x = Array2::<f64>::zeros((0, 3));
    let labels = ndarray::Array1::from_elem(0, PairLabel::Match);
    let mut report = CosineEmbeddingReport::default();
    let loss = CosineEmbeddingLoss::new(0.0)
        .unwrap()
        .with_reduction(Reduction::Sum)
        .unwrap();
    let input = CosineEmbeddingInput::new(x.view(), x.view(), labels.view());
    loss.evaluate(
        input,
        Want::value().with_report(&mut report),
        &mut Workspace::new(),
    )
    .unwrap();
    assert!(
        report.active.is_nan() && report.match_cosine.is_nan() && report.no_match_cosine.is_nan()
    );
    let mut report = InfoNceReport::default();
    let loss = InfoNceLoss::new(1.0)
        .unwrap()
        .with_reduction(Reduction::Sum)
        .unwrap();
    let input = InfoNceInput::new(x.view(), x.view());
    loss.evaluate(
        input,
        Want::value().with_report(&mut report),
        &mut Workspace::new(),
    )
    .unwrap();
    assert!(report.accuracy.is_nan() && report.positive_probability.is_nan());
}
