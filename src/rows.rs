//! The pass of the losses whose rows are independent: one read of each row, its gradient written while the row is still in the cache.

use ndarray::{ArrayView1, ArrayViewMut1};

use crate::blocks::{Split, Threads, map_merge};
use crate::error::Error;
use crate::kernels::Coming;
use crate::reduction::{Reduction, Sum, reciprocal_or_zero};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, Publishing, dispatch};
use crate::staging::Held;
use crate::store::Stores;

/// A loss of independent rows, bound to its input.
///
/// `G` is the gradient views of a block of rows.
pub(crate) trait RowLoss<A: Scalar, G: Split>: Sync {
    /// The loss of a row. With `out`, also writes `scale` times its gradient to row `out.row` of the views, all of it.
    fn row<I: Isa>(&self, row: usize, out: Option<Out<'_, G>>, held: &mut Held<A>) -> Outcome;
}

/// Where and how the gradient of a row is written.
pub(crate) struct Out<'a, G> {
    pub(crate) views: &'a mut G,
    /// The row within the views.
    pub(crate) row: usize,
    pub(crate) scale: f64,
    pub(crate) stores: Stores,
    /// The rows of the input whose turn comes.
    pub(crate) coming: Coming<usize>,
}

/// What a row contributes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    /// Whether the report counts it among those whose loss is not zero.
    pub(crate) active: bool,
    /// Numbers for the report, each summed over the rows.
    pub(crate) tally: [f64; 4],
}

impl Outcome {
    #[inline(always)]
    pub(crate) fn new(loss: f64, tally: [f64; 4]) -> Self {
        let active = loss != 0.0;
        Self {
            loss,
            active,
            tally,
        }
    }
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
        }
        self.active_rows += f64::from(u8::from(outcome.active));
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
    /// A block whose gradient goes past the caches ends with a wait for the stores, and its rows are read ahead of only from within: the fewer the better.
    const STREAMED_BLOCK_BYTES: usize = 512 << 10;
    /// What a thread reads and reduces in a nanosecond, roughly.
    const BYTES_PER_NANOSECOND: f64 = 8.0;

    pub(crate) fn grain(self) -> usize {
        let bytes = if self.stores() == Stores::Streamed {
            Self::STREAMED_BLOCK_BYTES
        } else {
            Self::BLOCK_BYTES
        };
        (bytes / self.row_bytes.max(1)).max(1)
    }

    pub(crate) fn threads(self) -> Threads {
        Threads::for_nanoseconds(
            self.rows as f64 * self.row_bytes as f64 / Self::BYTES_PER_NANOSECOND,
        )
    }

    fn stores(self) -> Stores {
        Stores::for_bytes(self.rows.saturating_mul(self.row_bytes))
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
    /// Of the input.
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
        let streamed = self.gradient.is_some() && self.stores == Stores::Streamed;
        let _published = Publishing(streamed);
        let mut held = Held::take();
        for row in 0..self.count {
            let weight = self
                .weights
                .map_or(1.0, |weights| weights[self.first + row].wide());
            let scale = self.scale * weight;
            let coming = self.coming::<I>(row);
            let out = self.gradient.as_mut().map(|views| Out {
                views,
                row,
                scale,
                stores: self.stores,
                coming,
            });
            let outcome = self.loss.row::<I>(self.first + row, out, &mut held);
            totals.plus(outcome, weight);
            if let Some(rows) = &mut self.rows {
                rows[row] = A::narrow(outcome.loss);
            }
        }
        held.give_back();
        totals
    }
}

impl<A, G, L> Block<'_, '_, A, G, L> {
    /// What comes after a row of the block, where that is prepared for.
    #[inline(always)]
    fn coming<I: Isa>(&self, row: usize) -> Coming<usize> {
        if !self.stores.look_ahead() {
            return Coming::default();
        }
        let end = self.first + self.count;
        Coming::rows::<I>(self.first + row + 1, end, self.rows_in_all)
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
