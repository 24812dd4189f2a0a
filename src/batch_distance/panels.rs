//! The distances of a panel of anchors to all candidates from one matrix product; where anchors are their own candidates, from half of one.

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};

use super::{BatchDistance, Side};
use crate::blocks::{Split, Threads, for_each};
use crate::gemm::{Packed, Write, product};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::staging::with_buffer;
use crate::workspace::Buffer;

/// Below this share of ‖x‖² + ‖y‖² a squared distance, and below this a cosine distance, is measured from the rows.
const NEAR: f64 = 1.0 / 64.0;

/// What distances in advance may take, in bytes; those of more rows leave the caches before they are used.
const LIMIT: usize = 16 << 20;

/// All distances, a panel of anchors at a time.
pub(crate) struct Panels<'p, 'a, A> {
    anchors: &'p Side<'a, A>,
    candidates: &'p Side<'a, A>,
    candidate_terms: Vec<A>,
    /// The distances of each panel of rows to the rows from its first on, `[candidate, lane]`, panel after panel. Those to the rows before are in the
    /// panels before.
    triangle: Option<&'p [A]>,
}

impl<'p, 'a, A: Scalar> Panels<'p, 'a, A> {
    /// Each panel will be a product of its own.
    pub(crate) fn new(anchors: &'p Side<'a, A>, candidates: &'p Side<'a, A>) -> Self {
        Self {
            anchors,
            candidates,
            candidate_terms: candidates.candidate_terms(),
            triangle: None,
        }
    }

    /// Of rows that are their own candidates: the distances of each pair once and in advance, unless that takes more memory than `limit`.
    pub(crate) fn within(side: &'p Side<'a, A>, memory: &'p mut Buffer<A>, limit: usize) -> Self {
        let mut panels = Self::new(side, side);
        let (n, dim) = side.rows.dim();
        let len = triangle_len::<A>(n, n.div_ceil(A::PANEL));
        if len <= limit.min(LIMIT) / size_of::<A>() {
            let slice = memory.take(len);
            let work = Triangle {
                slice: &mut *slice,
                rows: n,
            };
            let threads = Threads::for_products((len * dim) as f64);
            for_each(threads, n.div_ceil(A::PANEL), 1, work, &|index, _, tile| {
                let first = index * A::PANEL;
                let rows = first..n.min(first + A::PANEL);
                with_buffer(|panel| {
                    grow(panel, dim * A::PANEL);
                    panels.fill(rows, first, panel, tile.slice);
                });
            });
            panels.triangle = Some(slice);
        }
        panels
    }

    /// The rows that find distances among each other.
    pub(crate) fn candidates(&self) -> &'p Side<'a, A> {
        self.candidates
    }

    /// What a thread takes for a distance, roughly.
    pub(crate) fn nanoseconds(&self) -> f64 {
        const OF_PRODUCT: f64 = 0.02;
        const OF_COPY: f64 = 0.2;
        match self.triangle {
            Some(_) => OF_COPY,
            None => OF_PRODUCT * self.candidates.rows.ncols() as f64,
        }
    }

    /// The distances of a panel of anchors, which begins at a multiple of a panel's rows, anchor by anchor, `[anchor, candidate]`; NaN where they are to
    /// be measured, and unspecified to the candidates before `first`, which begins a panel as well. `buffer` is memory that is kept from panel to panel:
    /// fresh pages cost as much as the distances.
    pub(crate) fn distances<'b>(
        &self,
        rows: Range<usize>,
        first: usize,
        buffer: &'b mut Vec<A>,
    ) -> &'b mut [A] {
        debug_assert_eq!(rows.start % A::PANEL, 0, "the first row of a panel");
        debug_assert_eq!(first % A::PANEL, 0, "likewise");
        let (m, dim) = self.candidates.rows.dim();
        let lens = match self.triangle {
            Some(_) => [0, 0, m * rows.len()],
            None => [(m - first) * A::PANEL, dim * A::PANEL, m * rows.len()],
        };
        let len = lens.iter().sum();
        grow(buffer, len);
        let (tile, rest) = buffer.split_at_mut(lens[0]);
        let (panel, rest) = rest.split_at_mut(lens[1]);
        let out = &mut rest[..lens[2]];
        match self.triangle {
            Some(triangle) => mirror(triangle, rows, first, m, out),
            None => {
                self.fill(rows, first, panel, tile);
                dispatch(Turn {
                    tile,
                    out,
                    len: m,
                    first,
                });
            }
        }
        out
    }

    /// The distances of some anchors to the candidates from `first` on, `[candidate, lane]`. `panel` is memory for the anchors.
    fn fill(&self, rows: Range<usize>, first: usize, panel: &mut [A], tile: &mut [A]) {
        let candidates = self.candidates.rows.slice(s![first.., ..]);
        self.anchors
            .pack(rows.clone(), &mut panel[..candidates.ncols() * A::PANEL]);
        if candidates.ncols() == 0 {
            tile.fill(A::zero());
        } else {
            let shape = (candidates.nrows(), A::PANEL);
            let view = ArrayViewMut2::from_shape(shape, &mut *tile).expect("as long as its shape");
            product(candidates, Packed::panel(panel), view, Write::Set);
        }
        dispatch(Convert {
            distance: self.anchors.distance,
            anchor_terms: &self.anchors.anchor_terms(rows),
            candidate_terms: &self.candidate_terms[first..],
            tile,
        });
    }
}

fn grow<A: Scalar>(buffer: &mut Vec<A>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, A::zero());
    }
}

/// How many numbers the first `panels` panels of a triangle of `rows` rows have.
fn triangle_len<A: Scalar>(rows: usize, panels: usize) -> usize {
    // Each panel has PANEL candidates less than the one before.
    (panels * rows - A::PANEL * (panels * panels.saturating_sub(1) / 2)) * A::PANEL
}

/// The panels of a triangle, from some row on.
struct Triangle<'t, A> {
    slice: &'t mut [A],
    /// How many candidates the first panel has.
    rows: usize,
}

impl<A: Scalar> Split for Triangle<'_, A> {
    fn split(self, panels: usize) -> (Self, Self) {
        let (left, right) = self
            .slice
            .split_at_mut(triangle_len::<A>(self.rows, panels));
        let rest = self.rows - panels * A::PANEL;
        (
            Triangle {
                slice: left,
                rows: self.rows,
            },
            Triangle {
                slice: right,
                rows: rest,
            },
        )
    }
}

/// The rows `[lane, candidate]` of a panel out of a triangle of `n` rows, from candidate `first` on.
fn mirror<A: Scalar>(triangle: &[A], rows: Range<usize>, first: usize, n: usize, out: &mut [A]) {
    let own = rows.start / A::PANEL;
    for panel in first / A::PANEL..own {
        // The rows are candidates of an earlier panel, whose rows are candidates of theirs.
        let first = panel * A::PANEL;
        let start = triangle_len::<A>(n, panel) + (rows.start - first) * A::PANEL;
        let lanes = triangle[start..].chunks_exact(A::PANEL);
        for (out, distances) in out.chunks_exact_mut(n).zip(lanes) {
            out[first..first + A::PANEL].copy_from_slice(distances);
        }
    }
    dispatch(Turn {
        tile: &triangle[triangle_len::<A>(n, own)..],
        out: &mut *out,
        len: n,
        first: own * A::PANEL,
    });
}

/// Products into distances, in place.
struct Convert<'t, A> {
    distance: BatchDistance,
    anchor_terms: &'t [A],
    candidate_terms: &'t [A],
    tile: &'t mut [A],
}

impl<A: Scalar> Convert<'_, A> {
    #[inline(always)]
    fn each(&mut self, distance: impl Fn(A, A, A) -> A) {
        let rows = self.tile.chunks_exact_mut(A::PANEL);
        for (row, &y) in rows.zip(self.candidate_terms) {
            for (xy, &x) in row.iter_mut().zip(self.anchor_terms) {
                *xy = distance(x, y, *xy);
            }
        }
    }
}

impl<A: Scalar> Kernel for Convert<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (near, two) = (A::narrow(NEAR), A::one() + A::one());
        // A comparison with NaN is false, so what can't be trusted ends up NaN as well.
        let square = |xx: A, yy: A, xy: A| {
            let (sum, square) = (xx + yy, xx + yy - two * xy);
            if square >= near * sum {
                square
            } else {
                A::nan()
            }
        };
        match self.distance {
            BatchDistance::Euclidean => self.each(|xx, yy, xy| square(xx, yy, xy).sqrt()),
            BatchDistance::SquaredEuclidean => self.each(square),
            BatchDistance::Cosine => self.each(|one, per_norm, xy| {
                let distance = one - per_norm * xy;
                if distance >= near { distance } else { A::nan() }
            }),
        }
    }
}

/// A tile `[candidate, lane]` into rows `[lane, candidate]` of `len`, from column `first` on.
struct Turn<'t, A> {
    tile: &'t [A],
    out: &'t mut [A],
    len: usize,
    first: usize,
}

/// The side of a square that is turned at once, in registers.
const SQUARE: usize = 8;

impl<A: Scalar> Kernel for Turn<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            tile,
            out,
            len,
            first,
        } = self;
        let count = len - first;
        let lanes = out.len() / len.max(1);
        let whole = (count - count % SQUARE, lanes - lanes % SQUARE);
        for start in (0..whole.0).step_by(SQUARE) {
            for lane in (0..whole.1).step_by(SQUARE) {
                let square: [[A; SQUARE]; SQUARE] = std::array::from_fn(|row| {
                    let from = &tile[(start + row) * A::PANEL + lane..][..SQUARE];
                    std::array::from_fn(|lane| from[lane])
                });
                let turned: [[A; SQUARE]; SQUARE] =
                    std::array::from_fn(|column| std::array::from_fn(|row| square[row][column]));
                for (column, row) in turned.iter().enumerate() {
                    let to = (lane + column) * len + first + start;
                    out[to..][..SQUARE].copy_from_slice(row);
                }
            }
        }
        for lane in 0..lanes {
            let rest = if lane < whole.1 { whole.0 } else { 0 };
            for row in rest..count {
                out[lane * len + first + row] = tile[row * A::PANEL + lane];
            }
        }
    }
}
