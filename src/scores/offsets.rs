//! Rows of unequal length, one after the other in a flat array: offsets, their checks, and how such an array is cut between threads.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewMut, Axis, Dimension, RemoveAxis};

use crate::blocks::Split;
use crate::error::Error;

/// Refuses rows whose indices do not rise. The offsets have been checked.
pub(super) fn check_rising(
    name: &'static str,
    offsets: ArrayView1<'_, usize>,
    indices: ArrayView1<'_, usize>,
) -> Result<(), Error> {
    for row in 0..offsets.len() - 1 {
        for at in offsets[row] + 1..offsets[row + 1] {
            let (before, found) = (indices[at - 1], indices[at]);
            if found <= before {
                return Err(Error::Order {
                    name,
                    position: at,
                    before,
                    found,
                });
            }
        }
    }
    Ok(())
}

/// The entries of a row.
#[inline(always)]
pub(super) fn range(offsets: ArrayView1<'_, usize>, row: usize) -> Range<usize> {
    offsets[row]..offsets[row + 1]
}

/// Some rows of a flat array of rows of unequal length, to be written.
pub(super) struct Ragged<'a, 'o, A, D: Dimension> {
    view: ArrayViewMut<'a, A, D>,
    /// Of all rows.
    offsets: ArrayView1<'o, usize>,
    /// The first row that the view has.
    first: usize,
}

impl<'a, 'o, A, D: RemoveAxis> Ragged<'a, 'o, A, D> {
    /// All rows; the first axis of `view` is cut by the offsets.
    pub(super) fn new(view: ArrayViewMut<'a, A, D>, offsets: ArrayView1<'o, usize>) -> Self {
        Self {
            view,
            offsets,
            first: 0,
        }
    }

    /// The entries of the rows at hand, from the first of them on.
    pub(super) fn entries(self) -> ArrayViewMut<'a, A, D> {
        self.view
    }
}

impl<A: Send, D: RemoveAxis> Split for Ragged<'_, '_, A, D> {
    fn split(self, rows: usize) -> (Self, Self) {
        let middle = self.first + rows;
        let entries = self.offsets[middle] - self.offsets[self.first];
        let (left, right) = self.view.split_at(Axis(0), entries);
        let part = |view, first| Self {
            view,
            first,
            offsets: self.offsets,
        };
        (part(left, self.first), part(right, middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Threads, for_each};
    use crate::offsets::check_offsets;
    use ndarray::{Array1, array};

    #[test]
    fn every_thread_gets_the_entries_of_its_rows() {
        let offsets = array![0, 2, 2, 5, 6, 9];
        for grain in 1..6 {
            let mut entries = Array1::zeros(9);
            let rows = Ragged::new(entries.view_mut(), offsets.view());
            for_each(Threads::All, 5, grain, rows, &|first,
                                                     count,
                                                     rows: Ragged<
                '_,
                '_,
                usize,
                _,
            >| {
                let mut entries = rows.entries();
                let start = offsets[first];
                assert_eq!(entries.len(), offsets[first + count] - start);
                for row in first..first + count {
                    for at in range(offsets.view(), row) {
                        entries[at - start] = row;
                    }
                }
            });
            assert_eq!(entries, array![0, 0, 2, 2, 2, 3, 4, 4, 4]);
        }
    }

    #[test]
    fn offsets_that_do_not_cut_are_refused() {
        let check =
            |offsets: &[usize], rows, total| check_offsets("o", offsets.into(), rows, total);
        assert!(check(&[0, 2, 2, 3], Some(3), 3).is_ok() && check(&[0], Some(0), 0).is_ok());
        assert!(check(&[0, 1], None, 1).is_ok());
        let bad: [(&[usize], _, _); 8] = [
            (&[], None, 0),
            (&[], Some(0), 0),
            (&[0, 1], Some(2), 1),
            (&[1, 1], Some(1), 1),
            (&[0, 2, 1], Some(2), 1),
            (&[0, 3, 2], Some(2), 2),
            (&[0, 1], Some(1), 2),
            (&[1], Some(0), 1),
        ];
        for (offsets, rows, total) in bad {
            assert!(
                check(offsets, rows, total).is_err(),
                "{offsets:?} {rows:?} {total}"
            );
        }
    }
}
