//! Contrastive loss: matching pairs near, the others beyond a margin; all pairs, or the hard ones of the batch.

use super::hard::{Hardness, KnownPass, measured};
use super::input::{PairGradient, PairInput, PairOwnedGradient, Wanted};
use super::pass::{Pass, Term, Views};
use crate::distance::{Chosen, CosineDistance, Distance};
use crate::error::{Error, check};
use crate::label::PairLabel;
use crate::loss::{Loss, Want};
use crate::prefixes::{PairViews, Prefix, Prefixes};
use crate::reduction::Reduction;
use crate::rows::{self, RowLoss};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// Pulls matching pairs together and pushes the others apart until they are a margin away.
///
/// With a distance d = d(x, y) (the cosine distance by default) of each row of x and y `[n, dim]`:
///
/// * match: ℓ = ½ max(0, d − m⁺)², with the positive margin m⁺ = 0 by default
/// * no match: ℓ = ½ max(0, margin − d)²
/// * linear: the same without square and factor, max(0, d − m⁺) and max(0, margin − d)
///
/// Gradient: ∂ℓ/∂x = (d − m⁺) ∂d/∂x for a match, −(margin − d) ∂d/∂x for no match, ±∂d/∂x for the linear form, and 0 where the maximum is 0.
///
/// At the kink (d = m⁺ or d = margin) the pair is inactive. At distance zero the gradient of a distance is 0, so that nothing pushes apart a
/// pair of equal rows that do not match. NaN or infinity in a row gives NaN.
///
/// Which peer has which form:
///
/// * Hadsell et al. and sentence-transformers' `ContrastiveLoss` have the squared form with its factor ½. The distances of the latter are
///   [`CosineDistance`] with margin 0.5 (its defaults), and [`Lp`](crate::Lp) for p = 2 and 1 with PyTorch's
///   [ε = 1e-6](crate::Lp::with_epsilon).
/// * sentence-transformers' `OnlineContrastiveLoss` is [`with_hard_pairs`](Self::with_hard_pairs) and [`Reduction::Sum`], times 2: it has no ½.
/// * pytorch-metric-learning's `ContrastiveLoss` is the linear form over all pairs of a labelled batch, see
///   [`BatchContrastiveLoss`](crate::BatchContrastiveLoss).
///
/// Source: Hadsell, Chopra & LeCun 2006, <https://doi.org/10.1109/CVPR.2006.100>.
///
/// ```
/// use contrastive::{ContrastiveLoss, Loss, PairInput, PairLabel};
/// use ndarray::array;
///
/// let x = array![[3.0, 4.0], [3.0, 4.0]];
/// let y = array![[1.0, 0.0], [0.0, 2.0]];
/// let labels = array![PairLabel::Match, PairLabel::NoMatch];
/// let input = PairInput::new(x.view(), y.view(), labels.view());
///
/// let (value, gradient) = ContrastiveLoss::new(0.5)?.value_and_gradient(input)?;
/// assert!((value - 0.0625_f64).abs() < 1e-15); // (½ 0.4² + ½ (0.5 − 0.2)²) / 2
/// assert!((gradient.x[[0, 0]] - -0.0256).abs() < 1e-15); // −0.4 (1 − 0.12·3) / 5 / 2
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serde::Contrastive<D>")
)]
pub struct ContrastiveLoss<D = CosineDistance> {
    margin: f64,
    positive_margin: f64,
    linear: bool,
    hard_pairs: bool,
    pub(super) distance: D,
    pub(super) reduction: Reduction,
}

impl ContrastiveLoss {
    /// The squared form with the distance that pairs which do not match are to have; 0.5 in sentence-transformers, with the cosine distance.
    ///
    /// # Errors
    /// If the margin is not positive and finite.
    pub fn new(margin: f64) -> Result<Self, Error> {
        let in_range = margin > 0.0 && margin.is_finite();
        Ok(Self {
            margin: check("margin", "a positive, finite number", margin, in_range)?,
            positive_margin: 0.0,
            linear: false,
            hard_pairs: false,
            distance: CosineDistance,
            reduction: Reduction::default(),
        })
    }
}

impl<D> ContrastiveLoss<D> {
    /// Another distance: [`Lp`](crate::Lp) (Euclidean, Manhattan), [`SquaredEuclidean`](crate::SquaredEuclidean), or your own [`Distance`].
    pub fn with_distance<E>(self, distance: E) -> ContrastiveLoss<E> {
        self.over(distance)
    }

    /// The loss of a distance that is known only when it runs.
    pub(crate) fn of_any_distance<A: Scalar>(&self) -> ContrastiveLoss<&dyn Distance<A>>
    where
        D: Distance<A>,
    {
        self.over(&self.distance)
    }

    pub(super) fn over<E>(&self, distance: E) -> ContrastiveLoss<E> {
        ContrastiveLoss {
            margin: self.margin,
            positive_margin: self.positive_margin,
            linear: self.linear,
            hard_pairs: self.hard_pairs,
            distance,
            reduction: self.reduction,
        }
    }

    /// The distance below which a matching pair costs nothing; 0 by default.
    ///
    /// # Errors
    /// If it is negative or not finite.
    pub fn with_positive_margin(self, margin: f64) -> Result<Self, Error> {
        let in_range = margin >= 0.0 && margin.is_finite();
        let range = "a finite number, not negative";
        Ok(Self {
            positive_margin: check("positive margin", range, margin, in_range)?,
            ..self
        })
    }

    /// Whether a pair costs what it is off by, and not half its square. Off by default.
    #[must_use]
    pub fn with_linear(self, linear: bool) -> Self {
        Self { linear, ..self }
    }

    /// Whether only hard pairs cost anything: matching pairs farther apart than the nearest pair that does not match, and pairs that do not match
    /// nearer than the farthest matching pair. Off by default.
    ///
    /// In a batch without the other kind a matching pair is hard if it is farther apart than the mean, one that does not match if it is nearer.
    /// Pairs of weight 0 are not asked. Which pairs are hard is taken as given: no gradient goes through the choice. [`Reduction::Mean`] still
    /// divides by all pairs, [`Reduction::MeanActive`] by those that cost something.
    ///
    /// Source: sentence-transformers' `OnlineContrastiveLoss`.
    ///
    /// ```
    /// use contrastive::{ContrastiveLoss, Loss, PairInput, PairLabel, Reduction};
    /// use ndarray::array;
    ///
    /// // Distances 0.4 and 0 of matching pairs, 0.2 and 1 of the others: the first and the third pair are hard.
    /// let x = array![[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]];
    /// let y = array![[3.0, 4.0], [2.0, 0.0], [4.0, 3.0], [0.0, 1.0]];
    /// let labels = array![PairLabel::Match, PairLabel::Match, PairLabel::NoMatch, PairLabel::NoMatch];
    /// let input = PairInput::new(x.view(), y.view(), labels.view());
    /// let loss = ContrastiveLoss::new(0.5)?.with_hard_pairs(true).with_reduction(Reduction::Sum)?;
    /// let value: f64 = loss.forward(input)?;
    /// assert!((value - 0.125).abs() < 1e-15); // ½ 0.4² + ½ (0.5 − 0.2)²
    /// # Ok::<(), contrastive::Error>(())
    /// ```
    #[must_use]
    pub fn with_hard_pairs(self, hard_pairs: bool) -> Self {
        Self { hard_pairs, ..self }
    }

    /// How the row losses become one number; the mean by default.
    ///
    /// # Errors
    /// If the divisor of [`Reduction::Over`] is not positive and finite.
    pub fn with_reduction(self, reduction: Reduction) -> Result<Self, Error> {
        Ok(Self {
            reduction: reduction.checked()?,
            ..self
        })
    }

    pub(super) fn asks_for_hard_pairs(&self) -> bool {
        self.hard_pairs
    }

    /// The loss of a pair, and its derivative by the distance.
    pub(super) fn of(&self, label: PairLabel, distance: f64) -> Term {
        let (excess, sign) = match label {
            PairLabel::Match => (distance - self.positive_margin, 1.0),
            PairLabel::NoMatch => (self.margin - distance, -1.0),
        };
        let (loss, slope) = if excess <= 0.0 {
            (0.0, 0.0)
        } else if self.linear {
            (excess, sign)
        } else {
            (0.5 * excess * excess, sign * excess)
        };
        let tally = match label {
            PairLabel::Match => [1.0, distance, 0.0, 0.0],
            PairLabel::NoMatch => [0.0, 0.0, 1.0, distance],
        };
        Term { loss, slope, tally }
    }
}

/// What a batch of labelled pairs looked like. A mean over no pairs is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ContrastiveReport {
    /// The share of pairs whose loss is not zero.
    pub active: f64,
    /// The mean distance of the matching pairs.
    pub match_distance: f64,
    /// The mean distance of the others.
    pub no_match_distance: f64,
}

impl ContrastiveReport {
    /// From the number of active pairs and the sums of their terms' tallies.
    pub(super) fn new(active: f64, [matches, match_sum, others, other_sum]: [f64; 4]) -> Self {
        Self {
            active: active / (matches + others),
            match_distance: match_sum / matches,
            no_match_distance: other_sum / others,
        }
    }
}

impl<A: Scalar, D: Distance<A>> Loss<A> for ContrastiveLoss<D> {
    type Input<'a> = PairInput<'a, A>;
    type Gradient<'a> = PairGradient<'a, A>;
    type OwnedGradient = PairOwnedGradient<A>;
    type Report = ContrastiveReport;

    fn evaluate(
        &self,
        input: PairInput<'_, A>,
        want: Want<'_, A, PairGradient<'_, A>, ContrastiveReport>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        A::contrastive(&self.of_any_distance(), input, want, workspace)
    }
}

/// The loss with a distance that is known only now.
pub(crate) fn evaluate<A: Scalar>(
    loss: &ContrastiveLoss<&dyn Distance<A>>,
    input: PairInput<'_, A>,
    want: Wanted<'_, '_, A, ContrastiveReport>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    input.check(loss.reduction, &want)?;
    if !loss.hard_pairs {
        let pass = pass(loss, input, Hardness::ALL);
        return Ok(run(&pass, loss.reduction, input, want));
    }
    let (distances, hardness) = measured(&Chosen::new(loss.distance), input, workspace);
    let pass = pass(loss, input, hardness);
    let pass = KnownPass { distances, pass };
    Ok(run(&pass, loss.reduction, input, want))
}

/// The weighted sum over prefixes of the input; `None`, and `want` as it was, where they are not passed over together.
pub(crate) fn evaluate_prefixes<A: Scalar>(
    loss: &ContrastiveLoss<&dyn Distance<A>>,
    input: &PairInput<'_, A>,
    prefixes: &[(PairInput<'_, A>, f64)],
    want: &mut Wanted<'_, '_, A, ContrastiveReport>,
) -> Result<Option<A>, Error> {
    input.check(loss.reduction, want)?;
    if loss.hard_pairs {
        return Ok(None);
    }
    let passes = prefixes.iter().map(|&(input, weight)| Prefix {
        columns: input.x.ncols(),
        pass: pass(loss, input, Hardness::ALL),
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

fn pass<'l, 'a, A: Scalar>(
    loss: &'l ContrastiveLoss<&'l dyn Distance<A>>,
    input: PairInput<'a, A>,
    hardness: Hardness,
) -> Pass<'a, A, Chosen<'l, A>, impl Fn(usize, f64) -> Term + Sync> {
    Pass {
        x: input.x,
        y: input.y,
        measure: Chosen::new(loss.distance),
        term: move |row: usize, distance: f64| {
            let term = loss.of(input.labels[row], distance);
            hardness.apply(input.labels[row], distance, term)
        },
    }
}

/// A pass over input that has been checked.
fn run<'g, A: Scalar>(
    pass: &impl RowLoss<A, Views<'g, A>>,
    reduction: Reduction,
    input: PairInput<'_, A>,
    want: Wanted<'_, 'g, A, ContrastiveReport>,
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
        *report = ContrastiveReport::new(totals.active_rows, totals.tally);
    }
    value
}
