//! Fixed blocks of rows, on all threads or in sequence, with the same bits either way. The only user of rayon.
//!
//! Work on `count` units is split in the middle until a leaf holds at most `grain` of them, and the leaves' results are merged back up the same
//! tree. The tree depends on `count` and `grain` alone, never on the threads that happen to run it; sums over it are pairwise.

use ndarray::{ArrayViewMut, Axis, Dimension, RemoveAxis};

/// Something that can be cut in two at a unit (a row, a tile).
pub(crate) trait Split: Sized + Send {
    fn split(self, unit: usize) -> (Self, Self);
}

impl<A: Send, D: Dimension + RemoveAxis> Split for ArrayViewMut<'_, A, D> {
    fn split(self, unit: usize) -> (Self, Self) {
        self.split_at(Axis(0), unit)
    }
}

/// A slice of units of `len` elements each.
pub(crate) struct Units<'a, A> {
    pub(crate) slice: &'a mut [A],
    pub(crate) len: usize,
}

impl<A> Units<'_, A> {
    /// The same elements in units of another length.
    pub(crate) fn of(self, len: usize) -> Self {
        Self { len, ..self }
    }
}

impl<A: Send> Split for Units<'_, A> {
    fn split(self, unit: usize) -> (Self, Self) {
        // The last unit may be a short one.
        let middle = (unit * self.len).min(self.slice.len());
        let (left, right) = self.slice.split_at_mut(middle);
        (
            Units {
                slice: left,
                len: self.len,
            },
            Units {
                slice: right,
                len: self.len,
            },
        )
    }
}

impl Split for () {
    fn split(self, _: usize) -> (Self, Self) {
        ((), ())
    }
}

impl<T: Split> Split for Option<T> {
    fn split(self, unit: usize) -> (Self, Self) {
        self.map(|inner| inner.split(unit)).unzip()
    }
}

impl<T: Split> Split for Vec<T> {
    fn split(self, unit: usize) -> (Self, Self) {
        self.into_iter().map(|inner| inner.split(unit)).unzip()
    }
}

impl<T: Split, U: Split> Split for (T, U) {
    fn split(self, unit: usize) -> (Self, Self) {
        let ((t0, t1), (u0, u1)) = (self.0.split(unit), self.1.split(unit));
        ((t0, u0), (t1, u1))
    }
}

impl<T: Split, U: Split, V: Split> Split for (T, U, V) {
    fn split(self, unit: usize) -> (Self, Self) {
        let ((t0, t1), (u0, u1), (v0, v1)) =
            (self.0.split(unit), self.1.split(unit), self.2.split(unit));
        ((t0, u0, v0), (t1, u1, v1))
    }
}

/// Whether a piece of work is worth handing to other threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    All,
    /// For work of less than some tens of microseconds, which a hand-over would only delay.
    One,
}

impl Threads {
    /// All threads for work that takes one of them more than about `nanoseconds`.
    pub(crate) fn for_nanoseconds(nanoseconds: f64) -> Self {
        const WORTH_SHARING: f64 = 40_000.0;
        if nanoseconds > WORTH_SHARING {
            Threads::All
        } else {
            Threads::One
        }
    }

    /// For so many multiply-adds of matrix products.
    pub(crate) fn for_products(count: f64) -> Self {
        /// Of a multiply-add, on one thread.
        const NANOSECONDS: f64 = 0.02;
        Self::for_nanoseconds(count * NANOSECONDS)
    }
}

/// What is done with a block: of its first unit, their count and the work on them.
///
/// A `dyn`, so that the tree above the leaves is compiled once for each kind of work and not for each use of it.
type Leaf<'a, T, R> = dyn Fn(usize, usize, T) -> R + Sync + 'a;

/// Runs `leaf` over blocks of at most `grain` units and merges the results in the order of the units.
pub(crate) fn map_merge<T: Split, R: Send>(
    threads: Threads,
    count: usize,
    grain: usize,
    work: T,
    leaf: &Leaf<'_, T, R>,
    merge: &(dyn Fn(R, R) -> R + Sync),
) -> R {
    descend(threads, 0, count, grain.max(1), work, leaf, merge)
}

/// [`map_merge`] without a result.
pub(crate) fn for_each<T: Split>(
    threads: Threads,
    count: usize,
    grain: usize,
    work: T,
    leaf: &Leaf<'_, T, ()>,
) {
    map_merge(threads, count, grain, work, leaf, &|(), ()| ());
}

/// Runs work of several phases on a thread of the pool, so that it is handed over once and not in every phase.
pub(crate) fn on_pool<R: Send>(threads: Threads, work: impl FnOnce() -> R + Send) -> R {
    both(threads, work, || ()).0
}

fn descend<T: Split, R: Send>(
    threads: Threads,
    first: usize,
    count: usize,
    grain: usize,
    work: T,
    leaf: &Leaf<'_, T, R>,
    merge: &(dyn Fn(R, R) -> R + Sync),
) -> R {
    if count <= grain {
        return leaf(first, count, work);
    }
    let middle = count.div_ceil(grain).div_ceil(2) * grain;
    let (left, right) = work.split(middle);
    let (left, right) = both(
        threads,
        || descend(threads, first, middle, grain, left, leaf, merge),
        || {
            descend(
                threads,
                first + middle,
                count - middle,
                grain,
                right,
                leaf,
                merge,
            )
        },
    );
    merge(left, right)
}

fn both<L: Send, R: Send>(
    threads: Threads,
    left: impl FnOnce() -> L + Send,
    right: impl FnOnce() -> R + Send,
) -> (L, R) {
    #[cfg(feature = "rayon")]
    if threads == Threads::All {
        let (mut left, mut right) = (Some(left), Some(right));
        let (mut of_left, mut of_right) = (None, None);
        join(
            &mut || of_left = left.take().map(|work| work()),
            &mut || of_right = right.take().map(|work| work()),
        );
        return of_left.zip(of_right).expect("both were run");
    }
    let _ = threads;
    (left(), right())
}

/// Rayon's, compiled once and not with its machinery around each kind of work.
#[cfg(feature = "rayon")]
fn join(left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
    rayon::join(left, right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_cover_every_unit_once_and_merge_in_order() {
        for count in 0..70 {
            for grain in 1..9 {
                let mut marks = vec![0; count];
                let work = Units {
                    slice: &mut marks,
                    len: 1,
                };
                let order = map_merge(
                    Threads::All,
                    count,
                    grain,
                    work,
                    &|first, count, units: Units<i32>| {
                        assert_eq!(units.slice.len(), count);
                        assert!(count <= grain);
                        units.slice.iter_mut().for_each(|mark| *mark += 1);
                        vec![(first, count)]
                    },
                    &|mut left, right| {
                        left.extend(right);
                        left
                    },
                );
                assert!(marks.iter().all(|&mark| mark == 1));
                let mut next = 0;
                for (first, count) in order {
                    assert_eq!(first, next);
                    next += count;
                }
                assert_eq!(next, count);
            }
        }
    }

    #[test]
    fn last_unit_may_be_short() {
        let mut slice = [0; 7];
        let (left, right) = Units {
            slice: &mut slice,
            len: 4,
        }
        .split(1);
        assert_eq!((left.slice.len(), right.slice.len()), (4, 3));
    }
}
