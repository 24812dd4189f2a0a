//! Calls of the triplet margin loss.

use contrastive::{
    CosineDistance, Distance, Error, Loss, Lp, Reduction, Scalar, SquaredEuclidean,
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use ndarray::{ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{
    Call, Nearness, Wanted, cube, cube_mut, largest, line, matrix, matrix_mut, reach,
};

#[derive(Debug)]
pub(crate) struct Triplet {
    margin: f64,
    soft: bool,
    swap: bool,
    metric: Metric,
    reduction: Reduction,
    reach: f64,
    /// Anchors, positives, negatives, and the weights if there are any.
    inputs: Vec<Vec<usize>>,
    gradients: Vec<Option<Vec<usize>>>,
    rows: usize,
}

#[derive(Clone, Copy, Debug)]
enum Metric {
    Lp(Lp),
    SquaredEuclidean,
    Cosine,
    User,
}

/// 1 − x·y, as a user might write it.
struct InnerProduct;

impl<A: Scalar> Distance<A> for InnerProduct {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        1.0 - x
            .iter()
            .zip(y)
            .map(|(&x, &y)| wide(x) * wide(y))
            .sum::<f64>()
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        for i in 0..x.len() {
            (dx[i], dy[i]) = (-wide(y[i]), -wide(x[i]));
        }
    }
}

fn wide<A: Scalar>(x: A) -> f64 {
    x.to_f64().expect("a float")
}

impl Triplet {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let p = bytes.parameter(&[2.0, 2.0, 1.0, 1.5, 3.0, f64::INFINITY, 1e9]);
        let epsilon = bytes.parameter(&[0.0, 0.0, 0.0, 1e-6, 1e-30]);
        let lp = Lp::new(p)?.with_epsilon(epsilon)?;
        let metric = bytes.one_of(&[
            Metric::Lp(lp),
            Metric::Lp(lp),
            Metric::SquaredEuclidean,
            Metric::Cosine,
            Metric::User,
        ]);
        let (reduction, divisor) = bytes.reduction();
        let margin = bytes.parameter(&[1.0, 0.5, 1e-3, 100.0]);
        let (n, dim, k) = (
            bytes.length(),
            bytes.length(),
            bytes.one_of(&[1, 1, 2, 3, 0]),
        );
        let mut inputs = vec![
            vec![n, dim],
            vec![bytes.about(n), bytes.about(dim)],
            vec![bytes.about(n), k, bytes.about(dim)],
        ];
        if bytes.flag() {
            inputs.push(vec![bytes.about(n)]);
        }
        Ok(Self {
            margin,
            soft: bytes.flag(),
            swap: bytes.flag(),
            metric,
            reduction,
            reach: reach([margin, divisor, epsilon]),
            inputs,
            gradients: bytes.wanted(&[vec![n, dim], vec![n, dim], vec![n, k, dim]]),
            rows: bytes.about(n),
        })
    }

    /// How large a distance can be.
    fn largest(&self, inputs: &[ArrayD<f64>]) -> f64 {
        let (size, dim) = (largest(&inputs[..3]), self.inputs[0][1] as f64);
        match self.metric {
            Metric::Lp(_) => 2.0 * dim * size,
            Metric::SquaredEuclidean => 4.0 * dim * size * size,
            Metric::Cosine => 2.0,
            Metric::User => 1.0 + dim * size * size,
        }
    }
}

impl Call for Triplet {
    fn inputs(&self) -> Vec<Vec<usize>> {
        self.inputs.clone()
    }

    fn gradients(&self) -> Vec<Option<Vec<usize>>> {
        self.gradients.clone()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let loss = if self.soft {
            TripletMarginLoss::soft(self.margin)?
        } else {
            TripletMarginLoss::new(self.margin)?
        };
        let loss = loss.with_swap(self.swap).with_reduction(self.reduction)?;
        match self.metric {
            Metric::Lp(lp) => evaluate(loss.with_distance(lp), inputs, wanted, workspace),
            Metric::SquaredEuclidean => evaluate(
                loss.with_distance(SquaredEuclidean),
                inputs,
                wanted,
                workspace,
            ),
            Metric::Cosine => evaluate(
                loss.with_distance(CosineDistance),
                inputs,
                wanted,
                workspace,
            ),
            Metric::User => evaluate(loss.with_distance(InnerProduct), inputs, wanted, workspace),
        }
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        Nearness {
            reach: self.reach,
            row: Some(1e-11 * (1.0 + self.margin.abs() + self.largest(inputs))),
        }
    }
}

fn evaluate<A: Scalar, D: Distance<A>>(
    loss: TripletMarginLoss<D>,
    inputs: &[ArrayViewD<'_, A>],
    wanted: Wanted<'_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    let (anchor, positive) = (matrix(&inputs[0]), matrix(&inputs[1]));
    let mut input = TripletMarginInput::with_negatives(anchor, positive, cube(&inputs[2]));
    input.weights = inputs.get(3).map(line);
    let mut parts = wanted.gradients.into_iter();
    let want = Want {
        gradient: (parts.len() > 0).then(|| TripletMarginGradient {
            anchor: parts.next().flatten().map(matrix_mut),
            positive: parts.next().flatten().map(matrix_mut),
            negatives: parts.next().flatten().map(cube_mut),
        }),
        rows: wanted.rows,
        report: None,
    };
    loss.evaluate(input, want, workspace)
}
