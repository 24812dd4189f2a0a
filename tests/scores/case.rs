//! A loss over scores or a score function, with its options and a batch.

use contrastive::{Divergence, M3Weights, Reduction, SeveralPositives, Similarity};
use ndarray::{Array1, Array2, ArrayD, array};

use crate::naive;
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Parts: scores `[n, m]`, log τ.
    Softmax {
        smoothing: f64,
        form: SeveralPositives,
        lists: bool,
        masked: bool,
    },
    /// Part: student `[n, m]`. Constant: teacher.
    Distillation {
        temperatures: [f64; 2],
        divergence: Divergence,
        squared: bool,
        masked: bool,
    },
    /// Parts: positive `[n]`, negatives `[n, m]`. Constants: the teacher's margins `[n, m]`, or its scores.
    MarginMse { margins: bool },
    /// Parts: dense, sparse and multi-vector scores `[n, m]`, log τ. Without weights the loss keeps its own.
    M3 {
        weights: Option<HeadWeights>,
        distil: bool,
        lists: bool,
        masked: bool,
    },
    /// Parts: queries, documents. Constant, here and below: ∂L/∂scores.
    Dense(Similarity),
    /// Parts: the values of both sides.
    Sparse,
    /// Parts: the tokens of both sides.
    MaxSim {
        mean: bool,
        similarity: Similarity,
        masked: bool,
    },
}

/// Of the heads of M3, in the sum of the scores and in the sum of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HeadWeights {
    pub(crate) scores: M3Weights,
    pub(crate) losses: M3Weights,
}

/// Six numbers that differ from each other, from 1 and from the defaults, so that none can stand in for another.
pub(crate) const UNEQUAL: HeadWeights = HeadWeights {
    scores: M3Weights {
        dense: 0.7,
        sparse: 1.6,
        multi_vector: 0.45,
    },
    losses: M3Weights {
        dense: 1.3,
        sparse: 0.55,
        multi_vector: 2.1,
    },
};

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) reduction: Reduction,
    /// The differentiable inputs.
    pub(crate) parts: Vec<ArrayD<f64>>,
    pub(crate) constants: Vec<ArrayD<f64>>,
    pub(crate) weights: Option<Array1<f64>>,
    /// Targets; or offsets and indices of lists; or of CSR rows, both sides; or offsets of texts, both sides.
    pub(crate) index: Vec<Array1<usize>>,
    /// Candidates that are left out.
    pub(crate) left_out: Array2<bool>,
    /// Attention masks of both sides.
    pub(crate) masks: Vec<Array1<bool>>,
}

const FLAGS: [bool; 2] = [false, true];

/// Every kind with every combination of its options.
pub(crate) fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for first in FLAGS {
        for masked in FLAGS {
            kinds.extend(softmax(first, masked));
            kinds.extend(m3(first, masked));
            kinds.extend(distillation(first, masked));
            kinds.extend(max_sim(first, masked));
        }
    }
    kinds.extend(FLAGS.map(|margins| Kind::MarginMse { margins }));
    kinds.extend(SIMILARITIES.map(Kind::Dense));
    kinds.push(Kind::Sparse);
    kinds
}

const SIMILARITIES: [Similarity; 3] = [
    Similarity::Dot,
    Similarity::Cosine,
    Similarity::SquaredEuclidean,
];

fn softmax(lists: bool, masked: bool) -> impl Iterator<Item = Kind> {
    let forms = [SeveralPositives::Together, SeveralPositives::Apart];
    [0.0, 0.3].into_iter().flat_map(move |smoothing| {
        forms.map(|form| Kind::Softmax {
            smoothing,
            form,
            lists,
            masked,
        })
    })
}

fn m3(lists: bool, masked: bool) -> impl Iterator<Item = Kind> {
    [None, Some(UNEQUAL)].into_iter().flat_map(move |weights| {
        FLAGS.map(|distil| Kind::M3 {
            weights,
            distil,
            lists,
            masked,
        })
    })
}

fn distillation(squared: bool, masked: bool) -> [Kind; 3] {
    let forms = [
        (Divergence::KullbackLeibler, [0.7, 0.7]),
        (Divergence::KullbackLeibler, [2.0, 0.5]),
        (Divergence::CrossEntropy, [0.6, 1.5]),
    ];
    forms.map(|(divergence, temperatures)| Kind::Distillation {
        temperatures,
        divergence,
        squared,
        masked,
    })
}

fn max_sim(mean: bool, masked: bool) -> [Kind; 3] {
    SIMILARITIES.map(|similarity| Kind::MaxSim {
        mean,
        similarity,
        masked,
    })
}

/// One case for each kind, reductions and weights in turn, clear of ties.
pub(crate) fn cases(n: usize, m: usize, dim: usize) -> Vec<Case> {
    let kinds = kinds().into_iter().enumerate();
    kinds
        .map(|(index, kind)| Case::clear(kind, n, m, dim, index as u64))
        .collect()
}

impl Case {
    /// The first seed from `1000·seed` on whose maxima are clear of ties.
    pub(crate) fn clear(kind: Kind, n: usize, m: usize, dim: usize, seed: u64) -> Self {
        (1000 * seed..)
            .map(|seed| Self::new(kind, n, m, dim, seed))
            .find(|case| naive::clearance(case) > naive::CLEAR)
            .expect("the numbers do not end")
    }

    pub(crate) fn new(kind: Kind, n: usize, m: usize, dim: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut case = Self {
            kind,
            reduction: [
                Reduction::Mean,
                Reduction::Sum,
                Reduction::MeanActive,
                Reduction::Over(3.5),
            ][random.below(4)],
            parts: Vec::new(),
            constants: Vec::new(),
            weights: None,
            index: Vec::new(),
            left_out: Array2::from_shape_fn((n, m), |_| random.below(3) == 0),
            masks: Vec::new(),
        };
        if random.below(2) == 0 {
            case.weights = Some(Array1::from_shape_fn(n, |_| match random.below(4) {
                0 => 0.0,
                _ => 0.25 + random.unit(),
            }));
        }
        let (parts, constants) = case.shapes(n, m, dim, &mut random);
        case.parts = numbers(&mut random, &parts, 0);
        case.constants = numbers(&mut random, &constants, 5);
        if matches!(kind, Kind::Softmax { .. } | Kind::M3 { .. }) {
            let temperature: f64 = [0.5, 1.0, 2.0][random.below(3)];
            case.parts.push(ArrayD::from_elem(vec![], temperature.ln()));
        }
        case
    }

    /// Shapes of parts and constants; draws the indices.
    fn shapes(
        &mut self,
        n: usize,
        m: usize,
        dim: usize,
        random: &mut Random,
    ) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        match self.kind {
            Kind::Softmax { lists, .. } | Kind::M3 { lists, .. } => {
                self.index = if lists {
                    csr(n, m, random)
                } else {
                    vec![Array1::from_shape_fn(n, |_| random.below(m))]
                };
                let heads = if matches!(self.kind, Kind::M3 { .. }) {
                    3
                } else {
                    1
                };
                (vec![vec![n, m]; heads], vec![])
            }
            Kind::Distillation { .. } => (vec![vec![n, m]], vec![vec![n, m]]),
            Kind::MarginMse { margins } => {
                let scores = vec![vec![n], vec![n, m]];
                (
                    scores.clone(),
                    if margins { vec![vec![n, m]] } else { scores },
                )
            }
            Kind::Dense(_) => (vec![vec![n, dim], vec![m, dim]], vec![vec![n, m]]),
            Kind::Sparse => {
                self.index = [csr(n, dim, random), csr(m, dim, random)].concat();
                let values = [1, 3].map(|side: usize| vec![self.index[side].len()]);
                (values.to_vec(), vec![vec![n, m]])
            }
            Kind::MaxSim { .. } => {
                self.index = vec![texts(n, random), texts(m, random)];
                let tokens = [0, 1].map(|side: usize| self.index[side][self.index[side].len() - 1]);
                self.masks = tokens
                    .map(|len| Array1::from_shape_fn(len, |_| random.below(4) > 0))
                    .to_vec();
                (tokens.map(|len| vec![len, dim]).to_vec(), vec![vec![n, m]])
            }
        }
    }

    pub(crate) fn temperature(&self) -> f64 {
        self.parts.last().expect("log τ is the last part")[[]].exp()
    }
}

fn numbers(random: &mut Random, shapes: &[Vec<usize>], first: usize) -> Vec<ArrayD<f64>> {
    let numbered = shapes.iter().enumerate();
    numbered
        .map(|(part, shape)| random.rows(shape, first + part))
        .collect()
}

/// Offsets and rising indices below `columns`; some rows are empty.
fn csr(rows: usize, columns: usize, random: &mut Random) -> Vec<Array1<usize>> {
    let (mut offsets, mut indices) = (vec![0], vec![]);
    for _ in 0..rows {
        let keep = random.below(3);
        indices.extend((0..columns).filter(|_| random.below(4) < keep));
        offsets.push(indices.len());
    }
    vec![offsets.into(), indices.into()]
}

/// Offsets of texts of none to four tokens.
fn texts(count: usize, random: &mut Random) -> Array1<usize> {
    let mut offsets = array![0];
    for text in 0..count {
        let end = offsets[text] + random.below(5);
        offsets
            .append(ndarray::Axis(0), array![end].view())
            .expect("one axis");
    }
    offsets
}
