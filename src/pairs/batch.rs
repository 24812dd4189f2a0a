//! Contrastive loss over all pairs of a labelled batch.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use super::batch_pass::{AllPairs, Memory};
use super::batch_weights::weights_of_kinds;
use super::contrastive::{ContrastiveLoss, ContrastiveReport};
use super::hard::Hardness;
use crate::batch_distance::{BatchDistance, Panels, Side};
use crate::distance::{Chosen, CosineDistance, Distance};
use crate::error::Error;
use crate::label::PairLabel;
use crate::loss::{Loss, OwnedGradient, Want};
use crate::reduction::{Reduction, reciprocal_or_zero};
use crate::rows::check_shape;
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// A [`ContrastiveLoss`] over all pairs of a labelled batch: two embeddings match if they are of the same class.
///
/// Of embeddings `[n, dim]` with classes `[n]` the pairs are (0, 1), (0, 2), …, (n−2, n−1): every two once, none with itself. Value and
/// gradient are those of the inner loss on that list of n(n−1)/2 pairs, with all of its options, hard pairs included, and with the weight wᵢwⱼ for pair (i, j).
/// The pairs are never listed. Time is O(n²·dim); memory O(n·dim) and, beside the gradient, a number for each pair of rows as far as the [`Workspace`]
/// holds them, and then some rows at a time; likewise the distance of each pair, if all fit the workspace and 16 MiB. A pair of rows so near
/// that it is measured is listed instead, for some thirty bytes more from either row: at worst, in a batch that has collapsed into one point, for all pairs
/// of the rows that are taken at a time.
///
/// * Row losses are those of the pairs in the order above, so [`forward_rows`](Loss::forward_rows) takes n(n−1)/2 of them.
/// * But for hard pairs the Euclidean distance, its square and the cosine distance come from a matrix product in the type of the rows, and so carry a few roundings of
///   ‖x‖² + ‖y‖²; those that would lose more to cancellation, of rows near each other, are measured from the rows. Other distances always are.
/// * A mean over less than two embeddings is an error.
/// * [`with_balance`](Self::with_balance) divides matches and others each by their own number, so that the others, of which a batch has many more, do not
///   drown the matches.
///
/// pytorch-metric-learning's `ContrastiveLoss` with its default reducer is the linear form with [`Reduction::MeanActive`] and balance; its
/// default distance is [`Lp::euclidean`](crate::Lp::euclidean) of rows that it normalises first.
///
/// ```
/// use contrastive::{BatchContrastiveInput, BatchContrastiveLoss, ContrastiveLoss, Loss, Lp};
/// use ndarray::array;
///
/// let embeddings = array![[0.0], [2.0], [2.5]];
/// let classes = array![7, 7, 1];
/// let input = BatchContrastiveInput::new(embeddings.view(), classes.view());
///
/// // Distances: 2 for the match (0, 1), 2.5 and 0.5 for the others.
/// let pairs = ContrastiveLoss::new(1.0)?.with_distance(Lp::euclidean());
/// let (value, gradient) = BatchContrastiveLoss::new(pairs).value_and_gradient(input)?;
/// assert!((value - 2.125 / 3.0_f64).abs() < 1e-15); // (½ 2² + 0 + ½ 0.5²) / 3
/// let expected = array![[-2.0], [2.5], [-0.5]] / 3.0;
/// assert!((gradient.embeddings - expected).iter().all(|off| off.abs() < 1e-15));
///
/// let balanced = BatchContrastiveLoss::new(pairs).with_balance(true);
/// assert_eq!(balanced.forward(input)?, 2.0625); // ½ 2² + (0 + ½ 0.5²) / 2
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct BatchContrastiveLoss<D = CosineDistance> {
    pub(super) pairs: ContrastiveLoss<D>,
    #[cfg_attr(feature = "serde", serde(default))]
    balance: bool,
}

impl<D> BatchContrastiveLoss<D> {
    /// The loss of all pairs, by what a pair costs.
    pub fn new(pairs: ContrastiveLoss<D>) -> Self {
        Self {
            pairs,
            balance: false,
        }
    }

    /// Whether matches and others have a divisor each, and the two results are added. Off by default. Makes no difference to
    /// [`Reduction::Sum`] and [`Reduction::Over`], whose divisors are given.
    #[must_use]
    pub fn with_balance(self, balance: bool) -> Self {
        Self { balance, ..self }
    }
}

/// A labelled batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BatchContrastiveInput<'a, A> {
    /// The embeddings, `[n, dim]`.
    pub embeddings: ArrayView2<'a, A>,
    /// The class of each, `[n]`: any numbers.
    pub classes: ArrayView1<'a, u64>,
    /// A weight for each embedding, `[n]`; a pair has the product of two.
    pub weights: Option<ArrayView1<'a, A>>,
}

impl<'a, A> BatchContrastiveInput<'a, A> {
    /// Embeddings `[n, dim]` with their classes `[n]`.
    pub fn new(embeddings: ArrayView2<'a, A>, classes: ArrayView1<'a, u64>) -> Self {
        Self {
            embeddings,
            classes,
            weights: None,
        }
    }

    /// A weight for each embedding, `[n]`; a pair has the product of two.
    #[must_use]
    pub fn with_weights(self, weights: ArrayView1<'a, A>) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }

    pub(super) fn label(&self, i: usize, j: usize) -> PairLabel {
        PairLabel::from(self.classes[i] == self.classes[j])
    }
}

impl<A: Scalar> BatchContrastiveInput<'_, A> {
    pub(super) fn weight(&self, i: usize, j: usize) -> f64 {
        self.weights
            .map_or(1.0, |weights| weights[i].wide() * weights[j].wide())
    }

    /// The number of pairs.
    fn pairs(&self) -> usize {
        let n = self.classes.len();
        n * n.saturating_sub(1) / 2
    }
}

/// The place of a kind of pairs in arrays of two.
pub(super) fn kind(label: PairLabel) -> usize {
    match label {
        PairLabel::Match => 0,
        PairLabel::NoMatch => 1,
    }
}

/// Views that receive the gradient of [`BatchContrastiveLoss`]; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct BatchContrastiveGradient<'a, A> {
    /// ∂L/∂embeddings `[n, dim]`
    pub embeddings: Option<ArrayViewMut2<'a, A>>,
}

/// The gradient of [`BatchContrastiveLoss`] in an array of its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchContrastiveOwnedGradient<A> {
    /// ∂L/∂embeddings `[n, dim]`
    pub embeddings: Array2<A>,
}

impl<A> BatchContrastiveOwnedGradient<A> {
    /// A view of the array.
    pub fn view_mut(&mut self) -> BatchContrastiveGradient<'_, A> {
        BatchContrastiveGradient {
            embeddings: Some(self.embeddings.view_mut()),
        }
    }
}

impl<A: Scalar> OwnedGradient for BatchContrastiveOwnedGradient<A> {
    type Input<'a> = BatchContrastiveInput<'a, A>;
    type Views<'a> = BatchContrastiveGradient<'a, A>;

    fn zeros(input: BatchContrastiveInput<'_, A>) -> Self {
        Self {
            embeddings: Array2::zeros(input.embeddings.dim()),
        }
    }

    fn view_mut(&mut self) -> BatchContrastiveGradient<'_, A> {
        self.view_mut()
    }
}

type Wanted<'w, 'g, A> = Want<'w, A, BatchContrastiveGradient<'g, A>, ContrastiveReport>;

impl<A: Scalar, D: Distance<A>> Loss<A> for BatchContrastiveLoss<D> {
    type Input<'a> = BatchContrastiveInput<'a, A>;
    type Gradient<'a> = BatchContrastiveGradient<'a, A>;
    type OwnedGradient = BatchContrastiveOwnedGradient<A>;
    type Report = ContrastiveReport;

    fn evaluate(
        &self,
        input: BatchContrastiveInput<'_, A>,
        want: Wanted<'_, '_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        let distance: &dyn Distance<A> = &self.pairs.distance;
        let loss = BatchContrastiveLoss {
            pairs: self.pairs.over(distance),
            balance: self.balance,
        };
        A::batch_contrastive(&loss, input, want, workspace)
    }
}

/// The loss with a distance that is known only now.
pub(crate) fn evaluate<A: Scalar>(
    loss: &BatchContrastiveLoss<&dyn Distance<A>>,
    input: BatchContrastiveInput<'_, A>,
    want: Wanted<'_, '_, A>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check(&input, &want)?;
    // Each row is read n times.
    let embeddings = input.embeddings.as_standard_layout();
    let input = BatchContrastiveInput {
        embeddings: embeddings.view(),
        ..input
    };
    let distance = Chosen::new(loss.pairs.distance);
    let numbered = u32::try_from(input.embeddings.nrows()).is_ok();
    let hard = loss.pairs.asks_for_hard_pairs();
    // Which pairs are hard turns on equal distances, and from a product a pair's distance differs in its last digit between its two rows.
    let product = BatchDistance::of(&distance).filter(|_| numbered && !hard);
    let side = product.map(|distance| Side::new(input.embeddings, distance));
    let (mut memory, triangle) = Memory::of(workspace);
    let limit = memory.limit;
    let mut pass = AllPairs {
        loss: &loss.pairs,
        panels: side
            .as_ref()
            .map(|side| Panels::within(side, triangle, limit)),
        distance,
        input,
        hardness: Hardness::ALL,
        scales: [0.0; 2],
    };
    if hard {
        pass.hardness = pass.spread().hardness();
    }
    let gradient = want.gradient.and_then(|gradient| gradient.embeddings);
    let (mut rows, mut counted) = (want.rows, None);
    let divisors = match loss.pairs.reduction {
        Reduction::Mean => weights_of_kinds(input.classes, input.weights),
        Reduction::MeanActive => {
            let sums = pass.run(None, rows.take(), &mut memory);
            counted.insert(sums).active_weights()
        }
        Reduction::Sum => [1.0, 0.0],
        Reduction::Over(z) => [z, 0.0],
    };
    pass.scales = loss.scales(divisors);
    let sums = match (counted, gradient) {
        // The pass that counts tells all but the gradient.
        (Some(sums), None) => sums,
        (_, gradient) => pass.run(gradient, rows, &mut memory),
    };
    if let Some(report) = want.report {
        *report = sums.report();
    }
    Ok(A::narrow(sums.value(pass.scales)))
}

impl<D> BatchContrastiveLoss<D> {
    /// What the sums of matches and of others are multiplied by, for the divisors of each, or, without balance, for the sum of the divisors.
    fn scales(&self, divisors: [f64; 2]) -> [f64; 2] {
        let given = matches!(self.pairs.reduction, Reduction::Sum | Reduction::Over(_));
        if self.balance && !given {
            divisors.map(reciprocal_or_zero)
        } else {
            [reciprocal_or_zero(divisors[0] + divisors[1]); 2]
        }
    }

    fn check<A: Scalar>(
        &self,
        input: &BatchContrastiveInput<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        let (n, dim) = input.embeddings.dim();
        check_shape("classes", &[n], input.classes.shape())?;
        let mean = matches!(
            self.pairs.reduction,
            Reduction::Mean | Reduction::MeanActive
        );
        if mean && n == 1 {
            return Err(Error::IllDefined {
                reason: "a mean over pairs takes at least two embeddings",
            });
        }
        self.pairs
            .reduction
            .check_weights("embeddings", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[input.pairs()], rows.shape())?;
        }
        let gradient = want.gradient.as_ref();
        let view = gradient.and_then(|gradient| gradient.embeddings.as_ref());
        view.map_or(Ok(()), |view| {
            check_shape("gradient.embeddings", &[n, dim], view.shape())
        })
    }
}
