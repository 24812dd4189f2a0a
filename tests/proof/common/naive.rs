//! Every loss in plain `f64` loops, written from its formula. Shares no code with the crate.

use contrastive::{PairLabel, Reduction, Similarity};
use ndarray::ArrayD;

use super::options::UserDistance;
use super::pairs;
use super::{CosineOptions, InfoNceOptions, Metric, Options, Problem, TripletOptions};

/// A problem that is this far from every kink (a hinge, a tie, a zero of |x|) does not reach one within the steps of finite differences.
pub(crate) const CLEAR: f64 = 1e-3;

/// L = Σ wᵢ ℓᵢ / Z
pub(crate) fn value(problem: &Problem<f64>) -> f64 {
    if let Options::Pair(options) = problem.options
        && problem.options.ranks()
    {
        return pairs::ranked(problem, options);
    }
    let losses = rows(problem);
    let weight = |i: usize| problem.weights.as_ref().map_or(1.0, |weights| weights[i]);
    let (mut sum, mut all, mut active) = (0.0, 0.0, 0.0);
    for (i, &loss) in losses.iter().enumerate() {
        all += weight(i);
        if loss != 0.0 {
            active += weight(i);
        }
        sum += weight(i) * loss;
    }
    let z = match problem.reduction {
        Reduction::Mean => all,
        Reduction::Sum => 1.0,
        Reduction::MeanActive => active,
        Reduction::Over(z) => z,
        _ => panic!("a reduction without a reference"),
    };
    if z == 0.0 { 0.0 } else { sum / z }
}

/// ℓᵢ
pub(crate) fn rows(problem: &Problem<f64>) -> Vec<f64> {
    let mut ignored = f64::INFINITY;
    (0..problem.rows())
        .map(|i| row(problem, i, &mut ignored))
        .collect()
}

/// How far the problem is from its nearest kink.
pub(crate) fn clearance(problem: &Problem<f64>) -> f64 {
    let mut clearance = f64::INFINITY;
    for i in 0..problem.rows() {
        row(problem, i, &mut clearance);
    }
    clearance
}

fn row(problem: &Problem<f64>, i: usize, clearance: &mut f64) -> f64 {
    match problem.options {
        Options::Cosine(options) => cosine_row(problem, options, i, clearance),
        Options::Triplet(options) => triplet_row(problem, options, i, clearance),
        Options::InfoNce(options) => info_nce_row(problem, options, i),
        Options::Pair(options) => pairs::row(problem, options, i, clearance),
    }
}

fn cosine_row(
    problem: &Problem<f64>,
    options: CosineOptions,
    i: usize,
    clearance: &mut f64,
) -> f64 {
    let (x, y) = (
        row_of(&problem.parts[0], &[i]),
        row_of(&problem.parts[1], &[i]),
    );
    let c = cosine(&x, &y, options.epsilon);
    let excess = match problem.labels[i] {
        // 1 − c is never below 0, and where it is 0 the gradient is, too.
        PairLabel::Match if options.positive_margin == 1.0 => {
            near_inactive(problem, clearance, 1.0 - c);
            return (1.0 - c).max(0.0);
        }
        PairLabel::Match => options.positive_margin - c,
        PairLabel::NoMatch => c - options.margin,
    };
    near(clearance, excess);
    excess.max(0.0)
}

fn triplet_row(
    problem: &Problem<f64>,
    options: TripletOptions,
    i: usize,
    clearance: &mut f64,
) -> f64 {
    let [anchors, positives, negatives] = &problem.parts[..] else {
        panic!("a triplet has three parts");
    };
    let (anchor, positive) = (row_of(anchors, &[i]), row_of(positives, &[i]));
    let near_distance = distance(options.metric, &anchor, &positive, clearance);
    let mut sum = 0.0;
    for k in 0..options.negatives {
        let negative = row_of(negatives, &[i, k]);
        let mut far = distance(options.metric, &anchor, &negative, clearance);
        if options.swap {
            let other = distance(options.metric, &positive, &negative, clearance);
            near(clearance, far - other);
            if other < far {
                far = other;
            }
        }
        let excess = options.margin + near_distance - far;
        if options.soft {
            sum += if excess > 0.0 {
                excess + (1.0 + (-excess).exp()).ln()
            } else {
                excess.exp().ln_1p()
            };
        } else {
            near(clearance, excess);
            sum += excess.max(0.0);
        }
    }
    sum / options.negatives as f64
}

pub(crate) fn distance(metric: Metric, x: &[f64], y: &[f64], clearance: &mut f64) -> f64 {
    let pairs = || x.iter().zip(y);
    match metric {
        Metric::Lp { p, epsilon } => {
            let mut sizes: Vec<f64> = pairs().map(|(x, y)| (x - y + epsilon).abs()).collect();
            if p < 2.0 {
                sizes.iter().for_each(|&z| near(clearance, z));
            }
            if p == f64::INFINITY {
                sizes.sort_by(f64::total_cmp);
                let largest = sizes.pop().unwrap_or(0.0);
                near(clearance, largest);
                near(clearance, largest - sizes.pop().unwrap_or(0.0));
                return largest;
            }
            let norm = sizes.iter().map(|z| z.powf(p)).sum::<f64>().powf(1.0 / p);
            near(clearance, norm);
            norm
        }
        Metric::SquaredEuclidean => pairs().map(|(x, y)| (x - y) * (x - y)).sum(),
        Metric::Cosine => 1.0 - cosine(x, y, 0.0),
        Metric::User => {
            let terms = pairs().enumerate();
            terms
                .map(|(i, (x, y))| UserDistance::factor(i) * (x - y / 2.0) * (x - y / 2.0))
                .sum()
        }
    }
}

/// The scores of all candidates but the positive, and the positive's.
pub(crate) fn scores(problem: &Problem<f64>, options: InfoNceOptions, i: usize) -> (Vec<f64>, f64) {
    let similarity = score(problem, options);
    let (queries, documents) = (&problem.parts[0], &problem.parts[1]);
    let query = row_of(queries, &[i]);
    let target = problem.targets[i];
    let mut others = Vec::new();
    if options.in_batch {
        for j in (0..documents.shape()[0]).filter(|&j| j != target) {
            others.push(similarity(&query, &row_of(documents, &[j])));
        }
    }
    if let Some(part) = options.negatives_part() {
        for k in 0..options.own {
            others.push(similarity(&query, &row_of(&problem.parts[part], &[i, k])));
        }
    }
    if let Some(part) = options.pool_part() {
        for j in 0..options.pool {
            others.push(similarity(&query, &row_of(&problem.parts[part], &[j])));
        }
    }
    (others, similarity(&query, &row_of(documents, &[target])))
}

/// s(x, y)/τ
fn score(problem: &Problem<f64>, options: InfoNceOptions) -> impl Fn(&[f64], &[f64]) -> f64 {
    let temperature = problem.parts.last().expect("it has parts")[[]].exp();
    move |x, y| match options.similarity {
        Similarity::Dot => dot(x, y) / temperature,
        _ => cosine(x, y, 0.0) / temperature,
    }
}

fn info_nce_row(problem: &Problem<f64>, options: InfoNceOptions, i: usize) -> f64 {
    let (others, positive) = scores(problem, options, i);
    let loss = cross_entropy(&others, positive);
    if !options.symmetric {
        return loss;
    }
    let similarity = score(problem, options);
    let document = row_of(&problem.parts[1], &[problem.targets[i]]);
    let rivals: Vec<f64> = (0..problem.rows())
        .filter(|&other| other != i)
        .map(|other| similarity(&row_of(&problem.parts[0], &[other]), &document))
        .collect();
    0.5 * (loss + cross_entropy(&rivals, positive))
}

/// log (e^s⁺ + Σ e^s) − s⁺
pub(crate) fn cross_entropy(others: &[f64], positive: f64) -> f64 {
    let largest = others.iter().copied().fold(positive, f64::max);
    if largest == positive {
        return others
            .iter()
            .map(|s| (s - positive).exp())
            .sum::<f64>()
            .ln_1p();
    }
    let sum: f64 = others.iter().map(|s| (s - largest).exp()).sum();
    largest + (sum + (positive - largest).exp()).ln() - positive
}

pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// x·y / √((‖x‖² + ε)(‖y‖² + ε)); 0 for a zero row.
pub(crate) fn cosine(x: &[f64], y: &[f64], epsilon: f64) -> f64 {
    let norms = (dot(x, x) + epsilon).sqrt() * (dot(y, y) + epsilon).sqrt();
    if norms == 0.0 { 0.0 } else { dot(x, y) / norms }
}

pub(crate) fn near(clearance: &mut f64, kink: f64) {
    *clearance = clearance.min(kink.abs());
}

/// A loss of zero is a kink where the mean is over the rows whose loss is not.
pub(crate) fn near_inactive(problem: &Problem<f64>, clearance: &mut f64, excess: f64) {
    if problem.reduction == Reduction::MeanActive {
        near(clearance, excess);
    }
}

/// The numbers at `index` and any last index.
pub(crate) fn row_of(array: &ArrayD<f64>, index: &[usize]) -> Vec<f64> {
    let shape = array.shape();
    let row = index
        .iter()
        .zip(shape)
        .fold(0, |row, (&i, &len)| row * len + i);
    let dim = shape[shape.len() - 1];
    let numbers = array.as_slice().expect("problems are in standard layout");
    numbers[row * dim..(row + 1) * dim].to_vec()
}
