//! Rows in a place of their own: as slices, and wide ones for sums; kept by each thread from block to block.

use std::cell::Cell;

use ndarray::ArrayView1;

use crate::kernels::Begun;
use crate::scalar::Scalar;

/// A row as a slice: borrowed where the view's columns are contiguous, copied to `spare` where they are not.
#[inline(always)]
pub(crate) fn contiguous<'a, A: Scalar>(row: ArrayView1<'a, A>, spare: &'a mut Vec<A>) -> &'a [A] {
    match row.to_slice() {
        Some(slice) => slice,
        None => {
            spare.clear();
            spare.extend(row.iter().copied());
            spare
        }
    }
}

/// What a pass keeps at hand from row to row.
pub(crate) struct Held<A> {
    pub(crate) staging: Staging<A>,
    pub(crate) scratch: Scratch,
    /// The sums of the row whose turn it is, as far as they were taken before.
    pub(crate) begun: Begun,
}

impl<A: Scalar> Held<A> {
    pub(crate) fn take() -> Self {
        Self {
            staging: Staging::take(),
            scratch: Scratch::take(),
            begun: Begun::NOTHING,
        }
    }

    pub(crate) fn give_back(self) {
        self.staging.give_back();
        self.scratch.give_back();
    }
}

/// Rows of `f32` as slices, if that is what they are and their columns are contiguous.
#[inline(always)]
pub(crate) fn singles<'r, A: Scalar, const N: usize>(
    rows: [ArrayView1<'r, A>; N],
) -> Option<[&'r [f32]; N]> {
    let mut slices = [&[] as &[f32]; N];
    for (slice, row) in slices.iter_mut().zip(rows) {
        *slice = A::singles(row.to_slice()?)?;
    }
    Some(slices)
}

/// The rows of one loss as slices: where they lie, or copied to a place of their own if their columns are not contiguous.
pub(crate) struct Staging<A>(Vec<A>);

impl<A: Scalar> Staging<A> {
    /// Two rows. Not a loop over any number: what that collects goes through memory and is waited for there.
    #[inline(always)]
    pub(crate) fn pair<'s>(&'s mut self, [x, y]: [ArrayView1<'s, A>; 2]) -> [&'s [A]; 2] {
        match (x.to_slice(), y.to_slice()) {
            (Some(x), Some(y)) => [x, y],
            _ => self.copied([x, y]),
        }
    }

    /// Three.
    #[inline(always)]
    pub(crate) fn triplet<'s>(&'s mut self, [x, y, z]: [ArrayView1<'s, A>; 3]) -> [&'s [A]; 3] {
        match (x.to_slice(), y.to_slice(), z.to_slice()) {
            (Some(x), Some(y), Some(z)) => [x, y, z],
            _ => self.copied([x, y, z]),
        }
    }

    #[cold]
    #[inline(never)]
    fn copied<'s, const N: usize>(&'s mut self, rows: [ArrayView1<'s, A>; N]) -> [&'s [A]; N] {
        self.0.clear();
        rows.iter().for_each(|row| self.0.extend(row));
        let mut rest = self.0.as_slice();
        rows.map(|row| {
            let (copy, others) = rest.split_at(row.len());
            rest = others;
            copy
        })
    }

    fn take() -> Self {
        Self(A::staging().try_with(Cell::take).unwrap_or_default())
    }

    fn give_back(self) {
        // While the thread is being torn down there is nowhere to keep it.
        let _ = A::staging().try_with(|slot| slot.set(self.0));
    }
}

/// Wide rows that a thread keeps from block to block, so that no call allocates after the first.
#[derive(Default)]
pub(crate) struct Scratch {
    wide: Vec<f64>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { wide: Vec::new() }) };
}

impl Scratch {
    /// Some rows of `dim` numbers, of unspecified content.
    #[inline(always)]
    pub(crate) fn rows<const N: usize>(&mut self, dim: usize) -> [&mut [f64]; N] {
        if self.wide.len() < N * dim {
            self.wide.resize(N * dim, 0.0);
        }
        let mut rest = self.wide.as_mut_slice();
        std::array::from_fn(|_| {
            let (row, others) = std::mem::take(&mut rest).split_at_mut(dim);
            rest = others;
            row
        })
    }

    pub(crate) fn take() -> Self {
        // If a distance of the user's calls the crate again, the inner call finds an empty scratch and allocates.
        SCRATCH.try_with(Cell::take).unwrap_or_default()
    }

    pub(crate) fn give_back(self) {
        // While the thread is being torn down there is nowhere to keep it.
        let _ = SCRATCH.try_with(|slot| slot.set(self));
    }
}

/// Memory of the thread's for numbers of unspecified content, kept from block to block unless it is large. What it is used for must not ask for it again.
pub(crate) fn with_buffer<A: Scalar, T>(use_it: impl FnOnce(&mut Vec<A>) -> T) -> T {
    /// What a thread may keep when its work is done, in bytes.
    const KEPT: usize = 4 << 20;
    let mut buffer = A::staging().try_with(Cell::take).unwrap_or_default();
    let result = use_it(&mut buffer);
    if size_of_val(buffer.as_slice()) <= KEPT {
        let _ = A::staging().try_with(|slot| slot.set(buffer));
    }
    result
}
