//! The same input gives the same bits: for any number of threads, call after call, and whatever is asked for besides the value.
//!
//! That the feature `rayon` makes no difference follows from one thread making none: without it the same blocks run in the order in which a pool of one
//! thread runs them. Numbers of one build can't be written down for another, because the last bits depend on the instruction set.

use crate::common::cases::at_most;
use crate::common::{Problem, Wanted, list, strategy};
use contrastive::{Scalar, Workspace};
use ndarray::Array1;
use proptest::prelude::*;

#[cfg(feature = "rayon")]
mod threads {
    use super::*;
    use crate::common::Options;

    /// Some of the options of each loss; all distances and kinds of candidates are among them.
    fn some() -> Vec<Options> {
        let triplet = list::triplet().into_iter().step_by(3);
        let info_nce = list::info_nce().into_iter().step_by(2);
        list::cosine()
            .into_iter()
            .step_by(4)
            .chain(triplet)
            .chain(list::pairs().into_iter().step_by(5))
            .chain(list::joint_pairs().into_iter().step_by(3))
            .chain(info_nce)
            .collect()
    }

    fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads can be started").install(work)
    }

    fn same_bits_on_any_number_of_threads<A: Scalar>(problems: &[Problem<A>], limit: usize) {
        let solve = || {
            let mut workspace = Workspace::with_limit(limit).expect("large enough");
            let solved = problems
                .iter()
                .map(|problem| problem.solve_with(&mut workspace).bits());
            solved.collect::<Vec<_>>()
        };
        let alone = with_threads(1, solve);
        for threads in [2, 3, 8] {
            let found = with_threads(threads, solve);
            for (problem, (alone, found)) in problems.iter().zip(alone.iter().zip(&found)) {
                assert!(alone == found, "{threads} threads: {:?}", problem.options);
            }
        }
    }

    /// Large enough that blocks are handed to other threads.
    #[test]
    fn threads_do_not_change_the_bits() {
        let problems = list::problems(some(), 300, 150);
        same_bits_on_any_number_of_threads(&problems, 64 << 20);
        let single: Vec<_> = problems.iter().map(Problem::narrow).collect();
        same_bits_on_any_number_of_threads(&single, 64 << 20);
    }

    #[test]
    fn threads_do_not_change_the_bits_in_a_small_workspace() {
        let problems = list::problems(list::info_nce().into_iter().step_by(3).collect(), 290, 130);
        same_bits_on_any_number_of_threads(&problems, 1 << 16);
        let single: Vec<_> = problems.iter().map(Problem::narrow).collect();
        same_bits_on_any_number_of_threads(&single, 1 << 16);
    }

    /// Past 16 MiB of input gradients are written another way.
    #[test]
    fn threads_do_not_change_the_bits_of_gradients_larger_than_the_caches() {
        let mut options = vec![list::cosine()[0], list::triplet()[8], list::triplet()[11]];
        options.extend([list::pairs()[0], list::ranked()[0], list::ranked()[2]]);
        let problems: Vec<_> = options
            .iter()
            .map(|&options| Problem::new(options, 20_000, 67, 1))
            .collect();
        same_bits_on_any_number_of_threads(&problems, 1 << 16);
    }

    #[test]
    fn calls_from_several_threads_at_once_do_not_disturb_each_other() {
        let problems = list::problems(some(), 60, 40);
        let alone: Vec<_> = problems
            .iter()
            .map(|problem| problem.solve().bits())
            .collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for (problem, alone) in problems.iter().zip(&alone) {
                        assert!(problem.solve().bits() == *alone, "{:?}", problem.options);
                    }
                });
            }
        });
    }

    #[test]
    fn calls_from_inside_a_pool_give_the_same_bits() {
        let problems = list::problems(some(), 200, 60);
        let (first, second) = problems.split_at(problems.len() / 2);
        let solve = |problems: &[Problem<f64>]| -> Vec<_> {
            problems
                .iter()
                .map(|problem| problem.solve().bits())
                .collect()
        };
        let nested = with_threads(2, || rayon::join(|| solve(first), || solve(second)));
        assert!(nested == (solve(first), solve(second)));
    }
}

fn value_does_not_depend_on_what_else_is_wanted<A: Scalar>(problem: &Problem<A>) {
    let solved = problem.solve();
    let bits = |value: A| crate::common::bits(value);
    let expected = bits(solved.value);
    assert_eq!(
        bits(problem.value()),
        expected,
        "value alone: {:?}",
        problem.options
    );

    let mut rows = Array1::from_elem(problem.rows(), A::nan());
    let wanted = Wanted {
        gradient: None,
        rows: Some(rows.view_mut()),
    };
    let value = problem
        .evaluate(&problem.views(), wanted, &mut Workspace::new())
        .unwrap();
    assert_eq!(bits(value), expected, "with rows: {:?}", problem.options);
    assert_eq!(
        crate::common::all_bits(&rows),
        crate::common::all_bits(&solved.rows),
        "{:?}",
        problem.options
    );

    // Each gradient on its own, the others left out: that one as with all of them.
    for part in 0..problem.parts.len() {
        let mut buffers = problem.gradient_buffers();
        let views = buffers.iter_mut().enumerate();
        let views = views.map(|(other, buffer)| (other == part).then(|| buffer.view_mut()));
        let wanted = Wanted {
            gradient: Some(views.collect()),
            rows: None,
        };
        let value = problem
            .evaluate(&problem.views(), wanted, &mut Workspace::new())
            .unwrap();
        assert_eq!(
            bits(value),
            expected,
            "with gradient {part}: {:?}",
            problem.options
        );
        let (alone, among) = (&buffers[part], &solved.gradient[part]);
        assert!(
            crate::common::all_bits(alone) == crate::common::all_bits(among),
            "gradient {part}: {:?}",
            problem.options
        );
        let skipped = buffers
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != part);
        assert!(
            skipped
                .into_iter()
                .all(|(_, buffer)| buffer.iter().all(|x| x.is_nan()))
        );
    }
}

#[test]
fn value_and_each_gradient_have_the_same_bits_alone_and_together() {
    for (n, dim) in [(4, 5), (70, 19)] {
        for problem in list::problems(list::every(), n, dim) {
            value_does_not_depend_on_what_else_is_wanted(&problem);
            value_does_not_depend_on_what_else_is_wanted(&problem.narrow());
        }
    }
}

#[test]
fn a_used_workspace_gives_the_bits_of_a_new_one() {
    let mut workspace = Workspace::new();
    // Rows without columns have no products that would overwrite what was there.
    for (n, dim) in [(50, 40), (3, 2), (90, 30), (1, 1), (40, 20), (40, 0)] {
        for problem in list::problems(list::info_nce(), n, dim) {
            assert!(
                problem.solve_with(&mut workspace).bits() == problem.solve().bits(),
                "{:?}",
                problem.options
            );
        }
    }
}

/// Fewer rows than a panel has: what is left of the rows before is multiplied with weights of zero, which would not make nothing of a NaN.
#[test]
fn a_workspace_that_has_held_nan_gives_the_bits_of_a_new_one() {
    for (full, few) in list::problems(list::info_nce(), 70, 12)
        .into_iter()
        .zip(list::problems(list::info_nce(), 5, 12))
    {
        let mut spoilt = full.clone();
        spoilt.parts[0].fill(f64::NAN);
        let mut workspace = Workspace::new();
        spoilt.solve_with(&mut workspace);
        assert!(
            few.solve_with(&mut workspace).bits() == few.solve().bits(),
            "{:?}",
            few.options
        );
    }
}

proptest! {
    #![proptest_config(at_most(256))]

    #[test]
    fn bits_of_any_batch_do_not_depend_on_what_is_wanted(problem in strategy::problems(list::every())) {
        value_does_not_depend_on_what_else_is_wanted(&problem);
        value_does_not_depend_on_what_else_is_wanted(&problem.narrow());
    }
}
