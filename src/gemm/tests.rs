//! The panel product against a naive one, on every instruction set of the machine.

use super::*;
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

fn agrees_with_naive<A: Scalar>() {
    for level in available() {
        for m in (0..=27).chain([50]) {
            for (k, width) in [
                (0, 5),
                (1, A::PANEL),
                (7, A::PANEL - 1),
                (33, 1),
                (64, A::PANEL),
            ] {
                let (a, b) = (integers::<A>(m, k, 1), integers::<A>(k, A::PANEL, 2));
                let expected = naive(a.view(), b.slice(s![.., ..width]));
                let panel = b.as_slice().unwrap();
                let mut c = integers::<A>(m, width, 3);
                let sum = &c + &expected;
                product_at(
                    level,
                    a.view().insert_axis(Axis(0)),
                    panel,
                    c.view_mut(),
                    Write::Add,
                );
                assert_eq!(c, sum, "{level:?} {m}×{k}×{width}");
                product_at(
                    level,
                    a.view().insert_axis(Axis(0)),
                    panel,
                    c.view_mut(),
                    Write::Set,
                );
                assert_eq!(c, expected, "{level:?} {m}×{k}×{width}");
            }
        }
    }
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
            b.as_slice().unwrap(),
            c.view_mut(),
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
                b.as_slice().unwrap(),
                target,
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
