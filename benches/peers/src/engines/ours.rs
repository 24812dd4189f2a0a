//! The crate itself, with gradient buffers that are reused or allocated afresh at each call.

use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, OwnedGradient,
    PairLabel, TripletMarginInput, TripletMarginLoss, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayD};

use super::{Opened, Session};
use crate::case::{COSINE_MARGIN, Case, TEMPERATURE, TRIPLET_MARGIN, Work};
use crate::inputs::{Arrays, Number, matches};

/// What all sessions share: the last gradient and what is reused between calls.
struct Calls<A: Number, L: Loss<A>> {
    loss: L,
    backward: bool,
    fresh: bool,
    gradient: Option<L::OwnedGradient>,
    workspace: Workspace<A>,
}

impl<A: Number, L: Loss<A>> Calls<A, L> {
    fn new(loss: L, case: &Case, fresh: bool) -> Self {
        Self {
            loss,
            backward: case.backward,
            fresh,
            gradient: None,
            workspace: Workspace::new(),
        }
    }

    /// One timed call. Without `fresh` the first one allocates the gradient.
    fn call(&mut self, input: L::Input<'_>) -> f64 {
        if self.fresh {
            let (value, gradient) = self.loss.value_and_gradient(input).expect("a valid batch");
            self.gradient = Some(gradient);
            return value.into_double();
        }
        let want = if self.backward {
            let zeros = || L::OwnedGradient::zeros(input);
            Want::gradient(self.gradient.get_or_insert_with(zeros).view_mut())
        } else {
            Want::value()
        };
        let value = self.loss.evaluate(input, want, &mut self.workspace);
        value.expect("a valid batch").into_double()
    }

    fn release(&mut self) {
        if self.fresh {
            self.gradient = None;
        }
    }
}

pub fn open<A: Number>(case: &Case, arrays: Arrays<A>, fresh: bool) -> Opened {
    if fresh && !case.backward {
        return Err("no gradients".into());
    }
    let mut arrays = arrays.into_iter();
    let mut next = || arrays.next();
    let session: Box<dyn Session> = match case.work {
        Work::CosineEmbedding => Box::new(CosineEmbedding {
            x: matrix(next()),
            y: matrix(next()),
            labels: (0..case.rows)
                .map(|row| PairLabel::from(matches(row)))
                .collect(),
            calls: Calls::new(
                CosineEmbeddingLoss::new(COSINE_MARGIN).expect("a valid margin"),
                case,
                fresh,
            ),
        }),
        Work::TripletMargin => Box::new(TripletMargin {
            anchor: matrix(next()),
            positive: matrix(next()),
            negative: matrix(next()),
            calls: Calls::new(
                TripletMarginLoss::new(TRIPLET_MARGIN).expect("a valid margin"),
                case,
                fresh,
            ),
        }),
        _ => Box::new(InfoNce {
            queries: matrix(next()),
            documents: matrix(next()),
            negatives: next().map(|negatives| negatives.into_dimensionality().expect("[n, K, D]")),
            calls: Calls::new(info_nce_loss(case.work), case, fresh),
        }),
    };
    Ok(session)
}

fn info_nce_loss(work: Work) -> InfoNceLoss {
    InfoNceLoss::new(TEMPERATURE)
        .expect("a valid temperature")
        .with_in_batch_negatives(work != Work::InfoNceOwnNegatives)
        .with_symmetric(work == Work::InfoNceSymmetric)
}

fn matrix<A>(array: Option<ArrayD<A>>) -> Array2<A> {
    let array = array.expect("every loss has this input");
    array.into_dimensionality().expect("[n, D]")
}

fn wide<'a, A: Number>(numbers: impl IntoIterator<Item = &'a A>) -> Vec<f64> {
    numbers
        .into_iter()
        .map(|number| number.into_double())
        .collect()
}

struct CosineEmbedding<A: Number> {
    x: Array2<A>,
    y: Array2<A>,
    labels: Array1<PairLabel>,
    calls: Calls<A, CosineEmbeddingLoss>,
}

impl<A: Number> Session for CosineEmbedding<A> {
    fn step(&mut self) -> f64 {
        let input = CosineEmbeddingInput::new(self.x.view(), self.y.view(), self.labels.view());
        self.calls.call(input)
    }

    fn release(&mut self) {
        self.calls.release();
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let gradient = self.calls.gradient.iter();
        gradient.flat_map(|g| [wide(&g.x), wide(&g.y)]).collect()
    }
}

struct TripletMargin<A: Number> {
    anchor: Array2<A>,
    positive: Array2<A>,
    negative: Array2<A>,
    calls: Calls<A, TripletMarginLoss>,
}

impl<A: Number> Session for TripletMargin<A> {
    fn step(&mut self) -> f64 {
        let input = TripletMarginInput::new(
            self.anchor.view(),
            self.positive.view(),
            self.negative.view(),
        );
        self.calls.call(input)
    }

    fn release(&mut self) {
        self.calls.release();
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let gradient = self.calls.gradient.iter();
        gradient
            .flat_map(|g| [wide(&g.anchor), wide(&g.positive), wide(&g.negatives)])
            .collect()
    }
}

struct InfoNce<A: Number> {
    queries: Array2<A>,
    documents: Array2<A>,
    negatives: Option<Array3<A>>,
    calls: Calls<A, InfoNceLoss>,
}

impl<A: Number> Session for InfoNce<A> {
    fn step(&mut self) -> f64 {
        let mut input = InfoNceInput::new(self.queries.view(), self.documents.view());
        if let Some(negatives) = &self.negatives {
            input = input.with_negatives(negatives.view());
        }
        self.calls.call(input)
    }

    fn release(&mut self) {
        self.calls.release();
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let Some(gradient) = &self.calls.gradient else {
            return Vec::new();
        };
        let negatives = gradient.negatives.iter().map(wide);
        [wide(&gradient.queries), wide(&gradient.documents)]
            .into_iter()
            .chain(negatives)
            .collect()
    }
}
