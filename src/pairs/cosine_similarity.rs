//! Cosine similarity loss: the cosine of a pair as large as its grade.

use super::input::{PairGradient, PairInput, PairOwnedGradient, Wanted, check_grades};
use super::pass::{CosineOfPair, Pass, Term, Views};
use crate::error::Error;
use crate::loss::{Loss, Want};
use crate::prefixes::{PairViews, Prefix, Prefixes};
use crate::reduction::Reduction;
use crate::rows::{self, RowLoss};
use crate::scalar::Scalar;
use crate::similarity::Cosine;
use crate::workspace::Workspace;

/// Brings the cosine of each pair to its grade, by the squared difference.
///
/// With c = cos(x, y) and the grade g of each row of x and y `[n, dim]`: ℓ = (c − g)².
///
/// Gradient: ∂ℓ/∂x = 2(c − g) ∂c/∂x with ∂c/∂x = (y − (x·y/‖x‖²)·x) / (‖x‖‖y‖), and with x and y exchanged.
///
/// Grades are usually in [0, 1] or [−1, 1]; any finite number is taken, another is an error. Near c = 1 the difference c − g is taken from 1 − c,
/// which is known to its own digits. A zero row has c = 0 and gradient 0. NaN or infinity in a row gives NaN.
///
/// Source: sentence-transformers' `CosineSimilarityLoss` with its default, `MSELoss`. [`CoSentLoss`](crate::CoSentLoss) asks only for the order of
/// the grades.
///
/// ```
/// use contrastive::{CosineSimilarityLoss, Loss, PairInput};
/// use ndarray::array;
///
/// let x = array![[3.0, 4.0], [3.0, 4.0]];
/// let y = array![[1.0, 0.0], [0.0, 2.0]];
/// let grades = array![1.0, 0.5];
/// let input = PairInput::new(x.view(), y.view(), grades.view());
///
/// let (value, gradient) = CosineSimilarityLoss::new().value_and_gradient(input)?;
/// assert!((value - 0.125_f64).abs() < 1e-15); // ((0.6 − 1)² + (0.8 − 0.5)²) / 2
/// assert!((gradient.x[[0, 0]] - -0.0512).abs() < 1e-15); // 2 (0.6 − 1) (1 − 0.12·3) / 5 / 2
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::CosineSimilarity")
)]
pub struct CosineSimilarityLoss {
    reduction: Reduction,
}

impl CosineSimilarityLoss {
    /// The mean of the squared differences.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the row losses become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
        })
    }
}

/// What a batch of graded pairs looked like. A mean over no pairs is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CosineSimilarityReport {
    /// The mean cosine.
    pub cosine: f64,
    /// The mean of |c − g|.
    pub absolute_error: f64,
}

impl<A: Scalar> Loss<A> for CosineSimilarityLoss {
    type Input<'a> = PairInput<'a, A, A>;
    type Gradient<'a> = PairGradient<'a, A>;
    type OwnedGradient = PairOwnedGradient<A, A>;
    type Report = CosineSimilarityReport;

    fn evaluate(
        &self,
        input: PairInput<'_, A, A>,
        want: Want<'_, A, PairGradient<'_, A>, CosineSimilarityReport>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::cosine_similarity(self, input, want, workspace)
    }
}

pub(crate) fn evaluate<A: Scalar>(
    loss: &CosineSimilarityLoss,
    input: PairInput<'_, A, A>,
    want: Wanted<'_, '_, A, CosineSimilarityReport>,
    _: &mut Workspace<A>,
) -> Result<A, Error> {
    input.check(loss.reduction, &want)?;
    check_grades(input.labels)?;
    Ok(run(&pass(input), loss.reduction, input, want))
}

/// The weighted sum over prefixes of the input; `None`, and `want` as it was, where they are not passed over together.
pub(crate) fn evaluate_prefixes<A: Scalar>(
    loss: &CosineSimilarityLoss,
    input: &PairInput<'_, A, A>,
    prefixes: &[(PairInput<'_, A, A>, f64)],
    want: &mut Wanted<'_, '_, A, CosineSimilarityReport>,
) -> Result<Option<A>, Error> {
    input.check(loss.reduction, want)?;
    check_grades(input.labels)?;
    let passes = prefixes.iter().map(|&(input, weight)| Prefix {
        columns: input.x.ncols(),
        pass: pass(input),
        weight,
    });
    let Some(passes) = Prefixes::<_, PairViews>::new(loss.reduction, passes) else {
        return Ok(None);
    };
    let mut want = want.take();
    if let Some(gradient) = &mut want.gradient {
        gradient.clear_beyond(passes.columns());
    }
    Ok(Some(run(&passes, loss.reduction, *input, want)))
}

fn pass<'a, A: Scalar>(
    input: PairInput<'a, A, A>,
) -> Pass<'a, A, CosineOfPair, impl Fn(usize, Cosine<A::Real>) -> Term + Sync> {
    Pass {
        x: input.x,
        y: input.y,
        measure: CosineOfPair,
        term: move |row: usize, pair: Cosine<A::Real>| {
            let rest = residual(pair.cosine, pair.distance, input.labels[row].wide());
            Term {
                loss: rest * rest,
                slope: 2.0 * rest,
                tally: [pair.cosine, rest.abs(), 0.0, 0.0],
            }
        },
    }
}

/// A pass over input that has been checked.
fn run<'g, A: Scalar>(
    pass: &impl RowLoss<A, Views<'g, A>>,
    reduction: Reduction,
    input: PairInput<'_, A, A>,
    want: Wanted<'_, 'g, A, CosineSimilarityReport>,
) -> A {
    let (value, totals) = rows::evaluate(
        pass,
        input.extent(),
        reduction,
        input.weights,
        want.gradient.map(|gradient| (gradient.x, gradient.y)),
        want.rows,
    );
    if let Some(report) = want.report {
        let [cosine, error, ..] = totals.tally.map(|sum| sum / input.x.nrows() as f64);
        *report = CosineSimilarityReport {
            cosine,
            absolute_error: error,
        };
    }
    value
}

/// c − g, where c is large from 1 − c: the difference to a grade near 1 keeps its digits.
fn residual(cosine: f64, distance: f64, grade: f64) -> f64 {
    if cosine > 0.5 {
        (1.0 - grade) - distance
    } else {
        cosine - grade
    }
}
