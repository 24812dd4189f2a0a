//! Calls of the triplet loss of a labelled batch.

use contrastive::{
    BatchDistance, BatchTripletGradient, BatchTripletInput, BatchTripletLoss, BatchTripletReport,
    DistanceWeighted, Error, Loss, Scalar, TripletMining, Want, Workspace,
};
use ndarray::{Array1, ArrayD, ArrayViewD};

use super::bytes::Bytes;
use super::call::{Call, Nearness, Shapes, Wanted, add, largest, line, matrix, matrix_mut, reach};
use super::targets::ids_of;

#[derive(Debug)]
pub(crate) struct BatchTriplet {
    loss: BatchTripletLoss,
    /// All triplets, so that none is chosen by a rounding.
    all: bool,
    margin: f64,
    distance: BatchDistance,
    reach: f64,
    labels: Array1<u64>,
    candidate_labels: Array1<u64>,
    /// Anchors first.
    shapes: Shapes,
    candidates: Option<usize>,
    weights: Option<usize>,
    report: bool,
}

impl BatchTriplet {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let drawn = DistanceWeighted::new(bytes.word()).with_cutoffs(
            bytes.parameter(&[0.5, 0.5, 1e-3, 1.0]),
            bytes.parameter(&[1.4, 1.4, 2.5]),
        )?;
        let strategy = bytes.one_of(&[
            TripletMining::BatchAll,
            TripletMining::BatchHard,
            TripletMining::BatchSemiHard,
            TripletMining::EasyPositiveHard,
            TripletMining::EasyPositiveSemiHard,
            TripletMining::DistanceWeighted(drawn),
        ]);
        let margin = bytes.parameter(&[1.0, 0.1, 5.0, 1e-3]);
        let (reduction, divisor) = bytes.reduction();
        let distance = bytes.one_of(&[
            BatchDistance::Euclidean,
            BatchDistance::SquaredEuclidean,
            BatchDistance::Cosine,
        ]);
        let loss = if bytes.flag() {
            BatchTripletLoss::soft(strategy, margin)?
        } else {
            BatchTripletLoss::new(strategy, margin)?
        };
        let loss = loss
            .with_distance(distance)
            .per_anchor(bytes.flag())
            .with_reduction(reduction)?;
        let (n, m, dim) = (bytes.length(), bytes.length(), bytes.length());
        let mut inputs = vec![vec![n, dim]];
        let [separate, weighted] = [bytes.flag(), bytes.flag()];
        let candidates = add(&mut inputs, separate, || vec![m, bytes.about(dim)]);
        let weights = add(&mut inputs, weighted, || vec![bytes.about(n)]);
        let mut parts = vec![vec![n, dim]];
        add(&mut parts, separate, || vec![m, dim]);
        Ok(Self {
            loss,
            all: strategy == TripletMining::BatchAll,
            margin,
            distance,
            reach: reach([margin, divisor]),
            labels: ids_of(bytes, n),
            candidate_labels: ids_of(bytes, m),
            shapes: Shapes {
                inputs,
                gradients: bytes.wanted(&parts),
                rows: bytes.about(n),
            },
            candidates,
            weights,
            report: bytes.flag(),
        })
    }

    /// Of the triplets that were found, each has an anchor, a positive and a negative of it.
    fn check(&self, report: &BatchTripletReport) {
        let own = self.candidates.is_none();
        let labels = if own {
            &self.labels
        } else {
            &self.candidate_labels
        };
        for triplet in report.list.iter().flatten() {
            let anchor = self.labels[triplet.anchor];
            assert_eq!(labels[triplet.positive], anchor);
            assert_ne!(labels[triplet.negative], anchor);
            assert!(!own || triplet.positive != triplet.anchor);
        }
    }
}

impl Call for BatchTriplet {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let mut input = BatchTripletInput::new(matrix(&inputs[0]), self.labels.view());
        if let Some(slot) = self.candidates {
            input = input.with_candidates(matrix(&inputs[slot]), self.candidate_labels.view());
        }
        input.weights = self.weights.map(|slot| line(&inputs[slot]));
        let mut report = BatchTripletReport::listing();
        let mut parts = wanted.gradients.into_iter();
        let want = Want {
            gradient: (parts.len() > 0).then(|| BatchTripletGradient {
                anchors: parts.next().flatten().map(matrix_mut),
                candidates: parts.next().flatten().map(matrix_mut),
            }),
            rows: wanted.rows,
            report: self.report.then_some(&mut report),
        };
        let value = self.loss.evaluate(input, want, workspace)?;
        self.check(&report);
        Ok(value)
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let rows = if self.candidates.is_some() { 2 } else { 1 };
        let (size, dim) = (largest(&inputs[..rows]), self.shapes.inputs[0][1] as f64);
        let distance = match self.distance {
            BatchDistance::Euclidean => 2.0 * dim * size,
            BatchDistance::SquaredEuclidean => 4.0 * dim * size * size,
            _ => 2.0,
        };
        // Some roundings of products for each of up to thousands of triplets.
        let candidates = self.candidate_labels.len().max(self.labels.len()) as f64;
        let triplets = candidates * candidates;
        let error = 1e2 * f64::from(f32::EPSILON) * (1.0 + self.margin.abs() + distance);
        Nearness {
            reach: self.reach,
            degree: 1.0,
            // Squared distances beyond the type of the rows are not told apart.
            row: (self.all && distance < 1e30).then_some(triplets * error),
        }
    }
}
