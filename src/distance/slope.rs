//! The gradient of a measured distance, coordinate by coordinate.

use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::similarity::{Cosine, CosineSlope};
use crate::wide::Real;

/// What the gradient of a measured pair of rows x, y needs besides their coordinates.
#[derive(Clone, Copy)]
pub(crate) struct Slope<R>(pub(super) Kind<R>);

#[derive(Clone, Copy)]
pub(super) enum Kind<R> {
    /// The distance is the user's: the gradient comes in whole rows.
    Rows,
    /// No gradient.
    Zero,
    /// z·scale·factor for the coordinate z of x − y + ε; the scale is a power of two that keeps the factor in range.
    Difference {
        epsilon: f64,
        scale: f64,
        factor: f64,
    },
    /// ±1, likewise.
    Sign { epsilon: f64 },
    /// ±1/ties where |z| is the distance.
    Largest {
        epsilon: f64,
        distance: f64,
        ties: f64,
    },
    /// ±(|z|·scale/root)^power, where the distance times the scale is the root.
    Power {
        epsilon: f64,
        scale: f64,
        root: f64,
        power: f64,
    },
    /// −∂cos
    Cosine(Cosine<R>),
}

impl<R> Kind<R> {
    /// 2(x − y), of ‖x − y‖².
    pub(super) const SQUARE: Self = Self::Difference {
        epsilon: 0.0,
        scale: 1.0,
        factor: 2.0,
    };
}

impl<R> Slope<R> {
    /// Of a distance whose gradient comes in whole rows.
    pub(crate) fn rows() -> Self {
        Self(Kind::Rows)
    }

    /// Of 1 − c.
    pub(crate) fn of_cosine(pair: Cosine<R>) -> Self {
        Self(Kind::Cosine(pair))
    }

    pub(crate) fn comes_in_rows(&self) -> bool {
        matches!(self.0, Kind::Rows)
    }
}

impl<R: Real> Slope<R> {
    /// ε and the factor, where `scale` times the gradient by x is (x − y + ε)·factor, and not zero whatever the rows hold.
    #[inline(always)]
    pub(crate) fn difference(&self, scale: f64) -> Option<(f64, f64)> {
        match self.0 {
            _ if scale == 0.0 => None,
            Kind::Difference {
                epsilon,
                scale: 1.0,
                factor,
            } => Some((epsilon, factor * scale)),
            _ => None,
        }
    }

    /// `scale` times both gradients; zeros for a scale of zero, and where the gradient comes in rows.
    #[inline(always)]
    pub(crate) fn coordinates<A: Scalar<Real = R>, I: Isa>(self, scale: f64) -> Coordinates<A, I> {
        let rule = match self.0 {
            _ if scale == 0.0 => Rule::Zero,
            Kind::Rows | Kind::Zero => Rule::Zero,
            Kind::Cosine(pair) => {
                Rule::Cosine(pair.first::<A, I>(-scale), pair.second::<A, I>(-scale))
            }
            Kind::Difference {
                epsilon,
                scale: inner,
                factor,
            } => Rule::Difference {
                epsilon,
                scale: (inner != 1.0).then_some(inner),
                factor: factor * scale,
            },
            Kind::Sign { .. } | Kind::Largest { .. } | Kind::Power { .. } => {
                Rule::Other(self.0, scale)
            }
        };
        Coordinates(rule)
    }
}

/// A multiple of both gradients of a distance, coordinate by coordinate.
pub(crate) struct Coordinates<A: Scalar, I: Isa>(Rule<A, I>);

enum Rule<A: Scalar, I: Isa> {
    Zero,
    Difference {
        epsilon: f64,
        scale: Option<f64>,
        factor: f64,
    },
    Cosine(CosineSlope<A, I>, CosineSlope<A, I>),
    Other(Kind<A::Real>, f64),
}

impl<A: Scalar, I: Isa> Coordinates<A, I> {
    /// Some coordinates of the gradients by x and by y, from the same coordinates of x and y.
    #[inline(always)]
    pub(crate) fn at(&self, x: I::Wide, y: I::Wide) -> [I::Wide; 2] {
        let none = I::splat(0.0);
        let by_x = match &self.0 {
            Rule::Zero => return [none; 2],
            Rule::Cosine(first, second) => return [first.at(x, y), second.at(y, x)],
            Rule::Difference {
                epsilon,
                scale,
                factor,
            } => {
                let z = I::add(I::sub(x, y), I::splat(*epsilon));
                let z = scale.map_or(z, |scale| I::mul(z, I::splat(scale)));
                I::mul(z, I::splat(*factor))
            }
            Rule::Other(kind, scale) => other::<_, I>(kind, *scale, I::sub(x, y)),
        };
        [by_x, I::sub(none, by_x)]
    }
}

/// `scale` times the gradient by x of the distances that take more than a product, for the differences `z` of some coordinates.
#[inline(always)]
fn other<R, I: Isa>(kind: &Kind<R>, scale: f64, z: I::Wide) -> I::Wide {
    let sign = |z: f64| if z == 0.0 { 0.0 } else { 1f64.copysign(z) };
    match *kind {
        Kind::Sign { epsilon } => I::map(z, |z| scale * sign(z + epsilon)),
        Kind::Largest {
            epsilon,
            distance,
            ties,
        } => {
            let share = scale / ties;
            I::map(z, |z| {
                let z = z + epsilon;
                if z.abs() == distance {
                    share * sign(z)
                } else {
                    0.0
                }
            })
        }
        Kind::Power {
            epsilon,
            scale: inner,
            root,
            power,
        } => I::map(z, |z| {
            let z = z + epsilon;
            scale * sign(z) * (z.abs() * inner / root).powf(power)
        }),
        _ => I::splat(0.0),
    }
}
