//! Gradient rows of `f32` that are computed in `f32`: for what loses no digits by it, at half of the arithmetic.

mod whole;

use ndarray::ArrayViewMut1;

use crate::kernels::{Advance, Ahead, Begun, Coming, groups, padded};
use crate::scalar::Scalar;
use crate::simd::{self, Isa, Kernel, LANES, Line, prefetch};
use crate::store::Stores;
use whole::{ByStore, ByStream, Meanwhile, Order, joined, write};

/// N rows of `f32` as a function of M others, column by column.
///
/// A trait and not a closure, because only a method can be `#[inline(always)]`, which all code of a [`Kernel`](crate::simd::Kernel) must be.
pub(crate) trait Singles<I: Isa, const M: usize, const N: usize> {
    /// Sixteen columns of each row, from the same columns of the others. Beyond the ends of the rows these are zeros. Which sixteen go together depends on
    /// where the rows lie. They may be asked for once for all rows, or once for each.
    fn at(&self, others: [I::Single; M]) -> [I::Single; N];
}

/// Zeros.
pub(crate) struct Zeros;

impl<I: Isa, const N: usize> Singles<I, 0, N> for Zeros {
    #[inline(always)]
    fn at(&self, _: [I::Single; 0]) -> [I::Single; N] {
        [I::single(0.0); N]
    }
}

/// Writes zeros as [`write_ahead`] writes values: in a function of its own, since every loss has rows without loss.
#[inline(always)]
pub(crate) fn write_zeros<A: Scalar, I: Isa, const N: usize, const C: usize>(
    rows: [Option<ArrayViewMut1<'_, A>>; N],
    stores: Stores,
    (coming, begun): (Coming<[&[f32]; C]>, &mut Begun),
) {
    I::call(WriteZeros {
        rows,
        stores,
        coming,
        begun,
    });
}

/// Writes rows as a function of `others` of the same length, or adds that to them; the same bits whatever their layout. A row that is `None` is not written.
///
/// Where the rows are streamed, it is prepared meanwhile for those that come: the sums of the next ones begin, or they are asked for. Where fewer are written than
/// come next, it is the last of these that stand in their place.
#[inline(always)]
pub(crate) fn write_ahead<A: Scalar, I: Isa, const M: usize, const N: usize, const C: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    stores: Stores,
    values: &impl Singles<I, M, N>,
    (coming, begun): (Coming<[&[f32]; C]>, &mut Begun),
) {
    if stores == Stores::Streamed
        && let Some(targets) = contiguous(rows).filter(lie_alike)
    {
        let mut asked = [None; N];
        if let Some(next) = coming.next {
            for (asked, row) in asked.iter_mut().zip(&next[C.saturating_sub(N)..]) {
                *asked = Some(*row);
            }
        }
        // Where nothing comes, sums that are not wanted would take their registers all the same.
        if I::WHOLE_LINES && coming.next.is_some() {
            let sums = Ahead::<I, C>::new(coming);
            let mut meanwhile = Meanwhile { sums, asked };
            stream(targets, others, values, &mut meanwhile);
            return meanwhile.sums.leave(begun);
        }
        return stream(targets, others, values, &mut Meanwhile { sums: (), asked });
    }
    store_singles::<A, I, M, N>(rows, others, stores == Stores::Added, values);
}

/// The same by ordinary stores.
#[inline(always)]
pub(crate) fn store_singles<A: Scalar, I: Isa, const M: usize, const N: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    added: bool,
    values: &impl Singles<I, M, N>,
) {
    match contiguous(rows) {
        None => scatter(rows, others, added, values),
        Some(targets) if added => store::<I, true, M, N>(targets, others, values),
        Some(targets) => store::<I, false, M, N>(targets, others, values),
    }
}

struct WriteZeros<'r, 'v, A, const N: usize, const C: usize> {
    rows: [Option<ArrayViewMut1<'v, A>>; N],
    stores: Stores,
    coming: Coming<[&'r [f32]; C]>,
    begun: &'r mut Begun,
}

impl<A: Scalar, const N: usize, const C: usize> Kernel for WriteZeros<'_, '_, A, N, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let next = (self.coming, self.begun);
        write_ahead::<A, I, 0, N, C>(&mut self.rows, [], self.stores, &Zeros, next);
    }
}

/// The rows as slices of `f32`. `None` if one is not that, or its columns do not lie side by side.
#[inline(always)]
fn contiguous<'r, A: Scalar, const N: usize>(
    rows: &'r mut [Option<ArrayViewMut1<'_, A>>; N],
) -> Option<[Option<&'r mut [f32]>; N]> {
    let mut targets = [const { None }; N];
    for (row, target) in rows.iter_mut().zip(&mut targets) {
        if let Some(row) = row {
            *target = Some(row.as_slice_mut().and_then(A::singles_mut)?);
        }
    }
    Some(targets)
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

/// Writes rows of any layout.
#[inline(always)]
fn scatter<A: Scalar, I: Isa, const M: usize, const N: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    added: bool,
    values: &impl Singles<I, M, N>,
) {
    let len = rows.iter().flatten().map(|row| row.len()).max();
    for start in (0..len.unwrap_or(0)).step_by(LANES) {
        let values = values.at(some::<I, M>(others, start));
        let mut lanes = [[0.0; LANES]; N];
        for (lanes, value) in lanes.iter_mut().zip(&values) {
            I::store(*value, lanes);
        }
        scatter_lanes(rows, start, &lanes, added);
    }
}

/// Sixteen columns of each row, or as many as there are. Not compiled with every use of [`scatter`], whose time goes to rows that are far apart.
#[inline(never)]
fn scatter_lanes<A: Scalar>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>],
    start: usize,
    lanes: &[[f32; LANES]],
    added: bool,
) {
    for (row, lanes) in rows.iter_mut().zip(lanes) {
        if let Some(row) = row {
            for (column, &x) in (start..row.len()).zip(lanes) {
                let x = A::narrow(f64::from(x));
                row[column] = if added { row[column] + x } else { x };
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

#[inline(always)]
fn store<I: Isa, const ADDED: bool, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    values: &impl Singles<I, M, N>,
) {
    let len = rows.iter().flatten().map(|row| row.len()).max();
    let len = len.unwrap_or(0);
    let count = len / LANES;
    let (mut wholes, mut rests) = ([const { None }; N], [const { None }; N]);
    for ((whole, rest), row) in wholes.iter_mut().zip(&mut rests).zip(rows) {
        if let Some((groups, columns)) = row.map(|row| row.as_chunks_mut()) {
            (*whole, *rest) = (Some(groups), Some(columns));
        }
    }
    let from = groups(others, 0, count);
    // Side by side saves loads, if there are any. With sixteen registers there is no room for the six numbers that both gradients of a pair are computed with; the
    // three gradients of a triplet need four.
    let together = M > 0 && (I::WHOLE_LINES || N > 2);
    let order = Order::new(count, false);
    let (put, mut nothing) = (ByStore::<ADDED>, Meanwhile::nothing());
    write::<I, _, _, M, N>(wholes, order, from, values, &put, together, &mut nothing);
    store_some::<I, ADDED, M, N>(rests, others, count * LANES, values);
}

/// Writes some columns of rows by ordinary stores, or adds to them: those from one on.
#[inline(always)]
fn store_some<I: Isa, const ADDED: bool, const M: usize, const N: usize>(
    mut rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    from: usize,
    values: &impl Singles<I, M, N>,
) {
    let count = rows.iter().flatten().map(|row| row.len()).max();
    for start in (0..count.unwrap_or(0)).step_by(LANES) {
        let values = values.at(some::<I, M>(others, from + start));
        for (row, value) in rows.iter_mut().zip(&values) {
            if let Some(row) = row {
                let len = LANES.min(row.len() - start);
                let row = &mut row[start..][..len];
                let mut lanes = if ADDED { padded(row) } else { [0.0; LANES] };
                I::store(joined::<I, ADDED>(&lanes, *value), &mut lanes);
                row.copy_from_slice(&lanes[..len]);
            }
        }
    }
}

/// Whether a store to one row waits in front of the loads from another that follow it, when both are gone through forwards.
///
/// To begin with, processors tell addresses apart by their lowest twelve bits, so a load that seems to be of what has just been stored waits for that store.
/// A store past the caches takes long to be done: where it lies up to three lines ahead of the loads, modulo 4096 bytes, a pass waits most of its time, and
/// `ahead` falls behind `together` in `cargo bench -- cosine_embedding/places`. Arrays of different allocators often lie so.
#[inline(always)]
fn is_shortly_ahead(to: &[f32], from: &[f32]) -> bool {
    let ahead = (to.as_ptr() as usize).wrapping_sub(from.as_ptr() as usize) % 4096;
    (1..3 * size_of::<Line>()).contains(&ahead)
}

/// Writes rows that lie alike past the caches, but for the lines that they share with the rows before and after them.
///
/// A shared line would go to memory twice, each time in part, for which the memory reads it first. As it is, it is asked for at the beginning of the row that it
/// ends, so that no store waits for it, and is still there when the next row begins.
#[inline(always)]
fn stream<I: Isa, S: Advance, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    values: &impl Singles<I, M, N>,
    meanwhile: &mut Meanwhile<'_, S, N>,
) {
    let mut targets = rows.iter().flatten();
    let backwards = targets.any(|to| others.iter().any(|from| is_shortly_ahead(to, from)));
    let (mut heads, mut wholes, mut tails) = (
        [const { None }; N],
        [const { None }; N],
        [const { None }; N],
    );
    let [mut head, mut count] = [0; 2];
    for (index, row) in rows.into_iter().enumerate() {
        if let Some(row) = row {
            let (first, lines, last) = simd::lines(row);
            [head, count] = [first.len(), lines.len()];
            prefetch(last);
            (heads[index], wholes[index], tails[index]) = (Some(first), Some(lines), Some(last));
        }
    }
    store_some::<I, false, M, N>(heads, others, 0, values);
    let (from, order) = (groups(others, head, count), Order::new(count, backwards));
    // In turn, the stores to a row follow each other in memory, which takes lines that are stored in parts better; sums between them cost more than they save
    // then, and rows that are asked for do not (on Zen 3; `cargo bench -- triplet_margin/forward_backward/65536x768`).
    let together = I::WHOLE_LINES;
    write::<I, _, _, M, N>(wholes, order, from, values, &ByStream, together, meanwhile);
    store_some::<I, false, M, N>(tails, others, head + count * LANES, values);
}

#[cfg(test)]
mod tests;
