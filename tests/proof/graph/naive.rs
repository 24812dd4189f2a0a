//! The losses by their formulas, candidate by candidate, with all scores at hand.

use contrastive::{PartitionMode, SeveralPositives, Similarity};
use ndarray::ArrayView1;

use super::case::{Batch, Parts, TargetKind};

/// The loss of each query, with the scores of `at`, and hardness from those of `base`, which is a constant.
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
    rows.iter()
        .enumerate()
        .map(|(i, row)| weight(i) * row)
        .sum::<f64>()
        / total
}

fn similarity(kind: Similarity, x: ArrayView1<f64>, y: ArrayView1<f64>) -> f64 {
    match kind {
        Similarity::Cosine => x.dot(&y) / (x.dot(&x) * y.dot(&y)).sqrt(),
        Similarity::Dot => x.dot(&y),
        Similarity::SquaredEuclidean => -x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>(),
        other => panic!("no reference for {other:?}"),
    }
}

fn row(batch: &Batch, at: &Parts, base: &Parts, i: usize) -> f64 {
    let case = &batch.case;
    let temperature = at.log_temperature.exp();
    let score =
        |parts: &Parts,
         x: fn(&Parts) -> &ndarray::Array2<f64>,
         a: usize,
         y: fn(&Parts) -> &ndarray::Array2<f64>,
         b: usize| { similarity(case.similarity, x(parts).row(a), y(parts).row(b)) };
    let labelled = case.targets == TargetKind::Labels;
    let queries: fn(&Parts) -> &ndarray::Array2<f64> = |parts| &parts.queries;
    let documents: fn(&Parts) -> &ndarray::Array2<f64> = if labelled {
        queries
    } else {
        |parts| &parts.documents
    };
    let negatives: fn(&Parts) -> &ndarray::Array2<f64> = |parts| &parts.negatives;
    let pool: fn(&Parts) -> &ndarray::Array2<f64> = |parts| &parts.pool;
    let positives = &batch.positives[i];
    let own = batch.offsets[i]..batch.offsets[i + 1];
    let id = batch.query_ids[i];
    let masked = |other: u64| case.ids && other == id;
    let hard = |of: fn(contrastive::Sources) -> bool| match case.hardness {
        Some((strength, sources)) if of(sources) => strength,
        _ => 0.0,
    };

    let positive_scores: Vec<f64> = positives
        .iter()
        .map(|&p| score(at, queries, i, documents, p) / temperature)
        .collect();
    let mut others = Vec::new();
    let mut add = |x: fn(&Parts) -> &ndarray::Array2<f64>,
                   a: usize,
                   y: fn(&Parts) -> &ndarray::Array2<f64>,
                   b: usize,
                   strength: f64| {
        others.push(score(at, x, a, y, b) / temperature + strength * score(base, x, a, y, b));
    };
    if case.in_batch {
        for j in 0..documents(at).nrows() {
            let itself = labelled && i == j;
            if !itself && !positives.contains(&j) && !masked(batch.document_ids[j]) {
                add(queries, i, documents, j, hard(|sources| sources.in_batch));
            }
        }
    }
    for k in 0..at.negatives.nrows() {
        let mine = own.contains(&k);
        if (mine || case.pooled) && !masked(batch.negative_ids[k]) {
            let strength = if mine {
                hard(|sources| sources.own)
            } else {
                hard(|sources| sources.others)
            };
            add(queries, i, negatives, k, strength);
        }
    }
    for k in 0..at.pool.nrows() {
        if !masked(batch.pool_ids[k]) {
            add(queries, i, pool, k, hard(|sources| sources.pool));
        }
    }
    if case.directions.query_to_query {
        for j in (0..at.queries.nrows()).filter(|&j| j != i && !masked(batch.query_ids[j])) {
            add(queries, i, queries, j, hard(|sources| sources.queries));
        }
    }
    if case.directions.document_to_document {
        let p = positives[0];
        for j in (0..at.documents.nrows()).filter(|&j| j != p && !masked(batch.document_ids[j])) {
            add(
                documents,
                p,
                documents,
                j,
                hard(|sources| sources.documents),
            );
        }
        for k in 0..if case.pooled { at.negatives.nrows() } else { 0 } {
            if !own.contains(&k) && !masked(batch.negative_ids[k]) {
                add(
                    documents,
                    p,
                    negatives,
                    k,
                    hard(|sources| sources.documents),
                );
            }
        }
    }
    let mut askers = Vec::new();
    if case.directions.document_to_query {
        let p = positives[0];
        for j in (0..at.queries.nrows()).filter(|&j| j != i) {
            // The own positive of another query always stays, and so does its score in this direction.
            if !masked_in_tile(batch, j, p) {
                askers.push(score(at, queries, j, documents, p) / temperature);
            }
        }
    }

    if let Some(_bias) = case.bias {
        let softplus = |z: f64| z.exp().ln_1p();
        let matches: f64 = positive_scores
            .iter()
            .map(|z| softplus(-(z + at.bias)))
            .sum();
        return matches + others.iter().map(|z| softplus(z + at.bias)).sum::<f64>();
    }
    if positives.is_empty() {
        return 0.0;
    }
    let exponentials = |scores: &[f64]| scores.iter().map(|z| z.exp()).sum::<f64>();
    let share = 1.0 / positive_scores.len() as f64;
    let mean =
        |of: &dyn Fn(f64) -> f64| positive_scores.iter().map(|&z| share * of(z)).sum::<f64>();
    if positives.len() > 1 && case.several == SeveralPositives::Together {
        let all = exponentials(&others) + exponentials(&positive_scores);
        return mean(&|z| all.ln() - z);
    }
    if case.decoupled {
        // Over nothing there is nothing to be ahead of.
        if others.is_empty() {
            return 0.0;
        }
        return mean(&|z| exponentials(&others).ln() - z);
    }
    if case.directions.document_to_query && case.partition == PartitionMode::PerDirection {
        let forth = mean(&|z| (exponentials(&others) + z.exp()).ln() - z);
        return 0.5 * (forth + mean(&|z| (exponentials(&askers) + z.exp()).ln() - z));
    }
    let copies = if case.directions.document_to_query {
        2.0
    } else {
        1.0
    };
    others.extend(askers);
    mean(&|z| (exponentials(&others) + copies * z.exp()).ln() - z)
}

/// Whether ids leave out the score of query j with document p, which is seen from the document's side here.
fn masked_in_tile(batch: &Batch, j: usize, p: usize) -> bool {
    batch.case.ids
        && batch.document_ids[p] == batch.query_ids[j]
        && !batch.positives[j].contains(&p)
}
