//! The gradient from what each distance weighs: one matrix product for the many, row by row for the few and the near.
//!
//! With weights c of the differences, ∂L/∂xᵢ = Σⱼ cᵢⱼ (xᵢ − yⱼ) = (Σⱼ cᵢⱼ)·xᵢ − (C·Y)ᵢ. Where anchors are their own candidates, C is the sum of
//! the weights and their transpose, made a block of rows at a time. For the cosine distance Y holds normalised rows, and the sum is projected onto the
//! plane at right angles to the row.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, s};

use super::{BatchDistance, Side};
use crate::blocks::{Threads, Units, for_each};
use crate::distance::add_gradient;
use crate::gemm::{Packed, Write, product};
use crate::kernels::dot;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::staging::contiguous;
use crate::wide::Real;
use crate::workspace::Buffer;

/// Which rows a gradient is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Anchors,
    Candidates,
    /// Anchors that are their own candidates.
    Both,
}

/// How much the loss grows with the distance of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    pub(crate) anchor: u32,
    pub(crate) candidate: u32,
    pub(crate) weight: f64,
}

/// What the differences weigh.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'p, A> {
    /// `[anchor, candidate]`
    pub(crate) matrix: &'p [A],
    /// The [panels](Side::panels) of the other side.
    pub(crate) panels: &'p [A],
}

/// The gradient by the rows of one side.
pub(crate) struct Backward<'p, 'a, A> {
    pub(crate) role: Role,
    pub(crate) own: &'p Side<'a, A>,
    pub(crate) other: &'p Side<'a, A>,
    pub(crate) distance: BatchDistance,
    /// What the differences weigh, where that is kept.
    pub(crate) weights: Option<Weights<'p, A>>,
    pub(crate) pulls: &'p [Pull],
    /// 1/Z
    pub(crate) scale: f64,
}

/// Rows of a gradient that are computed together: whole tiles of the product.
const BLOCK: usize = 48;
/// Weights of so many rows of the other side are turned at a time.
const CHUNK: usize = 1024;

impl<A: Scalar> Side<'_, A> {
    /// The rows, times their factors, as panels `[panel][row][column]`.
    pub(crate) fn panels<'m>(&self, memory: &'m mut Buffer<A>) -> &'m [A] {
        let (rows, dim) = self.rows.dim();
        let panels = memory.take(rows * dim.div_ceil(A::PANEL) * A::PANEL);
        if panels.is_empty() {
            return panels;
        }
        let work = Units {
            slice: &mut *panels,
            len: rows * A::PANEL,
        };
        let threads = Threads::for_nanoseconds((rows * dim) as f64);
        for_each(
            threads,
            dim.div_ceil(A::PANEL),
            1,
            work,
            &|panel, _, out| self.pack_columns(panel * A::PANEL, out.slice),
        );
        panels
    }

    /// A panel of the columns from `first` on; those that there are not are zero.
    fn pack_columns(&self, first: usize, panel: &mut [A]) {
        let end = self.rows.ncols().min(first + A::PANEL);
        let mut spare = Vec::new();
        panel.fill(A::zero());
        for (row, out) in panel.chunks_exact_mut(A::PANEL).enumerate() {
            let factor = self.factor(row);
            if factor != 0.0 {
                let columns = self.rows.slice(s![row, first..end]);
                for (out, x) in out.iter_mut().zip(contiguous(columns, &mut spare)) {
                    *out = A::narrow(x.wide() * factor);
                }
            }
        }
    }
}

impl<A: Scalar> Backward<'_, '_, A> {
    /// Overwrites `gradient`.
    pub(crate) fn run(&self, gradient: ArrayViewMut2<'_, A>) {
        let (rows, dim) = gradient.dim();
        if rows == 0 {
            return;
        }
        let listed = Listed::new(self.role, rows, self.pulls);
        let work = match self.weights {
            Some(weights) => weights.matrix.len() * dim,
            None => 32 * self.pulls.len() * dim,
        };
        let threads = Threads::for_products(work as f64);
        for_each(threads, rows, BLOCK, gradient, &|first, count, gradient| {
            let rows = first..first + count;
            dispatch(Finish {
                sums: self.weights.map(|weights| self.sums(weights, rows)),
                backward: self,
                listed: &listed,
                first,
                gradient,
            });
        });
    }

    fn sums(&self, weights: Weights<'_, A>, rows: Range<usize>) -> Sums<A> {
        let (others, dim) = self.other.rows.dim();
        let width = dim.div_ceil(A::PANEL) * A::PANEL;
        let mut sums = Sums {
            weight: [0.0; BLOCK],
            products: vec![A::zero(); rows.len() * width],
            width,
        };
        let mut turned = vec![A::zero(); BLOCK * CHUNK.min(others)];
        for start in (0..others).step_by(CHUNK) {
            let chunk = start..others.min(start + CHUNK);
            let turned = &mut turned[..BLOCK * chunk.len()];
            self.turn(weights.matrix, &rows, &chunk, turned);
            for turned in turned.chunks_exact(BLOCK) {
                for (sum, x) in sums.weight.iter_mut().zip(turned) {
                    *sum += x.wide();
                }
            }
            let shape = (rows.len(), chunk.len()).strides((1, BLOCK));
            let block = ArrayView2::from_shape(shape, turned).expect("as long as its shape");
            let panels = Packed::panels(weights.panels, others).skip_rows(start);
            let shape = (rows.len(), width);
            let out = ArrayViewMut2::from_shape(shape, &mut sums.products[..]);
            let out = out.expect("as long as its shape");
            product(block, panels, out, Write::Add);
        }
        sums
    }

    /// The weights between some own rows and some others, `[other][own]`.
    fn turn(&self, weights: &[A], rows: &Range<usize>, chunk: &Range<usize>, turned: &mut [A]) {
        turned.fill(A::zero());
        if self.role != Role::Anchors {
            let candidates = self.own.rows.nrows();
            for (turned, anchor) in turned.chunks_exact_mut(BLOCK).zip(chunk.clone()) {
                let from = &weights[anchor * candidates..][rows.clone()];
                turned[..rows.len()].copy_from_slice(from);
            }
        }
        if self.role != Role::Candidates {
            let candidates = self.other.rows.nrows();
            for (lane, anchor) in rows.clone().enumerate() {
                let from = &weights[anchor * candidates..][chunk.clone()];
                for (turned, &x) in turned.chunks_exact_mut(BLOCK).zip(from) {
                    turned[lane] += x;
                }
            }
        }
    }
}

/// Σⱼ cᵢⱼ and Σⱼ cᵢⱼ yⱼ for some rows i.
struct Sums<A> {
    weight: [f64; BLOCK],
    products: Vec<A>,
    width: usize,
}

/// The listed weights of each row: who is at the other end, and how much.
struct Listed {
    starts: Vec<usize>,
    ends: Vec<(u32, f64)>,
}

impl Listed {
    fn new(role: Role, rows: usize, pulls: &[Pull]) -> Self {
        let ends = |pull: &Pull| {
            let by_anchor = (role != Role::Candidates).then_some((pull.anchor, pull.candidate));
            let by_candidate = (role != Role::Anchors).then_some((pull.candidate, pull.anchor));
            by_anchor.into_iter().chain(by_candidate)
        };
        // Counting sort: within a row the order of the list stays.
        let mut starts = vec![0; rows + 1];
        for (row, _) in pulls.iter().flat_map(ends) {
            starts[row as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut sorted = vec![(0, 0.0); starts[rows]];
        let mut next = starts.clone();
        for pull in pulls {
            for (row, other) in ends(pull) {
                sorted[next[row as usize]] = (other, pull.weight);
                next[row as usize] += 1;
            }
        }
        Self {
            starts,
            ends: sorted,
        }
    }

    fn of(&self, row: usize) -> &[(u32, f64)] {
        &self.ends[self.starts[row]..self.starts[row + 1]]
    }
}

/// Puts both parts together, and writes.
struct Finish<'f, 'p, 'a, 'g, A> {
    backward: &'f Backward<'p, 'a, A>,
    sums: Option<Sums<A>>,
    listed: &'f Listed,
    first: usize,
    gradient: ArrayViewMut2<'g, A>,
}

impl<A: Scalar> Kernel for Finish<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Backward {
            own, other, scale, ..
        } = *self.backward;
        let mut sum = vec![0.0; self.gradient.ncols()];
        let (mut spare, mut other_spare) = (Vec::new(), Vec::new());
        for local in 0..self.gradient.nrows() {
            let row = self.first + local;
            let x = contiguous(own.rows.row(row), &mut spare);
            sum.fill(0.0);
            if let Some(sums) = self.sums.as_ref().filter(|_| own.plain(row)) {
                let products = &sums.products[local * sums.width..][..x.len()];
                self.add_products::<I>(row, x, sums.weight[local], products, &mut sum);
            }
            for &(index, weight) in self.listed.of(row) {
                let y = contiguous(other.rows.row(index as usize), &mut other_spare);
                let (_, slope) = self.backward.distance.measure::<A, I>(x, y);
                add_gradient::<A, I>(&mut sum, slope, weight, [x, y], 0);
            }
            for (out, x) in self.gradient.row_mut(local).iter_mut().zip(&sum) {
                *out = A::narrow(if scale == 0.0 { 0.0 } else { x * scale });
            }
        }
    }
}

impl<A: Scalar> Finish<'_, '_, '_, '_, A> {
    #[inline(always)]
    fn add_products<I: Isa>(
        &self,
        row: usize,
        x: &[A],
        weight: f64,
        products: &[A],
        sum: &mut [f64],
    ) {
        let terms = sum.iter_mut().zip(x).zip(products);
        if self.backward.distance == BatchDistance::Cosine {
            let factor = self.backward.own.factor(row);
            let along = dot::<A, I>(products, x).value() * factor * factor;
            terms.for_each(|((sum, x), y)| *sum += factor * (along * x.wide() - y.wide()));
        } else {
            terms.for_each(|((sum, x), y)| *sum += weight * x.wide() - y.wide());
        }
    }
}
