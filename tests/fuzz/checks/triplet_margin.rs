//! Calls of the triplet margin loss.

use contrastive::{
    Error, Reduction, Scalar, TripletMarginGradient, TripletMarginInput, TripletMarginLoss, Want,
    Workspace,
};
use ndarray::{ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{
    Call, Nearness, Shapes, Wanted, cube, cube_mut, line, matrix, matrix_mut, reach,
};
use super::matryoshka::{self, Prefixes};
use super::metric::Metric;

#[derive(Debug)]
pub(crate) struct Triplet {
    margin: f64,
    soft: bool,
    swap: bool,
    metric: Metric,
    reduction: Reduction,
    reach: f64,
    /// Anchors, positives, negatives, and the weights if there are any.
    shapes: Shapes,
    prefixes: Option<Prefixes>,
}

impl Triplet {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let metric = Metric::from(bytes)?;
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
            reach: reach([margin, divisor, metric.epsilon()]),
            shapes: Shapes {
                inputs,
                gradients: bytes.wanted(&[vec![n, dim], vec![n, dim], vec![n, k, dim]]),
                rows: bytes.about(n),
            },
            prefixes: None,
        })
    }

    /// The same over prefixes of the rows.
    pub(crate) fn nested(self, bytes: &mut Bytes<'_>) -> Self {
        let prefixes = Some(Prefixes::from(bytes, self.shapes.inputs[0][1]));
        Self { prefixes, ..self }
    }
}

impl Call for Triplet {
    fn shapes(&self) -> &Shapes {
        &self.shapes
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
        let loss = loss.with_distance(self.metric.of());
        matryoshka::evaluate(loss, self.prefixes.as_ref(), input, want, workspace)
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let distance = self.metric.largest(&inputs[..3], self.shapes.inputs[0][1]);
        let nearness = Nearness {
            reach: self.reach,
            degree: 1.0,
            row: Some(1e-11 * (1.0 + self.margin.abs() + distance)),
        };
        matryoshka::nearness(self.prefixes.as_ref(), nearness)
    }
}
