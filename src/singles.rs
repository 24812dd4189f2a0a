//! Gradient rows of `f32` that are computed in `f32`: for what loses no digits by it, at half of the arithmetic.

use ndarray::ArrayViewMut1;

use crate::kernels::padded;
use crate::scalar::Scalar;
use crate::simd::{self, Isa, LANES, Line, Lines};
use crate::store::Stores;

/// N rows of `f32` as a function of M others, column by column.
///
/// A trait and not a closure, because only a method can be `#[inline(always)]`, which all code of a [`Kernel`](crate::simd::Kernel) must be.
pub(crate) trait Singles<I: Isa, const M: usize, const N: usize> {
    /// Sixteen columns of each row, from the same columns of the others. Beyond the ends of the rows these are zeros. Which sixteen go together depends on
    /// where the rows lie.
    fn at(&mut self, others: [I::Single; M]) -> [I::Single; N];
}

/// Zeros.
pub(crate) struct Zeros;

impl<I: Isa, const N: usize> Singles<I, 0, N> for Zeros {
    #[inline(always)]
    fn at(&mut self, _: [I::Single; 0]) -> [I::Single; N] {
        [I::single(0.0); N]
    }
}

/// Writes rows as a function of `others` of the same length, or adds that to them; the same bits whatever their layout. A row that is `None` is not written.
#[inline(always)]
pub(crate) fn write_singles<A: Scalar, I: Isa, const M: usize, const N: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    stores: Stores,
    values: &mut impl Singles<I, M, N>,
) {
    let mut targets = [const { None }; N];
    let mut contiguous = true;
    for (row, target) in rows.iter_mut().zip(&mut targets) {
        if let Some(row) = row {
            *target = row.as_slice_mut().and_then(A::singles_mut);
            contiguous &= target.is_some();
        }
    }
    let added = stores == Stores::Added;
    if !contiguous {
        scatter(rows, others, added, values);
    } else if stores == Stores::Streamed && lie_alike(&targets) {
        stream(targets, others, values);
    } else {
        store(targets, others, added, values);
    }
}

/// Whether rows lie at the same place relative to the lines of the cache.
#[inline(always)]
fn lie_alike<const N: usize>(rows: &[Option<&mut [f32]>; N]) -> bool {
    let mut places = rows
        .iter()
        .flatten()
        .map(|row| row.as_ptr() as usize % size_of::<Line>());
    let first = places.next();
    places.all(|place| Some(place) == first)
}

/// What is stored of some columns where others are already: their sum, or what comes.
#[inline(always)]
fn joined<I: Isa>(added: bool, there: &[f32; LANES], comes: I::Single) -> I::Single {
    if added {
        // From −0, which leaves the sign of a zero right: −0 + 0 is 0.
        let negated = I::single_sub(I::single(-0.0), comes);
        I::single_sub(I::load(there), negated)
    } else {
        comes
    }
}

/// Writes rows of any layout.
#[inline(always)]
fn scatter<A: Scalar, I: Isa, const M: usize, const N: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    added: bool,
    values: &mut impl Singles<I, M, N>,
) {
    let len = rows.iter().flatten().map(|row| row.len()).max();
    let len = len.unwrap_or(0);
    for start in (0..len).step_by(LANES) {
        let columns = start..len.min(start + LANES);
        for (row, value) in rows.iter_mut().zip(values.at(some::<I, M>(others, start))) {
            if let Some(row) = row {
                let mut lanes = [0.0; LANES];
                I::store(value, &mut lanes);
                for (column, x) in columns.clone().zip(lanes) {
                    let x = A::narrow(f64::from(x));
                    row[column] = if added { row[column] + x } else { x };
                }
            }
        }
    }
}

/// Sixteen columns of each row from a column on; zeros beyond their ends.
#[inline(always)]
fn some<I: Isa, const M: usize>(rows: [&[f32]; M], from: usize) -> [I::Single; M] {
    let mut columns = [I::single(0.0); M];
    for (columns, row) in columns.iter_mut().zip(rows) {
        let rest = &row[from..];
        *columns = I::load(&padded(&rest[..rest.len().min(LANES)]));
    }
    columns
}

/// The groups of sixteen columns from a column on.
#[inline(always)]
fn groups<const M: usize>(rows: [&[f32]; M], from: usize, count: usize) -> [&[[f32; LANES]]; M] {
    let mut groups: [&[[f32; LANES]]; M] = [&[]; M];
    for (groups, row) in groups.iter_mut().zip(rows) {
        *groups = &row[from..].as_chunks().0[..count];
    }
    groups
}

#[inline(always)]
fn load<I: Isa, const M: usize>(groups: [&[[f32; LANES]]; M], group: usize) -> [I::Single; M] {
    let mut columns = [I::single(0.0); M];
    for (columns, groups) in columns.iter_mut().zip(groups) {
        *columns = I::load(&groups[group]);
    }
    columns
}

#[inline(always)]
fn store<I: Isa, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    added: bool,
    values: &mut impl Singles<I, M, N>,
) {
    let len = rows.iter().flatten().map(|row| row.len()).max();
    let len = len.unwrap_or(0);
    let count = len / LANES;
    let mut parts = [const { None }; N];
    for (part, row) in parts.iter_mut().zip(rows) {
        *part = row.map(|row| row.as_chunks_mut::<LANES>());
    }
    let wholes = groups(others, 0, count);
    for group in 0..count {
        for (part, value) in parts.iter_mut().zip(values.at(load::<I, M>(wholes, group))) {
            if let Some((whole, _)) = part {
                let whole = &mut whole[group];
                I::store(joined::<I>(added, whole, value), whole);
            }
        }
    }
    if len > count * LANES {
        let values = values.at(some::<I, M>(others, count * LANES));
        for (part, value) in parts.into_iter().zip(values) {
            if let Some((_, rest)) = part {
                let value = joined::<I>(added, &padded(rest), value);
                store_some::<I>(value, rest);
            }
        }
    }
}

/// Stores the first lanes.
#[inline(always)]
fn store_some<I: Isa>(value: I::Single, out: &mut [f32]) {
    let mut lanes = [0.0; LANES];
    I::store(value, &mut lanes);
    out.copy_from_slice(&lanes[..out.len()]);
}

/// Stores the first lanes from a column on past the caches, as far as they can be: an ordinary store would wait for the rest of the line, and all stores with it.
#[inline(always)]
fn stream_some<I: Isa>(value: I::Single, out: &mut [f32], start: usize) {
    let mut lanes = [0.0; LANES];
    I::store(value, &mut lanes);
    let len = (out.len() - start).min(LANES);
    simd::stream::<f32, I>(&mut out[start..][..len], &lanes[..len]);
}

/// Writes rows that lie alike past the caches, in whole lines but at the ends of the rows.
#[inline(always)]
fn stream<I: Isa, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    values: &mut impl Singles<I, M, N>,
) {
    let mut parts: [Option<Lines<'_>>; N] = [const { None }; N];
    for (part, row) in parts.iter_mut().zip(rows) {
        *part = row.map(simd::lines);
    }
    let first = parts.iter().flatten().next();
    let [head, count, tail] = first.map_or([0; 3], |(head, lines, tail)| {
        [head.len(), lines.len(), tail.len()]
    });
    for start in (0..head).step_by(LANES) {
        for (part, value) in parts.iter_mut().zip(values.at(some::<I, M>(others, start))) {
            if let Some((head, ..)) = part {
                stream_some::<I>(value, head, start);
            }
        }
    }
    let wholes = groups(others, head, count);
    for line in 0..count {
        for (part, value) in parts.iter_mut().zip(values.at(load::<I, M>(wholes, line))) {
            if let Some((_, lines, _)) = part {
                I::stream(value, &mut lines[line]);
            }
        }
    }
    for start in (0..tail).step_by(LANES) {
        let from = head + count * LANES + start;
        for (part, value) in parts.iter_mut().zip(values.at(some::<I, M>(others, from))) {
            if let Some((_, _, tail)) = part {
                stream_some::<I>(value, tail, start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, available, dispatch_at};
    use ndarray::{Array1, Array2, s};

    /// x + y·2 and x·3, from x and y.
    struct Sums<I: Isa>([I::Single; 2]);

    impl<I: Isa> Singles<I, 2, 2> for Sums<I> {
        fn at(&mut self, [x, y]: [I::Single; 2]) -> [I::Single; 2] {
            let [two, three] = self.0;
            [I::single_fused(y, two, x), I::single_mul(x, three)]
        }
    }

    struct Write<'a> {
        from: [&'a [f32]; 2],
        rows: [Option<ArrayViewMut1<'a, f32>>; 2],
        stores: Stores,
    }

    impl Kernel for Write<'_> {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(mut self) {
            let mut sums = Sums::<I>([I::single(2.0), I::single(3.0)]);
            write_singles::<f32, I, 2, 2>(&mut self.rows, self.from, self.stores, &mut sums);
        }
    }

    /// Where rows are: beginning at some columns of contiguous ones, or as a column of a matrix.
    #[derive(Clone, Copy, Debug)]
    enum Place {
        At(usize),
        Strided,
        Nowhere,
    }

    /// What lies in a row's place, and whether anything beside it was written.
    fn written(
        place: Place,
        len: usize,
        write: impl FnOnce(Option<ArrayViewMut1<'_, f32>>),
    ) -> Vec<f32> {
        match place {
            Place::At(offset) => {
                let mut row = Array1::from_elem(offset + len + 3, -1.0);
                write(Some(row.slice_mut(s![offset..offset + len])));
                let outside = |i: usize| !(offset..offset + len).contains(&i);
                assert!((0..row.len()).all(|i| !outside(i) || row[i] == -1.0));
                row.slice(s![offset..offset + len]).to_vec()
            }
            Place::Strided => {
                let mut matrix = Array2::from_elem((len, 3), -1.0);
                write(Some(matrix.column_mut(1)));
                assert!(
                    matrix
                        .column(0)
                        .iter()
                        .chain(matrix.column(2))
                        .all(|&x| x == -1.0)
                );
                matrix.column(1).to_vec()
            }
            Place::Nowhere => {
                write(None);
                Vec::new()
            }
        }
    }

    #[test]
    fn rows_of_every_length_layout_and_place_are_written_whole_and_nothing_else() {
        let places = [
            Place::At(0),
            Place::At(1),
            Place::At(4),
            Place::At(9),
            Place::Strided,
            Place::Nowhere,
        ];
        for level in available() {
            for stores in [Stores::Cached, Stores::Streamed, Stores::Added] {
                // What rows hold before, of which nothing is left where they are overwritten.
                let before = if stores == Stores::Added { -1.0 } else { 0.0 };
                for len in (0..50).chain([255, 256, 300]) {
                    let x: Vec<f32> = (0..len).map(|i| i as f32 + 0.5).collect();
                    let y: Vec<f32> = (0..len).map(|i| 7.0 - i as f32).collect();
                    for (first, second) in places
                        .iter()
                        .flat_map(|&first| places.map(|second| (first, second)))
                    {
                        let mut other = Vec::new();
                        let sums = written(first, len, |one| {
                            other = written(second, len, |two| {
                                let (from, rows) = ([&x[..], &y[..]], [one, two]);
                                dispatch_at(level, Write { from, rows, stores });
                            });
                        });
                        let case = format!("{level:?} {stores:?} {len} {first:?} {second:?}");
                        let expected = x.iter().zip(&y).map(|(x, y)| before + (x + 2.0 * y));
                        assert!(
                            matches!(first, Place::Nowhere) || sums.iter().copied().eq(expected),
                            "{case}"
                        );
                        let expected = x.iter().map(|x| before + x * 3.0);
                        assert!(
                            matches!(second, Place::Nowhere) || other.iter().copied().eq(expected),
                            "{case}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_share_a_line_of_the_cache_are_streamed_whole() {
        // As many as a quarter of a line: no row of them has a whole one, and each begins at another place of it.
        const LEN: usize = LANES / 4;
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        for level in available() {
            let mut line = Line([0.0; LANES]);
            let (one, two) = line.0.split_at_mut(LEN);
            let rows = [one, &mut two[..LEN]].map(|row| Some(ArrayViewMut1::from(row)));
            let (from, stores) = ([&x[..], &y[..]], Stores::Streamed);
            dispatch_at(level, Write { from, rows, stores });
            let expected = [11.0, 14.0, 17.0, 20.0, 3.0, 6.0, 9.0, 12.0];
            assert_eq!(line.0[..2 * LEN], expected, "{level:?}");
            assert_eq!(line.0[2 * LEN..], [0.0; 2 * LEN], "{level:?}");
        }
    }

    #[test]
    fn what_is_added_leaves_the_sign_of_a_zero_as_a_sum_does() {
        // A whole group of columns, and the same in the rest of the row. The second row of `Write` is 3x.
        let pairs = [(-0.0, -0.0), (-0.0, 0.0), (0.0, -0.0), (0.0, 0.0)];
        let x: Vec<f32> = pairs.iter().cycle().take(20).map(|pair| pair.0).collect();
        let there = pairs.iter().cycle().take(20).map(|pair| pair.1);
        for level in available() {
            let mut row: Array1<f32> = there.clone().collect();
            let rows = [None, Some(row.view_mut())];
            let (from, stores) = ([&x[..], &x[..]], Stores::Added);
            dispatch_at(level, Write { from, rows, stores });
            for (column, (&sum, (x, there))) in
                row.iter().zip(x.iter().zip(there.clone())).enumerate()
            {
                let expected = there + x;
                assert_eq!(
                    sum.to_bits(),
                    expected.to_bits(),
                    "{level:?}, column {column}"
                );
            }
        }
    }
}
