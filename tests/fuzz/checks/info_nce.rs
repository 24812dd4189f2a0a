//! Calls of InfoNCE.

use contrastive::{
    Directions, Error, FalseNegatives, Guide, Ids, InfoNceGradient, InfoNceInput, InfoNceLoss,
    LogWeights, PartitionMode, Scalar, SeveralPositives, Similarity, Sources, Want, Workspace,
};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{
    Call, Nearness, Shapes, Wanted, cube, cube_mut, largest, line, matrix, matrix_mut, number_mut,
    reach,
};
use super::matryoshka::{self, Prefixes};
use super::targets::{Chosen, ids_of, offsets};

#[derive(Debug)]
pub(crate) struct InfoNce {
    loss: InfoNceLoss,
    reach: f64,
    /// What the score of a candidate is made of, for the size of rounding errors.
    similarity: Similarity,
    bias: Option<f64>,
    hardness: f64,
    /// Whether a similarity decides who is left out.
    jumps: bool,
    targets: Chosen,
    /// The labels of a batch that is its own documents.
    labels: Option<Array1<u64>>,
    /// Where the negatives of each query begin, if they are ragged.
    offsets: Option<Array1<usize>>,
    ids: Option<ChosenIds>,
    shapes: Shapes,
    /// Where the inputs are among them.
    slots: Slots,
    prefixes: Option<Prefixes>,
}

#[derive(Debug)]
struct ChosenIds {
    queries: Array1<u64>,
    documents: Option<Array1<u64>>,
    negatives: Option<Array2<u64>>,
    pool: Option<Array1<u64>>,
}

/// Where the inputs that a call may lack are.
#[derive(Debug, Default)]
struct Slots {
    negatives: Option<usize>,
    pool: Option<usize>,
    weights: Option<usize>,
    log_documents: Option<usize>,
    log_negatives: Option<usize>,
    log_others: Option<usize>,
    log_pool: Option<usize>,
    /// Queries and documents, one after the other.
    guide: Option<usize>,
    guide_negatives: Option<usize>,
    guide_pool: Option<usize>,
}

/// How many there are of everything.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    m: usize,
    k: usize,
    p: usize,
    dim: usize,
}

impl InfoNce {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let n = bytes.length();
        let sizes = Sizes {
            n,
            m: if bytes.flag() { n } else { bytes.length() },
            k: bytes.one_of(&[1, 2, 3, 5, 0]),
            p: bytes.length(),
            dim: bytes.length(),
        };
        let temperature = bytes.parameter(&[1.0, 0.05, 0.5, 10.0, 1e-3]);
        let (reduction, divisor) = bytes.reduction();
        let options = bytes.byte();
        let on = |bit: u32| options >> bit & 1 == 1;
        let (cosine, dot, squared) = (
            Similarity::Cosine,
            Similarity::Dot,
            Similarity::SquaredEuclidean,
        );
        let similarity = bytes.one_of(&[cosine, cosine, dot, dot, squared]);
        let sigmoid = bytes.below(8) == 0;
        let bias = sigmoid.then(|| bytes.parameter(&[0.0, -10.0, 1.0]));
        let loss = match bias {
            Some(bias) => InfoNceLoss::sigmoid(temperature, bias)?,
            None => InfoNceLoss::new(temperature)?,
        };
        let mut loss = loss
            .with_similarity(similarity)
            .with_pooled_negatives(on(6) && on(7))
            .with_several_positives(if on(0) {
                SeveralPositives::Apart
            } else {
                SeveralPositives::Together
            })
            .with_in_batch_negatives(!(on(1) && on(2)))
            .with_symmetric(on(2) && on(3))
            .with_decoupled(on(4) && on(5))
            .with_reduction(reduction)?;
        if bytes.below(8) == 0 {
            let directions = Directions {
                query_to_query: bytes.flag(),
                document_to_query: bytes.flag(),
                document_to_document: bytes.flag(),
            };
            loss = loss.with_directions(
                directions,
                bytes.one_of(&[
                    PartitionMode::Joint,
                    PartitionMode::Joint,
                    PartitionMode::PerDirection,
                ]),
            );
        }
        if bytes.below(4) == 0 {
            loss = loss.with_label_smoothing(bytes.parameter(&[0.1, 1.0, 0.5]))?;
        }
        let mut hardness = 0.0;
        if bytes.below(4) == 0 {
            hardness = bytes.parameter(&[0.0, 1.0, 9.0]);
            loss = loss.with_hardness(hardness, sources(bytes))?;
        }
        let jumps = bytes.below(3) == 0;
        if jumps {
            let margin = bytes.parameter(&[0.0, 0.1, -0.1, 1.0]);
            let rule = bytes.one_of(&[
                FalseNegatives::Absolute(margin),
                FalseNegatives::Relative(margin),
            ]);
            loss = loss.with_false_negatives(rule, sources(bytes))?;
        }
        let (mut inputs, slots) = inputs(bytes, sizes);
        let offsets = slots.negatives.filter(|_| bytes.below(4) == 0).map(|slot| {
            let total = bytes.length();
            inputs[slot] = vec![total, 1, inputs[slot][2]];
            offsets(bytes, n, total)
        });
        let labels = (bytes.below(8) == 0).then(|| ids_of(bytes, n));
        let mut shapes = vec![inputs[0].clone(), inputs[1].clone()];
        if labels.is_some() {
            shapes[1][0] = 0;
        }
        shapes.push(
            slots
                .negatives
                .map_or(vec![0, 0, 0], |slot| inputs[slot].clone()),
        );
        shapes.push(slots.pool.map_or(vec![0, 0], |slot| inputs[slot].clone()));
        let mut gradients = bytes.wanted(&shapes);
        gradients.extend([bytes.flag(), bytes.flag()].map(|asked| asked.then(Vec::new)));
        Ok(Self {
            loss,
            reach: reach([temperature, divisor, hardness, bias.unwrap_or(0.0)]),
            similarity,
            bias,
            hardness,
            jumps: jumps || slots.guide.is_some(),
            targets: Chosen::from(bytes, n, sizes.m),
            labels,
            offsets,
            ids: (bytes.below(3) == 0).then(|| ids(bytes, sizes)),
            shapes: Shapes {
                inputs,
                gradients,
                rows: bytes.about(n),
            },
            slots,
            prefixes: None,
        })
    }

    /// The same over prefixes of the embeddings.
    pub(crate) fn nested(self, bytes: &mut Bytes<'_>) -> Self {
        let prefixes = Some(Prefixes::from(bytes, self.shapes.inputs[0][1]));
        Self { prefixes, ..self }
    }
}

fn sources(bytes: &mut Bytes<'_>) -> Sources {
    let mut sources = Sources::ALL;
    (sources.in_batch, sources.own, sources.pool) = (bytes.flag(), bytes.flag(), bytes.flag());
    sources
}

fn ids(bytes: &mut Bytes<'_>, Sizes { n, m, k, p, .. }: Sizes) -> ChosenIds {
    let id = |bytes: &mut Bytes<'_>| u64::from(bytes.byte() % 8);
    let counts = [n, m, p].map(|count| bytes.about(count));
    let own = [bytes.about(n), k];
    ChosenIds {
        queries: bytes.filled(counts[0], id),
        documents: bytes.flag().then(|| bytes.filled(counts[1], id)),
        negatives: (k > 0 && bytes.flag()).then(|| bytes.filled(own, id)),
        pool: (p > 0 && bytes.flag()).then(|| bytes.filled(counts[2], id)),
    }
}

fn inputs(bytes: &mut Bytes<'_>, Sizes { n, m, k, p, dim }: Sizes) -> (Vec<Vec<usize>>, Slots) {
    let mut all = vec![vec![n, dim], vec![m, bytes.about(dim)]];
    let mut slots = Slots::default();
    let mut add = |bytes: &mut Bytes<'_>, wanted: bool, shape: &[usize]| {
        wanted.then(|| {
            all.push(shape.iter().map(|&length| bytes.about(length)).collect());
            all.len() - 1
        })
    };
    let [own, pool] = [bytes.flag(), bytes.flag()];
    slots.negatives = add(bytes, own, &[n, k, dim]);
    slots.pool = add(bytes, pool, &[p, dim]);
    let options = bytes.byte();
    let on = |bit: u32| options >> bit & 1 == 1;
    slots.weights = add(bytes, on(0), &[n]);
    slots.log_documents = add(bytes, on(1) && on(2), &[m]);
    slots.log_negatives = add(bytes, own && on(2) && on(3), &[n, k]);
    slots.log_others = add(bytes, own && on(1) && on(4), &[n, k]);
    slots.log_pool = add(bytes, pool && on(3) && on(4), &[p]);
    if on(5) && on(6) {
        let dim = bytes.length();
        slots.guide = add(bytes, true, &[n, dim]);
        add(bytes, true, &[m, dim]);
        slots.guide_negatives = add(bytes, own && on(7), &[n, k, dim]);
        slots.guide_pool = add(bytes, pool && on(7), &[p, dim]);
    }
    (all, slots)
}

impl Call for InfoNce {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let slots = &self.slots;
        let mut input = match &self.labels {
            Some(labels) => InfoNceInput::labelled(matrix(&inputs[0]), labels.view()),
            None => InfoNceInput::new(matrix(&inputs[0]), matrix(&inputs[1])),
        };
        if self.labels.is_none() {
            input.targets = self.targets.view();
        }
        input.negatives = slots.negatives.map(|slot| cube(&inputs[slot]));
        input.negative_offsets = self.offsets.as_ref().map(|offsets| offsets.view());
        input.pool = slots.pool.map(|slot| matrix(&inputs[slot]));
        input.weights = slots.weights.map(|slot| line(&inputs[slot]));
        input.log_weights = LogWeights {
            documents: slots.log_documents.map(|slot| line(&inputs[slot])),
            negatives: slots.log_negatives.map(|slot| matrix(&inputs[slot])),
            others: slots.log_others.map(|slot| matrix(&inputs[slot])),
            pool: slots.log_pool.map(|slot| line(&inputs[slot])),
        };
        input.guide = slots.guide.map(|slot| Guide {
            queries: matrix(&inputs[slot]),
            documents: matrix(&inputs[slot + 1]),
            negatives: slots.guide_negatives.map(|slot| cube(&inputs[slot])),
            pool: slots.guide_pool.map(|slot| matrix(&inputs[slot])),
        });
        input.ids = self.ids.as_ref().map(|ids| Ids {
            queries: ids.queries.view(),
            documents: ids.documents.as_ref().map(|ids| ids.view()),
            negatives: ids.negatives.as_ref().map(|ids| ids.view()),
            pool: ids.pool.as_ref().map(|ids| ids.view()),
        });
        let mut parts = wanted.gradients.into_iter();
        let want = Want {
            gradient: (parts.len() > 0).then(|| InfoNceGradient {
                queries: parts.next().flatten().map(matrix_mut),
                documents: parts.next().flatten().map(matrix_mut),
                negatives: parts.next().flatten().map(cube_mut),
                pool: parts.next().flatten().map(matrix_mut),
                log_temperature: parts.next().flatten().map(number_mut),
                bias: parts.next().flatten().map(number_mut),
            }),
            rows: wanted.rows,
            report: None,
        };
        matryoshka::evaluate(self.loss, self.prefixes.as_ref(), input, want, workspace)
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let embeddings = 2
            + usize::from(self.slots.negatives.is_some())
            + usize::from(self.slots.pool.is_some());
        let size = largest(&inputs[..embeddings]);
        let similarity = match self.similarity {
            Similarity::Cosine => 1.0,
            _ => 4.0 * self.shapes.inputs[0][1] as f64 * size * size,
        };
        let log_weights = [
            self.slots.log_documents,
            self.slots.log_negatives,
            self.slots.log_others,
            self.slots.log_pool,
        ];
        let log_weights = largest(log_weights.into_iter().flatten().map(|slot| &inputs[slot]));
        let score = similarity * (1.0 / self.loss.temperature() + self.hardness)
            + log_weights
            + self.bias.unwrap_or(0.0).abs();
        // Some roundings of scores, and the logarithm of up to hundreds of candidates.
        let error = 64.0 * f64::from(f32::EPSILON) * (8.0 + score);
        // A sum over all of them, where each is classified for itself.
        let error = if self.bias.is_some() {
            1e3 * error
        } else {
            error
        };
        // Scores beyond the range of f32 are not told apart.
        let comparable = !self.jumps && score < 1e36;
        let nearness = Nearness {
            reach: self.reach,
            degree: 1.0,
            row: comparable.then_some(error),
        };
        matryoshka::nearness(self.prefixes.as_ref(), nearness)
    }
}
