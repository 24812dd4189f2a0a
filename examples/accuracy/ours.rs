//! The crate's answer to a case.

use contrastive::{
    CosineDistance, CosineEmbeddingInput, CosineEmbeddingLoss, Distance as Metric, Error,
    InfoNceInput, InfoNceLoss, Loss, Lp, OwnedGradient, PairLabel, Reduction, Scalar,
    Similarity as Score, SquaredEuclidean, TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, concatenate, stack};

use crate::cases::{Case, Distance, Family, Form, SMOOTHING, Similarity, Softmax};
use crate::inputs::{Part, Type};

/// What has been computed for a case.
pub(crate) struct Found {
    /// The row losses, and the mean of the batch behind them; the mean alone for rows that repeat.
    pub(crate) losses: Vec<f64>,
    /// The gradient of the sum by each row of each part, one after the other; empty for rows that repeat.
    pub(crate) gradient: Vec<f64>,
}

pub(crate) fn found(case: Case) -> Found {
    match case.number {
        Type::F32 => answer::<f32>(case, |x| x as f32),
        Type::F64 => answer::<f64>(case, |x| x),
    }
}

fn answer<A: Scalar>(case: Case, narrow: impl Fn(f64) -> A) -> Found {
    let array = |part: Part| {
        let numbers = part.numbers.into_iter().map(&narrow).collect();
        Array2::from_shape_vec((part.rows, part.dim), numbers).expect("as many as it says")
    };
    let parts: Vec<Array2<A>> = case.parts().into_iter().map(array).collect();
    let views: Vec<_> = parts.iter().map(|part| repeat(part, case)).collect();
    match case.family {
        Family::Match => pairs(
            CosineEmbeddingLoss::new(0.0),
            PairLabel::Match,
            &views,
            case,
        ),
        Family::NoMatch => pairs(
            CosineEmbeddingLoss::new(-0.5),
            PairLabel::NoMatch,
            &views,
            case,
        ),
        Family::Triplet(distance, form) => match distance {
            Distance::Lp(p) => triplets(Lp::new(p).expect("p ≥ 1"), form, &views, case),
            Distance::SquaredEuclidean => triplets(SquaredEuclidean, form, &views, case),
            Distance::Cosine => triplets(CosineDistance, form, &views, case),
        },
        Family::InfoNce(similarity, softmax, temperature) => {
            let loss = InfoNceLoss::new(temperature)
                .expect("a temperature")
                .with_similarity(match similarity {
                    Similarity::Cosine => Score::Cosine,
                    Similarity::Dot => Score::Dot,
                })
                .with_symmetric(softmax == Softmax::Symmetric)
                .with_in_batch_negatives(softmax != Softmax::Given)
                .with_decoupled(softmax == Softmax::Decoupled);
            let loss = match softmax {
                Softmax::Smoothed => loss.with_label_smoothing(SMOOTHING).expect("a share"),
                _ => loss,
            };
            queries(loss, &views, &parts, case)
        }
    }
}

fn repeat<'a, A>(part: &'a Array2<A>, case: Case) -> ArrayView2<'a, A> {
    case.input.repeated().map_or(part.view(), |rows| {
        part.broadcast((rows, part.ncols())).expect("one row")
    })
}

fn pairs<A: Scalar>(
    loss: Result<CosineEmbeddingLoss, Error>,
    label: PairLabel,
    views: &[ArrayView2<'_, A>],
    case: Case,
) -> Found {
    let loss = loss.expect("a margin");
    let label = Array1::from_elem(1, label);
    let labels = label.broadcast(views[0].nrows()).expect("one label");
    let input = CosineEmbeddingInput::new(views[0], views[1], labels);
    let mean = || -> Result<A, Error> { loss.forward(input) };
    if case.input.repeated().is_some() {
        return Found::mean(mean());
    }
    let sum = loss.with_reduction(Reduction::Sum).expect("no divisor");
    let (rows, gradient) = rows_and_gradient::<A, _>(&sum, input, views[0].nrows());
    Found::new(rows, mean(), &[gradient.x.view(), gradient.y.view()])
}

fn triplets<A: Scalar, D: Metric<A> + Copy>(
    distance: D,
    form: Form,
    views: &[ArrayView2<'_, A>],
    case: Case,
) -> Found {
    let loss = match form {
        Form::Soft => TripletMarginLoss::soft(1.0),
        _ => TripletMarginLoss::new(1.0),
    };
    let loss = loss
        .expect("a margin")
        .with_distance(distance)
        .with_swap(form == Form::Swap);
    let input = TripletMarginInput::new(views[0], views[1], views[2]);
    let mean = || -> Result<A, Error> { loss.forward(input) };
    if case.input.repeated().is_some() {
        return Found::mean(mean());
    }
    let sum = loss.with_reduction(Reduction::Sum).expect("no divisor");
    let (rows, gradient) = rows_and_gradient::<A, _>(&sum, input, views[0].nrows());
    let negatives = gradient.negatives.index_axis(Axis(1), 0);
    Found::new(
        rows,
        mean(),
        &[gradient.anchor.view(), gradient.positive.view(), negatives],
    )
}

fn queries<A: Scalar>(
    loss: InfoNceLoss,
    views: &[ArrayView2<'_, A>],
    parts: &[Array2<A>],
    case: Case,
) -> Found {
    let mut input = InfoNceInput::new(views[0], views[1]);
    let own: Array3<A>;
    if let [_, _, first, second, _] = parts {
        own = stack(Axis(1), &[first.view(), second.view()]).expect("of one shape");
        let shape = (views[0].nrows(), 2, own.dim().2);
        input = input.with_negatives(own.broadcast(shape).expect("one row, or all"));
        input = input.with_pool(parts[4].view());
    }
    let mean = || -> Result<A, Error> { loss.forward(input) };
    if case.input.repeated().is_some() {
        return Found::mean(mean());
    }
    let sum = loss.with_reduction(Reduction::Sum).expect("no divisor");
    let (rows, gradient) = rows_and_gradient::<A, _>(&sum, input, views[0].nrows());
    let mut all = vec![gradient.queries.view(), gradient.documents.view()];
    if let Some(negatives) = &gradient.negatives {
        all.extend(negatives.axis_iter(Axis(1)));
    }
    all.extend(gradient.pool.as_ref().map(|pool| pool.view()));
    Found::new(rows, mean(), &all)
}

fn rows_and_gradient<A: Scalar, L: Loss<A>>(
    loss: &L,
    input: L::Input<'_>,
    n: usize,
) -> (Array1<A>, L::OwnedGradient) {
    let mut rows = Array1::zeros(n);
    let mut gradient = L::OwnedGradient::zeros(input);
    let want = Want::gradient(gradient.view_mut()).with_rows(rows.view_mut());
    loss.evaluate(input, want, &mut Workspace::new())
        .expect("a batch of one shape");
    (rows, gradient)
}

impl Found {
    fn new<A: Scalar>(
        rows: Array1<A>,
        mean: Result<A, Error>,
        gradient: &[ArrayView2<'_, A>],
    ) -> Self {
        let wide = |x: &A| x.to_f64().expect("a float");
        let mut losses: Vec<f64> = rows.iter().map(wide).collect();
        losses.extend(Self::mean(mean).losses);
        let gradient = concatenate(Axis(0), gradient).expect("of one width");
        Self {
            losses,
            gradient: gradient.iter().map(wide).collect(),
        }
    }

    fn mean<A: Scalar>(mean: Result<A, Error>) -> Self {
        let mean = mean.expect("a batch of one shape");
        Self {
            losses: vec![mean.to_f64().expect("a float")],
            gradient: Vec::new(),
        }
    }
}
