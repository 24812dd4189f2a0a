//! Groups of sixteen columns: in which order they are computed, and how they are written.

use super::Singles;
use crate::kernels::Advance;
use crate::simd::{Isa, LANES, Line};

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

/// By ordinary stores.
pub(super) struct ByStore {
    pub(super) added: bool,
}

impl<I: Isa> Put<I> for ByStore {
    type Place = [f32; LANES];

    #[inline(always)]
    fn put(&self, value: I::Single, to: &mut [f32; LANES]) {
        I::store(joined::<I>(self.added, to, value), to);
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

/// Writes whole groups of some rows from those of others: of all rows side by side, or of one row after the other, where not all are wanted or that is faster. Sums
/// go on meanwhile, once for each group.
#[inline(always)]
pub(super) fn write<I: Isa, P: Put<I>, const M: usize, const N: usize>(
    rows: [Option<&mut [P::Place]>; N],
    order: Order,
    others: [&[[f32; LANES]]; M],
    values: &impl Singles<I, M, N>,
    put: &P,
    together: bool,
    sums: &mut impl Advance,
) {
    if together && rows.iter().all(Option::is_some) {
        let mut rows = rows.map(Option::unwrap_or_default);
        for row in &mut rows {
            *row = &mut std::mem::take(row)[..order.count];
        }
        for group in order {
            sums.advance();
            let values = values.at(load::<I, M>(others, group));
            for (row, value) in rows.iter_mut().zip(values) {
                put.put(value, &mut row[group]);
            }
        }
        return;
    }
    let mut first = true;
    for (index, row) in rows.into_iter().enumerate() {
        let Some(row) = row else { continue };
        let row = &mut row[..order.count];
        for group in order {
            if first {
                sums.advance();
            }
            // What is not used of these is not computed.
            let value = values.at(load::<I, M>(others, group))[index];
            put.put(value, &mut row[group]);
        }
        first = false;
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
pub(super) fn joined<I: Isa>(added: bool, there: &[f32; LANES], comes: I::Single) -> I::Single {
    if added {
        // From −0, which leaves the sign of a zero right: −0 + 0 is 0.
        let negated = I::single_sub(I::single(-0.0), comes);
        I::single_sub(I::load(there), negated)
    } else {
        comes
    }
}
