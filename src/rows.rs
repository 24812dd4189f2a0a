//! The pass of the losses whose rows are independent: one read of each row, its gradient written while the row is still in the cache.

use std::cell::Cell;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, Axis};

use crate::blocks::{Split, Threads, map_merge};
use crate::error::Error;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};
use crate::scalar::Scalar;
use crate::simd::{self, Isa, Kernel, LANES, dispatch};
use crate::store::Stores;

/// A loss of independent rows, bound to its input.
///
/// `G` is the gradient views of a block of rows.
pub(crate) trait RowLoss<A: Scalar, G: Split>: Sync {
    /// The loss of a row. With `out`, also writes `scale` times its gradient to row `out.row` of the views, all of it.
    fn row<I: Isa>(&self, row: usize, out: Option<Out<'_, G>>, scratch: &mut Scratch) -> Outcome;
}

/// Where and how the gradient of a row is written.
pub(crate) struct Out<'a, G> {
    pub(crate) views: &'a mut G,
    /// The row within the views.
    pub(crate) row: usize,
    pub(crate) scale: f64,
    pub(crate) stores: Stores,
    /// The row that comes next, where the rows are not in the cache yet: while this one's gradient goes out, that one can come in.
    pub(crate) next: Option<usize>,
}

impl<G> Out<'_, G> {
    /// The next row of a matrix.
    #[inline(always)]
    pub(crate) fn ahead<'a, A>(&self, matrix: ArrayView2<'a, A>) -> Ahead<'a, A> {
        Ahead::new(self.next.map(|next| matrix.index_axis_move(Axis(0), next)))
    }
}

/// A row that will be read soon.
pub(crate) struct Ahead<'a, A>(&'a [A]);

impl<'a, A> Ahead<'a, A> {
    /// Nothing where there is no row, or where its columns are not contiguous.
    #[inline(always)]
    pub(crate) fn new(row: Option<ArrayView1<'a, A>>) -> Self {
        Self(row.and_then(|row| row.to_slice()).unwrap_or_default())
    }

    /// Asks for a group of its columns.
    #[inline(always)]
    pub(crate) fn prefetch(&self, group: usize) {
        simd::prefetch(self.0, group * LANES..(group + 1) * LANES);
    }
}

/// What a row contributes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    /// Numbers for the report, each summed over the rows.
    pub(crate) tally: [f64; 4],
}

/// The sums over a block of rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    loss: Sum,
    active: Sum,
    pub(crate) active_rows: f64,
    pub(crate) tally: [f64; 4],
}

impl Totals {
    #[inline(always)]
    fn plus(&mut self, outcome: Outcome, weight: f64) {
        // A row of weight zero does not take part, not even with a NaN.
        if weight != 0.0 {
            self.loss = self.loss.plus(weight * outcome.loss);
        }
        if outcome.loss != 0.0 {
            self.active = self.active.plus(weight);
            self.active_rows += 1.0;
        }
        for (sum, x) in self.tally.iter_mut().zip(outcome.tally) {
            *sum += x;
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.loss = self.loss.merge(other.loss);
        self.active = self.active.merge(other.active);
        self.active_rows += other.active_rows;
        for (sum, x) in self.tally.iter_mut().zip(other.tally) {
            *sum += x;
        }
        self
    }
}

/// The extent of a pass: how many rows, and how many bytes of input a row has.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) row_bytes: usize,
}

impl Extent {
    /// A block of rows fits the second-level cache with its gradient.
    const BLOCK_BYTES: usize = 128 << 10;
    /// What a thread reads and reduces in a nanosecond, roughly.
    const BYTES_PER_NANOSECOND: f64 = 8.0;

    pub(crate) fn grain(self) -> usize {
        (Self::BLOCK_BYTES / self.row_bytes.max(1)).max(1)
    }

    pub(crate) fn threads(self) -> Threads {
        Threads::for_nanoseconds(
            self.rows as f64 * self.row_bytes as f64 / Self::BYTES_PER_NANOSECOND,
        )
    }

    fn stores(self) -> Stores {
        Stores::for_bytes(self.rows * self.row_bytes)
    }
}

/// The whole pass: value, and gradients and row losses where wanted.
pub(crate) fn evaluate<A: Scalar, G: Split, L: RowLoss<A, G>>(
    loss: &L,
    extent: Extent,
    reduction: Reduction,
    weights: Option<ArrayView1<'_, A>>,
    gradient: Option<G>,
    rows: Option<ArrayViewMut1<'_, A>>,
) -> (A, Totals) {
    let pass = |scale, gradient, rows| run(loss, extent, weights, scale, gradient, rows);
    let (scale, totals) = match (reduction.scale(extent.rows, weights), gradient) {
        (Some(scale), gradient) => (scale, pass(scale, gradient, rows)),
        (None, None) => {
            let totals = pass(0.0, None, rows);
            (reciprocal_or_zero(totals.active.value()), totals)
        }
        (None, Some(gradient)) => {
            // The divisor is known only after all losses are, and the gradient is written once: two passes.
            let totals = pass(0.0, None, rows);
            let scale = reciprocal_or_zero(totals.active.value());
            (scale, pass(scale, Some(gradient), None))
        }
    };
    let sum = totals.loss.value();
    (
        A::narrow(if scale == 0.0 { 0.0 } else { sum * scale }),
        totals,
    )
}

fn run<A: Scalar, G: Split, L: RowLoss<A, G>>(
    loss: &L,
    extent: Extent,
    weights: Option<ArrayView1<'_, A>>,
    scale: f64,
    gradient: Option<G>,
    rows: Option<ArrayViewMut1<'_, A>>,
) -> Totals {
    let stores = extent.stores();
    map_merge(
        extent.threads(),
        extent.rows,
        extent.grain(),
        (gradient, rows),
        &|first, count, (gradient, rows)| {
            dispatch(Block {
                loss,
                first,
                count,
                rows_in_all: extent.rows,
                weights,
                scale,
                stores,
                gradient,
                rows,
            })
        },
        &Totals::merge,
    )
}

struct Block<'a, 'b, A, G, L> {
    loss: &'a L,
    first: usize,
    count: usize,
    /// Rows of the batch.
    rows_in_all: usize,
    weights: Option<ArrayView1<'a, A>>,
    scale: f64,
    stores: Stores,
    gradient: Option<G>,
    rows: Option<ArrayViewMut1<'b, A>>,
}

impl<A: Scalar, G: Split, L: RowLoss<A, G>> Kernel for Block<'_, '_, A, G, L> {
    type Output = Totals;

    #[inline(always)]
    fn run<I: Isa>(mut self) -> Totals {
        let mut totals = Totals::default();
        let mut scratch = Scratch::take();
        for row in 0..self.count {
            let weight = self
                .weights
                .map_or(1.0, |weights| weights[self.first + row].wide());
            let scale = self.scale * weight;
            let next = self.first + row + 1;
            let wanted = self.stores == Stores::Streamed && next < self.rows_in_all;
            let out = self.gradient.as_mut().map(|views| Out {
                views,
                row,
                scale,
                stores: self.stores,
                next: wanted.then_some(next),
            });
            let outcome = self.loss.row::<I>(self.first + row, out, &mut scratch);
            totals.plus(outcome, weight);
            if let Some(rows) = &mut self.rows {
                rows[row] = A::narrow(outcome.loss);
            }
        }
        if self.gradient.is_some() && self.stores == Stores::Streamed {
            simd::publish();
        }
        scratch.give_back();
        totals
    }
}

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

    fn take() -> Self {
        // If a distance of the user's calls the crate again, the inner call finds an empty scratch and allocates.
        SCRATCH.try_with(Cell::take).unwrap_or_default()
    }

    fn give_back(self) {
        // While the thread is being torn down there is nowhere to keep it.
        let _ = SCRATCH.try_with(|slot| slot.set(self));
    }
}

/// Refuses an array of another shape than the first one has.
pub(crate) fn check_shape(
    name: &'static str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Shape {
            name,
            expected: expected.to_vec(),
            found: found.to_vec(),
        })
    }
}
