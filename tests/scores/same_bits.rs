//! Threads, memory layouts and what else is asked for do not change the bits.

use crate::case::{Case, Kind, cases};
use crate::layout::{self, Layout};
use crate::solve::{solve, solve_in, value};
use contrastive::Scalar;

fn same_in_every_layout<A: Scalar>(case: &Case) {
    let expected = solve::<A>(case).bits();
    for layout in layout::ALL {
        assert!(
            solve_in::<A>(case, layout, Layout::Standard).bits() == expected,
            "{layout:?}: {case:?}"
        );
        assert!(
            solve_in::<A>(case, Layout::Standard, layout).bits() == expected,
            "to {layout:?}: {case:?}"
        );
        assert!(
            solve_in::<A>(case, layout, layout).bits() == expected,
            "both {layout:?}: {case:?}"
        );
    }
}

#[test]
fn layout_of_inputs_and_outputs_does_not_change_the_bits() {
    for (n, m, dim) in [(5, 19, 7), (3, 4, 33)] {
        for case in cases(n, m, dim) {
            same_in_every_layout::<f64>(&case);
            same_in_every_layout::<f32>(&case);
        }
    }
}

#[test]
fn value_alone_has_the_bits_of_the_value_with_a_gradient() {
    for case in cases(6, 21, 4) {
        if matches!(
            case.kind,
            Kind::Dense(_) | Kind::Sparse | Kind::MaxSim { .. }
        ) {
            continue;
        }
        assert_eq!(
            crate::bits(value::<f64>(&case)),
            crate::bits(solve::<f64>(&case).value),
            "{case:?}"
        );
        assert_eq!(
            crate::bits(value::<f32>(&case)),
            crate::bits(solve::<f32>(&case).value),
            "{case:?}"
        );
    }
}

/// Large enough that blocks are handed to other threads.
#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_change_the_bits() {
    let kinds = crate::case::kinds();
    let large: Vec<_> = kinds
        .iter()
        .map(|&kind| Case::new(kind, 90, 110, 20, 3))
        .collect();
    let solve_all = || -> Vec<_> {
        large
            .iter()
            .map(|case| (solve::<f64>(case).bits(), solve::<f32>(case).bits()))
            .collect()
    };
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(solve_all)
    };
    let alone = with_threads(1);
    for threads in [2, 3, 8] {
        for ((case, alone), found) in large.iter().zip(&alone).zip(with_threads(threads)) {
            assert!(*alone == found, "{threads} threads: {:?}", case.kind);
        }
    }
}
