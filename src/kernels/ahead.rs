//! What is prepared of a row before its turn, while the gradient of the row before is written.
//!
//! A pass that reads a row and then writes its gradient uses the memory by turns, and neither the reads nor the writes keep it busy. With the next row asked
//! for between the stores, both go on at the same time; where a store past the caches is of a whole line, and all gradients are written, its sums are taken
//! between them, and rows after it asked for ([`write_ahead`](crate::singles::write_ahead); `benches/peers/run --only forward_backward/65536x768`, beside the streamed copy).

use super::Aligned;
use crate::simd::{Isa, LANES, prefetch};

/// Three sums over the first groups of a row, lane by lane.
pub(crate) struct Begun {
    /// Of nothing, if there are no groups.
    pub(super) sums: [Aligned<[f64; LANES]>; 3],
    pub(super) groups: usize,
}

impl Begun {
    pub(crate) const NOTHING: Self = Self {
        sums: [Aligned([0.0; LANES]); 3],
        groups: 0,
    };

    #[inline(always)]
    pub(crate) fn is_nothing(&self) -> bool {
        self.groups == 0
    }

    /// Forgets them, because their row had its turn.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.groups = 0;
    }
}

/// What comes after a row, as far as it is to be prepared for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Coming<T> {
    /// What comes next, whose sums are to begin, or which is to be nearer by then.
    pub(crate) next: Option<T>,
    /// What comes some rows later, where sums begin.
    pub(crate) later: Option<T>,
}

impl Coming<usize> {
    /// How many rows after the next one a row is that is asked for. One to five are equally good.
    const LATER: usize = 3;

    /// Row `next`, if it comes before row `end`, and one after it of so many rows in all.
    #[inline(always)]
    pub(crate) fn rows<I: Isa>(next: usize, end: usize, all: usize) -> Self {
        let later = next + Self::LATER;
        Self {
            next: (next < end).then_some(next),
            later: (I::WHOLE_LINES && later < all).then_some(later),
        }
    }
}

/// The rows that come, M of `f32` at a time, and what is begun of the sums of the next.
pub(crate) struct Ahead<'r, I: Isa, const M: usize> {
    /// Of no groups, if nothing comes next that is to be begun.
    next: [&'r [[f32; LANES]]; M],
    /// As many groups.
    later: [&'r [[f32; LANES]]; M],
    sums: [I::Wide; 3],
    groups: usize,
}

impl<'r, I: Isa, const M: usize> Ahead<'r, I, M> {
    #[inline(always)]
    pub(crate) fn new(coming: Coming<[&'r [f32]; M]>) -> Self {
        let next = coming.next.unwrap_or([&[]; M]);
        let later = coming.later.unwrap_or(next);
        let rows = next.iter().chain(&later);
        let count = rows.map(|row| row.len()).min().unwrap_or(0) / LANES;
        Self {
            next: groups(next, 0, count),
            later: groups(later, 0, count),
            sums: [I::splat(0.0); 3],
            groups: 0,
        }
    }

    /// Leaves the sums to the turn of their row.
    #[inline(always)]
    pub(crate) fn leave(self, begun: &mut Begun) {
        begun.groups = self.groups;
        if begun.is_nothing() {
            return;
        }
        for (to, sum) in begun.sums.iter_mut().zip(self.sums) {
            to.0 = I::to_array(sum);
        }
    }

    /// The same group of each row, the next that is not in the sums.
    #[inline(always)]
    fn group(&mut self) -> Option<[&'r [f32; LANES]; M]> {
        let mut groups = [&[0.0; LANES]; M];
        for ((group, next), later) in groups.iter_mut().zip(self.next).zip(self.later) {
            *group = next.get(self.groups)?;
            prefetch(later.get(self.groups)?);
        }
        self.groups += 1;
        Some(groups)
    }
}

/// So many groups of sixteen columns of some rows, from a column on.
#[inline(always)]
pub(crate) fn groups<const M: usize>(
    rows: [&[f32]; M],
    from: usize,
    count: usize,
) -> [&[[f32; LANES]]; M] {
    let mut groups: [&[[f32; LANES]]; M] = [&[]; M];
    for (groups, row) in groups.iter_mut().zip(rows) {
        *groups = &row[from..].as_chunks().0[..count];
    }
    groups
}

/// Sums that can be carried on by a group.
pub(crate) trait Advance {
    /// Takes the next sixteen columns, if there are as many.
    fn advance(&mut self);
}

/// None.
impl Advance for () {
    #[inline(always)]
    fn advance(&mut self) {}
}

/// The sums of [`moments`](super::moments) of two rows, or of [`square_distances`](super::square_distances) of three, with the product.
impl<I: Isa, const M: usize> Advance for Ahead<'_, I, M> {
    #[inline(always)]
    fn advance(&mut self) {
        const { assert!(M == 2 || M == 3) };
        if let Some(rows) = self.group() {
            let sums = self.sums.each_mut();
            match rows.as_slice() {
                [x, y] => I::add_moments(sums, x, y),
                [x, y, z] => I::add_difference_moments(sums, [x, y, z], true),
                _ => {}
            }
        }
    }
}
