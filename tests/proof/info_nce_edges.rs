//! InfoNCE where a product, a norm or a whole row is an exception, with results that can be computed by hand.

use contrastive::{
    Error, Ids, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, Loss, Scalar, Similarity, Targets,
};
use ndarray::{Array1, Array2, array};

/// A few roundings in f64.
const ROUNDING: f64 = 1e-14;
/// A number near 1e-310 has 44 bits.
const SUBNORMAL: f64 = 1e-12;

fn assert_close(found: &Array2<f64>, expected: &Array2<f64>) {
    let close = |(x, y): (&f64, &f64)| (x - y).abs() <= ROUNDING;
    assert!(found.iter().zip(expected).all(close), "{found} {expected}");
}

fn by_distance() -> InfoNceLoss {
    InfoNceLoss::new(1.0)
        .unwrap()
        .with_similarity(Similarity::SquaredEuclidean)
}

#[test]
fn documents_of_a_zero_query_have_the_gradient_of_their_distance() {
    let (queries, documents) = (array![[0.0, 0.0]], array![[1.0, 0.0], [2.0, 0.0]]);
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (_, gradient) = by_distance().value_and_gradient(input).unwrap();
    let negative = 1.0 / (1.0 + 3.0_f64.exp()); // scores −1 and −4
    let expected = array![[2.0 * negative, 0.0], [-4.0 * negative, 0.0]];
    assert_close(&gradient.documents, &expected);
}

#[test]
fn query_whose_products_cancel_has_the_gradient_of_its_distances() {
    let (queries, documents) = (array![[1.0, 0.0]], array![[2.0, 0.0]]);
    let pool = array![[0.0, 0.0]];
    let input = InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view());
    let loss = by_distance().with_in_batch_negatives(false);
    let (_, gradient) = loss.value_and_gradient(input).unwrap();
    // Both are at distance 1, and pull and push by 2·½ in the same direction.
    assert_close(&gradient.queries, &array![[-2.0, 0.0]]);
}

/// The probability of the negative is e⁻⁷¹², which is subnormal.
fn far_positives<A: Scalar>() -> InfoNceOwnedGradient<A> {
    let number = |x: f64| A::from(x).unwrap();
    let queries = Array2::from_elem((1, 1), number(1.0));
    let documents = array![712.0, 712.0, 0.0].mapv(number);
    let documents = documents.into_shape_with_order((3, 1)).unwrap();
    let (offsets, rows) = (array![0, 2], array![0, 1]);
    let targets = Targets::Lists {
        offsets: offsets.view(),
        documents: rows.view(),
    };
    let input = InfoNceInput::new(queries.view(), documents.view()).with_targets(targets);
    let loss = InfoNceLoss::nt_xent(1.0).unwrap();
    let loss = loss.with_similarity(Similarity::Dot);
    loss.value_and_gradient(input).unwrap().1
}

#[test]
fn gradient_of_positives_that_are_far_ahead_is_subnormal_and_not_infinite() {
    let gradient = far_positives::<f64>();
    let negative = (-712.0_f64).exp();
    let expected = [
        -712.0 * negative,
        -0.5 * negative,
        -0.5 * negative,
        negative,
    ];
    let numbers = gradient.queries.iter().chain(&gradient.documents);
    for (found, expected) in numbers.zip(expected) {
        assert!((found / expected - 1.0).abs() < SUBNORMAL, "{gradient:?}");
    }
    let gradient = far_positives::<f32>();
    let mut numbers = gradient.queries.iter().chain(&gradient.documents);
    assert!(numbers.all(|number| *number == 0.0), "{gradient:?}");
}

#[test]
fn row_that_is_not_finite_and_masked_by_its_id_reaches_nothing() {
    let rows = array![[1.0, 0.0], [0.0, 1.0]];
    let pool = array![[f64::NAN, 0.0]];
    let (ids, pool_ids) = (array![7_u64, 7], array![7_u64]);
    let ids = Ids {
        queries: ids.view(),
        documents: None,
        negatives: None,
        pool: Some(pool_ids.view()),
    };
    let loss = InfoNceLoss::new(1.0).unwrap();
    for similarity in [
        Similarity::Cosine,
        Similarity::Dot,
        Similarity::SquaredEuclidean,
    ] {
        let loss = loss.with_similarity(similarity);
        let alone = InfoNceInput::new(rows.view(), rows.view());
        let expected = loss.value_and_gradient(alone).unwrap();
        let input = alone.with_pool(pool.view()).with_ids(ids);
        let found = loss.value_and_gradient(input).unwrap();
        assert_eq!(found.0, expected.0, "{similarity:?}");
        assert_eq!(found.1.queries, expected.1.queries, "{similarity:?}");
        assert!(found.1.pool.unwrap().iter().all(|x| *x == 0.0));
    }
}

#[test]
fn ids_of_a_labelled_batch_are_those_of_its_rows_as_candidates() {
    let rows = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let (labels, numbers) = (array![1_u64, 1, 2], array![7_u64, 8, 7]);
    let value = |documents: Option<&Array1<u64>>| -> f64 {
        let ids = Ids {
            queries: numbers.view(),
            documents: documents.map(|ids| ids.view()),
            negatives: None,
            pool: None,
        };
        let input = InfoNceInput::labelled(rows.view(), labels.view()).with_ids(ids);
        InfoNceLoss::new(1.0).unwrap().forward(input).unwrap()
    };
    let each = (-1.0_f64).exp().ln_1p(); // cosine 1 against 0
    assert!((value(None) - each).abs() < ROUNDING);
    // The first row has the id of the last, which is its only negative.
    assert!((value(Some(&numbers)) - each / 2.0).abs() < ROUNDING);
}

#[test]
fn other_documents_than_its_rows_are_refused_for_a_labelled_batch() {
    let (rows, others) = (Array2::<f64>::ones((3, 2)), Array2::ones((3, 2)));
    let labels = array![1_u64, 1, 2];
    let mut input = InfoNceInput::labelled(rows.view(), labels.view());
    input.documents = others.view();
    let refused = InfoNceLoss::new(1.0).unwrap().forward(input);
    assert!(matches!(refused, Err(Error::IllDefined { .. })));
}
