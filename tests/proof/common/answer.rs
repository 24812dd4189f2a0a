//! The calls of each loss, with dynamic views cast to what it takes.

use contrastive::{
    CosineDistance, CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss, Distance,
    Error, InfoNceGradient, InfoNceInput, InfoNceLoss, Loss, Lp, Scalar, SquaredEuclidean, Targets,
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use ndarray::{
    ArrayView2, ArrayView3, ArrayViewD, ArrayViewMut2, ArrayViewMut3, ArrayViewMutD, Ix0, Ix2, Ix3,
};

use super::options::UserDistance;
use super::{
    CosineOptions, InfoNceOptions, Metric, Positives, Problem, TripletOptions, Views, Wanted,
};

impl<A: Scalar> Problem<A> {
    pub(crate) fn cosine(
        &self,
        options: CosineOptions,
        views: &Views<'_, A>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let loss = CosineEmbeddingLoss::new(options.margin)?
            .with_positive_margin(options.positive_margin)?
            .with_epsilon(options.epsilon)?
            .with_reduction(self.reduction)?;
        let (x, y) = (matrix(&views.parts[0]), matrix(&views.parts[1]));
        let mut input = CosineEmbeddingInput::new(x, y, self.labels.view());
        input.weights = views.weights;
        let gradient = wanted.gradient.map(|parts| {
            let [x, y] = exactly(parts);
            CosineEmbeddingGradient {
                x: x.map(matrix_mut),
                y: y.map(matrix_mut),
            }
        });
        let want = Want {
            gradient,
            rows: wanted.rows,
            report: None,
        };
        loss.evaluate(input, want, workspace)
    }

    pub(crate) fn triplet(
        &self,
        options: TripletOptions,
        views: &Views<'_, A>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let TripletOptions { margin, soft, .. } = options;
        let loss = if soft {
            TripletMarginLoss::soft(margin)?
        } else {
            TripletMarginLoss::new(margin)?
        };
        let loss = loss
            .with_swap(options.swap)
            .with_reduction(self.reduction)?;
        match options.metric {
            Metric::Lp { p, epsilon } => {
                let loss = loss.with_distance(Lp::new(p)?.with_epsilon(epsilon)?);
                triplet(loss, views, wanted, workspace)
            }
            Metric::SquaredEuclidean => triplet(
                loss.with_distance(SquaredEuclidean),
                views,
                wanted,
                workspace,
            ),
            Metric::Cosine => triplet(loss.with_distance(CosineDistance), views, wanted, workspace),
            Metric::User => triplet(loss.with_distance(UserDistance), views, wanted, workspace),
        }
    }

    pub(crate) fn info_nce(
        &self,
        options: InfoNceOptions,
        views: &Views<'_, A>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let log_temperature = views.parts.last().expect("five at most")[[]];
        let loss = InfoNceLoss::new(log_temperature.to_f64().expect("a float").exp())?
            .with_similarity(options.similarity)
            .with_in_batch_negatives(options.in_batch)
            .with_symmetric(options.symmetric)
            .with_reduction(self.reduction)?;
        let mut input = InfoNceInput::new(matrix(&views.parts[0]), matrix(&views.parts[1]));
        input.targets = match options.positives {
            Positives::Aligned => Targets::Aligned,
            Positives::Offset(offset) => Targets::Offset(offset),
            Positives::Index => Targets::Index(self.targets.view()),
        };
        input.negatives = options
            .negatives_part()
            .map(|part| cube(&views.parts[part]));
        input.pool = options.pool_part().map(|part| matrix(&views.parts[part]));
        input.weights = views.weights;
        let gradient = wanted.gradient.map(|mut parts| InfoNceGradient {
            queries: parts[0].take().map(matrix_mut),
            documents: parts[1].take().map(matrix_mut),
            negatives: options
                .negatives_part()
                .and_then(|part| parts[part].take())
                .map(cube_mut),
            pool: options
                .pool_part()
                .and_then(|part| parts[part].take())
                .map(matrix_mut),
            log_temperature: parts.pop().flatten().map(|part| {
                let scalar = part.into_dimensionality::<Ix0>().expect("no axes");
                scalar.into_scalar()
            }),
            bias: None,
        });
        let want = Want {
            gradient,
            rows: wanted.rows,
            report: None,
        };
        loss.evaluate(input, want, workspace)
    }
}

fn triplet<A: Scalar, D: Distance<A>>(
    loss: TripletMarginLoss<D>,
    views: &Views<'_, A>,
    wanted: Wanted<'_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    let (anchor, positive) = (matrix(&views.parts[0]), matrix(&views.parts[1]));
    let mut input = TripletMarginInput::with_negatives(anchor, positive, cube(&views.parts[2]));
    input.weights = views.weights;
    let gradient = wanted.gradient.map(|parts| {
        let [anchor, positive, negatives] = exactly(parts);
        TripletMarginGradient {
            anchor: anchor.map(matrix_mut),
            positive: positive.map(matrix_mut),
            negatives: negatives.map(cube_mut),
        }
    });
    let want = Want {
        gradient,
        rows: wanted.rows,
        report: None,
    };
    loss.evaluate(input, want, workspace)
}

pub(super) fn exactly<T, const N: usize>(parts: Vec<T>) -> [T; N] {
    let count = parts.len();
    parts.try_into().unwrap_or_else(|_| panic!("{count} parts"))
}

pub(super) fn matrix<'a, A>(part: &ArrayViewD<'a, A>) -> ArrayView2<'a, A> {
    part.clone().into_dimensionality::<Ix2>().expect("two axes")
}

fn cube<'a, A>(part: &ArrayViewD<'a, A>) -> ArrayView3<'a, A> {
    part.clone()
        .into_dimensionality::<Ix3>()
        .expect("three axes")
}

pub(super) fn matrix_mut<A>(part: ArrayViewMutD<'_, A>) -> ArrayViewMut2<'_, A> {
    part.into_dimensionality::<Ix2>().expect("two axes")
}

fn cube_mut<A>(part: ArrayViewMutD<'_, A>) -> ArrayViewMut3<'_, A> {
    part.into_dimensionality::<Ix3>().expect("three axes")
}
