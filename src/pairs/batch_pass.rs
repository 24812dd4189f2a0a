//! The pass over all pairs of a batch: by matrix products where the distance comes from one, otherwise pair by pair, a block of rows against all
//! rows. For a gradient each pair is met twice, so that every gradient row has one writer; otherwise from its first row alone.

use std::ops::Range;

use ndarray::{ArrayViewMut1, ArrayViewMut2, Axis, s};

use super::batch::{BatchContrastiveInput, kind};
use super::batch_products::Products;
use super::contrastive::{ContrastiveLoss, ContrastiveReport};
use super::hard::{Hardness, Spread};
use super::pass::Term;
use crate::batch_distance::Panels;
use crate::blocks::{Split, Threads, map_merge};
use crate::distance::{Chosen, Distance, Slope, add_gradient};
use crate::label::PairLabel;
use crate::reduction::Sum;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::store::{Stores, Wide, write_row};
use crate::workspace::{Buffer, Workspace};

/// Rows of a block. Another row is read once for all of them.
const BLOCK: usize = 8;

/// The loss of all pairs of a batch, bound to its input, whose rows are contiguous.
pub(super) struct AllPairs<'a, A: Scalar> {
    pub(super) loss: &'a ContrastiveLoss<&'a dyn Distance<A>>,
    pub(super) distance: Chosen<'a, A>,
    /// The distances, if products tell them.
    pub(super) panels: Option<Panels<'a, 'a, A>>,
    pub(super) input: BatchContrastiveInput<'a, A>,
    pub(super) hardness: Hardness,
    /// What the losses of matches and of others are multiplied by in the gradient.
    pub(super) scales: [f64; 2],
}

/// Where a pass keeps what it needs for a while.
pub(super) struct Memory<'w, A> {
    pub(super) weights: &'w mut Buffer<A>,
    pub(super) packed: &'w mut Buffer<A>,
    /// What the weights may take, in bytes.
    pub(super) limit: usize,
}

impl<'w, A: Scalar> Memory<'w, A> {
    /// That of a workspace, and a buffer for distances in advance.
    pub(super) fn of(workspace: &'w mut Workspace<A>) -> (Self, &'w mut Buffer<A>) {
        let memory = Self {
            limit: workspace.limit(),
            weights: &mut workspace.scores,
            packed: &mut workspace.packed[0],
        };
        (memory, &mut workspace.panels[0])
    }
}

/// Sums over pairs; arrays of two are of matches and of others.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    losses: [Sum; 2],
    active: [Sum; 2],
    active_pairs: f64,
    tally: [f64; 4],
}

impl Sums {
    pub(super) const NONE: Self = Self {
        losses: [Sum::ZERO; 2],
        active: [Sum::ZERO; 2],
        active_pairs: 0.0,
        tally: [0.0; 4],
    };

    pub(super) fn add(&mut self, label: PairLabel, weight: f64, term: Term) {
        let kind = kind(label);
        // A pair of weight zero does not take part, not even with a NaN.
        if weight != 0.0 {
            self.losses[kind] = self.losses[kind].plus(weight * term.loss);
        }
        if term.loss != 0.0 {
            self.active[kind] = self.active[kind].plus(weight);
            self.active_pairs += 1.0;
        }
        for (sum, x) in self.tally.iter_mut().zip(term.tally) {
            *sum += x;
        }
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        for kind in 0..2 {
            self.losses[kind] = self.losses[kind].merge(other.losses[kind]);
            self.active[kind] = self.active[kind].merge(other.active[kind]);
        }
        self.active_pairs += other.active_pairs;
        for (sum, x) in self.tally.iter_mut().zip(other.tally) {
            *sum += x;
        }
        self
    }

    pub(super) fn active_weights(&self) -> [f64; 2] {
        self.active.map(Sum::value)
    }

    pub(super) fn report(&self) -> ContrastiveReport {
        ContrastiveReport::new(self.active_pairs, self.tally)
    }

    pub(super) fn value(&self, scales: [f64; 2]) -> f64 {
        let scaled = |kind: usize| {
            if scales[kind] == 0.0 {
                0.0
            } else {
                self.losses[kind].value() * scales[kind]
            }
        };
        scaled(0) + scaled(1)
    }
}

/// The losses of the pairs (i, j > i) of rows from `first` on, of `n`.
pub(super) struct PairRows<'r, A> {
    losses: ArrayViewMut1<'r, A>,
    first: usize,
    n: usize,
}

impl<'r, A> PairRows<'r, A> {
    /// All pairs of `n` rows.
    pub(super) fn new(losses: ArrayViewMut1<'r, A>, n: usize) -> Self {
        Self {
            losses,
            first: 0,
            n,
        }
    }

    /// How many pairs the next `rows` rows have.
    fn pairs_of(&self, rows: usize) -> usize {
        (self.first..self.first + rows)
            .map(|i| self.n - 1 - i)
            .sum()
    }

    /// The losses of the pairs (i, i + 1), …, (i, n − 1).
    pub(super) fn of(&mut self, i: usize) -> ArrayViewMut1<'_, A> {
        let start = self.pairs_of(i - self.first);
        self.losses.slice_mut(s![start..start + self.n - 1 - i])
    }
}

impl<A: Send> Split for PairRows<'_, A> {
    fn split(self, unit: usize) -> (Self, Self) {
        let middle = self.pairs_of(unit);
        let (first, n) = (self.first, self.n);
        let (left, right) = self.losses.split_at(Axis(0), middle);
        (
            Self {
                losses: left,
                first,
                n,
            },
            Self {
                losses: right,
                first: first + unit,
                n,
            },
        )
    }
}

impl<A: Scalar> AllPairs<'_, A> {
    /// All pairs: their sums, and gradient and losses where wanted.
    pub(super) fn run(
        &self,
        gradient: Option<ArrayViewMut2<'_, A>>,
        rows: Option<ArrayViewMut1<'_, A>>,
        memory: &mut Memory<'_, A>,
    ) -> Sums {
        if let Some(panels) = &self.panels {
            return Products { pass: self, panels }.run(gradient, rows, memory);
        }
        let n = self.input.classes.len();
        let rows = rows.map(|losses| PairRows::new(losses, n));
        map_merge(
            self.threads(),
            n,
            BLOCK,
            (gradient, rows),
            &|first, count, (gradient, rows)| {
                dispatch(Block {
                    pass: self,
                    first,
                    count,
                    gradient,
                    rows,
                })
            },
            &Sums::merge,
        )
    }

    /// The distances of all pairs, but for those of weight zero.
    pub(super) fn spread(&self) -> Spread {
        let n = self.input.classes.len();
        let leaf = |first, count, ()| {
            dispatch(Spreads {
                pass: self,
                rows: first..first + count,
            })
        };
        map_merge(self.threads(), n, BLOCK, (), &leaf, &Spread::merge)
    }

    /// For pairs that are measured one by one.
    fn threads(&self) -> Threads {
        let (n, dim) = self.input.embeddings.dim();
        // A coordinate of a pair takes about a third of a nanosecond.
        Threads::for_nanoseconds((n * n * dim) as f64 / 3.0)
    }

    pub(super) fn term(&self, label: PairLabel, distance: f64) -> Term {
        let term = self.loss.of(label, distance);
        self.hardness.apply(label, distance, term)
    }
}

struct Block<'p, 'a, 'o, A: Scalar> {
    pass: &'p AllPairs<'a, A>,
    first: usize,
    count: usize,
    gradient: Option<ArrayViewMut2<'o, A>>,
    rows: Option<PairRows<'o, A>>,
}

impl<A: Scalar> Kernel for Block<'_, '_, '_, A> {
    type Output = Sums;

    #[inline(always)]
    fn run<I: Isa>(mut self) -> Sums {
        let pass = self.pass;
        let (n, dim) = pass.input.embeddings.dim();
        let wide = if self.gradient.is_some() { dim } else { 0 };
        let mut gradients = vec![0.0; self.count * wide];
        let mut spare = [vec![0.0; wide], vec![0.0; wide]];
        let mut sums = Sums::NONE;
        let last = self.first + self.count;
        for j in 0..n {
            let end = if wide == 0 { j.min(last) } else { last };
            for i in (self.first..end).filter(|&i| i != j) {
                // Distances need not be symmetric: the pair is that of the lower index first.
                let pair = [i.min(j), i.max(j)];
                let rows = pair.map(|i| pass.row(i));
                let label = pass.input.label(i, j);
                let (distance, slope) = pass.distance.measure::<I>(rows[0], rows[1]);
                let term = pass.term(label, distance);
                let weight = pass.input.weight(i, j);
                if i < j {
                    sums.add(label, weight, term);
                    if let Some(rows) = &mut self.rows {
                        rows.of(i)[j - i - 1] = A::narrow(term.loss);
                    }
                }
                let scale = pass.scales[kind(label)] * weight;
                if self.gradient.is_some() && scale != 0.0 && term.slope != 0.0 {
                    let factor = scale * term.slope;
                    let out = &mut gradients[(i - self.first) * dim..][..dim];
                    pass.add::<I>(out, rows, slope, factor, usize::from(i > j), &mut spare);
                }
            }
        }
        if let Some(views) = &mut self.gradient {
            for i in 0..self.count {
                let row = Wide::new(&gradients[i * dim..][..dim]);
                write_row::<A, I>(views.row_mut(i), Stores::Cached, row);
            }
        }
        sums
    }
}

struct Spreads<'p, 'a, A: Scalar> {
    pass: &'p AllPairs<'a, A>,
    rows: Range<usize>,
}

impl<A: Scalar> Kernel for Spreads<'_, '_, A> {
    type Output = Spread;

    #[inline(always)]
    fn run<I: Isa>(self) -> Spread {
        let Self { pass, rows } = self;
        let mut spread = Spread::NONE;
        for j in 0..pass.input.classes.len() {
            for i in rows.start..rows.end.min(j) {
                if pass.input.weight(i, j) != 0.0 {
                    let (distance, _) = pass.distance.measure::<I>(pass.row(i), pass.row(j));
                    spread = spread.plus(pass.input.label(i, j), distance);
                }
            }
        }
        spread
    }
}

impl<A: Scalar> AllPairs<'_, A> {
    #[inline(always)]
    fn row(&self, i: usize) -> &[A] {
        let row = self.input.embeddings.index_axis_move(Axis(0), i);
        row.to_slice().unwrap_or_default()
    }

    /// Adds `factor` times the gradient by one of two rows.
    #[inline(always)]
    fn add<I: Isa>(
        &self,
        out: &mut [f64],
        [x, y]: [&[A]; 2],
        slope: Slope<A::Real>,
        factor: f64,
        side: usize,
        spare: &mut [Vec<f64>; 2],
    ) {
        if slope.comes_in_rows() {
            let [dx, dy] = spare;
            self.distance.gradient(x, y, dx, dy);
            let of = &spare[side];
            out.iter_mut()
                .zip(of)
                .for_each(|(out, x)| *out += factor * x);
            return;
        }
        add_gradient::<A, I>(out, slope, factor, [x, y], side);
    }
}
