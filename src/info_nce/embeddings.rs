//! A matrix of embeddings, with what turns inner products of its rows into similarities.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};

use crate::blocks::{Threads, Units, for_each};
use crate::kernels::{dot, largest};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::{SAFE, Similarity, power_of_two_scale};
use crate::wide::Real;

/// A matrix of embeddings with what turns inner products of its rows into similarities.
pub(super) struct Embeddings<'a, A> {
    /// The caller's rows.
    pub(super) original: ArrayView2<'a, A>,
    /// Normalised rows, where the caller's norms are too far from 1 for products in `A`, or not finite.
    copy: Option<Array2<A>>,
    /// What brings a row of [`rows`](Self::rows) to norm 1; 1 for the dot product, 0 for a zero row, NaN for one that is not finite.
    pub(super) factors: Vec<f64>,
    /// 1/‖row‖ of the caller's rows, likewise.
    pub(super) per_norm: Vec<f64>,
    /// ‖row‖², where similarity is a distance; empty otherwise.
    pub(super) squares: Vec<f64>,
}

/// 1/norm and the power of two that it was scaled by.
#[derive(Clone, Copy, Default)]
struct Norm {
    scale: f64,
    /// 1 / ‖row·scale‖
    inverse: f64,
    /// ‖row‖², where similarity is a distance.
    square: f64,
}

struct Norms<'a, 'b, A> {
    rows: ArrayView2<'a, A>,
    similarity: Similarity,
    first: usize,
    out: &'b mut [Norm],
}

impl<A: Scalar> Kernel for Norms<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut spare = Vec::new();
        for (row, out) in self.out.iter_mut().enumerate() {
            let row = crate::staging::contiguous(self.rows.row(self.first + row), &mut spare);
            *out = match self.similarity {
                Similarity::Cosine => norm::<A, I>(row),
                Similarity::Dot => unit(row),
                Similarity::SquaredEuclidean => Norm {
                    square: dot::<A, I>(row, row).value(),
                    ..unit(row)
                },
            };
        }
    }
}

/// What stands in for the norm where rows are not normalised: NaN for a row that is not finite.
#[inline(always)]
fn unit<A: Scalar>(row: &[A]) -> Norm {
    let finite = largest(row).is_finite();
    Norm {
        scale: 1.0,
        inverse: if finite { 1.0 } else { f64::NAN },
        square: 0.0,
    }
}

#[inline(always)]
fn norm<A: Scalar, I: Isa>(row: &[A]) -> Norm {
    let square = dot::<A, I>(row, row).value();
    if SAFE.contains(&square) {
        return Norm {
            scale: 1.0,
            inverse: 1.0 / square.sqrt(),
            square,
        };
    }
    if largest(row) == 0.0 {
        return Norm {
            scale: 1.0,
            inverse: 0.0,
            square,
        };
    }
    let scale = power_of_two_scale(row, 0.0);
    let square = row.iter().map(|x| (x.wide() * scale).powi(2)).sum::<f64>();
    Norm {
        scale,
        inverse: if square.is_finite() {
            1.0 / square.sqrt()
        } else {
            f64::NAN
        },
        square,
    }
}

impl<'a, A: Scalar> Embeddings<'a, A> {
    pub(super) fn new(rows: ArrayView2<'a, A>, similarity: Similarity) -> Self {
        let n = rows.nrows();
        let mut norms = vec![Norm::default(); n];
        let threads = Threads::for_nanoseconds(rows.len() as f64 / 4.0);
        for_each(
            threads,
            n,
            64,
            Units {
                slice: &mut norms,
                len: 1,
            },
            &|first, _, out: Units<Norm>| {
                dispatch(Norms {
                    rows,
                    similarity,
                    first,
                    out: out.slice,
                });
            },
        );
        let squares = match similarity {
            Similarity::SquaredEuclidean => norms.iter().map(|norm| norm.square).collect(),
            Similarity::Cosine | Similarity::Dot => Vec::new(),
        };
        let per_norm: Vec<f64> = norms.iter().map(|norm| norm.scale * norm.inverse).collect();
        if per_norm
            .iter()
            .all(|&factor| factor == 0.0 || Self::comfortable().contains(&factor))
        {
            return Self {
                original: rows,
                copy: None,
                factors: per_norm.clone(),
                per_norm,
                squares,
            };
        }
        let mut copy = Array2::zeros(rows.dim());
        for ((mut to, from), norm) in copy
            .axis_iter_mut(Axis(0))
            .zip(rows.axis_iter(Axis(0)))
            .zip(&norms)
        {
            // A row that is not finite stays zero, so that it cannot reach the sums of queries that it does not compete for.
            if norm.inverse.is_finite() {
                to.zip_mut_with(&from, |to, from| {
                    *to = A::narrow(from.wide() * norm.scale * norm.inverse)
                });
            }
        }
        let factors = norms
            .iter()
            .map(|norm| {
                if norm.inverse > 0.0 {
                    1.0
                } else {
                    norm.inverse
                }
            })
            .collect();
        Self {
            original: rows,
            copy: Some(copy),
            factors,
            per_norm,
            squares,
        }
    }

    /// The factors with which products in `A` neither overflow nor lose digits.
    fn comfortable() -> Range<f64> {
        let reach = 2f64.powi(if size_of::<A>() == 4 { 40 } else { 300 });
        1.0 / reach..reach
    }

    /// Whether the caller's rows are multiplied with as they are.
    pub(super) fn are_in_place(&self) -> bool {
        self.copy.is_none()
    }

    /// The rows to multiply with.
    pub(super) fn rows(&self) -> ArrayView2<'_, A> {
        self.copy.as_ref().map_or(self.original, |copy| copy.view())
    }
}
