//! Similarities of two rows with their gradients: the cosine, exact near ±1 and for every norm, the dot product, minus the squared distance.

mod angle;
mod cosine;
mod cosine_slope;
mod prefixes;

use crate::kernels::{Groups, Moments, dot, moments_with, square_distance};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::store::{Columns, WideRow};
use crate::wide::Real;
pub(crate) use angle::{Angle, angle, first_half};
use cosine::cosine_of;
pub(crate) use cosine::{
    Cosine, ORDINARY, SAFE, begun_cosine, cosine, power_of_two_over, power_of_two_scale,
};
pub(crate) use cosine_slope::{CosineSlope, SingleSlope};
pub(crate) use prefixes::{cosines, join};

/// How alike two embeddings are.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Similarity};
/// use ndarray::array;
///
/// let (queries, documents) = (array![[2.0]], array![[3.0], [1.0]]);
/// let input = InfoNceInput::new(queries.view(), documents.view());
/// let dot: f64 = InfoNceLoss::new(1.0)?.with_similarity(Similarity::Dot).forward(input)?;
/// assert!((dot - (-4.0_f64).exp().ln_1p()).abs() < 1e-15); // scores 6 and 2
/// let cosine: f64 = InfoNceLoss::new(1.0)?.forward(input)?;
/// assert!((cosine - 2.0_f64.ln()).abs() < 1e-15); // scores 1 and 1
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Similarity {
    /// x·y / (‖x‖‖y‖), in [−1, 1]; 0 if a row is zero.
    #[default]
    Cosine,
    /// x·y
    Dot,
    /// −‖x − y‖²
    SquaredEuclidean,
}

impl Similarity {
    /// The similarity of two rows, ready to be differentiated.
    #[inline(always)]
    pub(crate) fn measure<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> Pair<A::Real> {
        let square = None;
        let similarity = self;
        I::call(Measure {
            similarity,
            square,
            x,
            y,
        })
    }

    /// [`measure`](Self::measure) where x·x is known.
    #[inline(always)]
    pub(crate) fn measure_from<A: Scalar, I: Isa>(
        self,
        xx: A::Real,
        x: &[A],
        y: &[A],
    ) -> Pair<A::Real> {
        let square = Some(xx);
        let similarity = self;
        I::call(Measure {
            similarity,
            square,
            x,
            y,
        })
    }
}

struct Measure<'r, A: Scalar> {
    similarity: Similarity,
    square: Option<A::Real>,
    x: &'r [A],
    y: &'r [A],
}

impl<A: Scalar> Kernel for Measure<'_, A> {
    type Output = Pair<A::Real>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Pair<A::Real> {
        let Self { x, y, .. } = self;
        match (self.similarity, self.square) {
            (Similarity::Cosine, None) => Pair::Cosine(cosine::<A, I>(x, y, 0.0)),
            (Similarity::Cosine, Some(xx)) => {
                let [xy, yy] = moments_with::<A, I>(x, y);
                Pair::Cosine(cosine_of::<A, I>(Moments { xx, xy, yy }, x, y, 0.0))
            }
            (Similarity::Dot, _) => Pair::Dot(fair(dot::<A, I>(x, y).value(), x, y)),
            (Similarity::SquaredEuclidean, _) => Pair::Difference(squared_distance::<A, I>(x, y)),
        }
    }
}

/// A score; NaN where it is infinite because a row is, and not by overflow: that is no score.
#[inline(always)]
fn fair<A: Scalar>(score: f64, x: &[A], y: &[A]) -> f64 {
    let fair = score.is_finite() || x.iter().chain(y).all(|x| x.is_finite());
    if fair { score } else { f64::NAN }
}

/// ‖x − y‖², from the differences.
#[inline(always)]
fn squared_distance<A: Scalar, I: Isa>(x: &[A], y: &[A]) -> f64 {
    fair(square_distance::<A, I>(x, y).value(), x, y)
}

/// A measured pair of rows.
#[derive(Clone, Copy)]
pub(crate) enum Pair<R> {
    Cosine(Cosine<R>),
    Dot(f64),
    /// ‖x − y‖²
    Difference(f64),
}

impl<R: Real> Pair<R> {
    #[inline(always)]
    pub(crate) fn similarity(self) -> f64 {
        match self {
            Self::Cosine(cosine) => cosine.cosine,
            Self::Dot(dot) => dot,
            Self::Difference(square) => -square,
        }
    }

    /// `factor`·∂s/∂x as a function of coordinates; zero for a factor of zero, whatever the rows hold.
    #[inline(always)]
    pub(crate) fn slope<A: Scalar<Real = R>, I: Isa>(self, factor: f64) -> PairSlope<A, I> {
        match self {
            _ if factor == 0.0 => PairSlope::Zero,
            Self::Cosine(pair) => PairSlope::Cosine(pair.first::<A, I>(factor)),
            Self::Dot(_) => PairSlope::Dot(I::splat(factor)),
            Self::Difference(_) => PairSlope::Difference(I::splat(2.0 * factor)),
        }
    }

    /// The pair with x and y exchanged.
    #[inline(always)]
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::Cosine(pair) => Self::Cosine(pair.swapped()),
            Self::Dot(_) | Self::Difference(_) => self,
        }
    }

    /// Adds `factor`·∂s/∂x.
    #[inline(always)]
    pub(crate) fn add_first<A: Scalar<Real = R>, I: Isa>(
        self,
        factor: f64,
        x: &[A],
        y: &[A],
        sum: &mut WideRow,
    ) {
        let pair = self;
        I::call(AddFirst {
            pair,
            factor,
            x,
            y,
            sum,
        });
    }
}

struct AddFirst<'r, 's, A: Scalar> {
    pair: Pair<A::Real>,
    factor: f64,
    x: &'r [A],
    y: &'r [A],
    sum: &'s mut WideRow,
}

impl<A: Scalar> Kernel for AddFirst<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let gradient = SimilarityGradient::<A, I> {
            slope: self.pair.slope(self.factor),
            x: Groups::new(self.x),
            y: Groups::new(self.y),
        };
        self.sum.add_all::<I>(gradient);
    }
}

/// A multiple of ∂s/∂x.
pub(crate) enum PairSlope<A: Scalar, I: Isa> {
    Zero,
    Cosine(CosineSlope<A, I>),
    Dot(I::Wide),
    Difference(I::Wide),
}

impl<A: Scalar, I: Isa> PairSlope<A, I> {
    /// Some coordinates, from the same coordinates of x and y.
    #[inline(always)]
    pub(crate) fn at(&self, x: I::Wide, y: I::Wide) -> I::Wide {
        match self {
            Self::Zero => I::splat(0.0),
            Self::Cosine(slope) => slope.at(x, y),
            Self::Dot(factor) => I::mul(*factor, y),
            Self::Difference(factor) => I::mul(*factor, I::sub(y, x)),
        }
    }
}

/// The gradient of a similarity by the row x, column by column.
struct SimilarityGradient<'r, A: Scalar, I: Isa> {
    slope: PairSlope<A, I>,
    x: Groups<'r, A>,
    y: Groups<'r, A>,
}

impl<A: Scalar, I: Isa> Columns<I, 1> for SimilarityGradient<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        [self.slope.at(self.x.at::<I>(group), self.y.at::<I>(group))]
    }
}
