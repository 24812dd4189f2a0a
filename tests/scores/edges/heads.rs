//! The heads of M3-Embedding: their losses together, and the scores of token and word embeddings.

use super::{INF, close};
use contrastive::{
    Csr, Loss, M3Input, M3Loss, M3Report, M3Weights, MaxSim, ScoreFunction, Sides, SparseDot,
    Tokens, Want, Workspace,
};
use ndarray::{Array2, ArrayView2, array};

#[test]
fn m3_reports_the_losses_of_its_heads() {
    let scores = [array![[1.0, 0.0]], array![[0.0, 0.0]], array![[0.0, 2.0]]];
    let input = M3Input::new(scores[0].view(), scores[1].view(), scores[2].view());
    let mut report = M3Report::default();
    let loss = M3Loss::new(1.0).unwrap().with_self_distillation(false);
    let value = loss
        .evaluate(
            input,
            Want::value().with_report(&mut report),
            &mut Workspace::new(),
        )
        .unwrap();
    let ce = |behind: f64| behind.exp().ln_1p();
    close(report.dense, ce(-1.0));
    close(report.sparse, 2.0_f64.ln());
    close(report.multi_vector, ce(2.0));
    close(report.integrated, ce(1.0));
    close(
        value,
        (ce(-1.0) + 0.1 * 2.0_f64.ln() + ce(2.0) + ce(1.0)) / 4.0,
    );
}

fn max_sim(
    query: ArrayView2<'_, f64>,
    document: ArrayView2<'_, f64>,
) -> (f64, Array2<f64>, Array2<f64>) {
    let (q_offsets, d_offsets) = (array![0, query.nrows()], array![0, document.nrows()]);
    let sides = Sides {
        queries: Tokens::new(query.reborrow(), q_offsets.view()),
        documents: Tokens::new(document.reborrow(), d_offsets.view()),
    };
    let (mut score, upstream) = (array![[f64::NAN]], array![[1.0]]);
    let [mut to_q, mut to_d] =
        [query.dim(), document.dim()].map(|dim| Array2::from_elem(dim, f64::NAN));
    MaxSim::mean().forward(sides, score.view_mut()).unwrap();
    let to = Sides {
        queries: Some(to_q.view_mut()),
        documents: Some(to_d.view_mut()),
    };
    MaxSim::mean().backward(sides, upstream.view(), to).unwrap();
    (score[[0, 0]], to_q, to_d)
}

#[test]
fn first_of_equal_tokens_wins() {
    let (query, document) = (
        array![[1.0, 0.0]],
        array![[0.0, 1.0], [2.0, 5.0], [2.0, -1.0]],
    );
    let (score, to_q, to_d) = max_sim(query.view(), document.view());
    assert_eq!((score, to_q), (2.0, array![[2.0, 5.0]]));
    assert_eq!(to_d, array![[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]);
}

#[test]
fn texts_without_tokens_score_zero_and_nan_stays() {
    let (none, one) = (Array2::zeros((0, 2)), array![[1.0, 1.0]]);
    let (score, _, to_d) = max_sim(none.view(), one.view());
    assert_eq!((score, to_d), (0.0, array![[0.0, 0.0]]));
    let (score, to_q, _) = max_sim(one.view(), none.view());
    assert_eq!((score, to_q), (0.0, array![[0.0, 0.0]]));
    for at in 0..3 {
        let mut document = array![[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]];
        document[[at, 1]] = f64::NAN;
        assert!(max_sim(one.view(), document.view()).0.is_nan());
        document[[at, 1]] = INF;
        assert!(max_sim(one.view(), document.view()).0.is_nan());
    }
}

#[test]
fn pairs_without_an_upstream_gradient_are_asked_for_nothing() {
    let (tokens, offsets) = (array![[f64::NAN, 1.0], [1.0, 0.0]], array![0, 1, 2]);
    let sides = Sides {
        queries: Tokens::new(tokens.view(), offsets.view()),
        documents: Tokens::new(tokens.view(), offsets.view()),
    };
    let upstream = array![[0.0, 0.0], [0.0, 1.0]];
    let mut out = Array2::from_elem((2, 2), 5.0);
    let to = Sides {
        queries: Some(out.view_mut()),
        documents: None,
    };
    MaxSim::sum().backward(sides, upstream.view(), to).unwrap();
    assert_eq!(out, array![[0.0, 0.0], [1.0, 0.0]]);
}

#[test]
fn words_that_only_one_side_has_do_not_matter() {
    let (indptr, q_words, d_words) = (array![0, 2], array![1, 5], array![2, 5]);
    let (q_values, d_values) = (array![f64::NAN, 2.0], array![INF, 3.0]);
    let mut score = Array2::zeros((1, 1));
    let sides = Sides {
        queries: Csr::new(indptr.view(), q_words.view(), q_values.view()),
        documents: Csr::new(indptr.view(), d_words.view(), d_values.view()),
    };
    SparseDot.forward(sides, score.view_mut()).unwrap();
    assert_eq!(score[[0, 0]], 6.0);
}

#[test]
fn masked_candidates_do_not_teach_where_no_head_weighs() {
    let (scores, left_out) = (array![[1.0, 0.0, 0.0]], array![[false, false, true]]);
    let none = M3Weights {
        dense: 0.0,
        sparse: 0.0,
        multi_vector: 0.0,
    };
    let loss = M3Loss::new(1.0).unwrap().with_score_weights(none).unwrap();
    let input = M3Input::new(scores.view(), scores.view(), scores.view());
    let masked: f64 = loss.forward(input.with_left_out(left_out.view())).unwrap();
    let scores = array![[1.0, 0.0]];
    let input = M3Input::new(scores.view(), scores.view(), scores.view());
    assert_eq!(masked, loss.forward(input).unwrap());
}
