//! Who competes with whom: the matrices that are scored against each other, and where the positives are.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::blocks::{Threads, Units, for_each};
use crate::error::Error;
use crate::kernels::{dot, largest};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::{SAFE, Similarity, power_of_two_scale};
use crate::wide::Real;

/// Which row of the documents is the positive of a query.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Targets};
/// use ndarray::array;
///
/// // The second half of a batch on one machine, against the documents of all.
/// let queries = array![[0.0, 1.0]];
/// let documents = array![[1.0, 0.0], [0.0, 1.0]];
/// let input = InfoNceInput::new(queries.view(), documents.view()).with_targets(Targets::Offset(1));
/// let value: f64 = InfoNceLoss::new(1.0)?.forward(input)?;
/// assert!((value - (-1.0_f64).exp().ln_1p()).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Document i is the positive of query i.
    #[default]
    Aligned,
    /// Document i + offset is the positive of query i.
    Offset(usize),
    /// The positive of each query, `[n]`. Several queries may share a document.
    Index(ArrayView1<'a, usize>),
}

impl Targets<'_> {
    pub(super) fn check(&self, queries: usize, documents: usize) -> Result<(), Error> {
        match self {
            Self::Aligned | Self::Offset(_) => {
                let last = queries
                    .checked_sub(1)
                    .map(|last| last.saturating_add(self.offset()));
                match last {
                    Some(found) if found >= documents => Err(Error::Index {
                        name: "targets",
                        row: queries - 1,
                        rows: documents,
                        found,
                    }),
                    _ => Ok(()),
                }
            }
            Self::Index(index) => {
                if index.len() != queries {
                    return Err(Error::Shape {
                        name: "targets",
                        expected: vec![queries],
                        found: vec![index.len()],
                    });
                }
                match index
                    .iter()
                    .enumerate()
                    .find(|&(_, &target)| target >= documents)
                {
                    Some((row, &found)) => Err(Error::Index {
                        name: "targets",
                        row,
                        rows: documents,
                        found,
                    }),
                    None => Ok(()),
                }
            }
        }
    }

    fn offset(&self) -> usize {
        if let Self::Offset(offset) = self {
            *offset
        } else {
            0
        }
    }

    /// The positive of a query.
    #[inline]
    pub(super) fn of(&self, query: usize) -> usize {
        match self {
            Self::Aligned => query,
            Self::Offset(offset) => query + offset,
            Self::Index(index) => index[query],
        }
    }
}

/// The queries of each document, found from the targets by a counting sort.
pub(super) struct Askers {
    /// Where the queries of a document begin in `queries`, and one end more.
    starts: Vec<usize>,
    queries: Vec<usize>,
}

impl Askers {
    pub(super) fn new(targets: &Targets<'_>, queries: usize, documents: usize) -> Self {
        let mut starts = vec![0; documents + 1];
        for query in 0..queries {
            starts[targets.of(query) + 1] += 1;
        }
        for document in 0..documents {
            starts[document + 1] += starts[document];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; queries];
        for query in 0..queries {
            let place = &mut next[targets.of(query)];
            sorted[*place] = query;
            *place += 1;
        }
        Self {
            starts,
            queries: sorted,
        }
    }

    /// The queries whose positive this document is, in ascending order.
    pub(super) fn of(&self, document: usize) -> &[usize] {
        &self.queries[self.starts[document]..self.starts[document + 1]]
    }
}

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
}

/// 1/norm and the power of two that it was scaled by.
#[derive(Clone, Copy, Default)]
struct Norm {
    scale: f64,
    /// 1 / ‖row·scale‖
    inverse: f64,
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
            let row = crate::rows::contiguous(self.rows.row(self.first + row), &mut spare);
            *out = match self.similarity {
                Similarity::Cosine => norm::<A, I>(row),
                Similarity::Dot => unit(row),
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
    }
}

#[inline(always)]
fn norm<A: Scalar, I: Isa>(row: &[A]) -> Norm {
    let square = dot::<A, I>(row, row).value();
    if SAFE.contains(&square) {
        return Norm {
            scale: 1.0,
            inverse: 1.0 / square.sqrt(),
        };
    }
    if largest(row) == 0.0 {
        return Norm {
            scale: 1.0,
            inverse: 0.0,
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
        }
    }

    /// The factors with which products in `A` neither overflow nor lose digits.
    fn comfortable() -> Range<f64> {
        let reach = 2f64.powi(if size_of::<A>() == 4 { 40 } else { 300 });
        1.0 / reach..reach
    }

    /// The rows to multiply with.
    pub(super) fn rows(&self) -> ArrayView2<'_, A> {
        self.copy.as_ref().map_or(self.original, |copy| copy.view())
    }
}
