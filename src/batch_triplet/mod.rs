//! Triplet loss over a labelled batch: the triplets are found in the batch, by a strategy.

mod all;
mod backward;
mod forward;
mod groups;
mod input;
mod sampling;
mod select;
mod strategy;
mod totals;
mod weights;

pub use input::{
    BatchTripletGradient, BatchTripletInput, BatchTripletOwnedGradient, BatchTripletReport,
    Triplet, TripletCandidates,
};
pub use sampling::DistanceWeighted;
pub use strategy::TripletMining;

use crate::batch_distance::{BatchDistance, Panels, Side};
use crate::error::{Error, check};
use crate::loss::{Loss, Want};
use crate::reduction::Reduction;
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;
use forward::Pass;
use groups::Groups;
use ndarray::ArrayView1;
use totals::Totals;

/// Triplet loss over a labelled batch, value and gradient straight from the embeddings: the triplets are found in it.
///
/// Over the triplets T that a [strategy](TripletMining) finds among anchors and candidates, with d⁺ = d(a, p) and d⁻ = d(a, n):
///
/// * ℓ = max(0, margin + d⁺ − d⁻); soft: log(1 + exp(margin + d⁺ − d⁻))
/// * L = Σ_T w ℓ / Z, where w is the anchor's weight. Z by the [`Reduction`]: the weight of all triplets (`Mean`), of those with a loss that
///   is not zero (`MeanActive`), 1, or a given number
/// * [per anchor](Self::per_anchor): L = Σ_a w ℓ̄_a / Z with the mean ℓ̄ over the anchor's triplets, and Z counts anchors that have triplets
///
/// Gradient: ∂L/∂d⁺ = −∂L/∂d⁻ = w h / Z summed over the triplets of each pair, where h is 1 for an active triplet and 0 otherwise (the logistic
/// function of the exponent for the soft form); from there to the rows as for
/// [`TripletMarginLoss`](crate::TripletMarginLoss). Which triplets are found, and how many are active, is taken as constant.
///
/// Anchors `[n, dim]` are each other's candidates, or have candidates `[m, dim]` of their own: queries and documents with relevance by ids. The
/// row loss of an anchor is the sum over its triplets, the mean if counted per anchor, and 0 without triplets.
///
/// # Distances and memory
/// Distances come from a matrix product in the type of the rows, so they carry a few roundings of ‖x‖² + ‖y‖²; those that would
/// lose more to cancellation are measured from the rows, and so are those of the triplets where these are few. A batch of
/// all triplets keeps a weight for each pair, n·m numbers; the others need a row of distances at a time for each of 32 anchors (16 in `f64`),
/// unless positives are so many that a list would be longer. Rows that are each other's candidates have the distance of each pair computed once, in
/// advance, where half a matrix of distances fits 16 MiB and the limit of the workspace.
///
/// A pair of rows so near that it is measured, and any pair of an anchor whose weight is near the ends of the range of the rows' type, is listed and
/// not in the matrix: some fifty bytes more for each that weighs in. A batch of all triplets that has collapsed into one point lists all pairs.
///
/// # Edge cases
/// * No triplets at all (one class, singletons, a single row): value 0, gradient 0. No rows at all are an error for the means.
/// * Zero distance: gradient 0, where a bare square root has NaN. The kink of the hinge is inactive.
/// * NaN in a row: the loss of every anchor that has the row among its positives or negatives is NaN, and so is the value.
///
/// # Where the peers differ
/// sentence-transformers' batch-hard counts anchors without positives with d⁺ = 0, and anchors without negatives with the largest distance of their
/// row as d⁻; semi-hard likewise counts pairs without negatives with d⁻ = 0. Its divisors carry an ε of 1e-16, and its distances an absolute
/// error of up to some 3e-4 between near rows of norm 1 in `f32`. pytorch-metric-learning normalises embeddings by default: with
/// unit rows the results are those here.
///
/// ```
/// use contrastive::{BatchTripletInput, BatchTripletLoss, Loss, TripletMining};
/// use ndarray::array;
///
/// let (rows, labels) = (array![[0.0], [2.0], [3.0], [7.0]], array![5, 5, 8, 8]);
/// let input = BatchTripletInput::new(rows.view(), labels.view());
/// let loss = BatchTripletLoss::new(TripletMining::BatchHard, 1.0)?;
/// let (value, gradient) = loss.value_and_gradient(input)?;
///
/// // Anchor by anchor: 1 + 2 − 3 = 0, 1 + 2 − 1 = 2, 1 + 4 − 1 = 4, 1 + 4 − 5 = 0.
/// assert_eq!(value, 1.5);
/// // Row 0 is the positive of row 1, which is the negative of row 2, whose positive is row 3; by 1/4 each.
/// assert_eq!(gradient.anchors, array![[-0.25], [0.75], [-0.75], [0.25]]);
/// let triplets = loss.triplets(input)?;
/// assert_eq!((triplets[2].positive, triplets[2].negative), (3, 1));
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::BatchTriplet")
)]
pub struct BatchTripletLoss {
    strategy: TripletMining,
    margin: f64,
    soft: bool,
    distance: BatchDistance,
    per_anchor: bool,
    reduction: Reduction,
}

impl BatchTripletLoss {
    /// The hinge form with the Euclidean distance. The default margin of sentence-transformers is 5.
    ///
    /// # Errors
    /// If the margin is not positive and finite.
    pub fn new(strategy: TripletMining, margin: f64) -> Result<Self, Error> {
        let positive = margin > 0.0 && margin.is_finite();
        check("margin", "a positive, finite number", margin, positive)?;
        Ok(Self::with(strategy, margin, false))
    }

    /// The soft form log(1 + exp(margin + d⁺ − d⁻)). Its margin is usually 0.
    ///
    /// # Errors
    /// If the margin is not finite.
    pub fn soft(strategy: TripletMining, margin: f64) -> Result<Self, Error> {
        check("margin", "a finite number", margin, margin.is_finite())?;
        Ok(Self::with(strategy, margin, true))
    }

    fn with(strategy: TripletMining, margin: f64, soft: bool) -> Self {
        Self {
            strategy,
            margin,
            soft,
            distance: BatchDistance::default(),
            per_anchor: false,
            reduction: Reduction::default(),
        }
    }

    /// Another strategy, or another seed for the next step.
    #[must_use]
    pub fn with_strategy(self, strategy: TripletMining) -> Self {
        Self { strategy, ..self }
    }

    /// Another distance than the Euclidean one.
    #[must_use]
    pub fn with_distance(self, distance: BatchDistance) -> Self {
        Self { distance, ..self }
    }

    /// Whether every anchor counts once, with the mean of its triplets, instead of every triplet. Off by default.
    #[must_use]
    pub fn per_anchor(self, per_anchor: bool) -> Self {
        Self { per_anchor, ..self }
    }

    /// How the losses of triplets, or of anchors, become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
            ..self
        })
    }

    /// The triplets that the strategy finds, in the order of anchors and positives, to feed something else with.
    ///
    /// All triplets are no list to ask for: of [`TripletMining::BatchAll`] those with a loss that is not zero are given. In the soft form that is every
    /// one of them, as many as n·P·N for P positives and N negatives each. Anchors with a NaN among their distances have none here.
    ///
    /// # Errors
    /// As for [`Loss::evaluate`].
    pub fn triplets<A: Scalar>(
        &self,
        input: BatchTripletInput<'_, A>,
    ) -> Result<Vec<Triplet>, Error> {
        let mut report = BatchTripletReport::listing();
        let sum = Self {
            reduction: Reduction::Sum,
            ..*self
        };
        let want = Want::value().with_report(&mut report);
        sum.evaluate(input, want, &mut Workspace::new())?;
        Ok(report.list.unwrap_or_default())
    }
}

impl<A: Scalar> Loss<A> for BatchTripletLoss {
    type Input<'a> = BatchTripletInput<'a, A>;
    type Gradient<'a> = BatchTripletGradient<'a, A>;
    type OwnedGradient = BatchTripletOwnedGradient<A>;
    type Report = BatchTripletReport;

    fn evaluate(
        &self,
        input: BatchTripletInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::batch_triplet(self, input, want, workspace)
    }
}

/// What a caller may want of the loss.
type Wanted<'w, 'g, A> = Want<'w, A, BatchTripletGradient<'g, A>, BatchTripletReport>;

/// [`Loss::evaluate`], to be compiled in this crate.
pub(crate) fn evaluate<A: Scalar>(
    loss: &BatchTripletLoss,
    input: BatchTripletInput<'_, A>,
    want: Wanted<'_, '_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check(&input, &want)?;
    let anchors = Side::new(input.anchors, loss.distance);
    let separate = input
        .candidates
        .map(|candidates| Side::new(candidates.rows, loss.distance));
    let candidates = separate.as_ref().unwrap_or(&anchors);
    let groups = Groups::new(input.labels, input.candidates().labels, separate.is_none());
    let limit = workspace.limit();
    let panels = if separate.is_none() && most_take_part(&groups, input.weights) {
        Panels::within(&anchors, &mut workspace.panels[0], limit)
    } else {
        Panels::new(&anchors, candidates)
    };
    let pass = Pass {
        loss,
        anchors: &anchors,
        candidates,
        panels: &panels,
        groups: &groups,
        weights: input.weights,
        many: loss.finds_many(&groups, input.anchors.nrows() * candidates.rows.nrows()),
        gradient: want.gradient.is_some(),
        listing: want
            .report
            .as_ref()
            .is_some_and(|report| report.list.is_some()),
    };
    let pairs = input.anchors.nrows() * candidates.rows.nrows();
    let mut weights = (pass.many && pass.gradient).then(|| workspace.scores.take(pairs));
    let totals = pass.run(weights.as_deref_mut(), want.rows);
    let scale = totals.scale(loss.reduction);
    if let Some(gradient) = want.gradient {
        pass.backward(
            gradient,
            weights.as_deref(),
            &totals,
            &mut workspace.packed[0],
        );
    }
    let value = if scale == 0.0 {
        0.0
    } else {
        totals.loss.value() * scale
    };
    if let Some(report) = want.report {
        fill(report, totals);
    }
    Ok(A::narrow(value))
}

impl BatchTripletLoss {
    fn check<A: Scalar>(
        &self,
        input: &BatchTripletInput<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        input.check()?;
        let n = input.anchors.nrows();
        self.reduction.check_weights("anchors", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        match &want.gradient {
            Some(gradient) => gradient.check(input),
            None => Ok(()),
        }
    }

    /// Whether so many pairs may weigh in that a matrix of their weights, and a product with it, is less work than a list of them. The matrix
    /// product does an element in a small part of the time that a row measured by itself takes.
    fn finds_many(&self, groups: &Groups, pairs: usize) -> bool {
        const LIST_COSTS: usize = 16;
        match self.strategy {
            TripletMining::BatchAll => true,
            TripletMining::BatchSemiHard | TripletMining::DistanceWeighted(_) => {
                2 * LIST_COSTS * groups.pairs() > pairs
            }
            _ => false,
        }
    }
}

/// Whether so many anchors have a triplet that half of all distances, in advance, are less work than all distances of these.
fn most_take_part<A: Scalar>(groups: &Groups, weights: Option<ArrayView1<'_, A>>) -> bool {
    let take_part = (0..groups.anchors())
        .filter(|&anchor| groups.has_triplets(anchor))
        .filter(|&anchor| weights.is_none_or(|weights| !weights[anchor].is_zero()))
        .count();
    2 * take_part > groups.anchors()
}

fn fill(report: &mut BatchTripletReport, totals: Totals) {
    let [positive_distance, negative_distance] =
        totals.distances.map(|sum| sum.value() / totals.triplets);
    *report = BatchTripletReport {
        anchors: totals.anchors,
        triplets: totals.triplets as u64,
        active: totals.active_triplets as u64,
        positive_distance,
        negative_distance,
        list: report.list.is_some().then_some(totals.list),
    };
}
