//! A loss over some candidate graph, with a batch for it.

use contrastive::{
    Directions, Error, Ids, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, InfoNceReport, Loss,
    OwnedGradient, PartitionMode, Scalar, SeveralPositives, Similarity, Sources, Targets, Want,
    Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Axis};

use crate::common::random::Random;

/// Where own negatives are from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OwnKind {
    None,
    Fixed(usize),
    /// None for some queries.
    Ragged,
}

/// How positives are named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TargetKind {
    Aligned,
    /// Several queries share a document.
    Index,
    Lists,
    Ids,
    /// A labelled batch.
    Labels,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) similarity: Similarity,
    pub(super) targets: TargetKind,
    pub(super) own: OwnKind,
    pub(super) pool: usize,
    pub(super) in_batch: bool,
    pub(super) pooled: bool,
    pub(super) directions: Directions,
    pub(super) partition: PartitionMode,
    pub(super) several: SeveralPositives,
    pub(super) decoupled: bool,
    pub(super) bias: Option<f64>,
    pub(super) hardness: Option<(f64, Sources)>,
    pub(super) ids: bool,
    pub(super) weighted: bool,
}

pub(super) const PLAIN: Case = Case {
    similarity: Similarity::Cosine,
    targets: TargetKind::Aligned,
    own: OwnKind::None,
    pool: 0,
    in_batch: true,
    pooled: false,
    directions: Directions {
        query_to_query: false,
        document_to_query: false,
        document_to_document: false,
    },
    partition: PartitionMode::Joint,
    several: SeveralPositives::Together,
    decoupled: false,
    bias: None,
    hardness: None,
    ids: false,
    weighted: false,
};

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
    pub(super) query_ids: Array1<u64>,
    pub(super) document_ids: Array1<u64>,
    pub(super) negative_ids: Array1<u64>,
    pub(super) pool_ids: Array1<u64>,
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
        let mut ids = |count: usize| Array1::from_shape_fn(count, |_| random.below(n + 2) as u64);
        let (mut query_ids, mut document_ids) = (ids(n), ids(m));
        let positives: Vec<Vec<usize>> = (0..n)
            .map(|i| match case.targets {
                TargetKind::Aligned => vec![i],
                TargetKind::Index => vec![i * 7 % m],
                TargetKind::Lists => {
                    let mut list: Vec<usize> = (0..i % 4).map(|k| (i * 5 + k * 3) % m).collect();
                    list.sort_unstable();
                    list.dedup();
                    list
                }
                TargetKind::Ids | TargetKind::Labels => Vec::new(),
            })
            .collect();
        if matches!(case.targets, TargetKind::Ids | TargetKind::Labels) {
            query_ids =
                Array1::from_shape_fn(n, |i| [1, 2, 2, 7, 9, 2, 1][i % 7] + 100 * (i / 21) as u64);
            document_ids = if labelled {
                query_ids.clone()
            } else {
                Array1::from_shape_fn(m, |j| [2, 9, 4, 1, 2][j % 5] + 100 * (j / 21) as u64)
            };
        }
        let by_ids = |i: usize| -> Vec<usize> {
            let alike = (0..m).filter(|&j| document_ids[j] == query_ids[i]);
            alike.filter(|&j| !(labelled && i == j)).collect()
        };
        let positives = match case.targets {
            TargetKind::Ids | TargetKind::Labels => (0..n).map(by_ids).collect(),
            _ => positives,
        };
        let counts = (0..n).map(|i| match case.own {
            OwnKind::None => 0,
            OwnKind::Fixed(count) => count,
            OwnKind::Ragged => i * 3 % 4,
        });
        let mut offsets = vec![0];
        counts.for_each(|count| offsets.push(offsets[offsets.len() - 1] + count));
        let total = offsets[n];
        let mut ids = |count: usize| Array1::from_shape_fn(count, |_| random.below(n + 2) as u64);
        let (negative_ids, pool_ids) = (ids(total), ids(case.pool));
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
        let weights = Array1::from_shape_fn(n, |i| {
            if case.weighted {
                [1.0, 0.5, 0.0, 2.0][i % 4]
            } else {
                1.0
            }
        });
        Self {
            case,
            parts,
            weights,
            positives,
            offsets: offsets.into(),
            query_ids,
            document_ids,
            negative_ids,
            pool_ids,
        }
    }

    pub(super) fn loss(&self) -> Result<InfoNceLoss, Error> {
        let case = &self.case;
        let loss = match case.bias {
            Some(bias) => InfoNceLoss::sigmoid(TEMPERATURE, bias)?,
            None => InfoNceLoss::new(TEMPERATURE)?,
        };
        let loss = loss
            .with_similarity(case.similarity)
            .with_in_batch_negatives(case.in_batch)
            .with_pooled_negatives(case.pooled)
            .with_directions(case.directions, case.partition)
            .with_several_positives(case.several)
            .with_decoupled(case.decoupled);
        match case.hardness {
            Some((strength, sources)) => loss.with_hardness(strength, sources),
            None => Ok(loss),
        }
    }

    /// What the crate says of the batch, in the precision of `A`.
    pub(super) fn solve<A: Scalar>(
        &self,
        workspace: &mut Workspace<A>,
    ) -> Result<Answer<A>, Error> {
        let narrow = |x: &f64| A::from(*x).expect("a number");
        let (case, n) = (&self.case, self.parts.queries.nrows());
        let queries = self.parts.queries.map(narrow);
        let documents = self.parts.documents.map(narrow);
        let (negatives, pool) = (
            self.parts.negatives.map(narrow),
            self.parts.pool.map(narrow),
        );
        let weights = self.weights.map(narrow);
        let (mut list_offsets, mut lists) = (vec![0], Vec::new());
        for positives in &self.positives {
            lists.extend_from_slice(positives);
            list_offsets.push(lists.len());
        }
        let (list_offsets, lists) = (Array1::from(list_offsets), Array1::from(lists));
        let mut input = if case.targets == TargetKind::Labels {
            InfoNceInput::labelled(queries.view(), self.query_ids.view())
        } else {
            let targets = match case.targets {
                TargetKind::Index => Targets::Index(lists.view()),
                TargetKind::Lists => Targets::Lists {
                    offsets: list_offsets.view(),
                    documents: lists.view(),
                },
                TargetKind::Ids => Targets::Ids {
                    queries: self.query_ids.view(),
                    documents: self.document_ids.view(),
                },
                TargetKind::Aligned | TargetKind::Labels => Targets::Aligned,
            };
            InfoNceInput::new(queries.view(), documents.view()).with_targets(targets)
        };
        let cube: Array3<A>;
        let negative_ids: Array2<u64>;
        match case.own {
            OwnKind::None => {}
            OwnKind::Fixed(count) => {
                let dim = negatives.ncols();
                cube = negatives
                    .into_shape_with_order((n, count, dim))
                    .expect("as many");
                input = input.with_negatives(cube.view());
            }
            OwnKind::Ragged => {
                cube = negatives.insert_axis(Axis(1));
                let rows = cube.index_axis(Axis(1), 0);
                input = input.with_ragged_negatives(rows, self.offsets.view());
            }
        }
        if case.pool > 0 {
            input = input.with_pool(pool.view());
        }
        if case.ids {
            let shape = match case.own {
                OwnKind::Fixed(count) => (n, count),
                _ => (self.negative_ids.len(), 1),
            };
            let ids = self.negative_ids.clone();
            negative_ids = ids.into_shape_with_order(shape).expect("as many");
            input = input.with_ids(Ids {
                queries: self.query_ids.view(),
                documents: Some(self.document_ids.view()),
                negatives: (case.own != OwnKind::None).then(|| negative_ids.view()),
                pool: (case.pool > 0).then(|| self.pool_ids.view()),
            });
        }
        if case.weighted {
            input = input.with_weights(weights.view());
        }
        let mut gradient = InfoNceOwnedGradient::zeros(input);
        let mut rows = Array1::zeros(n);
        let mut report = InfoNceReport::default();
        let want = Want::gradient(gradient.view_mut())
            .with_rows(rows.view_mut())
            .with_report(&mut report);
        let value = self.loss()?.evaluate(input, want, workspace)?;
        Ok(Answer {
            value,
            rows,
            gradient,
            report,
        })
    }
}

#[derive(Debug)]
pub(super) struct Answer<A> {
    pub(super) value: A,
    pub(super) rows: Array1<A>,
    pub(super) gradient: InfoNceOwnedGradient<A>,
    pub(super) report: InfoNceReport,
}

impl<A: Scalar> Answer<A> {
    /// All numbers of the gradient, in the order of [`Parts::numbers`].
    pub(super) fn flat(&self) -> Vec<f64> {
        let gradient = &self.gradient;
        let numbers = gradient.queries.iter().chain(&gradient.documents);
        let numbers = numbers.chain(gradient.negatives.iter().flatten());
        let numbers = numbers.chain(gradient.pool.iter().flatten());
        let numbers = numbers.chain([&gradient.log_temperature, &gradient.bias]);
        numbers.map(|x| x.to_f64().expect("a number")).collect()
    }

    #[cfg(feature = "rayon")]
    pub(super) fn bits(&self) -> Vec<u64> {
        let value = self.value.to_f64().expect("a number");
        let all = self.flat().into_iter().chain([value]);
        all.map(f64::to_bits).collect()
    }
}
