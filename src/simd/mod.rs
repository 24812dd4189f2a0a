//! Which instruction set a kernel runs on: detected once, capped on request, dispatched once per block of work.
//!
//! A kernel is written once, in safe generic code, as the `run` of a [`Kernel`]. [`dispatch`] compiles it again for each
//! instruction set and calls the best that the machine has. Everything that a kernel calls and that handles lanes is `#[inline(always)]`, so that it is compiled
//! with the features of the function that it ends up in; what is long and called from several kernels is a kernel of its own, run by [`Isa::call`].

mod isa;
mod portable;
mod stream;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use isa::{Isa, LANES};
pub(crate) use portable::Portable;
pub(crate) use stream::{Line, Publishing, lines, prefetch, prefetch_group, stream};
#[cfg(target_arch = "x86_64")]
use x86::{run_avx2, run_avx512};

/// An instruction set, the lesser ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What the compiler may use everywhere on the target (SSE2, NEON).
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, VL, DQ, BW.
    Avx512,
}

/// A computation that is compiled once for each instruction set.
pub trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, with all that it calls and that handles lanes.
    fn run<I: Isa>(self) -> Self::Output;
}

/// The environment variable that caps the instruction set: `portable`, `avx2` or `avx512`.
pub(crate) const CAP_VARIABLE: &str = "CONTRASTIVE_MAX_ISA";

/// The best instruction set of this machine, or the cap from [`CAP_VARIABLE`] if that is lower. Read once.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let cap = match std::env::var(CAP_VARIABLE).as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        detected().min(cap)
    })
}

fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// The instruction sets that can be run here, for tests that want each of them.
#[cfg(test)]
pub(crate) fn available() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512]
        .into_iter()
        .filter(|&level| level <= detected())
}

/// Runs the kernel on the best instruction set.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_at(level(), kernel)
}

/// Runs the kernel on a given instruction set, or the best below it that the machine has.
#[inline]
pub(crate) fn dispatch_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match level.min(self::level_limit()) {
        // SAFETY: `level_limit` is what `detected` found, so the CPU has the features that these functions are compiled for.
        Level::Avx512 => return unsafe { run_avx512(kernel) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { run_avx2(kernel) },
        Level::Portable => {}
    }
    let _ = level;
    kernel.run::<Portable>()
}

#[cfg(target_arch = "x86_64")]
fn level_limit() -> Level {
    static LIMIT: OnceLock<Level> = OnceLock::new();
    *LIMIT.get_or_init(detected)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Transpose([[f32; LANES]; LANES]);

    impl Kernel for Transpose {
        type Output = [[f32; LANES]; LANES];

        #[inline(always)]
        fn run<I: Isa>(self) -> Self::Output {
            let mut rows = [I::single(0.0); LANES];
            for (row, numbers) in rows.iter_mut().zip(&self.0) {
                *row = I::load(numbers);
            }
            let mut turned = [[0.0; LANES]; LANES];
            for (numbers, row) in turned.iter_mut().zip(I::transpose(rows)) {
                I::store(row, numbers);
            }
            turned
        }
    }

    #[test]
    fn transposed_squares_have_rows_for_columns() {
        let square: [[f32; LANES]; LANES] =
            std::array::from_fn(|row| std::array::from_fn(|column| (row * LANES + column) as f32));
        for level in available() {
            let turned = dispatch_at(level, Transpose(square));
            for (row, numbers) in turned.iter().enumerate() {
                let column: [f32; LANES] = std::array::from_fn(|i| square[i][row]);
                assert_eq!(*numbers, column, "{level:?}, row {row}");
            }
        }
    }
}
