//! The losses as a burn user writes them, on burn's CPU backend.

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use ndarray::ArrayD;

use super::{Opened, Session};
use crate::case::{COSINE_MARGIN, Case, TEMPERATURE, TRIPLET_MARGIN, Work};
use crate::inputs::{Arrays, matches};

struct Burn {
    case: Case,
    /// Two-dimensional inputs, in order.
    matrices: Vec<Tensor<2>>,
    /// Own negatives, [n, K, D].
    negatives: Option<Tensor<3>>,
    /// 1 for pairs that match, else 0; [n, 1].
    labels: Tensor<2>,
    /// The column of each query's positive, [n, 1].
    targets: Tensor<2, Int>,
    gradients: Option<Gradients>,
}

pub fn open(case: &Case, arrays: Arrays<f32>) -> Opened {
    let device = if case.backward {
        Device::flex().autodiff()
    } else {
        Device::flex()
    };
    let labels: Vec<f32> = (0..case.rows)
        .map(|row| f32::from(u8::from(matches(row))))
        .collect();
    let own_only = case.work == Work::InfoNceOwnNegatives;
    let targets: Vec<i64> = (0..case.rows as i64)
        .map(|row| if own_only { 0 } else { row })
        .collect();
    let mut session = Burn {
        case: *case,
        matrices: Vec::new(),
        negatives: None,
        labels: Tensor::from_data(TensorData::new(labels, [case.rows, 1]), &device),
        targets: Tensor::from_data(TensorData::new(targets, [case.rows, 1]), &device),
        gradients: None,
    };
    for array in arrays {
        if array.ndim() == 2 {
            session.matrices.push(leaf(array, case.backward, &device));
        } else {
            session.negatives = Some(leaf(array, case.backward, &device));
        }
    }
    Ok(Box::new(session))
}

fn leaf<const D: usize>(array: ArrayD<f32>, tracked: bool, device: &Device) -> Tensor<D> {
    let shape = array.shape().to_vec();
    let tensor = Tensor::from_data(
        TensorData::new(array.into_raw_vec_and_offset().0, shape),
        device,
    );
    if tracked {
        tensor.require_grad()
    } else {
        tensor
    }
}

impl Burn {
    fn loss(&self) -> Tensor<1> {
        let input = |i: usize| self.matrices[i].clone();
        match self.case.work {
            Work::CosineEmbedding => cosine_embedding(input(0), input(1), self.labels.clone()),
            Work::TripletMargin => triplet_margin(input(0), input(1), input(2)),
            // The queries divided by the temperature: the scores would be n·n numbers.
            _ => self.info_nce(normalised(input(0)) / TEMPERATURE, normalised(input(1))),
        }
    }

    fn info_nce(&self, queries: Tensor<2>, documents: Tensor<2>) -> Tensor<1> {
        let cross_entropy = |scores: Tensor<2>| {
            -log_softmax(scores, 1)
                .gather(1, self.targets.clone())
                .mean()
        };
        let own = |queries: Tensor<2>| {
            let negatives = normalised(self.negatives.clone().expect("this loss has negatives"));
            let products = queries.unsqueeze_dim::<3>(1) * negatives;
            products.sum_dim(2).squeeze_dim::<2>(2)
        };
        if self.case.work == Work::InfoNceOwnNegatives {
            let positive = (queries.clone() * documents).sum_dim(1);
            return cross_entropy(Tensor::cat(vec![positive, own(queries)], 1));
        }
        let scores = queries.clone().matmul(documents.transpose());
        match self.case.work {
            Work::InfoNceOwnAndInBatch => cross_entropy(Tensor::cat(vec![scores, own(queries)], 1)),
            Work::InfoNceSymmetric => {
                let columns = cross_entropy(scores.clone().transpose());
                (cross_entropy(scores) + columns) / 2.0
            }
            _ => cross_entropy(scores),
        }
    }
}

fn cosine_embedding(x: Tensor<2>, y: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    let norms = norm(x.clone()) * norm(y.clone());
    let cosine = (x * y).sum_dim(1) / norms;
    let matching = (-cosine.clone() + 1.0) * labels.clone();
    let other = relu(cosine - COSINE_MARGIN) * (-labels + 1.0);
    (matching + other).mean()
}

fn triplet_margin(anchor: Tensor<2>, positive: Tensor<2>, negative: Tensor<2>) -> Tensor<1> {
    let gap = norm(anchor.clone() - positive) - norm(anchor - negative);
    relu(gap + TRIPLET_MARGIN).mean()
}

/// Norms over the last axis, which is kept.
fn norm<const D: usize>(rows: Tensor<D>) -> Tensor<D> {
    rows.square().sum_dim(D - 1).sqrt()
}

fn normalised<const D: usize>(rows: Tensor<D>) -> Tensor<D> {
    rows.clone() / norm(rows)
}

fn numbers<const D: usize>(input: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
    let data = input
        .grad(gradients)
        .expect("every input has one")
        .into_data();
    let numbers = data.try_to_vec::<f32>().expect("f32");
    numbers.into_iter().map(f64::from).collect()
}

impl Session for Burn {
    fn step(&mut self) -> f64 {
        let loss = self.loss();
        if self.case.backward {
            self.gradients = Some(loss.backward());
        }
        f64::from(loss.into_scalar::<f32>())
    }

    fn release(&mut self) {
        self.gradients = None;
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let Some(gradients) = &self.gradients else {
            return Vec::new();
        };
        let matrices = self.matrices.iter().map(|input| numbers(input, gradients));
        let negatives = self.negatives.iter().map(|input| numbers(input, gradients));
        matrices.chain(negatives).collect()
    }
}
