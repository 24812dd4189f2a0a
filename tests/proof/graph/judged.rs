//! Which candidates are false negatives: by ids, by their similarity, by a guide.

use contrastive::{FalseNegatives, Similarity};

use super::batch::{Batch, Parts};
use super::candidates::{Candidate, Side, of_query};
use super::naive::{plain, similarity};

/// Whether a candidate of query i is left out.
pub(super) fn is_left_out(batch: &Batch, base: &Parts, i: usize, candidate: &Candidate) -> bool {
    let [_, right] = candidate.pair;
    let marks = &batch.extras.marks;
    let marked = batch.case.ids.is_some_and(|given| given.at(right.0))
        && marks[right.0 as usize][right.1] == marks[Side::Queries as usize][i];
    marked || above(batch, base, i, candidate).is_some_and(|above| above > 0.0)
}

/// How similar two rows are.
type Similarities<'a> = dyn Fn([(Side, usize); 2]) -> f64 + 'a;

/// By how much a candidate is above the ceiling that the positives set, relative to what ties are; `None` if it is not compared with one.
fn above(batch: &Batch, base: &Parts, i: usize, candidate: &Candidate) -> Option<f64> {
    let (rule, compare): (_, &Similarities<'_>) =
        match (batch.case.guide, batch.case.false_negatives) {
            (Some(given), rule) => {
                let side = candidate.pair[1].0;
                if side != Side::Documents && !given.at(side) {
                    return None;
                }
                let rule = rule.map_or(FalseNegatives::Absolute(0.0), |(rule, _)| rule);
                (rule, &|pair| guided(batch, pair))
            }
            (None, Some((rule, sources))) if (candidate.source)(sources) => {
                (rule, &|pair| plain(batch, base, pair))
            }
            _ => return None,
        };
    // Of several positives the least similar one sets it; where there is none, nothing does.
    let positives = batch.positives[i].iter();
    let positive = positives
        .map(|&p| compare([(Side::Queries, i), (Side::Documents, p)]))
        .reduce(f64::min)?;
    let ceiling = match rule {
        FalseNegatives::Absolute(margin) => positive - margin,
        FalseNegatives::Relative(margin) => positive - positive.abs() * margin,
        other => panic!("no reference for {other:?}"),
    };
    let above = (compare(candidate.pair) - ceiling) / positive.abs().max(1.0);
    Some(above - 16.0 * f64::EPSILON)
}

/// The cosine of two rows of the guide.
fn guided(batch: &Batch, pair: [(Side, usize); 2]) -> f64 {
    let [x, y] = pair.map(|(side, row)| batch.extras.guide[side as usize].row(row));
    similarity(Similarity::Cosine, x, y)
}

/// How many candidates of all queries are left out.
pub(super) fn count(batch: &Batch) -> usize {
    let of = |i: usize| {
        let all = of_query(batch, i).into_iter();
        all.filter(|candidate| is_left_out(batch, &batch.parts, i, candidate))
            .count()
    };
    (0..batch.parts.queries.nrows()).map(of).sum()
}

/// How near any candidate is to its ceiling, relative to the same.
pub(super) fn clearance(batch: &Batch) -> f64 {
    let of = |i: usize| {
        let all = of_query(batch, i).into_iter();
        all.filter_map(move |candidate| above(batch, &batch.parts, i, &candidate))
    };
    let all = (0..batch.parts.queries.nrows()).flat_map(of);
    all.map(f64::abs).fold(f64::INFINITY, f64::min)
}
