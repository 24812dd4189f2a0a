//! How gradient rows are written: computed sixteen columns at a time, to rows of any layout, past the caches where that pays.

use ndarray::ArrayViewMut1;
use std::ops::Range;

use crate::kernels::{Aligned, Groups};
use crate::scalar::Scalar;
use crate::simd::{self, Isa, Kernel, LANES};

/// How results go to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    Cached,
    /// Past the caches: see [`simd::stream`].
    Streamed,
    /// Added to what is there.
    Added,
}

impl Stores {
    /// For a gradient of so many bytes, if all of it is wanted: one that fits the last-level cache is likely to be read from there next.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        const LARGE: usize = 16 << 20;
        if bytes > LARGE {
            Self::Streamed
        } else {
            Self::Cached
        }
    }

    /// Whether a pass prepares for the rows that come while it writes (see [`kernels`](crate::kernels)).
    #[inline(always)]
    pub(crate) fn look_ahead(self) -> bool {
        self == Self::Streamed
    }
}

/// N rows of numbers that are computed together, sixteen columns at a time.
///
/// A trait and not a closure, because only a method can be `#[inline(always)]`, which all code of a [`Kernel`](crate::simd::Kernel) must be.
pub(crate) trait Columns<I: Isa, const N: usize> {
    /// A group of sixteen columns of each row. Beyond the end of the rows the lanes mean nothing. Each group is asked for once.
    fn group(&mut self, group: usize) -> [I::Wide; N];
}

/// A row of `f64` as it is.
pub(crate) struct Wide<'r>(Groups<'r, f64>);

impl<'r> Wide<'r> {
    #[inline(always)]
    pub(crate) fn new(row: &'r [f64]) -> Self {
        Self(Groups::new(row))
    }
}

impl<I: Isa> Columns<I, 1> for Wide<'_> {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        [self.0.at::<I>(group)]
    }
}

/// A row of `f64` of its own, for sums. Its numbers begin at a cache line, so that no store is split between two.
pub(crate) struct WideRow {
    groups: Vec<Aligned<[f64; LANES]>>,
}

impl WideRow {
    /// A row of zeros.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            groups: vec![Aligned([0.0; LANES]); len.div_ceil(LANES)],
        }
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.groups.fill(Aligned([0.0; LANES]));
    }

    /// Takes over the numbers of a row of the same length.
    #[inline(always)]
    pub(crate) fn set<A: Scalar>(&mut self, row: &[A]) {
        for (wide, row) in self.groups.iter_mut().zip(row.chunks(LANES)) {
            wide.0
                .iter_mut()
                .zip(row)
                .for_each(|(wide, x)| *wide = x.wide());
        }
    }

    #[inline(always)]
    pub(crate) fn at<I: Isa>(&self, group: usize) -> I::Wide {
        I::from_f64(&self.groups[group].0)
    }

    /// Adds to a group.
    #[inline(always)]
    pub(crate) fn add<I: Isa>(&mut self, group: usize, values: I::Wide) {
        let sum = &mut self.groups[group].0;
        *sum = I::to_array(I::add(I::from_f64(sum), values));
    }

    /// Adds a whole row.
    #[inline(always)]
    pub(crate) fn add_all<I: Isa>(&mut self, mut values: impl Columns<I, 1>) {
        for group in 0..self.groups.len() {
            let [values] = values.group(group);
            self.add::<I>(group, values);
        }
    }
}

impl<I: Isa> Columns<I, 1> for &WideRow {
    #[inline(always)]
    fn group(&mut self, group: usize) -> [I::Wide; 1] {
        [self.at::<I>(group)]
    }
}

/// Writes rows of equal length at the same time. A row that is `None` is not written.
#[inline(always)]
pub(crate) fn write_rows<A: Scalar, I: Isa, const N: usize>(
    mut rows: [Option<ArrayViewMut1<'_, A>>; N],
    stores: Stores,
    mut values: impl Columns<I, N>,
) {
    let len = rows.iter().flatten().map(|row| row.len()).max();
    let len = len.unwrap_or(0);
    let contiguous = |row: &ArrayViewMut1<'_, A>| row.len() < 2 || row.strides()[0] == 1;
    if stores == Stores::Cached && rows.iter().flatten().all(contiguous) {
        let targets = rows.map(|row| row.and_then(ArrayViewMut1::into_slice).unwrap_or_default());
        return compute(targets, len, 0, &mut values);
    }
    let mut pieces = [Aligned([A::zero(); PIECE * LANES]); N];
    for start in (0..len).step_by(PIECE * LANES) {
        let columns = start..len.min(start + PIECE * LANES);
        let targets = pieces.each_mut().map(|piece| &mut piece.0[..columns.len()]);
        compute(targets, columns.len(), start / LANES, &mut values);
        for (row, piece) in rows.iter_mut().zip(&pieces) {
            if let Some(row) = row {
                let (piece, columns) = (&piece.0[..columns.len()], columns.clone());
                I::call(Put {
                    row,
                    piece,
                    stores,
                    columns,
                });
            }
        }
    }
}

/// [`write_rows`] for one row.
#[inline(always)]
pub(crate) fn write_row<A: Scalar, I: Isa>(
    row: ArrayViewMut1<'_, A>,
    stores: Stores,
    values: impl Columns<I, 1>,
) {
    write_rows::<A, I, 1>([Some(row)], stores, values);
}

/// Adds the columns of a row to a row of `f64`.
#[inline(always)]
pub(crate) fn add_to<I: Isa>(row: &mut [f64], mut values: impl Columns<I, 1>) {
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    for group in 0..whole.len() + usize::from(!rest.is_empty()) {
        let [values] = values.group(group);
        match whole.get_mut(group) {
            Some(out) => *out = I::to_array(I::add(I::from_f64(out), values)),
            None => {
                let values = I::to_array(values);
                rest.iter_mut().zip(values).for_each(|(out, x)| *out += x);
            }
        }
    }
}

/// Computes the columns of a row of some length for what that does besides.
#[inline(always)]
pub(crate) fn visit<I: Isa>(len: usize, mut values: impl Columns<I, 1>) {
    for group in 0..len.div_ceil(LANES) {
        values.group(group);
    }
}

/// How many groups of a row are computed before they are streamed out.
const PIECE: usize = 8;

/// Computes columns of some rows, from a group on. A row that is not wanted is empty.
#[inline(always)]
fn compute<A: Scalar, I: Isa, const N: usize>(
    targets: [&mut [A]; N],
    len: usize,
    first: usize,
    values: &mut impl Columns<I, N>,
) {
    let mut parts = targets.map(<[A]>::as_chunks_mut);
    // Where the last columns go that are no whole group, and all columns of rows that are not wanted: a store costs less than a branch.
    let mut beyond = [[A::zero(); LANES]; N];
    for group in 0..len.div_ceil(LANES) {
        let values = values.group(first + group);
        for (((whole, _), beyond), value) in parts.iter_mut().zip(&mut beyond).zip(&values) {
            A::store::<I>(*value, whole.get_mut(group).unwrap_or(beyond));
        }
    }
    for ((_, rest), beyond) in parts.into_iter().zip(beyond) {
        rest.copy_from_slice(&beyond[..rest.len()]);
    }
}

/// Copies computed columns to their row.
struct Put<'p, 'r, A> {
    row: &'p mut ArrayViewMut1<'r, A>,
    piece: &'p [A],
    stores: Stores,
    columns: Range<usize>,
}

impl<A: Scalar> Kernel for Put<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            row,
            piece,
            stores,
            columns,
        } = self;
        match row.as_slice_mut() {
            Some(row) if stores == Stores::Streamed => {
                simd::stream::<A, I>(&mut row[columns], piece);
            }
            Some(row) if stores == Stores::Added => {
                let row = row[columns].iter_mut().zip(piece);
                row.for_each(|(to, &x)| *to += x);
            }
            Some(row) => row[columns].copy_from_slice(piece),
            None if stores == Stores::Added => {
                columns.zip(piece).for_each(|(column, &x)| row[column] += x);
            }
            None => columns.zip(piece).for_each(|(column, &x)| row[column] = x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{available, dispatch_at};
    use ndarray::{Array1, Array2, s};

    /// Copies `from` doubled and negated to two rows.
    struct Twice<'a, A> {
        from: &'a [A],
        rows: [Option<ArrayViewMut1<'a, A>>; 2],
        stores: Stores,
    }

    impl<A: Scalar> Kernel for Twice<'_, A> {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            let from = Doubled(Groups::new(self.from));
            write_rows::<A, I, 2>(self.rows, self.stores, from);
        }
    }

    struct Doubled<'a, A>(Groups<'a, A>);

    impl<A: Scalar, I: Isa> Columns<I, 2> for Doubled<'_, A> {
        #[inline(always)]
        fn group(&mut self, group: usize) -> [I::Wide; 2] {
            let x = self.0.at::<I>(group);
            [I::add(x, x), I::sub(I::splat(0.0), x)]
        }
    }

    fn check<A: Scalar>(len: usize, offset: usize) {
        let from: Vec<A> = (0..len).map(|i| A::narrow(i as f64 + 1.0)).collect();
        let ways = [Stores::Cached, Stores::Streamed, Stores::Added];
        for (level, stores) in available().flat_map(|level| ways.map(|stores| (level, stores))) {
            // What is added to counts; what is overwritten does not.
            let before = match stores {
                Stores::Added => A::one(),
                _ => A::zero(),
            };
            let mut contiguous = Array1::from_elem(len + offset, before);
            let mut strided = Array2::from_elem((len, 3), before);
            dispatch_at(
                level,
                Twice {
                    from: &from,
                    rows: [
                        Some(contiguous.slice_mut(s![offset..])),
                        Some(strided.column_mut(1)),
                    ],
                    stores,
                },
            );
            let doubled = contiguous
                .iter()
                .skip(offset)
                .zip(&from)
                .all(|(&to, &x)| to == before + x + x);
            let negated = strided
                .column(1)
                .iter()
                .zip(&from)
                .all(|(&to, &x)| to == before - x);
            let rest = strided
                .column(0)
                .iter()
                .chain(strided.column(2))
                .chain(contiguous.iter().take(offset))
                .all(|&x| x == before);
            assert!(
                doubled && negated && rest,
                "{level:?} {stores:?} {len} {offset}"
            );
        }
    }

    #[test]
    fn rows_of_every_length_layout_and_alignment_are_written_whole_and_nothing_else() {
        for len in (0..40).chain([255, 256, 257, 300, 768]) {
            for offset in 0..5 {
                check::<f32>(len, offset);
                check::<f64>(len, offset);
            }
        }
    }
}
