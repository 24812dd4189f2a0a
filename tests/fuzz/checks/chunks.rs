//! Calls of InfoNCE over documents that come in chunks.

use contrastive::{
    Error, InfoNceChunk, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceStates, Loss, Scalar,
    Similarity, Sources, Want, Workspace,
};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Axis, Slice};

use super::bytes::Bytes;
use super::call::{
    Call, Nearness, Shapes, Wanted, add, largest, line, matrix, matrix_mut, number_mut, reach,
};
use super::targets::Chosen;

#[derive(Debug)]
pub(crate) struct Chunks {
    loss: InfoNceLoss,
    similarity: Similarity,
    bias: Option<f64>,
    hardness: f64,
    reach: f64,
    targets: Chosen,
    /// Where the chunks end. They are observed in this order.
    ends: Vec<usize>,
    /// Whether every chunk has states of its own, to be merged.
    merged: bool,
    /// Queries and documents first.
    shapes: Shapes,
    log_weights: Option<usize>,
    weights: Option<usize>,
}

impl Chunks {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let (reduction, divisor) = bytes.reduction();
        let temperature = bytes.parameter(&[1.0, 0.05, 0.5, 10.0, 1e-3]);
        let similarity = bytes.one_of(&[
            Similarity::Cosine,
            Similarity::Dot,
            Similarity::SquaredEuclidean,
        ]);
        let bias = (bytes.below(4) == 0).then(|| bytes.parameter(&[0.0, -10.0, 1.0]));
        let loss = match bias {
            Some(bias) => InfoNceLoss::sigmoid(temperature, bias)?,
            None => InfoNceLoss::new(temperature)?,
        };
        let mut loss = loss.with_similarity(similarity).with_reduction(reduction)?;
        if bytes.below(4) == 0 {
            loss = loss.with_decoupled(true);
        }
        if bytes.below(4) == 0 {
            loss = loss.with_label_smoothing(bytes.parameter(&[0.1, 1.0, 0.5]))?;
        }
        let mut hardness = 0.0;
        if bytes.below(4) == 0 {
            hardness = bytes.parameter(&[1.0, 9.0]);
            loss = loss.with_hardness(hardness, Sources::ALL)?;
        }
        let (n, dim) = (bytes.length(), bytes.length());
        let m = if bytes.flag() { n } else { bytes.length() };
        let mut inputs = vec![vec![n, dim], vec![m, bytes.about(dim)]];
        let [weighted, log_weighted] = [bytes.flag(), bytes.flag()];
        let weights = add(&mut inputs, weighted, || vec![bytes.about(n)]);
        let log_weights = add(&mut inputs, log_weighted, || vec![m]);
        let mut ends: Vec<_> = (0..bytes.below(4)).map(|_| bytes.below(m + 1)).collect();
        ends.push(m);
        ends.sort_unstable();
        // What is written chunk by chunk fits, so that a refusal comes before the first of them.
        let parts = inputs[..2].iter().cloned().chain([vec![], vec![]]);
        let gradients: Vec<_> = parts
            .map(|shape| (bytes.byte() < 200).then_some(shape))
            .collect();
        Ok(Self {
            loss,
            similarity,
            bias,
            hardness,
            reach: reach([temperature, divisor, hardness, bias.unwrap_or(0.0)]),
            targets: Chosen::from(bytes, n, m),
            ends,
            merged: bytes.flag(),
            shapes: Shapes {
                gradients,
                inputs,
                rows: n,
            },
            log_weights,
            weights,
        })
    }

    fn input<'a, A: Scalar>(&'a self, inputs: &[ArrayViewD<'a, A>]) -> InfoNceInput<'a, A> {
        let mut input = InfoNceInput::new(matrix(&inputs[0]), matrix(&inputs[1]));
        input.targets = self.targets.view();
        input.weights = self.weights.map(|slot| line(&inputs[slot]));
        input.log_weights.documents = self.log_weights.map(|slot| line(&inputs[slot]));
        input
    }

    /// Every chunk, with the rows of the documents that it has.
    fn chunks<'a, A: Scalar>(
        &'a self,
        input: InfoNceInput<'a, A>,
    ) -> impl Iterator<Item = (InfoNceChunk<'a, A>, Slice)> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(move |(first_document, &end)| {
            let (part, mut input) = (Slice::from(first_document..end), input);
            input.documents.slice_axis_inplace(Axis(0), part);
            if let Some(weights) = &mut input.log_weights.documents {
                weights.slice_axis_inplace(Axis(0), part);
            }
            let chunk = InfoNceChunk {
                input,
                first_document,
            };
            (chunk, part)
        })
    }

    fn observe<'a, A: Scalar>(
        &'a self,
        input: InfoNceInput<'a, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<InfoNceStates, Error> {
        let new = || InfoNceStates::new(self.shapes.rows);
        let mut states = new();
        for (chunk, _) in self.chunks(input) {
            if self.merged {
                let mut other = new();
                self.loss.observe(chunk, &mut other, workspace)?;
                states.merge(&other)?;
            } else {
                self.loss.observe(chunk, &mut states, workspace)?;
            }
        }
        Ok(states)
    }

    /// A bound of the error of a row, in units of the element type's.
    fn roundings(&self, inputs: &[ArrayD<f64>]) -> f64 {
        let size = largest(&inputs[..2]);
        let similarity = match self.similarity {
            Similarity::Cosine => 1.0,
            _ => 4.0 * self.shapes.inputs[0][1] as f64 * size * size,
        };
        let score = similarity * (1.0 / self.loss.temperature() + self.hardness)
            + largest(self.log_weights.map(|slot| &inputs[slot]))
            + self.bias.unwrap_or(0.0).abs();
        // As for the whole: a sum over all candidates, where each is classified for itself.
        let sum = if self.bias.is_some() { 1e3 } else { 1.0 };
        sum * 64.0 * (8.0 + score)
    }

    /// The rows that chunks have come to are those of all documents at once.
    fn is_like_the_whole<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        rows: &Array1<A>,
        workspace: &mut Workspace<A>,
    ) {
        let wide = |x: &A| x.to_f64().expect("a float");
        let numbers: Vec<_> = inputs.iter().map(|input| input.map(wide)).collect();
        let tolerance = self.roundings(&numbers) * wide(&A::epsilon());
        // Scores beyond the range of the type are not told apart.
        let comparable = tolerance < 1e24 && numbers.iter().flatten().all(|x| x.is_finite());
        let mut whole = Array1::zeros(rows.len());
        let want = Want::value().with_rows(whole.view_mut());
        let refused = self
            .loss
            .evaluate(self.input(inputs), want, workspace)
            .is_err();
        if refused || !comparable {
            return;
        }
        for (part, whole) in rows.iter().map(wide).zip(whole.iter().map(wide)) {
            // Where similarities overflow there is nothing to compare.
            assert!(
                !whole.is_finite() || (part - whole).abs() <= tolerance + 1e-6 * whole.abs(),
                "{part} in chunks, {whole} at once: {self:?}: {inputs:?}"
            );
        }
    }
}

impl Call for Chunks {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let input = self.input(inputs);
        let mut states = self.observe(input, workspace)?;
        let mut rows = Array1::zeros(self.shapes.rows);
        let total = self
            .loss
            .settle(&mut states, input.weights, Some(rows.view_mut()))?;
        self.is_like_the_whole(inputs, &rows, workspace);
        let mut parts = wanted.gradients.into_iter();
        let mut next = || parts.next().flatten();
        let (mut queries, mut documents) = (next().map(matrix_mut), next().map(matrix_mut));
        let [log_temperature, bias] = [next(), next()].map(|part| part.map(number_mut));
        if let Some(queries) = &mut queries {
            queries.fill(A::zero());
        }
        for (chunk, part) in self.chunks(input) {
            let mut share = queries.as_ref().map(|_| Array2::zeros(input.queries.dim()));
            let documents = documents.as_mut();
            let gradient = InfoNceGradient {
                queries: share.as_mut().map(|share| share.view_mut()),
                documents: documents.map(|view| view.slice_axis_mut(Axis(0), part)),
                ..Default::default()
            };
            self.loss.apply(chunk, &states, gradient, workspace)?;
            if let (Some(sum), Some(share)) = (&mut queries, &share) {
                sum.zip_mut_with(share, |sum, &x| *sum += x);
            }
        }
        for (to, number) in [(log_temperature, total.log_temperature), (bias, total.bias)] {
            if let Some(to) = to {
                *to = number;
            }
        }
        if let Some(mut to) = wanted.rows {
            to.assign(&rows);
        }
        Ok(total.value)
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let error = self.roundings(inputs) * f64::from(f32::EPSILON);
        Nearness {
            reach: self.reach,
            degree: 1.0,
            row: (error < 1e30).then_some(error),
        }
    }
}
