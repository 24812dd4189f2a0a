//! Calls of the cosine embedding loss.

use contrastive::{
    CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss, Error, PairLabel, Scalar,
    Want, Workspace,
};
use ndarray::{Array1, ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{Call, Nearness, Shapes, Wanted, line, matrix, matrix_mut, reach};
use super::matryoshka::{self, Prefixes};

#[derive(Debug)]
pub(crate) struct Cosine {
    loss: CosineEmbeddingLoss,
    reach: f64,
    labels: Array1<PairLabel>,
    /// x, y, and the weights if there are any.
    shapes: Shapes,
    prefixes: Option<Prefixes>,
}

impl Cosine {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let epsilon = bytes.parameter(&[0.0, 0.0, 0.0, 1e-12, 0.1, f64::MAX]);
        let (reduction, divisor) = bytes.reduction();
        let loss = CosineEmbeddingLoss::new(bytes.parameter(&[0.0, 0.0, 0.3, -0.5, -1.0, 1.0]))?
            .with_positive_margin(bytes.parameter(&[1.0, 1.0, 1.0, 0.5, -1.0]))?
            .with_epsilon(epsilon)?
            .with_reduction(reduction)?;
        let (n, dim) = (bytes.length(), bytes.length());
        let mut inputs = vec![vec![n, dim], vec![bytes.about(n), bytes.about(dim)]];
        if bytes.flag() {
            inputs.push(vec![bytes.about(n)]);
        }
        let labels = bytes.about(n);
        Ok(Self {
            loss,
            reach: reach([epsilon, divisor]),
            labels: bytes.filled(labels, |bytes| PairLabel::from(bytes.flag())),
            shapes: Shapes {
                inputs,
                gradients: bytes.wanted(&[vec![n, dim], vec![n, dim]]),
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

impl Call for Cosine {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let (x, y) = (matrix(&inputs[0]), matrix(&inputs[1]));
        let mut input = CosineEmbeddingInput::new(x, y, self.labels.view());
        input.weights = inputs.get(2).map(line);
        let mut parts = wanted.gradients.into_iter();
        let want = Want {
            gradient: (parts.len() > 0).then(|| CosineEmbeddingGradient {
                x: parts.next().flatten().map(matrix_mut),
                y: parts.next().flatten().map(matrix_mut),
            }),
            rows: wanted.rows,
            report: None,
        };
        matryoshka::evaluate(self.loss, self.prefixes.as_ref(), input, want, workspace)
    }

    fn nearness(&self, _: &[ArrayD<f64>]) -> Nearness {
        let nearness = Nearness {
            reach: self.reach,
            degree: 1.0,
            row: Some(1e-11),
        };
        matryoshka::nearness(self.prefixes.as_ref(), nearness)
    }
}
