//! The losses of pairs: the crate's calls, and references from the formulas.

use contrastive::{
    AngleLoss, CoSentLoss, ContrastiveLoss, CosineDistance, CosineSimilarityLoss, Distance, Error,
    Loss, Lp, PairGradient, PairInput, PairLabel, PairOwnedGradient, Scalar, SquaredEuclidean,
    Want, Workspace,
};
use ndarray::Array1;

use super::answer::{exactly, matrix, matrix_mut};
use super::naive::{cosine, distance, dot, near, near_inactive, row_of};
use super::options::UserDistance;
use super::{ContrastiveOptions, Metric, Options, PairOptions, Problem, Views, Wanted};

impl<A: Scalar> Problem<A> {
    /// The grade of a pair, between 0 and 1, with ties.
    pub(crate) fn grade(&self, row: usize) -> f64 {
        ((7 * row + (self.seed % 5) as usize) % 5) as f64 / 4.0
    }

    fn grades(&self) -> Array1<A> {
        let grade = |row| A::from(self.grade(row)).expect("a float");
        Array1::from_shape_fn(self.labels.len(), grade)
    }

    pub(super) fn pair(
        &self,
        options: PairOptions,
        views: &Views<'_, A>,
        mut wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        // A loss that ranks has no row losses; those of the references are 0. Nothing is written before the call has succeeded.
        let no_rows = self.options.ranks().then(|| wanted.rows.take()).flatten();
        let value = self.pair_loss(options, views, wanted, workspace)?;
        if let Some(mut rows) = no_rows {
            rows.fill(A::zero());
        }
        Ok(value)
    }

    fn pair_loss(
        &self,
        options: PairOptions,
        views: &Views<'_, A>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        match options {
            PairOptions::CosineSimilarity => {
                let loss = CosineSimilarityLoss::new().with_reduction(self.reduction)?;
                graded(self, loss, views, wanted, workspace)
            }
            PairOptions::Angle { scale } => {
                graded(self, AngleLoss::new(scale)?, views, wanted, workspace)
            }
            PairOptions::CoSent { scale, metric } => {
                let loss = CoSentLoss::new(scale)?;
                with_metric(metric, |distance| {
                    let loss = loss.with_distance(distance);
                    graded(self, loss, views, wanted, workspace)
                })?
            }
            PairOptions::Contrastive(options) => {
                let loss = contrastive_loss(options)?.with_reduction(self.reduction)?;
                with_metric(options.metric, |distance| {
                    let loss = loss.with_distance(distance);
                    evaluate(loss, self.labels.view(), views, wanted, workspace)
                })?
            }
        }
    }
}

pub(crate) fn contrastive_loss(options: ContrastiveOptions) -> Result<ContrastiveLoss, Error> {
    Ok(ContrastiveLoss::new(options.margin)?
        .with_positive_margin(options.positive_margin)?
        .with_linear(options.linear)
        .with_hard_pairs(options.hard_pairs))
}

/// Calls with the distance.
pub(crate) fn with_metric<A: Scalar, T>(
    metric: Metric,
    call: impl FnOnce(&dyn Distance<A>) -> T,
) -> Result<T, Error> {
    Ok(match metric {
        Metric::Lp { p, epsilon } => call(&Lp::new(p)?.with_epsilon(epsilon)?),
        Metric::SquaredEuclidean => call(&SquaredEuclidean),
        Metric::Cosine => call(&CosineDistance),
        Metric::User => call(&UserDistance),
    })
}

fn graded<A, L, R>(
    problem: &Problem<A>,
    loss: L,
    views: &Views<'_, A>,
    wanted: Wanted<'_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error>
where
    A: Scalar,
    L: for<'a> Loss<
            A,
            Input<'a> = PairInput<'a, A, A>,
            Gradient<'a> = PairGradient<'a, A>,
            OwnedGradient = PairOwnedGradient<A, A>,
            Report = R,
        >,
{
    let grades = problem.grades();
    evaluate(loss, grades.view(), views, wanted, workspace)
}

fn evaluate<A, T, L, R>(
    loss: L,
    labels: ndarray::ArrayView1<'_, T>,
    views: &Views<'_, A>,
    wanted: Wanted<'_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error>
where
    A: Scalar,
    T: Copy + 'static,
    L: for<'a> Loss<
            A,
            Input<'a> = PairInput<'a, A, T>,
            Gradient<'a> = PairGradient<'a, A>,
            OwnedGradient = PairOwnedGradient<A, T>,
            Report = R,
        >,
{
    let mut input = PairInput::new(matrix(&views.parts[0]), matrix(&views.parts[1]), labels);
    input.weights = views.weights;
    let gradient = wanted.gradient.map(|parts| {
        let [x, y] = exactly(parts);
        PairGradient {
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

/// The loss of a row; 0 where there are none.
pub(super) fn row(
    problem: &Problem<f64>,
    options: PairOptions,
    i: usize,
    clearance: &mut f64,
) -> f64 {
    match options {
        PairOptions::CosineSimilarity => {
            let [x, y] = rows_of(problem, i);
            let rest = cosine(&x, &y, 0.0) - problem.grade(i);
            near_inactive(problem, clearance, rest);
            rest.powi(2)
        }
        PairOptions::Contrastive(options) => contrastive_row(problem, options, i, clearance),
        PairOptions::CoSent { .. } | PairOptions::Angle { .. } => {
            similarity(problem, options, i, clearance);
            0.0
        }
    }
}

fn contrastive_row(
    problem: &Problem<f64>,
    options: ContrastiveOptions,
    i: usize,
    clearance: &mut f64,
) -> f64 {
    let of = |i: usize, clearance: &mut f64| {
        let [x, y] = rows_of(problem, i);
        distance(options.metric, &x, &y, clearance)
    };
    let d = of(i, clearance);
    let matches = problem.labels[i] == PairLabel::Match;
    let excess = if matches {
        d - options.positive_margin
    } else {
        options.margin - d
    };
    near(clearance, excess);
    if excess <= 0.0 {
        return 0.0;
    }
    if options.hard_pairs {
        let distances = |kind: PairLabel| -> Vec<f64> {
            let rows = 0..problem.rows();
            let asked = |&i: &usize| problem.weights.as_ref().is_none_or(|w| w[i] != 0.0);
            rows.filter(|&i| problem.labels[i] == kind)
                .filter(asked)
                .map(|i| of(i, &mut 0.0))
                .collect()
        };
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let (matching, others) = (distances(PairLabel::Match), distances(PairLabel::NoMatch));
        let (own, rivals) = if matches {
            (matching, others.iter().copied().reduce(f64::min))
        } else {
            (others, matching.iter().copied().reduce(f64::max))
        };
        let bound = rivals.unwrap_or_else(|| mean(&own));
        let hard = if matches { d > bound } else { d < bound };
        // The only pair of a batch is the mean itself, wherever it goes; and of pairs of weight 0 there is no mean. Other pairs at the bound may leave it:
        // with one column all distances of a cosine are 0 or 2.
        let is_the_mean = rivals.is_none() && own.len() == 1;
        if !is_the_mean && bound.is_finite() {
            near(clearance, d - bound);
        }
        if !hard && !bound.is_nan() {
            return 0.0;
        }
    }
    if options.linear {
        excess
    } else {
        0.5 * excess * excess
    }
}

/// log(1 + Σ wᵢwⱼ exp(scale·(sⱼ − sᵢ)))
pub(super) fn ranked(problem: &Problem<f64>, options: PairOptions) -> f64 {
    let scale = match options {
        PairOptions::CoSent { scale, .. } | PairOptions::Angle { scale } => scale,
        _ => panic!("a loss of rows"),
    };
    let n = problem.rows();
    let similarities: Vec<f64> = (0..n)
        .map(|i| similarity(problem, options, i, &mut 0.0))
        .collect();
    let weight = |i: usize| problem.weights.as_ref().map_or(1.0, |weights| weights[i]);
    let mut exponents = vec![0.0];
    for i in 0..n {
        for j in (0..n).filter(|&j| problem.grade(i) > problem.grade(j)) {
            let weight = weight(i) * weight(j);
            if weight > 0.0 {
                exponents.push(scale * (similarities[j] - similarities[i]) + weight.ln());
            }
        }
    }
    let largest = exponents.iter().copied().fold(0.0, f64::max);
    largest
        + exponents
            .iter()
            .map(|e| (e - largest).exp())
            .sum::<f64>()
            .ln()
}

fn similarity(problem: &Problem<f64>, options: PairOptions, i: usize, clearance: &mut f64) -> f64 {
    let [x, y] = rows_of(problem, i);
    match options {
        PairOptions::CoSent { metric, .. } => -distance(metric, &x, &y, clearance),
        _ => {
            let signed = signed_angle(&x, &y);
            near(clearance, signed);
            signed.abs()
        }
    }
}

/// Re h + Im h of the rows as complex numbers, of which the last may be real.
fn signed_angle(x: &[f64], y: &[f64]) -> f64 {
    let half = x.len().div_ceil(2);
    let imaginary = |row: &[f64], k: usize| row.get(half + k).copied().unwrap_or(0.0);
    let (mut re, mut im) = (0.0, 0.0);
    for k in 0..half {
        let (a, b, c, d) = (x[k], imaginary(x, k), y[k], imaginary(y, k));
        re += a * c + b * d;
        im += b * c - a * d;
    }
    let norms = dot(x, x).sqrt() * dot(y, y).sqrt();
    if norms == 0.0 { 0.0 } else { (re + im) / norms }
}

fn rows_of(problem: &Problem<f64>, i: usize) -> [Vec<f64>; 2] {
    [0, 1].map(|part| row_of(&problem.parts[part], &[i]))
}

/// All options of pairs that satisfy something.
pub(crate) fn those(list: Vec<Options>, of: impl Fn(PairOptions) -> bool) -> Vec<Options> {
    let some = |options: &Options| matches!(options, Options::Pair(options) if of(*options));
    list.into_iter().filter(some).collect()
}
