//! Distances: the crate's, and one as a user might write it.

use contrastive::{CosineDistance, Distance, Error, Lp, Scalar, SquaredEuclidean};
use ndarray::ArrayD;

use super::bytes::Bytes;
use super::call::largest;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Metric {
    Lp { lp: Lp, epsilon: f64 },
    SquaredEuclidean,
    Cosine,
    User,
}

impl Metric {
    /// Whether a batch takes it from matrix products.
    pub(crate) fn comes_from_products(self) -> bool {
        match self {
            Self::Lp { lp, epsilon } => epsilon == 0.0 && lp == Lp::euclidean(),
            Self::SquaredEuclidean | Self::Cosine => true,
            Self::User => false,
        }
    }

    pub(crate) fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let p = bytes.parameter(&[2.0, 2.0, 1.0, 1.5, 3.0, f64::INFINITY, 1e9]);
        let epsilon = bytes.parameter(&[0.0, 0.0, 0.0, 1e-6, 1e-30]);
        let lp = Self::Lp {
            lp: Lp::new(p)?.with_epsilon(epsilon)?,
            epsilon,
        };
        Ok(bytes.one_of(&[lp, lp, Self::SquaredEuclidean, Self::Cosine, Self::User]))
    }

    pub(crate) fn of<A: Scalar>(&self) -> &dyn Distance<A> {
        match self {
            Self::Lp { lp, .. } => lp,
            Self::SquaredEuclidean => &SquaredEuclidean,
            Self::Cosine => &CosineDistance,
            Self::User => &InnerProduct,
        }
    }

    /// ε, or 0 where there is none.
    pub(crate) fn epsilon(&self) -> f64 {
        match self {
            Self::Lp { epsilon, .. } => *epsilon,
            _ => 0.0,
        }
    }

    /// How large a distance of rows with `dim` columns can be.
    pub(crate) fn largest(&self, rows: &[ArrayD<f64>], dim: usize) -> f64 {
        let (size, dim) = (largest(rows), dim as f64);
        match self {
            Self::Lp { .. } => 2.0 * dim * size,
            Self::SquaredEuclidean => 4.0 * dim * size * size,
            Self::Cosine => 2.0,
            Self::User => 1.0 + dim * size * size,
        }
    }
}

/// 1 − x·y.
struct InnerProduct;

impl<A: Scalar> Distance<A> for InnerProduct {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        1.0 - x
            .iter()
            .zip(y)
            .map(|(&x, &y)| wide(x) * wide(y))
            .sum::<f64>()
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        for i in 0..x.len() {
            (dx[i], dy[i]) = (-wide(y[i]), -wide(x[i]));
        }
    }
}

fn wide<A: Scalar>(x: A) -> f64 {
    x.to_f64().expect("a float")
}
