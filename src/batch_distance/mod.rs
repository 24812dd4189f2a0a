//! Distances between the rows of a batch, for the losses that compare all with all: of a panel of anchors to all candidates from one matrix
//! product, and from the rows themselves where that has lost digits.
//!
//! d² = ‖x‖² + ‖y‖² − 2x·y cancels where the rows are near each other. Below 1/64 of ‖x‖² + ‖y‖² (1 − cos below 1/64) a distance
//! is measured from the rows, so none has lost more than six bits to cancellation. So are all distances of rows whose squared norm is
//! zero, not finite, or out of the range where products neither overflow nor lose digits to underflow.

mod backward;
mod measure;
mod panels;

use std::ops::Range;

use ndarray::{ArrayView2, s};

use crate::blocks::{Threads, Units, for_each};
use crate::distance::{BuiltIn, Chosen, Lp, Measured};
use crate::gemm;
use crate::kernels::dot;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::staging::contiguous;
use crate::wide::Real;
pub(crate) use backward::{Backward, Pull, Role, Weights};
pub(crate) use measure::{Measure, MeasureSome};
pub(crate) use panels::Panels;

/// The distance between two rows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum BatchDistance {
    /// ‖x − y‖, with gradient 0 at distance 0.
    #[default]
    Euclidean,
    /// ‖x − y‖². Kept in the type of the rows: where it overflows there, as for `f32` rows of norm 1e19, two such distances have no difference (NaN).
    SquaredEuclidean,
    /// 1 − cos(x, y); 1 and without gradient if a row is zero.
    Cosine,
}

impl BatchDistance {
    /// The one that a distance is, if it is one of these.
    pub(crate) fn of<A>(distance: &Chosen<'_, A>) -> Option<Self> {
        match distance {
            Chosen::BuiltIn(BuiltIn::Lp(lp)) if lp.is_plain() => Some(Self::Euclidean),
            Chosen::BuiltIn(BuiltIn::SquaredEuclidean) => Some(Self::SquaredEuclidean),
            Chosen::BuiltIn(BuiltIn::Cosine) => Some(Self::Cosine),
            Chosen::BuiltIn(BuiltIn::Lp(_)) | Chosen::User(_) => None,
        }
    }

    /// The distance of two rows, NaN where it is infinite because a row is, and what its gradient needs besides them.
    #[inline(always)]
    pub(crate) fn measure<A: Scalar, I: Isa>(self, x: &[A], y: &[A]) -> Measured<A> {
        let built_in = match self {
            Self::Euclidean => BuiltIn::Lp(Lp::euclidean()),
            Self::SquaredEuclidean => BuiltIn::SquaredEuclidean,
            Self::Cosine => BuiltIn::Cosine,
        };
        built_in.measure::<A, I>(x, y)
    }
}

/// One side of the products: anchors or candidates.
pub(crate) struct Side<'a, A> {
    pub(crate) rows: ArrayView2<'a, A>,
    /// ‖row‖², or NaN where products of the row can't be trusted.
    squares: Vec<f64>,
    pub(crate) distance: BatchDistance,
}

impl<'a, A: Scalar> Side<'a, A> {
    pub(crate) fn new(rows: ArrayView2<'a, A>, distance: BatchDistance) -> Self {
        let mut squares = vec![0.0; rows.nrows()];
        let work = Units {
            slice: &mut squares,
            len: 1,
        };
        let threads = Threads::for_nanoseconds(rows.len() as f64 / 8.0);
        for_each(threads, rows.nrows(), 256, work, &|first, _, out| {
            dispatch(Squares {
                rows,
                first,
                out: out.slice,
            });
        });
        Self {
            rows,
            squares,
            distance,
        }
    }

    /// The same of some rows.
    pub(crate) fn some(&self, rows: Range<usize>) -> Self {
        Self {
            rows: self.rows.slice_move(s![rows.clone(), ..]),
            squares: self.squares[rows].to_vec(),
            distance: self.distance,
        }
    }

    /// Whether products of a row can be trusted.
    pub(crate) fn plain(&self, row: usize) -> bool {
        !self.squares[row].is_nan()
    }

    /// What a row is multiplied with before products are taken: 1/‖row‖ for cosines; 0 for a row that is not plain.
    pub(crate) fn factor(&self, row: usize) -> f64 {
        match self.distance {
            _ if !self.plain(row) => 0.0,
            BatchDistance::Cosine => 1.0 / self.squares[row].sqrt(),
            _ => 1.0,
        }
    }

    /// ‖row‖²; NaN for a row that is not plain.
    pub(crate) fn square(&self, row: usize) -> f64 {
        self.squares[row]
    }

    /// What a candidate's row puts into a distance besides its products: ‖y‖², or 1/‖y‖ for cosines.
    fn candidate_terms(&self) -> Vec<A> {
        let term = |&square: &f64| match self.distance {
            BatchDistance::Cosine => A::narrow(1.0 / square.sqrt()),
            _ => A::narrow(square),
        };
        self.squares.iter().map(term).collect()
    }

    /// Likewise for a panel of anchors: ‖x‖², or the 1 of 1 − cos.
    fn anchor_terms(&self, rows: Range<usize>) -> Vec<A> {
        let mut terms = vec![A::zero(); A::PANEL];
        for (term, square) in terms.iter_mut().zip(&self.squares[rows]) {
            *term = match self.distance {
                BatchDistance::Cosine => A::narrow(1.0 + 0.0 * square),
                _ => A::narrow(*square),
            };
        }
        terms
    }

    /// Rows as a panel `[dim, lane]`, times their factors; lanes without a row are zero.
    fn pack(&self, rows: Range<usize>, panel: &mut [A]) {
        if rows.len() < A::PANEL {
            panel.fill(A::zero());
        }
        for (lane, row) in rows.enumerate() {
            let factor = self.factor(row);
            for (to, &x) in panel.chunks_exact_mut(A::PANEL).zip(self.rows.row(row)) {
                // A row that is not plain may hold what times zero is not zero.
                to[lane] = if factor == 0.0 {
                    A::zero()
                } else {
                    A::narrow(x.wide() * factor)
                };
            }
        }
    }
}

struct Squares<'a, 'o, A> {
    rows: ArrayView2<'a, A>,
    first: usize,
    out: &'o mut [f64],
}

impl<A: Scalar> Kernel for Squares<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let trusted = gemm::trusted_squares::<A>();
        let mut spare = Vec::new();
        for (row, out) in self.out.iter_mut().enumerate() {
            let row = contiguous(self.rows.row(self.first + row), &mut spare);
            let square = dot::<A, I>(row, row).value();
            *out = if trusted.contains(&square) {
                square
            } else {
                f64::NAN
            };
        }
    }
}
