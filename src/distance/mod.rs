//! Distances between two rows, for the losses that compare distances: Lp, squared Euclidean, cosine, and the user's own.

mod lp;
mod metrics;
mod slope;

use crate::kernels::{Begun, Groups, square_distance, square_distances};
use crate::scalar::{Element, Scalar};
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::cosine;
use crate::store::{Columns, add_to};
use crate::wide::Real;
pub use lp::Lp;
pub use metrics::{CosineDistance, SquaredEuclidean};
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

impl BuiltIn {
    /// The distance, NaN where it is infinite because a row is, with what its gradient needs besides the rows.
    #[inline(always)]
    pub(crate) fn measure<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> Measured<A> {
        let measured = match self {
            Self::Lp(lp) if lp.is_plain() => lp.measure::<A, I>(x, y),
            distance => I::call(Measure { distance, x, y }),
        };
        fair(measured, x, y)
    }

    /// Both distances of x, to y and to z, carried on from what was begun of their squares.
    #[inline(always)]
    fn measure_two<A: Scalar, I: Isa>(self, begun: &Begun, x: &[A], y: &[A], z: &[A]) -> Two<A> {
        let lp = match self {
            Self::Lp(lp) if lp.is_plain() => Some(lp),
            Self::SquaredEuclidean => None,
            distance => {
                return Two {
                    measured: [y, z].map(|y| distance.measure::<A, I>(x, y)),
                    differences: None,
                };
            }
        };
        // What the products are for is done in the precision of f32 rows alone.
        let with_product = size_of::<A>() == size_of::<f32>();
        let [to_y, to_z, product] = square_distances::<A, I>(begun, [x, y, z], with_product);
        let measured = |square: A::Real, y| match lp {
            Some(lp) => lp.rooted::<A, I>(square, x, y),
            None => (square.value(), Slope(Kind::SQUARE)),
        };
        Two {
            measured: [fair(measured(to_y, y), x, y), fair(measured(to_z, z), x, z)],
            differences: with_product.then(|| [to_y.value(), to_z.value(), product.value()]),
        }
    }

    /// By itself, outside of a pass.
    fn distance<A: Scalar>(self, x: &[A], y: &[A]) -> f64 {
        let distance = self;
        dispatch(Measure { distance, x, y }).0
    }

    /// Both gradients, likewise.
    fn gradient<A: Scalar>(self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        let out = [dx, dy];
        let distance = self;
        dispatch(Gradients {
            distance,
            x,
            y,
            out,
        });
    }
}

/// A distance, with what its gradient needs besides the rows.
pub(crate) type Measured<A> = (f64, Slope<<A as Element>::Real>);

/// Both distances of a row x, to y and to z.
pub(crate) struct Two<A: Scalar> {
    pub(crate) measured: [Measured<A>; 2],
    /// ‖x − y‖², ‖x − z‖² and (x − y)·(x − z), of `f32` rows and where the distances come from these.
    pub(crate) differences: Option<[f64; 3]>,
}

/// A distance that overflowed stays infinite; one of a row that is infinite is none.
#[inline(always)]
fn fair<A: Scalar>((distance, slope): Measured<A>, x: &[A], y: &[A]) -> Measured<A> {
    let finite = distance.is_finite() || are_finite(x, y);
    (if finite { distance } else { f64::NAN }, slope)
}

#[cold]
#[inline(never)]
fn are_finite<A: Scalar>(x: &[A], y: &[A]) -> bool {
    x.iter().chain(y).all(|x| x.is_finite())
}

struct Measure<'r, A> {
    distance: BuiltIn,
    x: &'r [A],
    y: &'r [A],
}

impl<A: Scalar> Kernel for Measure<'_, A> {
    type Output = Measured<A>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Measured<A> {
        let Self { distance, x, y } = self;
        match distance {
            BuiltIn::Lp(lp) => lp.measure::<A, I>(x, y),
            BuiltIn::SquaredEuclidean => {
                let square = square_distance::<A, I>(x, y).value();
                (square, Slope(Kind::SQUARE))
            }
            BuiltIn::Cosine => {
                let pair = cosine::<A, I>(x, y, 0.0);
                (pair.distance, Slope(Kind::Cosine(pair)))
            }
        }
    }
}

struct Gradients<'r, 'o, A> {
    distance: BuiltIn,
    x: &'r [A],
    y: &'r [A],
    out: [&'o mut [f64]; 2],
}

impl<A: Scalar> Kernel for Gradients<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { distance, x, y, .. } = self;
        let (_, slope) = distance.measure::<A, I>(x, y);
        for (side, out) in self.out.into_iter().enumerate() {
            out.fill(0.0);
            add_gradient::<A, I>(out, slope, 1.0, [x, y], side);
        }
    }
}

/// Adds `factor` times the gradient of a measured distance by one of its rows.
#[inline(always)]
pub(crate) fn add_gradient<A: Scalar, I: Isa>(
    out: &mut [f64],
    slope: Slope<A::Real>,
    factor: f64,
    rows: [&[A]; 2],
    side: usize,
) {
    I::call(AddGradient {
        out,
        slope,
        factor,
        rows,
        side,
    });
}

struct AddGradient<'r, 'o, A: Scalar> {
    out: &'o mut [f64],
    slope: Slope<A::Real>,
    factor: f64,
    rows: [&'r [A]; 2],
    side: usize,
}

impl<A: Scalar> Kernel for AddGradient<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let both = &mut BothGradients {
            coordinates: self.slope.coordinates::<A, I>(self.factor),
            rows: self.rows.map(Groups::new),
        };
        let side = self.side;
        add_to::<I>(self.out, Side { both, side });
    }
}

/// A distance that is known only at run time: of the crate, with its kernels, or the user's, called through a pointer, so that the kernels are compiled
/// here and not in each crate that has one.
pub(crate) enum Chosen<'d, A> {
    BuiltIn(BuiltIn),
    User(&'d dyn Distance<A>),
}

impl<'d, A: Scalar> Chosen<'d, A> {
    pub(crate) fn new(distance: &'d dyn Distance<A>) -> Self {
        match distance.built_in() {
            Some(built_in) => Self::BuiltIn(built_in),
            None => Self::User(distance),
        }
    }

    /// The distance, NaN where it is infinite because a row is, with what its gradient needs besides the rows.
    #[inline(always)]
    pub(crate) fn measure<I: Isa>(&self, x: &[A], y: &[A]) -> Measured<A> {
        match self {
            Self::BuiltIn(built_in) => built_in.measure::<A, I>(x, y),
            Self::User(user) => fair((user.distance(x, y), Slope::rows()), x, y),
        }
    }

    /// Both distances of x, to y and to z, carried on from what was begun of their squares.
    #[inline(always)]
    pub(crate) fn measure_two<I: Isa>(&self, begun: &Begun, x: &[A], y: &[A], z: &[A]) -> Two<A> {
        match self {
            Self::BuiltIn(built_in) => built_in.measure_two::<A, I>(begun, x, y, z),
            Self::User(_) => Two {
                measured: [y, z].map(|y| self.measure::<I>(x, y)),
                differences: None,
            },
        }
    }

    /// Both gradients, in whole rows.
    pub(crate) fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        match self {
            Self::BuiltIn(built_in) => built_in.gradient(x, y, dx, dy),
            Self::User(user) => user.gradient(x, y, dx, dy),
        }
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
