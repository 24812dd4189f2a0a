//! The panel product against a naive one, on every instruction set of the machine.

use super::*;
use crate::scalar::Element;
use crate::simd::available;
use ndarray::{Array2, Array3, s};

/// Integers of this size add up exactly in f32, so any order of summation gives the same bits.
fn integers<A: Scalar>(rows: usize, columns: usize, seed: usize) -> Array2<A> {
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        A::narrow(((i * 31 + j * 17 + seed) % 13) as f64 - 6.0)
    })
}

fn naive<A: Scalar>(a: ArrayView2<'_, A>, b: ArrayView2<'_, A>) -> Array2<A> {
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
        (0..a.ncols()).fold(A::zero(), |s, l| s + a[[i, l]] * b[[l, j]])
    })
}

/// The columns of B in panels, with `gap` numbers between them that nothing may read.
fn pack<A: Scalar>(b: ArrayView2<'_, A>, gap: usize) -> (Vec<A>, usize) {
    let stride = b.nrows() * A::PANEL + gap;
    let mut packed = vec![A::nan(); b.ncols().div_ceil(A::PANEL) * stride];
    for ((row, column), &x) in b.indexed_iter() {
        packed[column / A::PANEL * stride + row * A::PANEL + column % A::PANEL] = x;
    }
    (packed, stride)
}

fn agrees_with_naive<A: Scalar>() {
    for level in available() {
        for m in (0..=27).chain([50]) {
            for (k, width) in [
                (0, 5),
                (1, A::PANEL),
                (7, A::PANEL - 1),
                (33, 1),
                (64, A::PANEL),
                (5, A::PANEL + 1),
                (4, 2 * A::PANEL - 3),
                (9, 2 * A::PANEL),
                (3, 3 * A::PANEL - 2),
                (2, 4 * A::PANEL),
            ] {
                let (a, b) = (integers::<A>(m, k, 1), integers::<A>(k, width, 2));
                let expected = naive(a.view(), b.view());
                let (numbers, stride) = pack(b.view(), 3);
                let b = Packed {
                    numbers: &numbers,
                    stride,
                };
                let a = a.view().insert_axis(Axis(0));
                let mut c = integers::<A>(m, width, 3);
                let sum = &c + &expected;
                product_at(level, a, b, c.view_mut().into(), Write::Add);
                assert_eq!(c, sum, "{level:?} {m}×{k}×{width}");
                product_at(level, a, b, c.view_mut().into(), Write::Set);
                assert_eq!(c, expected, "{level:?} {m}×{k}×{width}");
            }
        }
    }
}

#[test]
fn panels_of_the_target_may_lie_apart() {
    let (a, b) = (
        integers::<f32>(13, 20, 1),
        integers::<f32>(20, 3 * f32::PANEL, 2),
    );
    let expected = naive(a.view(), b.view());
    let (numbers, stride) = pack(b.view(), 0);
    let b = Packed {
        numbers: &numbers,
        stride,
    };
    for level in available() {
        let mut c = Array3::<f32>::zeros((5, 14, f32::PANEL));
        let target = c.slice_mut(s![..;2, 1.., ..]);
        let rows = a.view().insert_axis(Axis(0));
        product_at(level, rows, b, target.into(), Write::Set);
        for ((panel, row, lane), &x) in c.indexed_iter() {
            let place = (row.wrapping_sub(1), panel / 2 * f32::PANEL + lane);
            let there = panel % 2 == 0 && row > 0;
            let exact = if there { expected[place] } else { 0.0 };
            assert_eq!(x, exact, "{level:?}: panel {panel}, row {row}, lane {lane}");
        }
    }
}

/// The product of `[2, 5]` with panels of 5 rows in so many numbers, into so many rows of two panels.
fn refused(numbers: usize, rows: usize) {
    let (a, numbers) = (integers::<f32>(2, 5, 1), vec![0.0; numbers]);
    let mut c = Array2::zeros((rows, f32::PANEL + 1));
    product(
        a.view(),
        Packed::panels(&numbers, 5),
        c.view_mut(),
        Write::Set,
    );
}

#[test]
#[should_panic(expected = "shapes of a panel product")]
fn panels_that_are_too_short_are_refused() {
    refused(2 * 5 * f32::PANEL - 1, 2);
}

#[test]
#[should_panic(expected = "shapes of a panel product")]
fn targets_of_another_height_are_refused() {
    refused(2 * 5 * f32::PANEL, 1);
}

/// A second panel would lie where there is no memory: to read it is a crash.
#[test]
fn nothing_is_read_beyond_the_last_panel() {
    let (a, b) = (integers::<f32>(13, 9, 1), integers::<f32>(9, f32::PANEL, 2));
    let expected = naive(a.view(), b.view());
    let b = Packed {
        numbers: b.as_slice().unwrap(),
        stride: usize::MAX >> 8,
    };
    for level in available() {
        for width in [
            1,
            f32::PANEL / 2,
            f32::PANEL / 2 + 1,
            f32::PANEL - 1,
            f32::PANEL,
        ] {
            let mut c = Array2::zeros((13, width));
            let rows = a.view().insert_axis(Axis(0));
            product_at(level, rows, b, c.view_mut().into(), Write::Set);
            assert_eq!(c, expected.slice(s![.., ..width]), "{level:?}: {width}");
        }
    }
}

#[test]
#[should_panic(expected = "whole panels")]
fn targets_in_panels_that_are_not_whole_are_refused() {
    let mut c = Array3::<f32>::zeros((2, 3, f32::PANEL - 1));
    let _ = Target::from(c.view_mut());
}

#[test]
fn product_agrees_with_naive_at_every_height_in_f32() {
    agrees_with_naive::<f32>();
}

#[test]
fn product_agrees_with_naive_at_every_height_in_f64() {
    agrees_with_naive::<f64>();
}

#[test]
fn segments_add_up() {
    let (a, b) = (
        integers::<f32>(5, 36, 6),
        integers::<f32>(36, f32::PANEL, 7),
    );
    let expected = naive(a.view(), b.view());
    let pieces = Array3::from_shape_fn((3, 5, 12), |(s, i, l)| a[[i, s * 12 + l]]);
    for level in available() {
        let mut c = Array2::zeros((5, f32::PANEL));
        product_at(
            level,
            pieces.view(),
            Packed::panel(b.as_slice().unwrap()),
            c.view_mut().into(),
            Write::Set,
        );
        assert_eq!(c, expected, "{level:?}");
    }
}

#[test]
fn any_strides_serve_on_both_sides() {
    let wide = integers::<f32>(40, 60, 4);
    let b = integers::<f32>(20, f32::PANEL, 5);
    for level in available() {
        for a in [
            wide.slice(s![..20, ..13]).reversed_axes(),
            wide.slice(s![..;-3, 1..60;3]).slice_move(s![..13, ..20]),
        ] {
            let expected = naive(a, b.view());
            let mut c = Array2::<f32>::zeros((f32::PANEL, 26));
            let target = c.slice_mut(s![.., ..;-2]).reversed_axes();
            product_at(
                level,
                a.insert_axis(Axis(0)),
                Packed::panel(b.as_slice().unwrap()),
                target.into(),
                Write::Set,
            );
            assert_eq!(
                c.slice(s![.., ..;-2]).reversed_axes(),
                expected,
                "{level:?}"
            );
            assert!(
                c.slice(s![.., ..;2]).iter().all(|&x| x == 0.0),
                "{level:?}: between the columns"
            );
        }
    }
}
