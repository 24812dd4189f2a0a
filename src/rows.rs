//! The pass of the losses whose rows are independent: one read of each row, its gradient written while the row is still in the cache.

use std::cell::Cell;
use std::ops::Range;

use ndarray::{ArrayView1, ArrayViewMut1};

use crate::blocks::{Split, Threads, map_merge};
use crate::error::Error;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};
use crate::scalar::Scalar;
use crate::simd::{self, Isa, Kernel, dispatch};

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

    fn grain(self) -> usize {
        (Self::BLOCK_BYTES / self.row_bytes.max(1)).max(1)
    }

    fn threads(self) -> Threads {
        Threads::for_nanoseconds(
            self.rows as f64 * self.row_bytes as f64 / Self::BYTES_PER_NANOSECOND,
        )
    }

    fn stores(self) -> Stores {
        // A gradient that fits the last-level cache is likely to be read from there next.
        const LARGE: usize = 16 << 20;
        if self.rows * self.row_bytes > LARGE {
            Stores::Streamed
        } else {
            Stores::Cached
        }
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
            let out = self.gradient.as_mut().map(|views| Out {
                views,
                row,
                scale,
                stores: self.stores,
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

/// How results go to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    Cached,
    /// Past the caches: see [`simd::stream`].
    Streamed,
}

/// How many numbers of a row are computed before they are streamed out.
const CHUNK: usize = 256;

/// Writes a row of any layout: `fill(range, out)` computes the numbers of a range of columns.
#[inline(always)]
pub(crate) fn write_row<A: Scalar>(
    mut row: ArrayViewMut1<'_, A>,
    stores: Stores,
    mut fill: impl FnMut(Range<usize>, &mut [A]),
) {
    let len = row.len();
    for start in (0..len).step_by(CHUNK) {
        write_chunk(&mut row, start..len.min(start + CHUNK), stores, &mut fill);
    }
}

/// Writes some columns of a row from numbers that have been computed.
#[inline(always)]
pub(crate) fn write_columns<A: Scalar>(
    mut row: ArrayViewMut1<'_, A>,
    columns: Range<usize>,
    stores: Stores,
    values: &[f64],
) {
    for start in columns.clone().step_by(CHUNK) {
        let chunk = start..columns.end.min(start + CHUNK);
        write_chunk(
            &mut row,
            chunk,
            stores,
            &mut |range: Range<usize>, out: &mut [A]| {
                let values = &values[range.start - columns.start..];
                out.iter_mut()
                    .zip(values)
                    .for_each(|(out, &x)| *out = A::narrow(x));
            },
        );
    }
}

/// At most [`CHUNK`] columns.
#[inline(always)]
fn write_chunk<A: Scalar>(
    row: &mut ArrayViewMut1<'_, A>,
    columns: Range<usize>,
    stores: Stores,
    fill: &mut impl FnMut(Range<usize>, &mut [A]),
) {
    let mut chunk = [A::zero(); CHUNK];
    match row.as_slice_mut() {
        Some(slice) if stores == Stores::Cached => fill(columns.clone(), &mut slice[columns]),
        Some(slice) => {
            let chunk = &mut chunk[..columns.len()];
            fill(columns.clone(), chunk);
            simd::stream(&mut slice[columns], chunk);
        }
        None => {
            let chunk = &mut chunk[..columns.len()];
            fill(columns.clone(), chunk);
            columns
                .zip(chunk)
                .for_each(|(column, &mut x)| row[column] = x);
        }
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
