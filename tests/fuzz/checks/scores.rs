//! Calls of the losses over scores.

use contrastive::{
    DistillationGradient, DistillationInput, DistillationLoss, Divergence, Error, Loss, M3Gradient,
    M3Input, M3Loss, M3Weights, MarginMseGradient, MarginMseInput, MarginMseLoss, Positives,
    Scalar, SeveralPositives, SoftmaxCrossEntropyGradient, SoftmaxCrossEntropyInput,
    SoftmaxCrossEntropyLoss, TeacherMargins, Want, Workspace,
};
use ndarray::{Array1, Array2, ArrayD, ArrayView1, ArrayViewD};

use super::bytes::Bytes;
use super::call::{
    Call, Nearness, Shapes, Wanted, add, largest, line, line_mut, matrix, matrix_mut, number_mut,
    reach,
};
use super::targets::{index, offsets};

#[derive(Debug)]
pub(crate) struct Scores {
    kind: Kind,
    /// What scores are multiplied with.
    factor: f64,
    reach: f64,
    positives: Chosen,
    left_out: Option<Array2<bool>>,
    /// Scores first, those of the student before those of the teacher.
    shapes: Shapes,
    weights: Option<usize>,
    report: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    CrossEntropy(SoftmaxCrossEntropyLoss),
    Distillation(DistillationLoss),
    Margins { loss: MarginMseLoss, given: bool },
    M3(M3Loss),
}

/// The arrays of [`Positives`].
#[derive(Debug)]
enum Chosen {
    Aligned,
    Offset(usize),
    Index(Array1<usize>),
    Lists([Array1<usize>; 2]),
}

impl Chosen {
    fn from(bytes: &mut Bytes<'_>, n: usize, m: usize) -> Self {
        match bytes.below(4) {
            0 => Self::Offset(match bytes.byte() {
                255 => usize::MAX,
                byte => usize::from(byte) % (m.saturating_sub(n) + 1),
            }),
            1 => Self::Index(index(bytes, n, m)),
            2 => {
                let total = bytes.length();
                let offsets = offsets(bytes, n, total);
                let step = 1 + bytes.below(3);
                let first = bytes.below(m.max(1));
                // They rise but where they wrap.
                let indices = (0..total).map(|at| (first + step * at) % m.max(1));
                Self::Lists([offsets, indices.collect()])
            }
            _ => Self::Aligned,
        }
    }

    fn view(&self) -> Positives<'_> {
        match self {
            Self::Aligned => Positives::Aligned,
            Self::Offset(offset) => Positives::Offset(*offset),
            Self::Index(index) => Positives::Index(index.view()),
            Self::Lists([offsets, indices]) => Positives::Lists {
                offsets: offsets.view(),
                indices: indices.view(),
            },
        }
    }
}

fn weights_of_heads(bytes: &mut Bytes<'_>) -> M3Weights {
    let [dense, sparse, multi_vector] = [(); 3].map(|()| bytes.parameter(&[1.0, 0.3, 0.0, 10.0]));
    M3Weights {
        dense,
        sparse,
        multi_vector,
    }
}

impl Scores {
    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let (reduction, divisor) = bytes.reduction();
        let temperature = bytes.parameter(&[1.0, 0.05, 0.5, 10.0, 1e-3]);
        let of_teacher = bytes.parameter(&[1.0, 0.1, 4.0]);
        let (n, m) = (bytes.length(), bytes.length());
        let mut reached = reach([temperature, of_teacher, divisor]);
        let mut factor = 1.0 / temperature;
        let (kind, scores, wanted) = match bytes.below(4) {
            0 => {
                let several = [SeveralPositives::Together, SeveralPositives::Apart];
                let loss = SoftmaxCrossEntropyLoss::new(temperature)?
                    .with_several_positives(bytes.one_of(&several))
                    .with_label_smoothing(bytes.parameter(&[0.0, 0.0, 0.1, 1.0]))?
                    .with_reduction(reduction)?;
                (Kind::CrossEntropy(loss), vec![vec![n, m]], vec![vec![n, m]])
            }
            1 => {
                let divergences = [Divergence::KullbackLeibler, Divergence::CrossEntropy];
                let squared = bytes.flag();
                let loss = DistillationLoss::new(temperature)?
                    .with_teacher_temperature(of_teacher)?
                    .with_divergence(bytes.one_of(&divergences))
                    .with_temperature_squared(squared)
                    .with_reduction(reduction)?;
                factor += 1.0 / of_teacher;
                if squared {
                    factor *= 1.0 + temperature * temperature;
                }
                let teacher = vec![bytes.about(n), bytes.about(m)];
                (
                    Kind::Distillation(loss),
                    vec![vec![n, m], teacher],
                    vec![vec![n, m]],
                )
            }
            2 => {
                let loss = MarginMseLoss::new().with_reduction(reduction)?;
                let given = bytes.flag();
                let mut scores = vec![vec![bytes.about(n), m], vec![n], vec![n, bytes.about(m)]];
                add(&mut scores, !given, || vec![bytes.about(n)]);
                (
                    Kind::Margins { loss, given },
                    scores,
                    vec![vec![n], vec![n, m]],
                )
            }
            _ => {
                let (scores, losses) = (weights_of_heads(bytes), weights_of_heads(bytes));
                let loss = M3Loss::new(temperature)?
                    .with_score_weights(scores)?
                    .with_loss_weights(losses)?
                    .with_self_distillation(bytes.flag())
                    .with_reduction(reduction)?;
                for head in [scores, losses] {
                    let of_heads = [head.dense, head.sparse, head.multi_vector];
                    reached = reached.max(reach(of_heads));
                    factor *= 1.0 + of_heads.iter().sum::<f64>();
                }
                let heads = vec![vec![n, m], vec![bytes.about(n), m], vec![n, bytes.about(m)]];
                (Kind::M3(loss), heads, vec![vec![n, m]; 3])
            }
        };
        let mut inputs = scores;
        let [weighted, masked, slopes] = [(); 3].map(|()| bytes.flag());
        let weights = add(&mut inputs, weighted, || vec![bytes.about(n)]);
        let mut gradients = bytes.wanted(&wanted);
        gradients.push(slopes.then(Vec::new));
        let mask = [bytes.about(n), bytes.about(m)];
        Ok(Self {
            kind,
            factor,
            reach: reached,
            positives: Chosen::from(bytes, n, m),
            left_out: masked.then(|| bytes.filled(mask, |bytes| bytes.below(3) == 0)),
            shapes: Shapes {
                inputs,
                gradients,
                rows: bytes.about(n),
            },
            weights,
            report: bytes.flag(),
        })
    }

    /// A loss on its input, with a report if there is to be one.
    fn report<A: Scalar, L: Loss<A, Report: Default>>(
        &self,
        loss: L,
        input: L::Input<'_>,
        want: Want<'_, A, L::Gradient<'_>, L::Report>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let mut report = L::Report::default();
        let report = self.report.then_some(&mut report);
        loss.evaluate(input, Want { report, ..want }, workspace)
    }

    fn weights<'a, A>(&self, inputs: &[ArrayViewD<'a, A>]) -> Option<ArrayView1<'a, A>> {
        self.weights.map(|slot| line(&inputs[slot]))
    }
}

impl Call for Scores {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let mut parts = wanted.gradients.into_iter();
        let some = parts.len() > 0;
        let mut next = || parts.next().flatten();
        let (rows, report) = (wanted.rows, None);
        match self.kind {
            Kind::CrossEntropy(loss) => {
                let mut input = SoftmaxCrossEntropyInput::new(matrix(&inputs[0]))
                    .with_positives(self.positives.view());
                input.left_out = self.left_out.as_ref().map(|mask| mask.view());
                input.weights = self.weights(inputs);
                let gradient = some.then(|| SoftmaxCrossEntropyGradient {
                    scores: next().map(matrix_mut),
                    log_temperature: next().map(number_mut),
                });
                let want = Want {
                    gradient,
                    rows,
                    report: None,
                };
                self.report(loss, input, want, workspace)
            }
            Kind::Distillation(loss) => {
                let mut input = DistillationInput::new(matrix(&inputs[0]), matrix(&inputs[1]));
                input.left_out = self.left_out.as_ref().map(|mask| mask.view());
                input.weights = self.weights(inputs);
                let gradient = some.then(|| DistillationGradient {
                    student: next().map(matrix_mut),
                });
                let want = Want {
                    gradient,
                    rows,
                    report,
                };
                self.report(loss, input, want, workspace)
            }
            Kind::Margins { loss, given } => {
                let margins = matrix(&inputs[2]);
                let teacher = if given {
                    TeacherMargins::Margins(margins)
                } else {
                    TeacherMargins::Scores {
                        positive: line(&inputs[3]),
                        negatives: margins,
                    }
                };
                let mut input = MarginMseInput::new(line(&inputs[1]), matrix(&inputs[0]), teacher);
                input.weights = self.weights(inputs);
                let gradient = some.then(|| MarginMseGradient {
                    positive: next().map(line_mut),
                    negatives: next().map(matrix_mut),
                });
                let want = Want {
                    gradient,
                    rows,
                    report: None,
                };
                self.report(loss, input, want, workspace)
            }
            Kind::M3(loss) => {
                let [dense, sparse, multi_vector] = [0, 1, 2].map(|slot| matrix(&inputs[slot]));
                let mut input =
                    M3Input::new(dense, sparse, multi_vector).with_positives(self.positives.view());
                input.left_out = self.left_out.as_ref().map(|mask| mask.view());
                input.weights = self.weights(inputs);
                let gradient = some.then(|| M3Gradient {
                    dense: next().map(matrix_mut),
                    sparse: next().map(matrix_mut),
                    multi_vector: next().map(matrix_mut),
                    log_temperature: next().map(number_mut),
                });
                let want = Want {
                    gradient,
                    rows,
                    report: None,
                };
                self.report(loss, input, want, workspace)
            }
        }
    }

    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness {
        let scores = self.weights.unwrap_or(inputs.len());
        let size = largest(&inputs[..scores]);
        let size = match self.kind {
            Kind::Margins { .. } => (1.0 + 4.0 * size) * (1.0 + 4.0 * size),
            _ => 1.0 + self.factor * size,
        };
        Nearness {
            reach: self.reach,
            degree: 1.0,
            row: Some(1e-11 * (1.0 + self.factor) * size),
        }
    }
}
