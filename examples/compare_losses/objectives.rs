//! How each loss is called: embeddings of a batch in, value and gradient at the embeddings out.

use contrastive::{
    BatchDistance, BatchTripletInput, BatchTripletLoss, CosineDistance, CosineEmbeddingInput,
    CosineEmbeddingLoss, Error, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, LogitScale, Loss,
    Matryoshka, PairLabel, TripletMarginInput, TripletMarginLoss, TripletMining,
};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::extra::prefixes;
use crate::losses::LossKind;
use crate::negatives::Negatives;
use crate::step::{Step, gathered};

/// Negatives per query that one call of the triplet loss gets: all of a batch would not stay in cache.
const NEGATIVES_PER_CALL: usize = 8;

/// A loss with its hyper-parameter, ready to be called.
pub(crate) enum Objective {
    Pairwise(CosineEmbeddingLoss),
    Triplet(TripletMarginLoss<CosineDistance>),
    InfoNce(InfoNceLoss),
    /// Triplets that the library finds in the batch.
    Mined(BatchTripletLoss),
    Matryoshka(Matryoshka<InfoNceLoss>),
}

impl Objective {
    /// `hyper` is the margin of the pairwise and the triplet losses, the temperature of InfoNCE; `dim` is that of the embeddings.
    pub(crate) fn new(kind: LossKind, hyper: f64, dim: usize) -> Result<Self, Error> {
        Ok(match kind {
            LossKind::Pairwise => Self::Pairwise(CosineEmbeddingLoss::new(hyper)?),
            LossKind::Triplet => {
                Self::Triplet(TripletMarginLoss::new(hyper)?.with_distance(CosineDistance))
            }
            LossKind::InfoNce => Self::InfoNce(InfoNceLoss::new(hyper)?),
            LossKind::BatchHard => Self::Mined(mined(TripletMining::BatchHard, hyper)?),
            LossKind::SemiHard => Self::Mined(mined(TripletMining::BatchSemiHard, hyper)?),
            LossKind::LearnedTemperature => {
                let start = LogitScale::from_temperature(hyper)?.temperature();
                Self::InfoNce(InfoNceLoss::new(start)?)
            }
            LossKind::Matryoshka => {
                let dims: Vec<usize> = prefixes(dim).chain([dim]).collect();
                Self::Matryoshka(Matryoshka::new(InfoNceLoss::new(hyper)?, &dims)?)
            }
        })
    }

    /// Value and gradient for queries [n, d] and documents [m, d], of which document i answers query i.
    pub(crate) fn step(
        &self,
        queries: ArrayView2<'_, f32>,
        documents: ArrayView2<'_, f32>,
        negatives: Negatives,
    ) -> Result<Step, Error> {
        let chosen = || negatives.choose(queries, documents);
        match self {
            Self::Pairwise(loss) => pairwise(loss, queries, documents, &chosen()),
            Self::Triplet(loss) => triplet(loss, queries, documents, &chosen()),
            Self::InfoNce(loss) if negatives == Negatives::InBatch => {
                info_nce(loss, queries, documents)
            }
            Self::InfoNce(loss) => info_nce_own(loss, queries, documents, &chosen()),
            Self::Mined(loss) => batch_triplet(loss, queries, documents),
            Self::Matryoshka(loss) => info_nce(loss, queries, documents),
        }
    }
}

fn mined(strategy: TripletMining, margin: f64) -> Result<BatchTripletLoss, Error> {
    let loss = BatchTripletLoss::new(strategy, margin)?;
    Ok(loss.with_distance(BatchDistance::Cosine))
}

/// Labelled pairs: (query, own document) matches, (query, negative) does not; the mean over all n·(1 + K) pairs. One call
/// for the matches and one per column of negatives, so that the rows at work stay in cache.
fn pairwise(
    loss: &CosineEmbeddingLoss,
    queries: ArrayView2<'_, f32>,
    documents: ArrayView2<'_, f32>,
    negatives: &Array2<usize>,
) -> Result<Step, Error> {
    let (n, k) = negatives.dim();
    let weight = 1.0 / (1 + k) as f32;
    let own: Array1<usize> = (0..n).collect();
    let matches = std::iter::once((own.view(), PairLabel::Match));
    let others = negatives
        .columns()
        .into_iter()
        .map(|column| (column, PairLabel::NoMatch));
    let mut step = Step::zero(queries, documents);
    for (rows, label) in matches.chain(others) {
        let y = documents.select(Axis(0), &rows.to_vec());
        let labels = Array1::from_elem(n, label);

        let input = CosineEmbeddingInput::new(queries, y.view(), labels.view());
        let (value, gradient) = loss.value_and_gradient(input)?;

        step.loss += weight * value;
        step.queries.scaled_add(weight, &gradient.x);
        step.add_rows(weight, gradient.y.view(), rows);
    }
    Ok(step)
}

/// Triplets (query, own document, negative): the mean over all n·K of them, a few negatives per query in one call.
fn triplet(
    loss: &TripletMarginLoss<CosineDistance>,
    queries: ArrayView2<'_, f32>,
    documents: ArrayView2<'_, f32>,
    negatives: &Array2<usize>,
) -> Result<Step, Error> {
    let positives = documents.slice_axis(Axis(0), (..queries.nrows()).into());
    let mut step = Step::zero(queries, documents);
    for columns in negatives.axis_chunks_iter(Axis(1), NEGATIVES_PER_CALL) {
        let weight = columns.ncols() as f32 / negatives.ncols() as f32;
        let (negative_rows, came_from) = gathered(documents, columns);

        let input = TripletMarginInput::with_negatives(queries, positives, negative_rows.view());
        let (value, gradient) = loss.value_and_gradient(input)?;

        step.loss += weight * value;
        step.queries.scaled_add(weight, &gradient.anchor);
        step.add_documents(weight, &gradient.positive, gradient.negatives, &came_from);
    }
    Ok(step)
}

/// Triplets found among the documents of the batch: the label of query and document i is i.
fn batch_triplet(
    loss: &BatchTripletLoss,
    queries: ArrayView2<'_, f32>,
    documents: ArrayView2<'_, f32>,
) -> Result<Step, Error> {
    let labels = |rows: ArrayView2<'_, f32>| Array1::from_iter(0..rows.nrows() as u64);
    let (query_labels, document_labels) = (labels(queries), labels(documents));
    let input = BatchTripletInput::new(queries, query_labels.view())
        .with_candidates(documents, document_labels.view());
    let (value, gradient) = loss.value_and_gradient(input)?;
    Ok(Step {
        loss: value,
        queries: gradient.anchors,
        documents: gradient.candidates.expect("the input has candidates"),
        log_temperature: 0.0,
    })
}

/// InfoNCE over the documents of the batch: the own one against all others, in whole or over prefixes as well.
fn info_nce<L>(
    loss: &L,
    queries: ArrayView2<'_, f32>,
    documents: ArrayView2<'_, f32>,
) -> Result<Step, Error>
where
    L: for<'a> Loss<
            f32,
            Input<'a> = InfoNceInput<'a, f32>,
            OwnedGradient = InfoNceOwnedGradient<f32>,
        >,
{
    let (value, gradient) = loss.value_and_gradient(InfoNceInput::new(queries, documents))?;
    Ok(Step {
        loss: value,
        queries: gradient.queries,
        documents: gradient.documents,
        log_temperature: gradient.log_temperature,
    })
}

/// InfoNCE over the own document and the negatives of the query, nothing else.
fn info_nce_own(
    loss: &InfoNceLoss,
    queries: ArrayView2<'_, f32>,
    documents: ArrayView2<'_, f32>,
    negatives: &Array2<usize>,
) -> Result<Step, Error> {
    let positives = documents.slice_axis(Axis(0), (..queries.nrows()).into());
    let (negative_rows, came_from) = gathered(documents, negatives.view());

    let input = InfoNceInput::new(queries, positives).with_negatives(negative_rows.view());
    let (value, gradient) = loss
        .with_in_batch_negatives(false)
        .value_and_gradient(input)?;

    let mut step = Step {
        loss: value,
        queries: gradient.queries,
        documents: Array2::zeros(documents.dim()),
        log_temperature: gradient.log_temperature,
    };
    let at_negatives = gradient.negatives.expect("the input has negatives");
    step.add_documents(1.0, &gradient.documents, at_negatives, &came_from);
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Above the shortest prefix, so that Matryoshka has two.
    const DIM: usize = 9;

    fn random(rows: usize, seed: u64) -> Array2<f32> {
        let mut random = Random::new(seed, 0);
        Array2::from_shape_simple_fn((rows, DIM), || random.uniform() as f32 - 0.5)
    }

    /// Central differences in f32 with a step of 1e-2 are good to about 1e-3 here.
    const TOLERANCE: f32 = 3e-3;

    /// Sums of a batch in f32.
    const ROUNDING: f32 = 1e-5;

    fn close(a: &Array2<f32>, b: &Array2<f32>, tolerance: f32) -> bool {
        (a - b).iter().all(|x| x.abs() < tolerance)
    }

    fn central_differences(x: &Array2<f32>, f: impl Fn(&Array2<f32>) -> f32) -> Array2<f32> {
        Array2::from_shape_fn(x.dim(), |at| {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[at] += 1e-2;
            down[at] -= 1e-2;
            (f(&up) - f(&down)) / 2e-2
        })
    }

    #[test]
    fn every_loss_and_choice_of_negatives_agrees_with_finite_differences() {
        let both = &[Negatives::Sampled, Negatives::InBatch][..];
        for (kind, hyper, choices) in [
            (LossKind::Pairwise, -0.9, both),
            (LossKind::Triplet, 3.0, both),
            (LossKind::InfoNce, 0.5, both),
            (LossKind::BatchHard, 3.0, &both[1..]),
            (LossKind::SemiHard, 3.0, &both[1..]),
            (LossKind::Matryoshka, 0.5, &both[1..]),
        ] {
            for &negatives in choices {
                let objective = Objective::new(kind, hyper, DIM).unwrap();
                let sampled = usize::from(negatives == Negatives::Sampled);
                let (queries, documents) = (random(4, 1), random(4 + 4 * sampled, 2));
                let step = |q: &Array2<f32>, d: &Array2<f32>| {
                    objective.step(q.view(), d.view(), negatives).unwrap()
                };
                let found = step(&queries, &documents);
                let at_queries = central_differences(&queries, |q| step(q, &documents).loss);
                let at_documents = central_differences(&documents, |d| step(&queries, d).loss);
                let case = format!("{kind:?} {negatives:?}");
                assert!(close(&at_queries, &found.queries, TOLERANCE), "{case}");
                assert!(close(&at_documents, &found.documents, TOLERANCE), "{case}");
            }
        }
    }

    #[test]
    fn in_batch_info_nce_equals_own_negatives_that_list_the_batch() {
        let (queries, documents) = (random(4, 1), random(4, 2));
        let loss = InfoNceLoss::new(0.2).unwrap();
        let listed = Negatives::InBatch.choose(queries.view(), documents.view());
        let own = info_nce_own(&loss, queries.view(), documents.view(), &listed).unwrap();
        let in_batch = info_nce(&loss, queries.view(), documents.view()).unwrap();
        assert!((own.loss - in_batch.loss).abs() < ROUNDING);
        assert!(close(&own.documents, &in_batch.documents, ROUNDING));
    }

    #[test]
    fn hyper_parameters_out_of_range_are_errors() {
        for (kind, hyper) in [
            (LossKind::Pairwise, 1.5),
            (LossKind::Triplet, 0.0),
            (LossKind::InfoNce, f64::NAN),
            (LossKind::SemiHard, 0.0),
            (LossKind::LearnedTemperature, 0.005),
        ] {
            assert!(Objective::new(kind, hyper, DIM).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn batch_hard_equals_triplets_with_the_hardest_negative() {
        let (queries, documents) = (random(6, 1), random(6, 2));
        let step = |kind, negatives| {
            let objective = Objective::new(kind, 0.3, DIM).unwrap();
            let step = objective.step(queries.view(), documents.view(), negatives);
            step.unwrap()
        };
        let mined = step(LossKind::BatchHard, Negatives::InBatch);
        let chosen = step(LossKind::Triplet, Negatives::HardestInBatch);
        assert!(chosen.loss > 0.1 && (mined.loss - chosen.loss).abs() < ROUNDING);
        assert!(close(&mined.queries, &chosen.queries, ROUNDING));
        assert!(close(&mined.documents, &chosen.documents, ROUNDING));
    }
}
