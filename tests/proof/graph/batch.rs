//! A batch for a loss over some candidate graph.

use contrastive::{Error, InfoNceLoss, PartitionMode, SeveralPositives};
use ndarray::{Array1, Array2, ArrayD};
use std::ops::Range;

use super::candidates::Side;
use super::case::{Case, OwnKind, TargetKind};
use super::extras::Extras;
use crate::common::random::Random;

pub(super) const TEMPERATURE: f64 = 0.5;

/// The floating-point inputs: queries, documents, own negatives, pool, log τ, bias.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) queries: Array2<f64>,
    pub(super) documents: Array2<f64>,
    pub(super) negatives: Array2<f64>,
    pub(super) pool: Array2<f64>,
    pub(super) log_temperature: f64,
    pub(super) bias: f64,
}

impl Parts {
    /// All numbers, in the order of a gradient.
    pub(super) fn numbers(&mut self) -> Vec<&mut f64> {
        let Self {
            queries,
            documents,
            negatives,
            pool,
            log_temperature,
            bias,
        } = self;
        let arrays = [queries, documents, negatives, pool].into_iter();
        arrays
            .flat_map(|array| array.iter_mut())
            .chain([log_temperature, bias])
            .collect()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) case: Case,
    pub(super) parts: Parts,
    pub(super) weights: Array1<f64>,
    /// Positives of each query, sorted.
    pub(super) positives: Vec<Vec<usize>>,
    /// Where the own negatives of each query begin.
    pub(super) offsets: Array1<usize>,
    /// Of queries and documents: equal ones are positives of each other, where ids name them.
    pub(super) target_ids: [Array1<u64>; 2],
    pub(super) extras: Extras,
}

impl Batch {
    pub(super) fn new(case: Case, n: usize, dim: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let labelled = case.targets == TargetKind::Labels;
        let m = match case.targets {
            TargetKind::Labels => n,
            TargetKind::Index => n.div_ceil(2) + 1,
            _ => n + 3,
        };
        let target_ids = target_ids(n, m, labelled);
        let offsets = offsets(case.own, n);
        let total = offsets[n];
        let extras = Extras::new([n, m, total, case.pool], &mut random);
        let mut rows = |count: usize, part: usize| {
            let rows: ArrayD<f64> = random.rows(&[count, dim], part);
            rows.into_dimensionality().expect("two axes")
        };
        let parts = Parts {
            queries: rows(n, 0),
            documents: rows(if labelled { 0 } else { m }, 1),
            negatives: rows(total, 2),
            pool: rows(case.pool, 3),
            log_temperature: TEMPERATURE.ln(),
            bias: case.bias.unwrap_or(0.0),
        };
        let weight = |i: usize| [1.0, 0.5, 0.0, 2.0][i % 4];
        Self {
            case,
            parts,
            weights: Array1::from_shape_fn(n, |i| if case.weighted { weight(i) } else { 1.0 }),
            positives: positives(case.targets, m, &target_ids),
            offsets,
            target_ids,
            extras,
        }
    }

    /// The own negatives of a query.
    pub(super) fn own(&self, i: usize) -> Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    /// What is added to the score of a document, of an own negative for its query, of a row of the pool.
    pub(super) fn log_weight(&self, side: Side, row: usize) -> f64 {
        let given = self.case.log_weights.is_some_and(|given| given.at(side));
        if given {
            self.extras.log_weights[side as usize][row]
        } else {
            0.0
        }
    }

    /// What is added to the score of an own negative of another query.
    pub(super) fn log_weight_of_others(&self, row: usize) -> f64 {
        let given = self.case.log_weights.is_some_and(|given| given.others);
        if given {
            self.extras.log_weights_of_others[row]
        } else {
            0.0
        }
    }

    /// The numbers as f32 has them.
    pub(super) fn rounded_to_single(mut self) -> Self {
        let Parts {
            queries,
            documents,
            negatives,
            pool,
            ..
        } = &mut self.parts;
        let rows = [queries, documents, negatives, pool].into_iter();
        let rows = rows.flat_map(|rows| rows.iter_mut());
        rows.chain(self.extras.numbers())
            .for_each(|x| *x = f64::from(*x as f32));
        self
    }

    pub(super) fn loss(&self) -> Result<InfoNceLoss, Error> {
        let case = &self.case;
        let loss = match case.bias {
            Some(bias) => InfoNceLoss::sigmoid(TEMPERATURE, bias)?,
            None => InfoNceLoss::new(TEMPERATURE)?,
        };
        let mut loss = loss
            .with_similarity(case.similarity)
            .with_in_batch_negatives(case.in_batch)
            .with_pooled_negatives(case.pooled)
            .with_directions(case.directions, case.partition)
            .with_several_positives(case.several)
            .with_decoupled(case.decoupled)
            .with_label_smoothing(case.smoothing)?;
        if let Some((strength, sources)) = case.hardness {
            loss = loss.with_hardness(strength, sources)?;
        }
        if let Some((rule, sources)) = case.false_negatives {
            loss = loss.with_false_negatives(rule, sources)?;
        }
        Ok(loss)
    }

    /// Whether what the options say of each other, or of the batch, has no meaning.
    pub(super) fn is_ill_defined(&self) -> bool {
        let Case {
            targets,
            own,
            pool,
            in_batch,
            directions,
            decoupled,
            smoothing,
            ..
        } = self.case;
        let sigmoid = self.case.bias.is_some();
        let together = self.case.several == SeveralPositives::Together;
        let several = self.positives.iter().any(|list| list.len() > 1);
        let one_each = self.positives.iter().all(|list| list.len() == 1);
        let without_positive = directions.query_to_query || directions.document_to_document;
        let apart = self.case.partition == PartitionMode::PerDirection;
        let changes_softmax = decoupled || smoothing > 0.0;
        let more = without_positive || directions.document_to_query;
        let nobody = !in_batch && own == OwnKind::None && pool == 0;
        let more_is_impossible = !in_batch || targets == TargetKind::Labels || sigmoid || !one_each;
        nobody
            || more && more_is_impossible
            || without_positive && apart
            || directions.document_to_query && changes_softmax
            || sigmoid && changes_softmax
            || several && smoothing > 0.0
            || several && decoupled && together
    }
}

/// Ids of which some are alike, in groups that grow with the batch.
fn target_ids(n: usize, m: usize, labelled: bool) -> [Array1<u64>; 2] {
    let group = |i: usize| 100 * (i / 21) as u64;
    let queries = Array1::from_shape_fn(n, |i| [1, 2, 2, 7, 9, 2, 1][i % 7] + group(i));
    let documents = Array1::from_shape_fn(m, |j| [2, 9, 4, 1, 2][j % 5] + group(j));
    let documents = if labelled { queries.clone() } else { documents };
    [queries, documents]
}

fn positives(kind: TargetKind, m: usize, ids: &[Array1<u64>; 2]) -> Vec<Vec<usize>> {
    let of = |i: usize| match kind {
        TargetKind::Aligned => vec![i],
        TargetKind::Index => vec![i * 7 % m],
        TargetKind::Lists => {
            let mut list: Vec<usize> = (0..i % 4).map(|k| (i * 5 + k * 3) % m).collect();
            list.sort_unstable();
            list.dedup();
            list
        }
        TargetKind::Few => (0..i % 3).take(1).map(|_| i * 5 % m).collect(),
        TargetKind::Ids | TargetKind::Labels => {
            let alike = (0..m).filter(|&j| ids[1][j] == ids[0][i]);
            alike
                .filter(|&j| !(kind == TargetKind::Labels && i == j))
                .collect()
        }
    };
    (0..ids[0].len()).map(of).collect()
}

fn offsets(own: OwnKind, n: usize) -> Array1<usize> {
    let mut offsets = vec![0];
    for i in 0..n {
        let count = match own {
            OwnKind::None => 0,
            OwnKind::Fixed(count) => count,
            OwnKind::Ragged => i * 3 % 4,
        };
        offsets.push(offsets[i] + count);
    }
    offsets.into()
}
