//! Which instruction set a kernel runs on: detected once, capped on request, dispatched once per block of work.
//!
//! A kernel is written once, in safe generic code, as the `run` of a [`Kernel`]. [`dispatch`] compiles it again for each
//! instruction set and calls the best that the machine has. Everything a kernel calls is `#[inline(always)]`, so that it is compiled
//! with the features of the function that it ends up in.

use std::sync::OnceLock;

use crate::scalar::Scalar;

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
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, with all that it calls.
    fn run<I: Isa>(self) -> Self::Output;
}

/// What a kernel may ask of the instruction set that it is compiled for.
pub(crate) trait Isa {
    /// Whether a fused multiply-add is one instruction here and not a library call.
    const FMA: bool;

    /// `a·b + c`, fused where that is an instruction.
    #[inline(always)]
    fn mul_add<A: num_traits::Float>(a: A, b: A, c: A) -> A {
        if Self::FMA {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }
}

struct Portable;
impl Isa for Portable {
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
}

#[cfg(target_arch = "x86_64")]
struct Fused;
#[cfg(target_arch = "x86_64")]
impl Isa for Fused {
    const FMA: bool = true;
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

/// # Safety
/// The CPU must have the features named here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// # Safety
/// The CPU must have the features named here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// Copies `source` past the caches where the target allows it: for results that nobody reads soon.
///
/// An ordinary store to memory that is not in a cache first reads the line that it overwrites; this one does not, which saves
/// a third of the traffic of a pass that writes as much as it reads. Call [`publish`] once after the last of a block.
#[inline(always)]
pub(crate) fn stream<A: Scalar>(target: &mut [A], source: &[A]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        let bytes = std::mem::size_of_val(target);
        if target.as_ptr().cast::<__m128i>().is_aligned()
            && bytes.is_multiple_of(16)
            && source.len() == target.len()
        {
            let to = target.as_mut_ptr().cast::<__m128i>();
            let from = source.as_ptr().cast::<__m128i>();
            for i in 0..bytes / 16 {
                // SAFETY: `i < bytes / 16`, so both 16-byte pieces lie inside their slices, which have equal length; the target is
                // aligned to 16 bytes as checked and the load needs no alignment. SSE2 is part of every x86-64. f32 and
                // f64 have no padding.
                unsafe { _mm_stream_si128(to.add(i), _mm_loadu_si128(from.add(i))) };
            }
            return;
        }
    }
    target.copy_from_slice(source);
}

/// Orders the stores of [`stream`] before whatever the thread does next, so that other threads see them.
#[inline(always)]
pub(crate) fn publish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of every x86-64; the fence reads and writes nothing.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
