//! Loss and gradient of a batch: the whole at once, and in chunks.

use contrastive::{Error, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, Loss, OwnedGradient};
use contrastive::{Want, Workspace};
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::encoder::{Encoder, Gradient, Number, number};
use crate::random::uniform;

/// Scores of the loss held at a time, in bytes: as small as the rest.
const SCORES: usize = 4 << 20;

/// Pairs of inputs `[n, features]`: row i of the documents is a noisy copy of query i.
pub(crate) struct Batch<A> {
    pub(crate) queries: Array2<A>,
    pub(crate) documents: Array2<A>,
}

impl<A: Number> Batch<A> {
    pub(crate) fn new(rows: usize, features: usize) -> Self {
        let noise = |seed| {
            Array2::from_shape_fn((rows, features), |(i, j)| {
                number(2.0 * uniform(seed, (i * features + j) as u64) - 1.0)
            })
        };
        let queries: Array2<A> = noise(3);
        let documents = &queries + &noise(4);
        Self { queries, documents }
    }
}

/// The loss of a batch, and its gradient for the weights of the encoder.
pub(crate) struct Step<A> {
    pub(crate) value: A,
    pub(crate) gradient: Gradient<A>,
}

/// Everything that the encoder keeps is held for all rows.
pub(crate) fn full<A: Number>(
    encoder: &Encoder<A>,
    batch: &Batch<A>,
    loss: &InfoNceLoss,
) -> Result<Step<A>, Error> {
    let rows = batch.queries.nrows();
    let (queries, query_tape) = encoder.embed(batch.queries.view(), 0);
    let (documents, document_tape) = encoder.embed(batch.documents.view(), rows);
    let (value, by) = evaluate(loss, queries.view(), documents.view())?;
    let mut gradient = Gradient::zeros(encoder);
    encoder.backward(
        batch.queries.view(),
        query_tape,
        by.queries.view(),
        &mut gradient,
    );
    encoder.backward(
        batch.documents.view(),
        document_tape,
        by.documents.view(),
        &mut gradient,
    );
    Ok(Step { value, gradient })
}

/// What the encoder keeps is held for `chunk` rows.
pub(crate) fn cached<A: Number>(
    encoder: &Encoder<A>,
    batch: &Batch<A>,
    loss: &InfoNceLoss,
    chunk: usize,
) -> Result<Step<A>, Error> {
    let rows = batch.queries.nrows();
    let (queries, documents) = (batch.queries.view(), batch.documents.view());
    let embedded_queries = embed(encoder, queries, 0, chunk);
    let embedded_documents = embed(encoder, documents, rows, chunk);
    let (value, by) = evaluate(loss, embedded_queries.view(), embedded_documents.view())?;
    let mut gradient = Gradient::zeros(encoder);
    backward(encoder, queries, 0, chunk, by.queries.view(), &mut gradient);
    backward(
        encoder,
        documents,
        rows,
        chunk,
        by.documents.view(),
        &mut gradient,
    );
    Ok(Step { value, gradient })
}

/// Once for the batch, whatever the chunks: every query meets every document.
fn evaluate<A: Number>(
    loss: &InfoNceLoss,
    queries: ArrayView2<'_, A>,
    documents: ArrayView2<'_, A>,
) -> Result<(A, InfoNceOwnedGradient<A>), Error> {
    let input = InfoNceInput::new(queries, documents);
    let mut gradient = InfoNceOwnedGradient::zeros(input);
    let want = Want::gradient(gradient.view_mut());
    let value = loss.evaluate(input, want, &mut Workspace::with_limit(SCORES)?)?;
    Ok((value, gradient))
}

fn embed<A: Number>(
    encoder: &Encoder<A>,
    inputs: ArrayView2<'_, A>,
    first: usize,
    chunk: usize,
) -> Array2<A> {
    let mut embeddings = Array2::zeros((inputs.nrows(), encoder.output.ncols()));
    for start in (0..inputs.nrows()).step_by(chunk) {
        let rows = start..inputs.nrows().min(start + chunk);
        let (embedded, _) = encoder.embed(inputs.slice(s![rows.clone(), ..]), first + start);
        embeddings.slice_mut(s![rows, ..]).assign(&embedded);
    }
    embeddings
}

fn backward<A: Number>(
    encoder: &Encoder<A>,
    inputs: ArrayView2<'_, A>,
    first: usize,
    chunk: usize,
    by_embeddings: ArrayView2<'_, A>,
    gradient: &mut Gradient<A>,
) {
    let parts = by_embeddings.axis_chunks_iter(Axis(0), chunk);
    for (i, (inputs, by)) in inputs
        .axis_chunks_iter(Axis(0), chunk)
        .zip(parts)
        .enumerate()
    {
        let (_, tape) = encoder.embed(inputs, first + i * chunk);
        encoder.backward(inputs, tape, by, gradient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Sizes;

    const SIZES: Sizes = Sizes {
        features: 12,
        width: 30,
        dim: 9,
    };
    const ROWS: usize = 50;

    fn setting() -> (Encoder<f64>, Batch<f64>, InfoNceLoss) {
        (
            Encoder::new(SIZES, 1),
            Batch::new(ROWS, SIZES.features),
            InfoNceLoss::new(0.05).unwrap(),
        )
    }

    #[test]
    fn chunks_give_the_gradient_of_the_whole_batch() {
        // f64; scores divided by 0.05, sums of a hundred rows in another order.
        const ROUNDING: f64 = 1e-12;
        let (encoder, batch, loss) = setting();
        let whole = full(&encoder, &batch, &loss).unwrap();
        let largest = whole.gradient.norm();
        // The last chunk of 7 has one row; 64 holds them all.
        for chunk in [1, 7, 64] {
            let step = cached(&encoder, &batch, &loss, chunk).unwrap();
            assert!((step.value - whole.value).abs() <= ROUNDING * whole.value);
            let difference = Gradient {
                hidden: step.gradient.hidden - &whole.gradient.hidden,
                output: step.gradient.output - &whole.gradient.output,
            };
            assert!(difference.norm() <= ROUNDING * largest, "chunks of {chunk}");
        }
    }

    #[test]
    fn gradient_of_the_weights_is_that_of_finite_differences() {
        // Central differences of a function whose third derivative is large at this temperature.
        const STEP: f64 = 1e-5;
        const ERROR: f64 = 1e-5;
        let (encoder, batch, loss) = setting();
        let gradient = full(&encoder, &batch, &loss).unwrap().gradient;
        let value = |encoder: &Encoder<f64>| full(encoder, &batch, &loss).unwrap().value;
        let difference = |change: &dyn Fn(&mut Encoder<f64>, f64)| {
            let [mut above, mut below] = [encoder.clone(), encoder.clone()];
            change(&mut above, STEP);
            change(&mut below, -STEP);
            (value(&above) - value(&below)) / (2.0 * STEP)
        };
        for (row, column) in [(0, 0), (3, 8), (11, 5)] {
            let found = difference(&|encoder, step| encoder.hidden[[row, column]] += step);
            assert!((found - gradient.hidden[[row, column]]).abs() < ERROR * gradient.norm());
            let found = difference(&|encoder, step| encoder.output[[row, column]] += step);
            assert!((found - gradient.output[[row, column]]).abs() < ERROR * gradient.norm());
        }
    }
}
