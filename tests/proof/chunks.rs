//! Parts of a batch: documents in chunks, and shards of queries, sum to the whole.

use contrastive::{
    Error, Ids, InfoNceChunk, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceStates,
    LogWeights, Loss, Reduction, Sources, Targets, Workspace,
};
use ndarray::{Array1, Array2, ArrayD, array, s};

use crate::common::random::Random;

/// Sums of some hundred terms, taken in another order.
const ROUNDING: f64 = 1e-13;

fn rows(n: usize, dim: usize, part: usize, seed: u64) -> Array2<f64> {
    let rows: ArrayD<f64> = Random::new(seed).rows(&[n, dim], part);
    rows.into_dimensionality().expect("two axes")
}

fn losses() -> Vec<InfoNceLoss> {
    let plain = InfoNceLoss::new(0.3).unwrap();
    vec![
        plain,
        plain.with_decoupled(true),
        plain.with_label_smoothing(0.2).unwrap(),
        plain
            .with_hardness(2.0, Sources::ALL)
            .unwrap()
            .with_reduction(Reduction::Over(17.0))
            .unwrap(),
        InfoNceLoss::sigmoid(0.3, -1.0).unwrap(),
    ]
}

fn close(found: &Array2<f64>, expected: &Array2<f64>) -> bool {
    found
        .iter()
        .zip(expected)
        .all(|(x, y)| (x - y).abs() < ROUNDING * y.abs().max(1.0))
}

/// The loss of all documents, in chunks that begin at `cuts`, those of the second half observed by another worker.
fn in_chunks(
    loss: &InfoNceLoss,
    input: InfoNceInput<'_, f64>,
    cuts: &[usize],
) -> (f64, [Array2<f64>; 2], f64) {
    let (queries, documents) = (input.queries, input.documents);
    let mut workspace = Workspace::new();
    let chunk = |k: usize| {
        let rows = cuts[k]..cuts[k + 1];
        let mut part = InfoNceInput::new(queries, documents.slice_move(s![rows.clone(), ..]))
            .with_targets(input.targets);
        part.weights = input.weights;
        part.log_weights.documents = input
            .log_weights
            .documents
            .map(|weights| weights.slice_move(s![rows]));
        InfoNceChunk {
            input: part,
            first_document: cuts[k],
        }
    };
    let mut states = [(); 2].map(|()| InfoNceStates::new(queries.nrows()));
    for k in 0..cuts.len() - 1 {
        loss.observe(chunk(k), &mut states[k % 2], &mut workspace)
            .unwrap();
    }
    let [mut states, other] = states;
    states.merge(&other).unwrap();
    let total = loss.settle(&mut states, input.weights, None).unwrap();
    let mut sums = [Array2::zeros(queries.dim()), Array2::zeros(documents.dim())];
    for k in 0..cuts.len() - 1 {
        let mut share = Array2::zeros(queries.dim());
        let gradient = InfoNceGradient {
            queries: Some(share.view_mut()),
            documents: Some(sums[1].slice_mut(s![cuts[k]..cuts[k + 1], ..])),
            ..Default::default()
        };
        loss.apply(chunk(k), &states, gradient, &mut workspace)
            .unwrap();
        sums[0] += &share;
    }
    (total.value, sums, total.log_temperature)
}

#[test]
fn documents_in_chunks_give_the_loss_and_the_gradients_of_the_whole() {
    for (n, m) in [(5, 9), (150, 210)] {
        let (queries, documents) = (rows(n, 7, 0, 1), rows(m, 7, 1, 2));
        let index = Array1::from_shape_fn(n, |i| i * 5 % m);
        let weights = Array1::from_shape_fn(n, |i| [1.0, 0.25, 2.0][i % 3]);
        let log_weights = Array1::from_shape_fn(m, |j| (j % 4) as f64 * 0.3);
        let plain = InfoNceInput::new(queries.view(), documents.view());
        let all = plain
            .with_targets(Targets::Index(index.view()))
            .with_weights(weights.view())
            .with_log_weights(LogWeights {
                documents: Some(log_weights.view()),
                ..Default::default()
            });
        for (loss, input) in losses()
            .into_iter()
            .flat_map(|loss| [(loss, plain), (loss, all)])
        {
            let (value, gradient) = loss.value_and_gradient(input).unwrap();
            for cuts in [
                vec![0, m],
                vec![0, 1, m / 2, m],
                vec![0, m / 3, m / 3 + 2, m - 1, m],
            ] {
                let (found, sums, log_temperature) = in_chunks(&loss, input, &cuts);
                assert!(
                    (found - value).abs() < ROUNDING * value.abs().max(1.0),
                    "{loss:?}"
                );
                assert!(
                    (log_temperature - gradient.log_temperature).abs() < ROUNDING * 10.0,
                    "{loss:?}"
                );
                assert!(
                    close(&sums[0], &gradient.queries) && close(&sums[1], &gradient.documents),
                    "{loss:?}"
                );
            }
        }
    }
}

#[test]
fn shards_of_queries_sum_to_the_whole_for_any_split() {
    let (queries, documents) = (rows(90, 6, 0, 3), rows(95, 6, 1, 4));
    for loss in losses().into_iter().take(3) {
        let loss = loss.with_reduction(Reduction::Over(90.0)).unwrap();
        let (value, gradient) = loss
            .value_and_gradient(InfoNceInput::new(queries.view(), documents.view()))
            .unwrap();
        for cuts in [vec![0, 90], vec![0, 1, 89, 90], vec![0, 31, 64, 90]] {
            let (mut sum, mut by_documents) = (0.0, Array2::zeros(documents.dim()));
            for cut in cuts.windows(2) {
                let shard = queries.slice(s![cut[0]..cut[1], ..]);
                let input = InfoNceInput::new(shard, documents.view())
                    .with_targets(Targets::Offset(cut[0]));
                let (share, local) = loss.value_and_gradient(input).unwrap();
                sum += share;
                by_documents += &local.documents;
                let whole = gradient.queries.slice(s![cut[0]..cut[1], ..]).to_owned();
                assert!(close(&local.queries, &whole));
            }
            assert!((sum - value).abs() < ROUNDING * value);
            assert!(close(&by_documents, &gradient.documents));
        }
    }
}

#[test]
fn states_tell_the_log_sum_of_what_was_seen() {
    let (queries, documents) = (rows(3, 4, 0, 5), rows(6, 4, 1, 6));
    let loss = InfoNceLoss::new(0.5).unwrap();
    let mut states = InfoNceStates::new(3);
    let input = InfoNceInput::new(queries.view(), documents.view());
    loss.observe(
        InfoNceChunk {
            input,
            first_document: 0,
        },
        &mut states,
        &mut Workspace::new(),
    )
    .unwrap();
    for i in 0..3 {
        let cosine = |j: usize| {
            let (x, y) = (queries.row(i), documents.row(j));
            x.dot(&y) / (x.dot(&x) * y.dot(&y)).sqrt()
        };
        let exact = (0..6).map(|j| (cosine(j) / 0.5).exp()).sum::<f64>().ln();
        assert!((states.log_sum_exp(i).unwrap().finish() - exact).abs() < ROUNDING);
    }
    assert!(states.log_sum_exp(3).is_none());
}

fn ill_defined<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(
        matches!(result, Err(Error::IllDefined { .. })),
        "{result:?}"
    );
}

#[test]
fn chunks_that_do_not_fit_are_refused_and_change_nothing() {
    let (queries, documents) = (rows(3, 4, 0, 5), rows(3, 4, 1, 6));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let chunk = |first_document| InfoNceChunk {
        input,
        first_document,
    };
    let loss = InfoNceLoss::new(0.5).unwrap();
    let mut workspace = Workspace::new();
    let mut states = InfoNceStates::new(3);
    // Nobody has met a positive yet.
    loss.observe(chunk(3), &mut states, &mut workspace).unwrap();
    ill_defined(loss.settle::<f64>(&mut states, None, None).map(|_| ()));
    loss.observe(chunk(0), &mut states, &mut workspace).unwrap();
    let value = loss.settle::<f64>(&mut states, None, None).unwrap().value;
    // The same positives again.
    ill_defined(loss.observe(chunk(0), &mut states, &mut workspace));
    ill_defined(states.clone().merge(&states));
    ill_defined(
        loss.with_symmetric(true)
            .observe(chunk(6), &mut states, &mut workspace),
    );
    let active = loss.with_reduction(Reduction::MeanActive).unwrap();
    ill_defined(active.settle::<f64>(&mut states, None, None).map(|_| ()));
    let mut wrong = InfoNceStates::new(2);
    assert!(matches!(
        loss.observe(chunk(0), &mut wrong, &mut workspace),
        Err(Error::Shape { .. })
    ));
    let far = InfoNceChunk {
        input,
        first_document: usize::MAX,
    };
    assert!(matches!(
        loss.observe(far, &mut states, &mut workspace),
        Err(Error::Index { .. })
    ));
    assert_eq!(
        loss.settle::<f64>(&mut states, None, None).unwrap().value,
        value
    );
}

#[test]
fn states_that_were_merged_leave_out_by_the_ids_of_the_chunk() {
    let queries = array![[1.0, 0.0], [0.6, 0.8]];
    let documents = array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.6, -0.8], [-1.0, 0.0]];
    let (query_ids, document_ids) = (array![7, 8], array![3, 7, 4, 8, 7]);
    let ids = |rows: std::ops::Range<usize>| Ids {
        queries: query_ids.view(),
        documents: Some(document_ids.slice(s![rows])),
        negatives: None,
        pool: None,
    };
    let loss = InfoNceLoss::new(0.5).unwrap();
    let whole = InfoNceInput::new(queries.view(), documents.view()).with_ids(ids(0..5));
    let (value, expected) = loss.value_and_gradient(whole).unwrap();
    let mut workspace = Workspace::new();
    for cuts in [vec![0, 5], vec![0, 2, 5], vec![0, 1, 2, 4, 5]] {
        let chunk = |k: usize| {
            let rows = cuts[k]..cuts[k + 1];
            let part = documents.slice(s![rows.clone(), ..]);
            InfoNceChunk {
                input: InfoNceInput::new(queries.view(), part).with_ids(ids(rows)),
                first_document: cuts[k],
            }
        };
        // Every chunk is observed by a worker of its own.
        let mut states = InfoNceStates::new(2);
        for k in 0..cuts.len() - 1 {
            let mut seen = InfoNceStates::new(2);
            loss.observe(chunk(k), &mut seen, &mut workspace).unwrap();
            states.merge(&seen).unwrap();
        }
        let total = loss.settle::<f64>(&mut states, None, None).unwrap();
        assert!((total.value - value).abs() < ROUNDING);
        let (mut by_queries, mut by_documents) = (Array2::zeros((2, 2)), Array2::zeros((5, 2)));
        for k in 0..cuts.len() - 1 {
            let mut share = Array2::zeros((2, 2));
            let gradient = InfoNceGradient {
                queries: Some(share.view_mut()),
                documents: Some(by_documents.slice_mut(s![cuts[k]..cuts[k + 1], ..])),
                ..Default::default()
            };
            loss.apply(chunk(k), &states, gradient, &mut workspace)
                .unwrap();
            by_queries += &share;
        }
        assert!(close(&by_queries, &expected.queries));
        assert!(close(&by_documents, &expected.documents));
    }
}

#[test]
fn states_that_are_not_settled_have_no_gradient() {
    let (queries, documents) = (rows(3, 4, 0, 5), rows(5, 4, 1, 6));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let chunk = |first_document| InfoNceChunk {
        input,
        first_document,
    };
    let loss = InfoNceLoss::new(0.5).unwrap();
    let mut workspace = Workspace::new();
    let mut apply = |states: &InfoNceStates| {
        let mut share = Array2::from_elem((3, 4), 7.0);
        let gradient = InfoNceGradient {
            queries: Some(share.view_mut()),
            ..Default::default()
        };
        let result = loss.apply(chunk(0), states, gradient, &mut workspace);
        assert_eq!(result.is_err(), share.iter().all(|&x| x == 7.0));
        result
    };
    let (mut states, mut workspace) = (InfoNceStates::new(3), Workspace::new());
    loss.observe(chunk(0), &mut states, &mut workspace).unwrap();
    ill_defined(apply(&states));
    loss.settle::<f64>(&mut states, None, None).unwrap();
    apply(&states).unwrap();

    // What comes after that changes the softmaxes.
    let mut more = states.clone();
    loss.observe(chunk(5), &mut more, &mut workspace).unwrap();
    ill_defined(apply(&more));
    loss.settle::<f64>(&mut more, None, None).unwrap();
    apply(&more).unwrap();
    let mut merged = InfoNceStates::new(3);
    merged.merge(&states).unwrap();
    ill_defined(apply(&merged));
    loss.settle::<f64>(&mut merged, None, None).unwrap();
    apply(&merged).unwrap();

    // What was refused changes nothing.
    ill_defined(loss.observe(chunk(0), &mut states, &mut workspace));
    ill_defined(states.merge(&merged));
    apply(&states).unwrap();
}

#[test]
fn gradients_that_are_no_share_of_a_chunk_are_refused() {
    let (queries, documents) = (rows(3, 4, 0, 5), rows(5, 4, 1, 6));
    let chunk = InfoNceChunk {
        input: InfoNceInput::new(queries.view(), documents.view()),
        first_document: 0,
    };
    let loss = InfoNceLoss::sigmoid(0.5, -1.0).unwrap();
    let (mut states, mut workspace) = (InfoNceStates::new(3), Workspace::new());
    loss.observe(chunk, &mut states, &mut workspace).unwrap();
    loss.settle::<f64>(&mut states, None, None).unwrap();
    let (mut log_temperature, mut bias) = (7.0, 7.0);
    let gradient = InfoNceGradient {
        log_temperature: Some(&mut log_temperature),
        ..Default::default()
    };
    ill_defined(loss.apply(chunk, &states, gradient, &mut workspace));
    let gradient = InfoNceGradient {
        bias: Some(&mut bias),
        ..Default::default()
    };
    ill_defined(loss.apply(chunk, &states, gradient, &mut workspace));
    assert_eq!((log_temperature, bias), (7.0, 7.0));
}

#[test]
fn sigmoid_loss_in_chunks_refuses_what_needs_a_softmax_and_has_no_log_sum() {
    let (queries, documents) = (rows(3, 4, 0, 5), rows(5, 4, 1, 6));
    let chunk = InfoNceChunk {
        input: InfoNceInput::new(queries.view(), documents.view()),
        first_document: 0,
    };
    let sigmoid = InfoNceLoss::sigmoid(0.5, -1.0).unwrap();
    let (mut states, mut workspace) = (InfoNceStates::new(3), Workspace::new());
    assert_eq!(states.log_sum_exp(0).unwrap().finish(), f64::NEG_INFINITY);
    let smoothed = sigmoid.with_label_smoothing(0.1).unwrap();
    for loss in [sigmoid.with_decoupled(true), smoothed] {
        ill_defined(loss.observe(chunk, &mut states, &mut workspace));
        ill_defined(loss.settle::<f64>(&mut states, None, None));
        let gradient = InfoNceGradient::default();
        ill_defined(loss.apply(chunk, &states, gradient, &mut workspace));
    }
    sigmoid.observe(chunk, &mut states, &mut workspace).unwrap();
    assert_eq!(states.log_sum_exp(0), None);
    let mut merged = InfoNceStates::new(3);
    merged.merge(&states).unwrap();
    assert_eq!(merged.log_sum_exp(0), None);
}
