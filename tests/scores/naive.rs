//! Every loss and score function in plain `f64` loops, written from its formula. Shares no code with the crate.
//!
//! The crate's enums may grow: an option that has no formula here is a panic, and never takes another's.

use contrastive::{Divergence, M3Weights, Reduction, SeveralPositives, Similarity};

use crate::case::{Case, HeadWeights, Kind};

/// A case that is this far from every tie does not reach one within the steps of finite differences.
pub(crate) const CLEAR: f64 = 1e-4;

/// L. The teachers that a loss takes as constants are those of `base`.
pub(crate) fn value(case: &Case, base: &Case) -> f64 {
    let n = case.left_out.nrows();
    if matches!(
        case.kind,
        Kind::Dense(_) | Kind::Sparse | Kind::MaxSim { .. }
    ) {
        let mut clearance = f64::INFINITY;
        let mut sum = 0.0;
        for i in 0..n {
            for j in 0..case.left_out.ncols() {
                sum += case.constants[0][[i, j]] * score(case, i, j, &mut clearance);
            }
        }
        return sum;
    }
    let (mut sum, mut all, mut active) = (0.0, 0.0, 0.0);
    for (i, loss) in rows(case, base).into_iter().enumerate() {
        let weight = case.weights.as_ref().map_or(1.0, |weights| weights[i]);
        if let Some(loss) = loss {
            sum += weight * loss;
            all += weight;
            if loss != 0.0 {
                active += weight;
            }
        }
    }
    let z = match case.reduction {
        Reduction::Mean => all,
        Reduction::MeanActive => active,
        Reduction::Over(z) => z,
        Reduction::Sum => 1.0,
        other => panic!("no formula for {other:?}"),
    };
    if z == 0.0 { 0.0 } else { sum / z }
}

/// ℓᵢ; `None` for rows that take no part.
pub(crate) fn rows(case: &Case, base: &Case) -> Vec<Option<f64>> {
    // A lone candidate has loss 0, which formulas in f64 miss by a rounding.
    let snap = |loss: f64| if loss.abs() < 1e-14 { 0.0 } else { loss };
    (0..case.left_out.nrows())
        .map(|i| row(case, base, i).map(snap))
        .collect()
}

/// How far the case is from its nearest tie.
pub(crate) fn clearance(case: &Case) -> f64 {
    let mut clearance = f64::INFINITY;
    if matches!(case.kind, Kind::MaxSim { .. }) {
        for (i, j) in ndarray::indices(case.left_out.dim()) {
            score(case, i, j, &mut clearance);
        }
    }
    clearance
}

fn row(case: &Case, base: &Case, i: usize) -> Option<f64> {
    match case.kind {
        Kind::Softmax {
            smoothing,
            form,
            masked,
            ..
        } => {
            let (own, others) = candidates(case, i, masked);
            let t = case.temperature();
            let z = |j: &usize| case.parts[0][[i, *j]] / t;
            let (own, others): (Vec<_>, Vec<_>) =
                (own.iter().map(z).collect(), others.iter().map(z).collect());
            cross_entropy(&own, &others, form, smoothing)
        }
        Kind::Distillation {
            temperatures: [student, teacher],
            divergence,
            squared,
            masked,
        } => {
            let kept: Vec<usize> = (0..case.left_out.ncols())
                .filter(|&j| !(masked && case.left_out[[i, j]]))
                .collect();
            let p = softmax(kept.iter().map(|&j| case.constants[0][[i, j]] / teacher));
            let s: Vec<f64> = kept
                .iter()
                .map(|&j| case.parts[0][[i, j]] / student)
                .collect();
            let log_sum = log_sum_exp(&s);
            let factor = if squared { student * student } else { 1.0 };
            let terms = p.iter().zip(&s).map(|(p, s)| match divergence {
                Divergence::KullbackLeibler => p * (p.ln() - (s - log_sum)),
                Divergence::CrossEntropy => -p * (s - log_sum),
                other => panic!("no formula for {other:?}"),
            });
            (!kept.is_empty()).then(|| factor * terms.sum::<f64>())
        }
        Kind::MarginMse { margins } => {
            let m = case.left_out.ncols();
            let residual = |k: usize| {
                let student = case.parts[0][[i]] - case.parts[1][[i, k]];
                let teacher = if margins {
                    case.constants[0][[i, k]]
                } else {
                    case.constants[0][[i]] - case.constants[1][[i, k]]
                };
                student - teacher
            };
            Some((0..m).map(|k| residual(k).powi(2)).sum::<f64>() / m as f64)
        }
        Kind::M3 {
            weights,
            distil,
            masked,
            ..
        } => m3(case, base, i, masked, weights.unwrap_or(PAPER), distil),
        _ => unreachable!("a score function has no rows"),
    }
}

/// w and λ of the paper, which are the loss's own.
const PAPER: HeadWeights = HeadWeights {
    scores: M3Weights {
        dense: 1.0,
        sparse: 0.3,
        multi_vector: 1.0,
    },
    losses: M3Weights {
        dense: 1.0,
        sparse: 0.1,
        multi_vector: 1.0,
    },
};

fn m3(
    case: &Case,
    base: &Case,
    i: usize,
    masked: bool,
    weights: HeadWeights,
    distil: bool,
) -> Option<f64> {
    let (own, others) = candidates(case, i, masked);
    let (w, lambda) = (weights.scores, weights.losses);
    let heads = |case: &Case, j: usize| {
        let t = case.temperature();
        let [d, s, m] = [0, 1, 2].map(|head: usize| case.parts[head][[i, j]] / t);
        [d, s, m, w.dense * d + w.sparse * s + w.multi_vector * m]
    };
    let weighted =
        |[d, s, m]: [f64; 3]| lambda.dense * d + lambda.sparse * s + lambda.multi_vector * m;
    let entropy = |head: usize| {
        let z = |j: &usize| heads(case, *j)[head];
        let (own, others): (Vec<_>, Vec<_>) =
            (own.iter().map(z).collect(), others.iter().map(z).collect());
        cross_entropy(&own, &others, SeveralPositives::Together, 0.0)
    };
    let of_heads = [entropy(0)?, entropy(1)?, entropy(2)?];
    let contrastive = (weighted(of_heads) + entropy(3)?) / 4.0;
    if !distil {
        return Some(contrastive);
    }
    let all = [&own[..], &others].concat();
    let p = softmax(all.iter().map(|&j| heads(base, j)[3]));
    let distilled = |head: usize| {
        let z: Vec<f64> = all.iter().map(|&j| heads(case, j)[head]).collect();
        let log_sum = log_sum_exp(&z);
        p.iter()
            .zip(&z)
            .map(|(p, z)| -p * (z - log_sum))
            .sum::<f64>()
    };
    let taught = weighted([0, 1, 2].map(distilled)) / 3.0;
    Some((contrastive + taught) / 2.0)
}

/// The positives of a row and its other candidates.
fn candidates(case: &Case, i: usize, masked: bool) -> (Vec<usize>, Vec<usize>) {
    let own = match &case.index[..] {
        [targets] => vec![targets[i]],
        [offsets, indices, ..] => (offsets[i]..offsets[i + 1]).map(|at| indices[at]).collect(),
        [] => vec![],
    };
    let others = (0..case.left_out.ncols()).filter(|j| !own.contains(j));
    let others = others
        .filter(|&j| !(masked && case.left_out[[i, j]]))
        .collect();
    (own, others)
}

fn cross_entropy(
    own: &[f64],
    others: &[f64],
    form: SeveralPositives,
    smoothing: f64,
) -> Option<f64> {
    let mean = |z: &[f64]| z.iter().sum::<f64>() / z.len() as f64;
    let smoothed = |positives: &[f64]| {
        let all = [positives, others].concat();
        log_sum_exp(&all) - (1.0 - smoothing) * mean(positives) - smoothing * mean(&all)
    };
    if own.is_empty() {
        return None;
    }
    Some(match form {
        SeveralPositives::Together => smoothed(own),
        SeveralPositives::Apart => {
            own.iter().map(|&z| smoothed(&[z])).sum::<f64>() / own.len() as f64
        }
        other => panic!("no formula for {other:?}"),
    })
}

fn log_sum_exp(z: &[f64]) -> f64 {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + z.iter().map(|z| (z - max).exp()).sum::<f64>().ln()
}

fn softmax(z: impl Iterator<Item = f64>) -> Vec<f64> {
    let z: Vec<f64> = z.collect();
    let log_sum = log_sum_exp(&z);
    z.iter().map(|z| (z - log_sum).exp()).collect()
}

/// s(i, j)
pub(crate) fn score(case: &Case, i: usize, j: usize, clearance: &mut f64) -> f64 {
    let row = |part: usize, row: usize| -> Vec<f64> {
        let dim = case.parts[part].shape()[1];
        (0..dim).map(|k| case.parts[part][[row, k]]).collect()
    };
    match case.kind {
        Kind::Dense(similarity) => compare(similarity, &row(0, i), &row(1, j)),
        Kind::Sparse => {
            let [q_indptr, q_indices, d_indptr, d_indices] = &case.index[..] else {
                panic!("two sides")
            };
            let mut sum = 0.0;
            for a in q_indptr[i]..q_indptr[i + 1] {
                for b in d_indptr[j]..d_indptr[j + 1] {
                    if q_indices[a] == d_indices[b] {
                        sum += case.parts[0][[a]] * case.parts[1][[b]];
                    }
                }
            }
            sum
        }
        Kind::MaxSim {
            mean,
            similarity,
            masked,
        } => {
            let tokens = |side: usize, text: usize| -> Vec<Vec<f64>> {
                let range = case.index[side][text]..case.index[side][text + 1];
                let kept = range.filter(|&token| !masked || case.masks[side][token]);
                kept.map(|token| row(side, token)).collect()
            };
            let (query, document) = (tokens(0, i), tokens(1, j));
            let mut sum = 0.0;
            for x in &query {
                let mut all: Vec<f64> =
                    document.iter().map(|y| compare(similarity, x, y)).collect();
                all.sort_by(f64::total_cmp);
                if let [.., second, first] = all[..] {
                    *clearance = clearance.min(first - second);
                }
                sum += all.last().copied().unwrap_or(0.0);
            }
            if mean && !query.is_empty() {
                sum / query.len() as f64
            } else {
                sum
            }
        }
        _ => unreachable!("a loss has no scores of its own"),
    }
}

fn compare(similarity: Similarity, x: &[f64], y: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    match similarity {
        Similarity::Dot => dot(x, y),
        Similarity::Cosine => dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(),
        Similarity::SquaredEuclidean => -x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>(),
        other => panic!("no formula for {other:?}"),
    }
}
