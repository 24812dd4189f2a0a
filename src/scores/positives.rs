//! Which candidates of a row of scores are its positives.

use ndarray::{ArrayView1, s};

use super::offsets::check_rising;
use crate::error::Error;
use crate::offsets::check_offsets;
use crate::rows::check_shape;

/// The positives of each row of scores.
///
/// ```
/// use contrastive::{Loss, Positives, SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss};
/// use ndarray::array;
///
/// let scores = array![[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]];
/// // Row 0 has the positives 0 and 2, row 1 has none and is left out.
/// let (offsets, indices) = (array![0, 2, 2], array![0, 2]);
/// let positives = Positives::Lists { offsets: offsets.view(), indices: indices.view() };
/// let input = SoftmaxCrossEntropyInput::new(scores.view()).with_positives(positives);
/// let value: f64 = SoftmaxCrossEntropyLoss::new(1.0)?.forward(input)?;
/// assert!((value - 3.0_f64.ln()).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Positives<'a> {
    /// Column i is the positive of row i.
    #[default]
    Aligned,
    /// Column i + offset is the positive of row i: the share of one machine against the candidates of all.
    Offset(usize),
    /// The positive of each row, `[n]`.
    Index(ArrayView1<'a, usize>),
    /// Any number of positives for each row, none among them: those of row i are `indices[offsets[i]..offsets[i + 1]]`, in rising order, as in a
    /// CSR matrix of relevance.
    Lists {
        /// Where the list of each row begins, and where the last one ends, `[n + 1]`.
        offsets: ArrayView1<'a, usize>,
        /// The columns of the positives, one list after the other.
        indices: ArrayView1<'a, usize>,
    },
}

/// The positives of one row.
#[derive(Clone, Copy)]
pub(super) enum Members<'a> {
    One(usize),
    Several(ArrayView1<'a, usize>),
}

impl<'a> Positives<'a> {
    /// Refuses lists that do not fit scores `[rows, columns]`.
    pub(super) fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        let below = |name, row, found| {
            (found < columns).then_some(()).ok_or(Error::Index {
                name,
                row,
                rows: columns,
                found,
            })
        };
        match *self {
            Self::Aligned => Self::Offset(0).check(rows, columns),
            Self::Offset(offset) => match rows.checked_sub(1) {
                Some(last) => below("positives", last, last.saturating_add(offset)),
                None => Ok(()),
            },
            Self::Index(index) => {
                check_shape("positives", &[rows], index.shape())?;
                let mut numbered = index.iter().enumerate();
                numbered.try_for_each(|(row, &found)| below("positives", row, found))
            }
            Self::Lists { offsets, indices } => {
                check_offsets("positives.offsets", offsets, Some(rows), indices.len())?;
                check_rising("positives.indices", offsets, indices)?;
                let mut numbered = indices.iter().enumerate();
                numbered.try_for_each(|(at, &found)| below("positives.indices", at, found))
            }
        }
    }

    /// Those of a row, once they have been checked.
    #[inline]
    pub(super) fn of(&self, row: usize) -> Members<'a> {
        match *self {
            Self::Aligned => Members::One(row),
            Self::Offset(offset) => Members::One(row + offset),
            Self::Index(index) => Members::One(index[row]),
            Self::Lists { offsets, indices } => {
                Members::Several(indices.slice_move(s![offsets[row]..offsets[row + 1]]))
            }
        }
    }
}

impl Members<'_> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(list) => list.len(),
        }
    }

    #[inline(always)]
    pub(super) fn at(&self, k: usize) -> usize {
        match self {
            Self::One(column) => *column,
            Self::Several(list) => list[k],
        }
    }

    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(|k| self.at(k))
    }
}
