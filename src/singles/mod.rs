//! Gradient rows of `f32` that are computed in `f32`: for what loses no digits by it, at half of the arithmetic.

mod whole;

use ndarray::ArrayViewMut1;

use crate::kernels::{Advance, Ahead, Begun, Coming, padded};
use crate::scalar::Scalar;
use crate::simd::{self, Isa, LANES, Line, Lines, prefetch};
use crate::store::Stores;
use whole::{ByStore, ByStream, Order, joined, write};

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

/// Writes rows as a function of `others` of the same length, or adds that to them; the same bits whatever their layout. A row that is `None` is not written.
#[inline(always)]
pub(crate) fn write_singles<A: Scalar, I: Isa, const M: usize, const N: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    stores: Stores,
    values: &impl Singles<I, M, N>,
) {
    let added = stores == Stores::Added;
    match contiguous(rows) {
        None => scatter(rows, others, added, values),
        Some(targets) if stores == Stores::Streamed && lie_alike(&targets) => {
            stream(targets, others, values, &mut ());
        }
        Some(targets) => store(targets, others, added, values),
    }
}

/// The same. Where the rows are streamed, the sums of the next row begin meanwhile.
#[inline(always)]
pub(crate) fn write_ahead<A: Scalar, I: Isa, const M: usize, const N: usize, const C: usize>(
    rows: &mut [Option<ArrayViewMut1<'_, A>>; N],
    others: [&[f32]; M],
    stores: Stores,
    values: &impl Singles<I, M, N>,
    (coming, begun): (Coming<[&[f32]; C]>, &mut Begun),
) where
    for<'r> Ahead<'r, I, C>: Advance,
{
    // Where nothing comes, sums that are not wanted would take their registers all the same.
    if stores.look_ahead::<I>()
        && coming.next.is_some()
        && let Some(targets) = contiguous(rows).filter(lie_alike)
    {
        let mut sums = Ahead::new(coming);
        stream(targets, others, values, &mut sums);
        return sums.leave(begun);
    }
    write_singles::<A, I, M, N>(rows, others, stores, values);
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
fn store<I: Isa, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    added: bool,
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
    // With sixteen registers there is no room for the six numbers that both gradients of a pair are computed with; a triplet's three take four.
    let together = I::WHOLE_LINES || N > 2;
    let order = Order::new(count, false);
    let put = ByStore { added };
    write::<I, _, M, N>(wholes, order, from, values, &put, together, &mut ());
    if len > count * LANES {
        let values = values.at(some::<I, M>(others, count * LANES));
        for (rest, value) in rests.into_iter().zip(values) {
            if let Some(rest) = rest {
                store_some::<I>(joined::<I>(added, &padded(rest), value), rest);
            }
        }
    }
}

/// Stores the first lanes, as many as there is room for.
#[inline(always)]
fn store_some<I: Isa>(value: I::Single, out: &mut [f32]) {
    let mut lanes = [0.0; LANES];
    I::store(value, &mut lanes);
    let len = out.len().min(LANES);
    out[..len].copy_from_slice(&lanes[..len]);
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

/// Writes rows that lie alike past the caches, but for the lines that they share with the rows before and after them. Sums go on meanwhile.
///
/// A shared line would go to memory twice, each time in part, for which the memory reads it first. As it is, it is asked for at the beginning of the row that it
/// ends, so that no store waits for it, and is still there when the next row begins.
#[inline(always)]
fn stream<I: Isa, const M: usize, const N: usize>(
    rows: [Option<&mut [f32]>; N],
    others: [&[f32]; M],
    values: &impl Singles<I, M, N>,
    sums: &mut impl Advance,
) {
    let mut targets = rows.iter().flatten();
    let backwards = targets.any(|to| others.iter().any(|from| is_shortly_ahead(to, from)));
    let mut parts: [Option<Lines<'_>>; N] = [const { None }; N];
    for (part, row) in parts.iter_mut().zip(rows) {
        *part = row.map(simd::lines);
    }
    let first = parts.iter().flatten().next();
    let [head, count, tail] = first.map_or([0; 3], |(head, lines, tail)| {
        [head.len(), lines.len(), tail.len()]
    });
    for (_, _, tail) in parts.iter().flatten() {
        prefetch(tail);
    }
    for start in (0..head).step_by(LANES) {
        for (part, value) in parts.iter_mut().zip(values.at(some::<I, M>(others, start))) {
            if let Some((head, ..)) = part {
                store_some::<I>(value, &mut head[start..]);
            }
        }
    }
    let (from, order) = (groups(others, head, count), Order::new(count, backwards));
    let mut wholes = [const { None }; N];
    for (whole, part) in wholes.iter_mut().zip(&mut parts) {
        *whole = part.as_mut().map(|(_, lines, _)| &mut **lines);
    }
    // In turn, the stores to a row follow each other in memory, which takes lines that are stored in parts better (on Zen 3;
    // `cargo bench -- triplet_margin/forward_backward/65536x768`).
    let together = I::WHOLE_LINES;
    write::<I, _, M, N>(wholes, order, from, values, &ByStream, together, sums);
    for start in (0..tail).step_by(LANES) {
        let from = head + count * LANES + start;
        for (part, value) in parts.iter_mut().zip(values.at(some::<I, M>(others, from))) {
            if let Some((_, _, tail)) = part {
                store_some::<I>(value, &mut tail[start..]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
