//! Distances between two rows, for the losses that compare distances: Lp, squared Euclidean, cosine, and the user's own.

mod lp;
mod slope;

use crate::kernels::{Groups, square_distance, square_distances};
use crate::scalar::Scalar;
use crate::simd::{Isa, Portable};
use crate::similarity::cosine;
use crate::store::{Columns, add_to};
use crate::wide::Real;
pub use lp::Lp;
use slope::Kind;
pub(crate) use slope::{Coordinates, Slope};

/// A distance of your own between two rows of equal length.
///
/// It need not be symmetric, nor a metric. Sums are best taken in `f64`, for `f32` rows too. A panic in it unwinds out of the loss.
///
/// ```
/// use contrastive::{Distance, Loss, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// /// d(x, y) = 1 − x·y, for embeddings that are normalised already.
/// struct InnerProduct;
/// impl Distance<f64> for InnerProduct {
///     fn distance(&self, x: &[f64], y: &[f64]) -> f64 {
///         1.0 - x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>()
///     }
///     fn gradient(&self, x: &[f64], y: &[f64], dx: &mut [f64], dy: &mut [f64]) {
///         for i in 0..x.len() {
///             (dx[i], dy[i]) = (-y[i], -x[i]);
///         }
///     }
/// }
///
/// let (anchor, positive, negative) = (array![[1.0, 0.0]], array![[0.6, 0.8]], array![[0.8, 0.6]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
/// let (value, gradient) = TripletMarginLoss::new(0.5)?.with_distance(InnerProduct).value_and_gradient(input)?;
/// assert!((value - 0.7).abs() < 1e-15); // 0.5 + 0.4 − 0.2
/// assert!((gradient.anchor[[0, 0]] - 0.2).abs() < 1e-15); // −0.6 + 0.8
/// # Ok::<(), contrastive::Error>(())
/// ```
pub trait Distance<A: Scalar>: Sync {
    /// d(x, y)
    fn distance(&self, x: &[A], y: &[A]) -> f64;
    /// Overwrites `dx` with ∂d/∂x and `dy` with ∂d/∂y.
    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]);

    /// Which of the crate's distances this is, for which there are kernels.
    #[doc(hidden)]
    fn built_in(&self) -> Option<BuiltIn> {
        None
    }
}

impl<A: Scalar, D: Distance<A> + ?Sized> Distance<A> for &D {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        (**self).distance(x, y)
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        (**self).gradient(x, y, dx, dy);
    }

    fn built_in(&self) -> Option<BuiltIn> {
        (**self).built_in()
    }
}

/// The distances of the crate.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum BuiltIn {
    Lp(Lp),
    SquaredEuclidean,
    Cosine,
}

/// A distance that kernels are compiled with.
pub(crate) trait Metric<A: Scalar>: Distance<A> {
    /// The distance, with what its gradient needs besides the rows.
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>);

    /// Both distances of x, to y and to z.
    #[inline(always)]
    fn measure_two<I: Isa>(&self, x: &[A], y: &[A], z: &[A]) -> [(f64, Slope<A::Real>); 2] {
        [self.measure::<I>(x, y), self.measure::<I>(x, z)]
    }
}

/// A distance of the user's, called through a pointer, so that the kernels are compiled here and not in each crate that has one.
pub(crate) struct User<'d, A>(pub(crate) &'d dyn Distance<A>);

impl<A: Scalar> Distance<A> for User<'_, A> {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.0.distance(x, y)
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        self.0.gradient(x, y, dx, dy);
    }
}

impl<A: Scalar> Metric<A> for User<'_, A> {
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        (self.distance(x, y), Slope::rows())
    }
}

/// A distance that is known only at run time: of the crate, with its kernels, or the user's.
pub(crate) enum Chosen<'d, A> {
    BuiltIn(BuiltIn),
    User(User<'d, A>),
}

impl<'d, A: Scalar> Chosen<'d, A> {
    pub(crate) fn new(distance: &'d dyn Distance<A>) -> Self {
        match distance.built_in() {
            Some(built_in) => Self::BuiltIn(built_in),
            None => Self::User(User(distance)),
        }
    }
}

impl<A: Scalar> Distance<A> for Chosen<'_, A> {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.measure::<Portable>(x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        match self {
            Self::BuiltIn(_) => both_gradients(self, x, y, dx, dy),
            Self::User(user) => user.gradient(x, y, dx, dy),
        }
    }
}

impl<A: Scalar> Metric<A> for Chosen<'_, A> {
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        match self {
            Self::BuiltIn(BuiltIn::Lp(lp)) => lp.measure::<I>(x, y),
            Self::BuiltIn(BuiltIn::SquaredEuclidean) => SquaredEuclidean.measure::<I>(x, y),
            Self::BuiltIn(BuiltIn::Cosine) => CosineDistance.measure::<I>(x, y),
            Self::User(user) => user.measure::<I>(x, y),
        }
    }
}

/// ‖x − y‖², with gradient 2(x − y) by x.
///
/// ```
/// use contrastive::{Loss, SquaredEuclidean, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// let (anchor, positive, negative) = (array![[0.0, 0.0]], array![[1.0, 2.0]], array![[2.0, 0.0]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
/// let value = TripletMarginLoss::new(1.0)?.with_distance(SquaredEuclidean).forward(input)?;
/// assert_eq!(value, 2.0); // 1 + 5 − 4
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SquaredEuclidean;

/// 1 − cos(x, y), to its own digits where the rows are nearly parallel; 1 and without gradient if a row is zero.
///
/// ```
/// use contrastive::{CosineDistance, Loss, TripletMarginInput, TripletMarginLoss};
/// use ndarray::array;
///
/// let (anchor, positive, negative) = (array![[1.0, 0.0]], array![[3.0, 4.0]], array![[0.0, 2.0]]);
/// let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
/// let value: f64 = TripletMarginLoss::new(0.75)?.with_distance(CosineDistance).forward(input)?;
/// assert!((value - 0.15).abs() < 1e-15); // 0.75 + 0.4 − 1
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CosineDistance;

/// Both gradients of a distance of the crate, by itself, outside of a pass.
fn both_gradients<A: Scalar>(
    distance: &impl Metric<A>,
    x: &[A],
    y: &[A],
    dx: &mut [f64],
    dy: &mut [f64],
) {
    let (_, slope) = distance.measure::<Portable>(x, y);
    let mut both = BothGradients {
        coordinates: slope.coordinates::<A, Portable>(1.0),
        rows: [x, y].map(Groups::new),
    };
    for (side, out) in [dx, dy].into_iter().enumerate() {
        out.fill(0.0);
        add_to::<Portable>(
            out,
            Side {
                both: &mut both,
                side,
            },
        );
    }
}

/// A multiple of both gradients of a measured pair of rows.
pub(crate) struct BothGradients<'r, A: Scalar, I: Isa> {
    pub(crate) coordinates: Coordinates<A, I>,
    pub(crate) rows: [Groups<'r, A>; 2],
}

impl<A: Scalar, I: Isa> Columns<I, 2> for BothGradients<'_, A, I> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 2] {
        let [x, y] = &self.rows;
        self.coordinates.at(x.at::<I>(group), y.at::<I>(group))
    }
}

/// One of two rows.
pub(crate) struct Side<'b, B> {
    pub(crate) both: &'b mut B,
    /// 0 or 1
    pub(crate) side: usize,
}

impl<I: Isa, B: Columns<I, 2>> Columns<I, 1> for Side<'_, B> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        [self.both.group(group)[self.side]]
    }
}

impl<A: Scalar> Distance<A> for SquaredEuclidean {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.measure::<Portable>(x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        both_gradients(self, x, y, dx, dy);
    }

    fn built_in(&self) -> Option<BuiltIn> {
        Some(BuiltIn::SquaredEuclidean)
    }
}

impl<A: Scalar> Metric<A> for SquaredEuclidean {
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let slope = Kind::Difference {
            epsilon: 0.0,
            scale: 1.0,
            factor: 2.0,
        };
        (square_distance::<A, I>(x, y).value(), Slope(slope))
    }

    #[inline(always)]
    fn measure_two<I: Isa>(&self, x: &[A], y: &[A], z: &[A]) -> [(f64, Slope<A::Real>); 2] {
        let slope = Slope(Kind::Difference {
            epsilon: 0.0,
            scale: 1.0,
            factor: 2.0,
        });
        square_distances::<A, I>(x, y, z).map(|square| (square.value(), slope))
    }
}

impl<A: Scalar> Distance<A> for CosineDistance {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.measure::<Portable>(x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        both_gradients(self, x, y, dx, dy);
    }

    fn built_in(&self) -> Option<BuiltIn> {
        Some(BuiltIn::Cosine)
    }
}

impl<A: Scalar> Metric<A> for CosineDistance {
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let pair = cosine::<A, I>(x, y, 0.0);
        (pair.distance, Slope(Kind::Cosine(pair)))
    }
}
