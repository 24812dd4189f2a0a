//! Distances between two rows, for the losses that compare distances: Lp, squared Euclidean, cosine, and the user's own.

mod lp;

pub use lp::Lp;
use lp::LpSlope;

use crate::scalar::Scalar;
use crate::simd::{Isa, Portable};
use crate::similarity::{Cosine, cosine};

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

    /// How many columns of the gradient can be computed by themselves, of `dim`.
    #[doc(hidden)]
    fn columns_at_a_time(&self, dim: usize) -> usize {
        dim
    }

    /// The distance, with what its gradient needs besides the rows.
    #[doc(hidden)]
    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        (self.distance(x, y), Slope(Kind::Unknown))
    }

    /// `out` (+)= `scale`·∂d/∂(x or y) of a measured pair, in the columns that `x` and `y` hold. `spare` is for the function to use: two rows of the same length.
    #[doc(hidden)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one call per gradient row; a struct would be built and taken apart at once"
    )]
    #[inline(always)]
    fn add_slope<I: Isa>(
        &self,
        _: Slope<A::Real>,
        side: Side,
        scale: f64,
        x: &[A],
        y: &[A],
        term: Term,
        out: &mut [f64],
        spare: &mut [&mut [f64]; 2],
    ) {
        let [dx, dy] = spare;
        self.gradient(x, y, dx, dy);
        for (out, &slope) in out
            .iter_mut()
            .zip(if side == Side::X { &**dx } else { &**dy })
        {
            *out = scale * slope + if term == Term::First { 0.0 } else { *out };
        }
    }
}

/// What the gradient of a measured pair needs besides the rows.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Slope<R>(Kind<R>);

#[derive(Clone, Copy)]
enum Kind<R> {
    /// Nothing was kept: the gradient is computed from the rows.
    Unknown,
    Lp(LpSlope),
    Cosine(Cosine<R>),
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
pub struct CosineDistance;

#[doc(hidden)]
/// Whether a pass writes the first term of a sum or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// Replace what is there.
    First,
    /// Add.
    Further,
}

#[doc(hidden)]
/// One side of a pair of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// x
    X,
    /// y
    Y,
}

/// Columns of a gradient at a time, for distances whose gradient needs no more than the coordinates themselves: two kilobytes of `f64`.
const COLUMNS: usize = 256;

/// A distance of the crate by itself, outside of a pass.
fn measured<A: Scalar>(distance: &impl Distance<A>, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
    distance.measure::<Portable>(x, y)
}

/// Both gradients of a distance of the crate, which takes no spare rows.
fn both_slopes<A: Scalar>(
    distance: &impl Distance<A>,
    x: &[A],
    y: &[A],
    dx: &mut [f64],
    dy: &mut [f64],
) {
    let (_, slope) = measured(distance, x, y);
    for (side, out) in [(Side::X, dx), (Side::Y, dy)] {
        distance.add_slope::<Portable>(
            slope,
            side,
            1.0,
            x,
            y,
            Term::First,
            out,
            &mut [&mut [], &mut []],
        );
    }
}

/// `out` (+)= `coordinate(x, y)`, column by column.
#[inline(always)]
fn add_slopes<A: Scalar>(
    x: &[A],
    y: &[A],
    term: Term,
    out: &mut [f64],
    coordinate: impl Fn(A, A) -> f64,
) {
    let pairs = x.iter().zip(y);
    match term {
        Term::First => out
            .iter_mut()
            .zip(pairs)
            .for_each(|(out, (&x, &y))| *out = coordinate(x, y)),
        Term::Further => out
            .iter_mut()
            .zip(pairs)
            .for_each(|(out, (&x, &y))| *out += coordinate(x, y)),
    }
}

impl<A: Scalar> Distance<A> for SquaredEuclidean {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        measured(self, x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        both_slopes(self, x, y, dx, dy);
    }

    fn columns_at_a_time(&self, _: usize) -> usize {
        COLUMNS
    }

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        (
            Lp::euclidean().square_sum::<A, I>(x, y, 1.0),
            Slope(Kind::Unknown),
        )
    }

    #[inline(always)]
    fn add_slope<I: Isa>(
        &self,
        _: Slope<A::Real>,
        side: Side,
        scale: f64,
        x: &[A],
        y: &[A],
        term: Term,
        out: &mut [f64],
        _: &mut [&mut [f64]; 2],
    ) {
        let factor = if side == Side::X {
            2.0 * scale
        } else {
            -2.0 * scale
        };
        add_slopes(x, y, term, out, |x, y| factor * (x.wide() - y.wide()));
    }
}

impl<A: Scalar> Distance<A> for CosineDistance {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        measured(self, x, y).0
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        both_slopes(self, x, y, dx, dy);
    }

    fn columns_at_a_time(&self, _: usize) -> usize {
        COLUMNS
    }

    #[inline(always)]
    fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> (f64, Slope<A::Real>) {
        let pair = cosine::<A, I>(x, y, 0.0);
        (pair.distance, Slope(Kind::Cosine(pair)))
    }

    #[inline(always)]
    fn add_slope<I: Isa>(
        &self,
        slope: Slope<A::Real>,
        side: Side,
        scale: f64,
        x: &[A],
        y: &[A],
        term: Term,
        out: &mut [f64],
        _: &mut [&mut [f64]; 2],
    ) {
        let Slope(Kind::Cosine(pair)) = slope else {
            return;
        };
        match side {
            Side::X => add_slopes(x, y, term, out, pair.first::<A, I>(-scale)),
            Side::Y => add_slopes(x, y, term, out, pair.second::<A, I>(-scale)),
        }
    }
}
