//! The losses by their formulas, candidate by candidate, with all scores at hand.

use contrastive::{PartitionMode, SeveralPositives, Similarity};
use ndarray::ArrayView1;

use super::batch::{Batch, Parts};
use super::candidates::{Candidate, Side, of_query, queries_for};
use super::judged::is_left_out;

/// The loss of each query, with the scores of `at`; those of `base` are constants: hardness and false negatives are told by them.
pub(super) fn rows(batch: &Batch, at: &Parts, base: &Parts) -> Vec<f64> {
    (0..at.queries.nrows())
        .map(|i| row(batch, at, base, i))
        .collect()
}

/// The mean over the queries that take part.
pub(super) fn value(batch: &Batch, at: &Parts, base: &Parts) -> f64 {
    let takes_part = |i: usize| batch.case.bias.is_some() || !batch.positives[i].is_empty();
    let weight = |i: usize| if takes_part(i) { batch.weights[i] } else { 0.0 };
    let rows = rows(batch, at, base);
    let total: f64 = (0..rows.len()).map(weight).sum();
    if total == 0.0 {
        return 0.0;
    }
    let weighted = rows.iter().enumerate().map(|(i, row)| weight(i) * row);
    weighted.sum::<f64>() / total
}

/// The largest |s|/τ of any two rows of a batch.
pub(super) fn largest_logit(batch: &Batch) -> f64 {
    let parts = &batch.parts;
    let all = [
        &parts.queries,
        &parts.documents,
        &parts.negatives,
        &parts.pool,
    ];
    let rows = || all.into_iter().flat_map(|rows| rows.outer_iter());
    let scores =
        rows().flat_map(|x| rows().map(move |y| similarity(batch.case.similarity, x, y).abs()));
    scores.fold(0.0, f64::max) / parts.log_temperature.exp()
}

pub(super) fn similarity(kind: Similarity, x: ArrayView1<f64>, y: ArrayView1<f64>) -> f64 {
    match kind {
        Similarity::Cosine => x.dot(&y) / (x.dot(&x) * y.dot(&y)).sqrt(),
        Similarity::Dot => x.dot(&y),
        Similarity::SquaredEuclidean => -x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>(),
        other => panic!("no reference for {other:?}"),
    }
}

/// s of a pair of rows.
pub(super) fn plain(batch: &Batch, parts: &Parts, pair: [(Side, usize); 2]) -> f64 {
    let [x, y] = pair.map(|(side, row)| side.of(batch, parts).row(row));
    similarity(batch.case.similarity, x, y)
}

/// s/τ + α·s + w, where α·s is a constant.
fn score(batch: &Batch, at: &Parts, base: &Parts, candidate: &Candidate) -> f64 {
    let strength = match batch.case.hardness {
        Some((strength, sources)) if (candidate.source)(sources) => strength,
        _ => 0.0,
    };
    plain(batch, at, candidate.pair) / at.log_temperature.exp()
        + strength * plain(batch, base, candidate.pair)
        + candidate.log_weight
}

fn row(batch: &Batch, at: &Parts, base: &Parts, i: usize) -> f64 {
    let positives = &batch.positives[i];
    let unmoved = |p: usize| {
        plain(batch, at, [(Side::Queries, i), (Side::Documents, p)]) / at.log_temperature.exp()
    };
    let positive_scores: Vec<f64> = positives
        .iter()
        .map(|&p| unmoved(p) + batch.log_weight(Side::Documents, p))
        .collect();
    let others: Vec<f64> = of_query(batch, i)
        .iter()
        .filter(|candidate| !is_left_out(batch, base, i, candidate))
        .map(|candidate| score(batch, at, base, candidate))
        .collect();
    if batch.case.bias.is_some() {
        return sigmoid(&positive_scores, &others, at.bias);
    }
    if positives.is_empty() {
        return 0.0;
    }
    if !batch.case.directions.document_to_query {
        return softmax(batch, &positive_scores, &others);
    }
    let ([p], [z]) = (&positives[..], &positive_scores[..]) else {
        panic!("one positive for each query");
    };
    // In this direction nothing moves a score.
    let (u, temperature) = (unmoved(*p), at.log_temperature.exp());
    let askers = queries_for(batch, base, i, *p);
    let askers = askers
        .iter()
        .map(|&j| plain(batch, at, [(Side::Queries, j), (Side::Documents, *p)]) / temperature);
    let (forth, back) = (exponentials(&others), askers.map(f64::exp).sum::<f64>());
    match batch.case.partition {
        PartitionMode::PerDirection => {
            0.5 * ((forth + z.exp()).ln() - z) + 0.5 * ((back + u.exp()).ln() - u)
        }
        _ => (forth + back + z.exp() + u.exp()).ln() - z,
    }
}

fn exponentials(scores: &[f64]) -> f64 {
    scores.iter().map(|z| z.exp()).sum()
}

fn sigmoid(positives: &[f64], others: &[f64], bias: f64) -> f64 {
    let softplus = |z: f64| z.exp().ln_1p();
    let matches: f64 = positives.iter().map(|z| softplus(-(z + bias))).sum();
    matches + others.iter().map(|z| softplus(z + bias)).sum::<f64>()
}

/// The softmax of query → document, and what joins it.
fn softmax(batch: &Batch, positives: &[f64], others: &[f64]) -> f64 {
    let case = &batch.case;
    let count = positives.len() as f64;
    let mean = |of: &dyn Fn(f64) -> f64| positives.iter().map(|&z| of(z)).sum::<f64>() / count;
    if positives.len() > 1 && case.several == SeveralPositives::Together {
        let all = exponentials(others) + exponentials(positives);
        return mean(&|z| all.ln() - z);
    }
    if case.decoupled && others.is_empty() {
        // Over nothing there is nothing to be ahead of.
        return 0.0;
    }
    let own = if case.decoupled { 0.0 } else { 1.0 };
    let loss = |z: f64| {
        let log_sum = (exponentials(others) + own * z.exp()).ln();
        let all = others.iter().chain([&z]).map(|other| log_sum - other);
        let spread = all.sum::<f64>() / (others.len() + 1) as f64;
        (1.0 - case.smoothing) * (log_sum - z) + case.smoothing * spread
    };
    mean(&loss)
}
