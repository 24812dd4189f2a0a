//! The kernel: tiles of C that stay in registers, and how they cover it.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use std::arch::asm;

use super::lanes::Lanes;
use super::{Task, Write};
use crate::scalar::Element;

/// All tiles of a task: C in strips of two vectors and tiles of `ROWS` rows or, where `PANELS · VECTORS` is more than two, in wide strips, of so many vectors of each
/// of so many panels, and tiles of `WIDE_ROWS` rows, but for the last columns where they are two vectors or fewer; the rest of the rows in smaller tiles.
///
/// # Safety
/// As for [`run`](super::run).
#[inline(always)]
pub(super) unsafe fn tiles<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const WIDE_ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    task: &Task<A>,
) {
    let mut column = 0;
    while column < task.width {
        let wide = const { PANELS * VECTORS > 2 } && column + 2 * V::COUNT < task.width;
        // SAFETY: the columns from `column` on lie inside the task; those of a wide strip start with a panel, because all before them were whole.
        column += unsafe {
            if wide {
                strip::<A, V, WIDE_ROWS, PANELS, VECTORS>(task, column)
            } else {
                strip::<A, V, ROWS, 1, 2>(task, column)
            }
        };
    }
}

/// The tiles of a strip: of some vectors of each of some panels. Returns how many columns it has.
///
/// # Safety
/// As for [`tile`], for every row.
#[inline(always)]
unsafe fn strip<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    task: &Task<A>,
    column: usize,
) -> usize {
    const {
        let whole = PANELS == 1 || VECTORS * V::COUNT == A::PANEL;
        assert!(whole && A::PANEL % (VECTORS * V::COUNT) == 0);
    }
    let mut row = 0;
    while row < task.m {
        // SAFETY: rows row..row + the tile's height lie inside the task.
        row += unsafe {
            match task.m - row {
                // What sixes leave over goes in fives, as many as leave nothing: the few sums of a tile of two rows wait for each other.
                rest if const { ROWS == 6 } && rest % 6 != 0 && rest >= 5 * (6 - rest % 6) => {
                    tile::<A, V, 5, PANELS, VECTORS>(task, row, column)
                }
                // So do the four sums of the row that threes may leave over.
                4 if const { ROWS == 3 } => tile::<A, V, 2, PANELS, VECTORS>(task, row, column),
                rest if rest >= ROWS => tile::<A, V, ROWS, PANELS, VECTORS>(task, row, column),
                8.. if const { ROWS > 8 } => tile::<A, V, 8, PANELS, VECTORS>(task, row, column),
                4.. if const { ROWS > 4 } => tile::<A, V, 4, PANELS, VECTORS>(task, row, column),
                2.. => tile::<A, V, 2, PANELS, VECTORS>(task, row, column),
                _ => tile::<A, V, 1, PANELS, VECTORS>(task, row, column),
            }
        };
    }
    VECTORS * V::COUNT * PANELS
}

/// Where a column of the task lies: the panel, and the column of it.
#[inline(always)]
fn place<A: Element>(column: usize) -> (usize, usize) {
    (column / A::PANEL, column % A::PANEL)
}

/// One tile of C: `ROWS` rows of `VECTORS` vectors of each of `PANELS` panels, for all of k. Returns `ROWS`.
///
/// # Safety
/// As for [`run`](super::run); rows `row..row + ROWS` exist, and C reaches into the strips from `column` on of each panel.
#[inline(always)]
unsafe fn tile<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> usize {
    // SAFETY: passed on; C has the rows `row..row + ROWS` and the columns that are written.
    unsafe {
        let sums = accumulate::<A, V, ROWS, PANELS, VECTORS>(task, row, column);
        let [c_row, c_column] = task.c_strides;
        let (panel, inside) = place::<A>(column);
        let c = task.c.offset(
            row as isize * c_row + panel as isize * task.c_panel + inside as isize * c_column,
        );
        let width = VECTORS * V::COUNT * PANELS;
        if c_column != 1 || column + width > task.width {
            // By value: the loop in there takes an address, and these sums must stay in registers.
            scatter::<A, V, ROWS, PANELS, VECTORS>(task, sums, c, column);
            return ROWS;
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let c = c.offset(i as isize * c_row);
            for (panel, sums) in sums.into_iter().enumerate() {
                let c = c.offset(panel as isize * task.c_panel);
                for (vector, sum) in sums.into_iter().enumerate() {
                    let c = c.add(vector * V::COUNT);
                    let sum = if task.write == Write::Add {
                        V::load(c).add(sum)
                    } else {
                        sum
                    };
                    sum.store(c);
                }
            }
        }
    }
    ROWS
}

/// Steps of k that are written out one after the other. One by one, panels that come from the second-level cache keep the multipliers waiting; eight are no
/// faster than four.
const UNROLLED: usize = 4;

/// The sums of a tile, in registers.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn accumulate<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    task: &Task<A>,
    row: usize,
    column: usize,
) -> [[[V; VECTORS]; PANELS]; ROWS] {
    // SAFETY: all that is read are elements (s, i, l) with s < segments, i < m, l < k of A, and
    // (s·k + l, j) with j < PANEL of panels of B, because strips are VECTORS·COUNT wide and PANEL is a multiple of that.
    unsafe {
        let [segment_stride, row_stride, step] = task.a_strides;
        let (panel, inside) = place::<A>(column);
        // Wrapping, because without a step there may be no panel to point into.
        let mut b = task.b.wrapping_add(panel * task.b_panel + inside);
        let mut sums = [[[V::splat(A::zero()); VECTORS]; PANELS]; ROWS];
        for segment in 0..task.segments {
            let start = segment as isize * segment_stride + row as isize * row_stride;
            let mut a = Column::<A, ROWS>::new(task.a.wrapping_offset(start), row_stride);
            for _ in 0..task.k / UNROLLED {
                for _ in 0..UNROLLED {
                    add_step(&mut sums, &a, b, task.b_panel);
                    (a, b) = (a.moved(step), b.wrapping_add(A::PANEL));
                }
            }
            for _ in 0..task.k % UNROLLED {
                add_step(&mut sums, &a, b, task.b_panel);
                (a, b) = (a.moved(step), b.wrapping_add(A::PANEL));
            }
        }
        sums
    }
}

/// One step of k: adds the outer product of a column of A and a row of B.
///
/// Of the two the shorter is held in registers, and the other comes and goes one by one: with sums in twelve of sixteen there is no room for both.
///
/// # Safety
/// The column of A has the tile's rows, `b` addresses the row of the first panel; the CPU has the instructions.
#[inline(always)]
unsafe fn add_step<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    sums: &mut [[[V; VECTORS]; PANELS]; ROWS],
    a: &Column<A, ROWS>,
    b: *const A,
    b_panel: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let load = |panel, vector| V::load(b.add(panel * b_panel + vector * V::COUNT));
        if const { ROWS < PANELS * VECTORS } {
            let column: [V; ROWS] = std::array::from_fn(|row| V::splat(*a.row(row)));
            for panel in 0..PANELS {
                for vector in 0..VECTORS {
                    let y = load(panel, vector);
                    for (sums, &x) in sums.iter_mut().zip(&column) {
                        let sum = &mut sums[panel][vector];
                        *sum = sum.add_product(x, y);
                    }
                }
            }
        } else {
            let vectors: [[V; VECTORS]; PANELS] =
                std::array::from_fn(|panel| std::array::from_fn(|vector| load(panel, vector)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.row(row));
                for (sum, &y) in sums
                    .as_flattened_mut()
                    .iter_mut()
                    .zip(vectors.as_flattened())
                {
                    *sum = sum.add_product(x, y);
                }
            }
        }
    }
}

/// A column of A in a tile's `ROWS` rows.
///
/// Threes of rows have a pointer each, and within three an address is a pointer plus the stride, once or twice, which the load adds by itself. Left to
/// find the addresses of all rows alone, the compiler spends an addition on each, in every step; where another thread of the core takes its share of what the
/// core decodes, products take several percent longer by these.
#[derive(Clone, Copy)]
struct Column<A, const ROWS: usize> {
    threes: [*const A; 4],
    stride: isize,
}

impl<A, const ROWS: usize> Column<A, ROWS> {
    /// From the column's first row, and how far it is from a row to the next.
    #[inline(always)]
    fn new(first: *const A, stride: isize) -> Self {
        const { assert!(ROWS <= 12, "four pointers, three rows each") };
        let threes = [first; 4];
        Self { threes, stride }.each(|three, a| a.wrapping_offset(3 * three as isize * stride))
    }

    /// The column that many numbers on.
    #[inline(always)]
    fn moved(self, step: isize) -> Self {
        self.each(|_, a| a.wrapping_offset(step))
    }

    /// Changes the pointers that have rows.
    #[inline(always)]
    fn each(mut self, change: impl Fn(usize, *const A) -> *const A) -> Self {
        for (three, a) in self.threes.iter_mut().enumerate() {
            if 3 * three < ROWS {
                *a = opaque(change(three, *a));
            }
        }
        self
    }

    #[inline(always)]
    fn row(&self, row: usize) -> *const A {
        self.threes[row / 3].wrapping_offset((row % 3) as isize * self.stride)
    }
}

/// The same pointer, of which the compiler does not know where it came from.
#[inline(always)]
fn opaque<A>(pointer: *const A) -> *const A {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    #[expect(
        clippy::pointers_in_nomem_asm_block,
        reason = "the address is passed on, and nothing is read there"
    )]
    let pointer = {
        let mut pointer = pointer;
        // SAFETY: no instruction at all.
        unsafe {
            asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
        }
        pointer
    };
    pointer
}

/// Writes a tile that C only reaches part of, or whose columns are not contiguous.
///
/// # Safety
/// As for [`tile`]; `c` addresses the tile's first element.
#[cold]
#[inline(always)]
unsafe fn scatter<
    A: Element,
    V: Lanes<A>,
    const ROWS: usize,
    const PANELS: usize,
    const VECTORS: usize,
>(
    task: &Task<A>,
    sums: [[[V; VECTORS]; PANELS]; ROWS],
    c: *mut A,
    column: usize,
) {
    let mut line = [A::zero(); 32];
    for (i, sums) in sums.iter().enumerate() {
        for (panel, sums) in sums.iter().enumerate() {
            let width = task.width.saturating_sub(column + panel * A::PANEL);
            // SAFETY: the vectors of a panel, which has 32 numbers at most, fit the line; j stays below the width.
            unsafe {
                let c = c.offset(i as isize * task.c_strides[0] + panel as isize * task.c_panel);
                for (vector, sum) in sums.iter().enumerate() {
                    sum.store(line.as_mut_ptr().add(vector * V::COUNT));
                }
                for (j, &x) in line.iter().enumerate().take(width.min(VECTORS * V::COUNT)) {
                    let c = c.offset(j as isize * task.c_strides[1]);
                    *c = if task.write == Write::Add { *c + x } else { x };
                }
            }
        }
    }
}
