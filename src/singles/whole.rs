//! Groups of sixteen columns: in which order they are computed, and how they are written.

use super::Singles;
use crate::kernels::Advance;
use crate::simd::{Isa, LANES, Line, prefetch_group};

/// The groups of a row, forwards or backwards.
#[derive(Clone, Copy)]
pub(super) struct Order {
    group: usize,
    /// To the next, modulo the range of numbers.
    step: usize,
    count: usize,
}

impl Order {
    #[inline(always)]
    pub(super) fn new(count: usize, backwards: bool) -> Self {
        let (group, step) = if backwards {
            (count.wrapping_sub(1), usize::MAX)
        } else {
            (0, 1)
        };
        Self { group, step, count }
    }
}

impl Iterator for Order {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let group = self.group;
        self.group = group.wrapping_add(self.step);
        (group < self.count).then_some(group)
    }
}

/// How sixteen columns are written to their place.
pub(super) trait Put<I: Isa> {
    type Place;
    fn put(&self, value: I::Single, to: &mut Self::Place);
}

/// By ordinary stores; or added to what is there.
pub(super) struct ByStore<const ADDED: bool>;

impl<I: Isa, const ADDED: bool> Put<I> for ByStore<ADDED> {
    type Place = [f32; LANES];

    #[inline(always)]
    fn put(&self, value: I::Single, to: &mut [f32; LANES]) {
        I::store(joined::<I, ADDED>(to, value), to);
    }
}

/// Past the caches.
pub(super) struct ByStream;

impl<I: Isa> Put<I> for ByStream {
    type Place = Line;

    #[inline(always)]
    fn put(&self, value: I::Single, to: &mut Line) {
        I::stream(value, to);
    }
}

/// What goes on while rows are written.
pub(super) struct Meanwhile<'r, S, const N: usize> {
    /// Go on once for each group, where rows are written side by side.
    pub(super) sums: S,
    /// Asked for, where rows are written one after the other: group by group with the row in the same place, if it has as many.
    pub(super) asked: [Option<&'r [f32]>; N],
}

impl<const N: usize> Meanwhile<'_, (), N> {
    #[inline(always)]
    pub(super) fn nothing() -> Self {
        Self {
            sums: (),
            asked: [None; N],
        }
    }
}

/// Writes whole groups of some rows from those of others: of all rows side by side, or of one row after the other, where not all are wanted or that is faster.
#[inline(always)]
pub(super) fn write<I: Isa, P: Put<I>, S: Advance, const M: usize, const N: usize>(
    mut rows: [Option<&mut [P::Place]>; N],
    order: Order,
    others: [&[[f32; LANES]]; M],
    values: &impl Singles<I, M, N>,
    put: &P,
    together: bool,
    meanwhile: &mut Meanwhile<'_, S, N>,
) {
    if together && rows.iter().all(Option::is_some) {
        let mut rows = rows.map(Option::unwrap_or_default);
        for row in &mut rows {
            *row = &mut std::mem::take(row)[..order.count];
        }
        for group in order {
            meanwhile.sums.advance();
            let values = values.at(load::<I, M>(others, group));
            for (row, value) in rows.iter_mut().zip(&values) {
                put.put(*value, &mut row[group]);
            }
        }
        return;
    }
    // Each with an index that the compiler knows: what is not used of a group's values is not computed then.
    const { assert!(N <= 3) };
    write_row::<I, P, M, N, 0>(&mut rows, order, others, values, put, &meanwhile.asked);
    if const { N > 1 } {
        write_row::<I, P, M, N, 1>(&mut rows, order, others, values, put, &meanwhile.asked);
    }
    if const { N > 2 } {
        write_row::<I, P, M, N, 2>(&mut rows, order, others, values, put, &meanwhile.asked);
    }
}

/// Writes the row at an index if it is wanted, while as many groups of another are asked for if it has them.
#[inline(always)]
fn write_row<I: Isa, P: Put<I>, const M: usize, const N: usize, const INDEX: usize>(
    rows: &mut [Option<&mut [P::Place]>; N],
    order: Order,
    others: [&[[f32; LANES]]; M],
    values: &impl Singles<I, M, N>,
    put: &P,
    asked: &[Option<&[f32]>; N],
) {
    let Some(row) = rows[INDEX].take() else {
        return;
    };
    let row = &mut row[..order.count];
    // Two loops, so that there is no question for each group.
    if let Some(asked) = asked[INDEX]
        && let Some(asked) = asked.as_chunks().0.get(..order.count)
    {
        for group in order {
            prefetch_group(&asked[group]);
            put.put(
                values.at(load::<I, M>(others, group))[INDEX],
                &mut row[group],
            );
        }
    } else {
        for group in order {
            put.put(
                values.at(load::<I, M>(others, group))[INDEX],
                &mut row[group],
            );
        }
    }
}

#[inline(always)]
fn load<I: Isa, const M: usize>(groups: [&[[f32; LANES]]; M], group: usize) -> [I::Single; M] {
    let mut columns = [I::single(0.0); M];
    for (columns, groups) in columns.iter_mut().zip(groups) {
        *columns = I::load(&groups[group]);
    }
    columns
}

/// What is stored of some columns where others are already: their sum, or what comes.
#[inline(always)]
pub(super) fn joined<I: Isa, const ADDED: bool>(
    there: &[f32; LANES],
    comes: I::Single,
) -> I::Single {
    if ADDED {
        // From −0, which leaves the sign of a zero right: −0 + 0 is 0.
        let negated = I::single_sub(I::single(-0.0), comes);
        I::single_sub(I::load(there), negated)
    } else {
        comes
    }
}
