//! Who competes with a query, before anyone is left out.

use contrastive::Sources;
use ndarray::Array2;

use super::batch::{Batch, Parts};
use super::case::TargetKind;
use super::judged::is_left_out;

/// The matrix that a row is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Queries,
    /// The queries themselves in a labelled batch.
    Documents,
    Negatives,
    Pool,
}

impl Side {
    pub(super) fn of<'p>(self, batch: &Batch, parts: &'p Parts) -> &'p Array2<f64> {
        match self {
            Self::Queries => &parts.queries,
            Self::Documents if batch.case.targets == TargetKind::Labels => &parts.queries,
            Self::Documents => &parts.documents,
            Self::Negatives => &parts.negatives,
            Self::Pool => &parts.pool,
        }
    }
}

/// One that competes with the positive of a query.
pub(super) struct Candidate {
    /// The query or its positive, and the candidate.
    pub(super) pair: [(Side, usize); 2],
    pub(super) source: fn(Sources) -> bool,
    pub(super) log_weight: f64,
}

/// The query i against document j as an in-batch negative.
fn in_batch(batch: &Batch, i: usize, j: usize) -> Candidate {
    Candidate {
        pair: [(Side::Queries, i), (Side::Documents, j)],
        source: |sources| sources.in_batch,
        log_weight: batch.log_weight(Side::Documents, j),
    }
}

/// All candidates of a query but its positives.
pub(super) fn of_query(batch: &Batch, i: usize) -> Vec<Candidate> {
    let (case, parts) = (&batch.case, &batch.parts);
    let (n, positives) = (parts.queries.nrows(), &batch.positives[i]);
    let documents = Side::Documents.of(batch, parts).nrows();
    let labelled = case.targets == TargetKind::Labels;
    let mut list = Vec::new();
    if case.in_batch {
        let rest = (0..documents).filter(|j| !((labelled && i == *j) || positives.contains(j)));
        list.extend(rest.map(|j| in_batch(batch, i, j)));
    }
    for k in 0..parts.negatives.nrows() {
        let mine = batch.own(i).contains(&k);
        if mine || case.pooled {
            list.push(Candidate {
                pair: [(Side::Queries, i), (Side::Negatives, k)],
                source: if mine {
                    |sources| sources.own
                } else {
                    |sources| sources.others
                },
                log_weight: if mine {
                    batch.log_weight(Side::Negatives, k)
                } else {
                    batch.log_weight_of_others(k)
                },
            });
        }
    }
    list.extend((0..parts.pool.nrows()).map(|k| Candidate {
        pair: [(Side::Queries, i), (Side::Pool, k)],
        source: |sources| sources.pool,
        log_weight: batch.log_weight(Side::Pool, k),
    }));
    if case.directions.query_to_query {
        list.extend((0..n).filter(|&j| j != i).map(|j| Candidate {
            pair: [(Side::Queries, i), (Side::Queries, j)],
            source: |sources| sources.queries,
            log_weight: 0.0,
        }));
    }
    if case.directions.document_to_document {
        let p = positives[0];
        let rest = (0..documents).filter(|&j| j != p);
        let rest = rest.map(|j| (Side::Documents, j));
        let others =
            (0..parts.negatives.nrows()).filter(|k| case.pooled && !batch.own(i).contains(k));
        let others = others.map(|k| (Side::Negatives, k));
        list.extend(rest.chain(others).map(|right| Candidate {
            pair: [(Side::Documents, p), right],
            source: |sources| sources.documents,
            log_weight: 0.0,
        }));
    }
    list
}

/// The other queries that compete with query i for its positive p: those that p is a positive of, too, and those that it is not left out for.
pub(super) fn queries_for(batch: &Batch, base: &Parts, i: usize, p: usize) -> Vec<usize> {
    let stays = |&j: &usize| {
        batch.positives[j].contains(&p) || !is_left_out(batch, base, j, &in_batch(batch, j, p))
    };
    let others = (0..base.queries.nrows()).filter(|&j| j != i);
    others.filter(stays).collect()
}
