//! The distances of the crate as a [`Distance`]: squared Euclidean, cosine, and the Lp of `lp.rs`.

use super::{BuiltIn, Distance, Lp};
use crate::scalar::Scalar;

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

macro_rules! built_in {
    ($distance:ty, $this:ident => $built_in:expr) => {
        impl<A: Scalar> Distance<A> for $distance {
            fn distance(&self, x: &[A], y: &[A]) -> f64 {
                let $this = *self;
                $built_in.distance(x, y)
            }

            fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
                let $this = *self;
                $built_in.gradient(x, y, dx, dy);
            }

            fn built_in(&self) -> Option<BuiltIn> {
                let $this = *self;
                Some($built_in)
            }
        }
    };
}

built_in!(Lp, lp => BuiltIn::Lp(lp));
built_in!(SquaredEuclidean, _this => BuiltIn::SquaredEuclidean);
built_in!(CosineDistance, _this => BuiltIn::Cosine);
