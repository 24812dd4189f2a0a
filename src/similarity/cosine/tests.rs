use super::*;
use crate::simd::{LANES, Portable};

fn of<A: Scalar>(x: &[f64], y: &[f64], factor: f64) -> (f64, Vec<f64>) {
    let x: Vec<A> = x.iter().map(|&x| A::narrow(x * factor)).collect();
    let y: Vec<A> = y.iter().map(|&y| A::narrow(y)).collect();
    let cosine = cosine::<A, Portable>(&x, &y, 0.0);
    let gradient = x
        .iter()
        .zip(&y)
        .map(|(x, y)| {
            cosine
                .first::<A, Portable>(factor)
                .at([x.wide(); LANES], [y.wide(); LANES])[0]
        })
        .collect();
    (cosine.cosine, gradient)
}

#[test]
fn right_angle_is_exactly_zero_and_3_4_5_exactly_0_6() {
    assert_eq!(
        cosine::<_, Portable>(&[1.0, 0.0], &[0.0, 7.0], 0.0).cosine,
        0.0
    );
    assert_eq!(
        cosine::<_, Portable>(&[3.0_f32, 4.0], &[1.0, 0.0], 0.0).cosine,
        0.6
    );
}

#[test]
fn every_norm_gives_the_same_cosine_and_a_gradient_scaled_inversely() {
    let (x, y) = ([0.3, -1.2, 0.5], [1.0, 0.25, -0.75]);
    let (expected, gradient) = of::<f64>(&x, &y, 1.0);
    for factor in [1e-300, 1e-200, 1e150, 1e300] {
        let (found, scaled) = of::<f64>(&x, &y, factor);
        assert!((found - expected).abs() < 1e-15, "{factor}: {found}");
        for (scaled, exact) in scaled.iter().zip(&gradient) {
            assert!((scaled - exact).abs() < 1e-14, "{factor}");
        }
    }
    let (single, _) = of::<f32>(&x, &y, 1.0);
    for factor in [1e-30, 1e-20, 1e20, 1e30] {
        let (found, _) = of::<f32>(&x, &y, factor);
        assert!((found - single).abs() < 1e-7, "{factor}: {found}");
    }
}

/// The scale is a power of two, and the largest numbers here lie between 1 and 2, so that all else is the same.
#[test]
fn subnormal_gradients_of_the_largest_rows_are_rounded_once() {
    let row = |step: u32| (0..64).map(move |i| f64::from(i * step % 64) / 48.0);
    let (x, y): (Vec<f64>, Vec<f64>) = (row(37).collect(), row(11).collect());
    let scale = 2_f64.powi(1023);
    let huge: Vec<f64> = x.iter().map(|x| x * scale).collect();
    let gradient = |x: &[f64]| {
        let slope = cosine::<_, Portable>(x, &y, 0.0).first::<f64, Portable>(1.0);
        let pairs = x.iter().zip(&y);
        pairs
            .map(|(&x, &y)| slope.at([x; LANES], [y; LANES])[0])
            .collect::<Vec<_>>()
    };
    let once: Vec<_> = gradient(&x).iter().map(|slope| slope / scale).collect();
    assert_eq!(gradient(&huge), once);
}

#[test]
fn zero_row_has_cosine_zero_and_no_gradient() {
    let cosine = cosine::<_, Portable>(&[0.0, 0.0], &[1.0, 2.0], 0.0);
    assert_eq!(
        (
            cosine.cosine,
            cosine.distance,
            cosine
                .first::<f64, Portable>(1.0)
                .at([0.0; LANES], [1.0; LANES])
        ),
        (0.0, 1.0, [0.0; LANES])
    );
    assert_eq!(
        cosine
            .second::<f64, Portable>(1.0)
            .at([1.0; LANES], [0.0; LANES]),
        [0.0; LANES]
    );
}

#[test]
fn nan_and_infinity_give_nan() {
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(
            cosine::<_, Portable>(&[bad, 1.0], &[1.0, 2.0], 0.0)
                .cosine
                .is_nan()
        );
        assert!(
            cosine::<_, Portable>(&[1.0, 1.0], &[1.0, bad], 0.0)
                .distance
                .is_nan()
        );
    }
}

/// The exact distance is θ²/2 − θ⁴/24 for rows at a small angle θ.
#[test]
fn distance_of_nearly_parallel_rows_keeps_its_digits() {
    for angle in [1e-2_f64, 1e-4, 1e-6, 1e-8, 1e-12] {
        let exact = angle * angle / 2.0;
        let found = cosine::<_, Portable>(&[1.0, 0.0], &[3.0, 3.0 * angle], 0.0).distance;
        assert!(
            (found - exact).abs() <= exact * angle * angle + exact * 1e-15,
            "{angle}: {found} {exact}"
        );
    }
    let step = f32::EPSILON;
    let exact = f64::from(step).powi(2) / 8.0;
    let found = cosine::<_, Portable>(&[1.0_f32, 1.0], &[1.0, 1.0 + step], 0.0).distance;
    assert!(
        (found / exact - 1.0).abs() < 1e-6,
        "one ulp apart: {found} {exact}"
    );
}
