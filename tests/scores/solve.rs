//! The crate's answer to a case, in any element type and memory layout.

use contrastive::{
    Csr, DenseScores, DistillationGradient, DistillationInput, DistillationLoss, Loss, M3Gradient,
    M3Input, M3Loss, MarginMseGradient, MarginMseInput, MarginMseLoss, MaxSim, Positives, Scalar,
    ScoreFunction, Sides, SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput,
    SoftmaxCrossEntropyLoss, SparseDot, TeacherMargins, Tokens, Want, Workspace,
};
use ndarray::{
    Array1, Array2, ArrayD, ArrayView1, ArrayView2, ArrayViewD, ArrayViewMut1, ArrayViewMut2,
    ArrayViewMutD, Ix0, Ix1, Ix2, s,
};

use crate::case::{Case, HeadWeights, Kind};
use crate::layout::{Laid, Layout};

/// What nothing computes, so that a gap that was written shows.
const SENTINEL: f64 = 12_345.0;

#[derive(Clone, Debug)]
pub(crate) struct Outcome<A> {
    pub(crate) value: A,
    pub(crate) rows: Array1<A>,
    /// Of a score function, whose value is the test's own sum of them.
    pub(crate) scores: Option<ArrayD<A>>,
    pub(crate) gradient: Vec<ArrayD<A>>,
}

impl<A: Scalar> Outcome<A> {
    pub(crate) fn bits(&self) -> Vec<(u64, i16, i8)> {
        let gradient = self.gradient.iter().flatten();
        [&self.value]
            .into_iter()
            .chain(&self.rows)
            .chain(self.scores.iter().flatten())
            .chain(gradient)
            .map(|&x| crate::bits(x))
            .collect()
    }
}

pub(crate) fn narrow<A: Scalar>(array: &ArrayD<f64>) -> ArrayD<A> {
    array.mapv(|x| A::from(x).expect("a float"))
}

fn one<A>(part: ArrayViewD<'_, A>) -> ArrayView1<'_, A> {
    part.into_dimensionality::<Ix1>().expect("one axis")
}

fn two<A>(part: ArrayViewD<'_, A>) -> ArrayView2<'_, A> {
    part.into_dimensionality::<Ix2>().expect("two axes")
}

fn scalar<A>(part: ArrayViewMutD<'_, A>) -> &mut A {
    part.into_dimensionality::<Ix0>()
        .expect("no axes")
        .into_scalar()
}

fn vector<A>(part: ArrayViewMutD<'_, A>) -> ArrayViewMut1<'_, A> {
    part.into_dimensionality::<Ix1>().expect("one axis")
}

fn matrix<A>(part: ArrayViewMutD<'_, A>) -> ArrayViewMut2<'_, A> {
    part.into_dimensionality::<Ix2>().expect("two axes")
}

/// Integers and flags backwards in memory, for other layouts than the standard one.
fn laid<T: Copy>(array: &Array1<T>, layout: Layout) -> Array1<T> {
    if layout == Layout::Standard {
        array.clone()
    } else {
        let mut turned: Array1<T> = array.iter().rev().copied().collect();
        turned.invert_axis(ndarray::Axis(0));
        turned
    }
}

/// The arrays of a case as the crate gets them.
struct Arrays<A> {
    parts: Vec<Laid<A>>,
    constants: Vec<Laid<A>>,
    weights: Option<Array1<A>>,
    index: Vec<Array1<usize>>,
    left_out: Array2<bool>,
    masks: Vec<Array1<bool>>,
}

impl<A: Scalar> Arrays<A> {
    fn new(case: &Case, layout: Layout) -> Self {
        let sentinel = A::from(SENTINEL).expect("a float");
        let float = |array: &ArrayD<f64>| Laid::new(&narrow(array), layout, sentinel);
        let left_out = match layout {
            Layout::Standard => case.left_out.clone(),
            _ => case.left_out.t().to_owned().reversed_axes(),
        };
        Self {
            parts: case.parts.iter().map(float).collect(),
            constants: case.constants.iter().map(float).collect(),
            weights: case.weights.as_ref().map(|weights| {
                let weights = weights.mapv(|x| A::from(x).expect("a float"));
                laid(&weights, layout)
            }),
            index: case.index.iter().map(|index| laid(index, layout)).collect(),
            left_out,
            masks: case.masks.iter().map(|mask| laid(mask, layout)).collect(),
        }
    }

    fn positives(&self) -> Positives<'_> {
        match &self.index[..] {
            [targets] => Positives::Index(targets.view()),
            [offsets, indices, ..] => Positives::Lists {
                offsets: offsets.view(),
                indices: indices.view(),
            },
            [] => Positives::Aligned,
        }
    }

    fn left_out(&self, masked: bool) -> Option<ArrayView2<'_, bool>> {
        masked.then(|| self.left_out.view())
    }

    fn weights(&self) -> Option<ArrayView1<'_, A>> {
        self.weights.as_ref().map(|weights| weights.view())
    }
}

pub(crate) fn solve<A: Scalar>(case: &Case) -> Outcome<A> {
    solve_in(case, Layout::Standard, Layout::Standard)
}

/// Value, row losses and gradient, in buffers that held NaN.
pub(crate) fn solve_in<A: Scalar>(case: &Case, inputs: Layout, outputs: Layout) -> Outcome<A> {
    let arrays = Arrays::new(case, inputs);
    let sentinel = A::from(SENTINEL).expect("a float");
    let buffers = case
        .parts
        .iter()
        .map(|part| ArrayD::from_elem(part.raw_dim(), A::nan()));
    let mut gradient: Vec<_> = buffers
        .map(|buffer| Laid::new(&buffer, outputs, sentinel))
        .collect();
    let n = case.left_out.nrows();
    let mut rows = Array1::from_elem(2 * n, A::nan());
    let views = gradient
        .iter_mut()
        .map(|part| Some(part.view_mut()))
        .collect();
    let function = matches!(
        case.kind,
        Kind::Dense(_) | Kind::Sparse | Kind::MaxSim { .. }
    );
    let (value, scores) = if function {
        let out_layout = Laid::new(
            &ArrayD::from_elem(vec![n, case.left_out.ncols()], A::nan()),
            outputs,
            sentinel,
        );
        let (value, scores) = function_value(case, &arrays, views, out_layout);
        (value, Some(scores))
    } else {
        let rows = Some(rows.slice_mut(s![..;2]));
        (loss_value(case, &arrays, views, rows), None)
    };
    assert!(
        gradient.iter().all(Laid::gaps_are_untouched),
        "{outputs:?}: {:?}",
        case.kind
    );
    Outcome {
        value,
        rows: if function {
            Array1::zeros(0)
        } else {
            rows.slice(s![..;2]).to_owned()
        },
        scores,
        gradient: gradient.iter().map(|part| part.view().to_owned()).collect(),
    }
}

/// The value alone.
pub(crate) fn value<A: Scalar>(case: &Case) -> A {
    loss_value(
        case,
        &Arrays::new(case, Layout::Standard),
        case.parts.iter().map(|_| None).collect(),
        None,
    )
}

type Parts<'a, A> = Vec<Option<ArrayViewMutD<'a, A>>>;

fn loss_value<A: Scalar>(
    case: &Case,
    arrays: &Arrays<A>,
    gradient: Parts<'_, A>,
    rows: Option<ArrayViewMut1<'_, A>>,
) -> A {
    let part = |index: usize| arrays.parts[index].view();
    let mut gradient = gradient.into_iter();
    let mut next = || gradient.next().flatten();
    let mut workspace = Workspace::new();
    macro_rules! run {
        ($loss:expr, $input:expr, $gradient:expr) => {{
            let want = Want {
                gradient: Some($gradient),
                rows,
                report: None,
            };
            let loss = $loss.with_reduction(case.reduction).expect("in range");
            loss.evaluate($input, want, &mut workspace)
                .expect("well-formed")
        }};
    }
    match case.kind {
        Kind::Softmax {
            smoothing,
            form,
            masked,
            ..
        } => {
            let mut input =
                SoftmaxCrossEntropyInput::new(two(part(0))).with_positives(arrays.positives());
            (input.left_out, input.weights) = (arrays.left_out(masked), arrays.weights());
            let loss = SoftmaxCrossEntropyLoss::new(case.temperature()).expect("in range");
            let loss = loss
                .with_several_positives(form)
                .with_label_smoothing(smoothing)
                .expect("in range");
            let gradient = SoftmaxCrossEntropyGradient {
                scores: next().map(matrix),
                log_temperature: next().map(scalar),
            };
            run!(loss, input, gradient)
        }
        Kind::Distillation {
            temperatures: [student, teacher],
            divergence,
            squared,
            masked,
        } => {
            let constant = arrays.constants[0].view();
            let mut input = DistillationInput::new(two(part(0)), two(constant));
            (input.left_out, input.weights) = (arrays.left_out(masked), arrays.weights());
            let loss = DistillationLoss::new(student).expect("in range");
            let loss = loss.with_teacher_temperature(teacher).expect("in range");
            let loss = loss
                .with_divergence(divergence)
                .with_temperature_squared(squared);
            let gradient = DistillationGradient {
                student: next().map(matrix),
            };
            run!(loss, input, gradient)
        }
        Kind::MarginMse { margins } => {
            let constant = |index: usize| arrays.constants[index].view();
            let teacher = if margins {
                TeacherMargins::Margins(two(constant(0)))
            } else {
                TeacherMargins::Scores {
                    positive: one(constant(0)),
                    negatives: two(constant(1)),
                }
            };
            let mut input = MarginMseInput::new(one(part(0)), two(part(1)), teacher);
            input.weights = arrays.weights();
            let gradient = MarginMseGradient {
                positive: next().map(vector),
                negatives: next().map(matrix),
            };
            run!(MarginMseLoss::new(), input, gradient)
        }
        Kind::M3 {
            weights,
            distil,
            masked,
            ..
        } => {
            let mut input = M3Input::new(two(part(0)), two(part(1)), two(part(2)));
            input = input.with_positives(arrays.positives());
            (input.left_out, input.weights) = (arrays.left_out(masked), arrays.weights());
            let mut loss = M3Loss::new(case.temperature()).expect("in range");
            if let Some(HeadWeights { scores, losses }) = weights {
                loss = loss.with_score_weights(scores).expect("in range");
                loss = loss.with_loss_weights(losses).expect("in range");
            }
            let gradient = M3Gradient {
                dense: next().map(matrix),
                sparse: next().map(matrix),
                multi_vector: next().map(matrix),
                log_temperature: next().map(scalar),
            };
            run!(loss.with_self_distillation(distil), input, gradient)
        }
        _ => unreachable!("not a loss"),
    }
}

/// L = Σ upstream·s, and the scores s; writes the gradient.
fn function_value<A: Scalar>(
    case: &Case,
    arrays: &Arrays<A>,
    gradient: Parts<'_, A>,
    mut scores: Laid<A>,
) -> (A, ArrayD<A>) {
    let upstream = arrays.constants[0].view();
    let [queries, documents]: [_; 2] = gradient.try_into().unwrap_or_else(|_| panic!("two sides"));
    let part = |index: usize| arrays.parts[index].view();
    let index = |at: usize| arrays.index[at].view();
    {
        let scores = scores
            .view_mut()
            .into_dimensionality::<Ix2>()
            .expect("two axes");
        match case.kind {
            Kind::Dense(similarity) => {
                let (q, d) = (part(0), part(1));
                let input = Sides {
                    queries: two(q),
                    documents: two(d),
                };
                let to = Sides {
                    queries: queries.map(matrix),
                    documents: documents.map(matrix),
                };
                let function = DenseScores::new(similarity);
                function.forward(input, scores).expect("well-formed");
                function
                    .backward(input, two(upstream.clone()), to)
                    .expect("well-formed");
            }
            Kind::Sparse => {
                let input = Sides {
                    queries: Csr::new(index(0), index(1), one(part(0))),
                    documents: Csr::new(index(2), index(3), one(part(1))),
                };
                let to = Sides {
                    queries: queries.map(vector),
                    documents: documents.map(vector),
                };
                SparseDot.forward(input, scores).expect("well-formed");
                SparseDot
                    .backward(input, two(upstream.clone()), to)
                    .expect("well-formed");
            }
            Kind::MaxSim {
                mean,
                similarity,
                masked,
            } => {
                let tokens = |side: usize| {
                    let mut tokens = Tokens::new(two(part(side)), index(side));
                    tokens.attention_mask = masked.then(|| arrays.masks[side].view());
                    tokens
                };
                let input = Sides {
                    queries: tokens(0),
                    documents: tokens(1),
                };
                let to = Sides {
                    queries: queries.map(matrix),
                    documents: documents.map(matrix),
                };
                let function = if mean { MaxSim::mean() } else { MaxSim::sum() };
                let function = function.with_similarity(similarity);
                function.forward(input, scores).expect("well-formed");
                function
                    .backward(input, two(upstream.clone()), to)
                    .expect("well-formed");
            }
            _ => unreachable!("not a score function"),
        }
    }
    assert!(scores.gaps_are_untouched());
    let scores = scores.view().to_owned();
    let products = scores.iter().zip(&upstream).map(|(&s, &u)| s * u);
    let value = products.fold(A::zero(), |sum, x| sum + x);
    (value, scores)
}
