//! Every loss with every combination of its options.

use contrastive::{Reduction, Similarity};

use super::naive;
use super::{
    ContrastiveOptions, CosineOptions, InfoNceOptions, Metric, Options, PairOptions, Positives,
    Problem, TripletOptions,
};

pub(crate) fn cosine() -> Vec<Options> {
    let mut list = Vec::new();
    for margin in [-0.3, 0.0, 0.4] {
        for positive_margin in [1.0, 0.6] {
            for epsilon in [0.0, 1e-12, 0.05] {
                list.push(Options::Cosine(CosineOptions {
                    margin,
                    positive_margin,
                    epsilon,
                }));
            }
        }
    }
    list
}

/// The distances of the crate and one of a user.
pub(crate) fn metrics() -> Vec<Metric> {
    let lp = |p, epsilon| Metric::Lp { p, epsilon };
    let mut list = vec![lp(2.0, 1e-2), lp(1.0, 1e-2)];
    list.extend([1.0, 1.5, 2.0, 3.0, f64::INFINITY].map(|p| lp(p, 0.0)));
    list.extend([Metric::SquaredEuclidean, Metric::Cosine, Metric::User]);
    list
}

pub(crate) fn triplet() -> Vec<Options> {
    let mut list = Vec::new();
    for metric in metrics() {
        for (soft, margin) in [(false, 0.5), (true, -0.2)] {
            for swap in [false, true] {
                for negatives in [1, 3] {
                    list.push(Options::Triplet(TripletOptions {
                        margin,
                        soft,
                        swap,
                        metric,
                        negatives,
                    }));
                }
            }
        }
    }
    list
}

pub(crate) fn info_nce() -> Vec<Options> {
    let mut list = Vec::new();
    let positives = [Positives::Aligned, Positives::Offset(2), Positives::Index];
    for (index, positives) in positives.into_iter().enumerate() {
        for bits in 0..32 {
            let [dot, in_batch, symmetric, own, pool] =
                [0, 1, 2, 3, 4].map(|bit| bits >> bit & 1 == 1);
            let ill_defined = symmetric && !in_batch || !in_batch && !own && !pool;
            if ill_defined {
                continue;
            }
            list.push(Options::InfoNce(InfoNceOptions {
                temperature: [0.2, 0.7, 2.0][(index + bits) % 3] * if dot { 5.0 } else { 1.0 },
                similarity: if dot {
                    Similarity::Dot
                } else {
                    Similarity::Cosine
                },
                in_batch,
                symmetric,
                own: if own { 2 } else { 0 },
                pool: if pool { 5 } else { 0 },
                positives,
            }));
        }
    }
    list
}

fn contrastive(hard_pairs: bool) -> Vec<Options> {
    let mut list = Vec::new();
    for metric in metrics() {
        let (margin, positive_margin) = match metric {
            Metric::Cosine => (0.9, 0.3),
            _ => (3.0, 1.0),
        };
        for linear in [false, true] {
            for positive_margin in [0.0, positive_margin] {
                list.push(Options::Pair(PairOptions::Contrastive(
                    ContrastiveOptions {
                        margin,
                        positive_margin,
                        linear,
                        hard_pairs,
                        metric,
                    },
                )));
            }
        }
    }
    list
}

/// The losses of pairs whose rows are independent.
pub(crate) fn pairs() -> Vec<Options> {
    let mut list = contrastive(false);
    // Twice, so that the lists' turns of weights and reductions give it some of each.
    list.extend([Options::Pair(PairOptions::CosineSimilarity); 2]);
    list
}

/// The losses of pairs in which a pair's loss depends on the others.
pub(crate) fn joint_pairs() -> Vec<Options> {
    [contrastive(true), ranked()].concat()
}

/// The losses of pairs that rank them.
pub(crate) fn ranked() -> Vec<Options> {
    // Cosines differ by 2 at most, the other distances of these rows by up to a hundred.
    let (narrow, wide) = ([0.3, 5.0], [0.02, 0.3]);
    let mut list: Vec<_> = narrow
        .map(|scale| Options::Pair(PairOptions::Angle { scale }))
        .into();
    for metric in metrics() {
        let scales = if metric == Metric::Cosine {
            narrow
        } else {
            wide
        };
        list.extend(scales.map(|scale| Options::Pair(PairOptions::CoSent { scale, metric })));
    }
    list
}

/// Every loss whose rows are independent.
pub(crate) fn all() -> Vec<Options> {
    [cosine(), triplet(), info_nce(), pairs()].concat()
}

pub(crate) fn every() -> Vec<Options> {
    [all(), joint_pairs()].concat()
}

/// One problem for each of the options, all of the same size, with reductions and weights in turn, off every kink.
pub(crate) fn problems(options: Vec<Options>, n: usize, dim: usize) -> Vec<Problem<f64>> {
    let reductions = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::MeanActive,
        Reduction::Over(7.5),
    ];
    let numbered = options.into_iter().enumerate();
    numbered
        .map(|(index, options)| {
            // Options repeat with periods of 2 and 4; 5 and 3 have no factor in common with them.
            let reduction = reductions[index * 5 / 4 % 4];
            (0..)
                .map(|attempt| Problem::new(options, n, dim, 1000 * index as u64 + attempt))
                .find(|problem| naive::clearance(problem) > naive::CLEAR)
                .map(|problem| problem.reduced(reduction))
                .map(|problem| {
                    if index % 3 == 0 {
                        problem
                    } else {
                        problem.weighted(index as u64)
                    }
                })
                .expect("the numbers do not end")
        })
        .collect()
}
