//! Calls of the losses of pairs.

use contrastive::{
    AngleLoss, BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss, CoSentLoss,
    ContrastiveLoss, CosineSimilarityLoss, Error, Loss, PairGradient, PairInput, PairLabel, Scalar,
    Want, Workspace,
};
use ndarray::{Array1, ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{Call, Nearness, Shapes, Wanted, add, largest, line, matrix, matrix_mut, reach};
use super::metric::Metric;
use super::targets::ids_of;

#[derive(Debug)]
pub(crate) struct Pairs {
    kind: Kind,
    contrastive: ContrastiveLoss,
    metric: Metric,
    margin: f64,
    scale: f64,
    hard: bool,
    reach: f64,
    labels: Array1<PairLabel>,
    classes: Array1<u64>,
    /// Embeddings first, then grades where there are any.
    shapes: Shapes,
    weights: Option<usize>,
    report: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Contrastive,
    Batch { balance: bool },
    CosineSimilarity(CosineSimilarityLoss),
    CoSent { rows: bool },
    Angle { rows: bool },
}

impl Pairs {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let metric = Metric::from(bytes)?;
        let (reduction, divisor) = bytes.reduction();
        let margin = bytes.parameter(&[0.5, 1.0, 1e-3, 100.0]);
        let positive_margin = bytes.parameter(&[0.0, 0.0, 0.1, 2.0]);
        let scale = bytes.parameter(&[20.0, 1.0, 1e-2, 1e4]);
        let hard = bytes.below(3) == 0;
        let contrastive = ContrastiveLoss::new(margin)?
            .with_positive_margin(positive_margin)?
            .with_linear(bytes.flag())
            .with_hard_pairs(hard)
            .with_reduction(reduction)?;
        // A loss that ranks has no row losses, and refuses to be asked for them.
        let rows = bytes.below(16) == 0;
        let kind = match bytes.below(5) {
            0 => Kind::Contrastive,
            1 => Kind::Batch {
                balance: bytes.flag(),
            },
            2 => Kind::CosineSimilarity(CosineSimilarityLoss::new().with_reduction(reduction)?),
            3 => Kind::CoSent { rows },
            _ => Kind::Angle { rows },
        };
        let (n, dim) = (bytes.length(), bytes.length());
        let batch = matches!(kind, Kind::Batch { .. });
        let mut inputs = vec![vec![n, dim]];
        add(&mut inputs, !batch, || {
            vec![bytes.about(n), bytes.about(dim)]
        });
        let graded = !batch && kind != Kind::Contrastive;
        add(&mut inputs, graded, || vec![bytes.about(n)]);
        let weighted = bytes.flag();
        let weights = add(&mut inputs, weighted, || vec![bytes.about(n)]);
        let rows = match kind {
            Kind::Batch { .. } => n * n.saturating_sub(1) / 2,
            _ => n,
        };
        let labels = bytes.about(n);
        Ok(Self {
            kind,
            contrastive,
            metric,
            margin: margin + positive_margin,
            scale,
            hard,
            reach: reach([margin, positive_margin, divisor, scale, metric.epsilon()]),
            labels: bytes.filled(labels, |bytes| PairLabel::from(bytes.flag())),
            classes: ids_of(bytes, n),
            shapes: Shapes {
                inputs,
                gradients: bytes.wanted(&vec![vec![n, dim]; if batch { 1 } else { 2 }]),
                rows: bytes.about(rows),
            },
            weights,
            report: bytes.flag(),
        })
    }

    /// A loss over two matrices of rows.
    fn of_two<A: Scalar, T: Copy, L>(
        &self,
        loss: L,
        input: PairInput<'_, A, T>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error>
    where
        L: for<'a> Loss<
                A,
                Input<'a> = PairInput<'a, A, T>,
                Gradient<'a> = PairGradient<'a, A>,
                Report: Default,
            >,
    {
        let mut report = L::Report::default();
        let mut parts = wanted.gradients.into_iter();
        let want = Want {
            gradient: (parts.len() > 0).then(|| PairGradient {
                x: parts.next().flatten().map(matrix_mut),
                y: parts.next().flatten().map(matrix_mut),
            }),
            rows: wanted.rows,
            report: self.report.then_some(&mut report),
        };
        loss.evaluate(input, want, workspace)
    }

    fn of_batch<A: Scalar>(
        &self,
        balance: bool,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let mut report = Default::default();
        let mut input = BatchContrastiveInput::new(matrix(&inputs[0]), self.classes.view());
        input.weights = self.weights.map(|slot| line(&inputs[slot]));
        let mut parts = wanted.gradients.into_iter();
        let want = Want {
            gradient: (parts.len() > 0).then(|| BatchContrastiveGradient {
                embeddings: parts.next().flatten().map(matrix_mut),
            }),
            rows: wanted.rows,
            report: self.report.then_some(&mut report),
        };
        let pairs = self.contrastive.with_distance(self.metric.of());
        BatchContrastiveLoss::new(pairs)
            .with_balance(balance)
            .evaluate(input, want, workspace)
    }
}

impl Call for Pairs {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        mut wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        if let Kind::Batch { balance } = self.kind {
            return self.of_batch(balance, inputs, wanted, workspace);
        }
        let (x, y) = (matrix(&inputs[0]), matrix(&inputs[1]));
        let weights = self.weights.map(|slot| line(&inputs[slot]));
        let graded = || {
            let mut input = PairInput::new(x, y, line(&inputs[2]));
            input.weights = weights;
            input
        };
        match self.kind {
            Kind::Batch { .. } | Kind::Contrastive => {
                let loss = self.contrastive.with_distance(self.metric.of());
                let mut input = PairInput::new(x, y, self.labels.view());
                input.weights = weights;
                self.of_two(loss, input, wanted, workspace)
            }
            Kind::CosineSimilarity(loss) => self.of_two(loss, graded(), wanted, workspace),
            Kind::CoSent { rows } | Kind::Angle { rows } => {
                // The value in place of the rows, to be compared like them.
                let kept = if rows { None } else { wanted.rows.take() };
                let value = if matches!(self.kind, Kind::Angle { .. }) {
                    self.of_two(AngleLoss::new(self.scale)?, graded(), wanted, workspace)
                } else {
                    let loss = CoSentLoss::new(self.scale)?.with_distance(self.metric.of());
                    self.of_two(loss, graded(), wanted, workspace)
                }?;
                if let Some(mut kept) = kept {
                    kept.fill(value);
                }
                Ok(value)
            }
        }
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let dim = self.shapes.inputs[0][1];
        let of_batch = matches!(self.kind, Kind::Batch { .. });
        let embeddings = if of_batch { 1 } else { 2 };
        let distance = self.metric.largest(&inputs[..embeddings], dim);
        // The square of what has a rounding error of its own.
        let square = |x: f64| 1e-11 * (1.0 + x) * (1.0 + x);
        // Distances from products carry a few roundings of ‖x‖² + ‖y‖², however small the loss.
        const OF_PRODUCTS: f64 = 16.0 * f32::EPSILON as f64 / 1e-11;
        let row = match self.kind {
            Kind::Batch { .. } if self.metric.comes_from_products() => {
                OF_PRODUCTS * square(self.margin + distance)
            }
            Kind::Contrastive | Kind::Batch { .. } => square(self.margin + distance),
            Kind::CosineSimilarity(_) => square(largest(&inputs[2..3])),
            Kind::CoSent { .. } => 1e-11 * (1.0 + self.scale * (1.0 + distance)),
            Kind::Angle { .. } => 1e-11 * (1.0 + self.scale),
        };
        Nearness {
            reach: self.reach,
            degree: 2.0,
            // Which pairs are hard may hang on a rounding.
            row: (!self.hard).then_some(row),
        }
    }
}
