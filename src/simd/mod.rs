//! Which instruction set a kernel runs on: detected once, capped on request, dispatched once per block of work.
//!
//! A kernel is written once, in safe generic code, as the `run` of a [`Kernel`]. [`dispatch`] compiles it again for each
//! instruction set and calls the best that the machine has. Everything a kernel calls is `#[inline(always)]`, so that it is compiled
//! with the features of the function that it ends up in.

mod stream;

use std::sync::OnceLock;

use stream::{LINE, PIECE, stream_piece};
pub(crate) use stream::{prefetch, publish, stream};

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
    /// Must be `#[inline(always)]`, with all that it calls.
    fn run<I: Isa>(self) -> Self::Output;
}

/// Numbers that a reduction keeps apart: two registers of AVX-512, four of AVX2. The same on every instruction set, and with it the order
/// of the additions.
pub(crate) const LANES: usize = 16;

/// What a kernel may ask of the instruction set that it is compiled for.
///
/// The compiler turns plain loops over slices into good vector code, but not reductions that are kept in lanes: those are written with
/// [`Wide`](Isa::Wide), sixteen `f64` that stay in registers. An implementor is only ever named by [`dispatch`], behind the detection of its
/// instructions; that is what makes its operations safe.
pub trait Isa: 'static {
    /// Whether a fused multiply-add is one instruction here and not a library call.
    const FMA: bool;
    /// Sixteen `f64`.
    type Wide: Copy + 'static;

    fn splat(x: f64) -> Self::Wide;
    fn from_f32(x: &[f32; LANES]) -> Self::Wide;
    fn from_f64(x: &[f64; LANES]) -> Self::Wide;
    fn to_array(x: Self::Wide) -> [f64; LANES];
    /// Rounded to `f32`.
    fn to_f32(x: Self::Wide, out: &mut [f32; LANES]);
    fn add(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    fn sub(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    fn mul(x: Self::Wide, y: Self::Wide) -> Self::Wide;
    /// `x·y + z`, with one rounding, whatever it costs.
    fn fused(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide;

    /// Runs a kernel in a function of its own, compiled for this instruction set: for what is seldom needed, or needed in several places
    /// of the same kernel, and would be compiled again in each.
    fn call<K: Kernel>(kernel: K) -> K::Output;

    /// Copies a cache line past the caches where the target allows it.
    ///
    /// # Safety
    /// `from` is valid for a read and `to` for a write of [`LINE`] bytes, which do not overlap; `to` is aligned to as many.
    #[inline(always)]
    unsafe fn stream_line(to: *mut u8, from: *const u8) {
        for piece in (0..LINE).step_by(PIECE) {
            // SAFETY: inside the line, which the caller vouches for; a piece of an aligned line is aligned.
            unsafe { stream_piece(to.add(piece), from.add(piece)) };
        }
    }

    /// The sum of all lanes, halves added to halves.
    #[inline(always)]
    fn sum(x: Self::Wide) -> f64 {
        let mut sums = Self::to_array(x);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }

    /// `x − y`, by the multipliers where these can: conversions and sums keep the adders busy.
    #[inline(always)]
    fn difference(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        if Self::FMA {
            Self::fused(y, Self::splat(-1.0), x)
        } else {
            Self::sub(x, y)
        }
    }

    /// `x·y + z`, fused where that is an instruction.
    #[inline(always)]
    fn wide_mul_add(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide {
        if Self::FMA {
            Self::fused(x, y, z)
        } else {
            Self::add(Self::mul(x, y), z)
        }
    }

    /// Each lane by itself.
    #[inline(always)]
    fn map(x: Self::Wide, f: impl FnMut(f64) -> f64) -> Self::Wide {
        Self::from_f64(&Self::to_array(x).map(f))
    }

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

/// What the target has everywhere.
pub(crate) struct Portable;

impl Isa for Portable {
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    type Wide = [f64; LANES];

    #[inline(never)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Self>()
    }
    #[inline(always)]
    fn splat(x: f64) -> Self::Wide {
        [x; LANES]
    }
    #[inline(always)]
    fn from_f32(x: &[f32; LANES]) -> Self::Wide {
        x.map(f64::from)
    }
    #[inline(always)]
    fn from_f64(x: &[f64; LANES]) -> Self::Wide {
        *x
    }
    #[inline(always)]
    fn to_array(x: Self::Wide) -> [f64; LANES] {
        x
    }
    #[inline(always)]
    fn to_f32(x: Self::Wide, out: &mut [f32; LANES]) {
        *out = x.map(|x| x as f32);
    }
    #[inline(always)]
    fn add(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] + y[lane])
    }
    #[inline(always)]
    fn sub(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] - y[lane])
    }
    #[inline(always)]
    fn mul(x: Self::Wide, y: Self::Wide) -> Self::Wide {
        std::array::from_fn(|lane| x[lane] * y[lane])
    }
    #[inline(always)]
    fn fused(x: Self::Wide, y: Self::Wide, z: Self::Wide) -> Self::Wide {
        if Self::FMA {
            std::array::from_fn(|lane| x[lane].mul_add(y[lane], z[lane]))
        } else {
            fused_by_calls(&x, &y, &z)
        }
    }
}

/// Sixteen calls of the library's multiply-add, kept together: inlined they would be most of the code of each kernel.
#[inline(never)]
fn fused_by_calls(x: &[f64; LANES], y: &[f64; LANES], z: &[f64; LANES]) -> [f64; LANES] {
    std::array::from_fn(|lane| x[lane].mul_add(y[lane], z[lane]))
}

/// The lanes as registers of one vector type. Loops and no closures: an instruction is only inlined into a function that may use it, which a
/// closure is not before it is itself inlined.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    (
        $(#[$doc:meta])* $name:ident, $register:ty, $count:literal,
        $splat:ident, $load:ident, $store:ident, $half_load:ident, $convert:ident, $half_store:ident, $narrow:ident,
        $add:ident, $sub:ident, $mul:ident, $fma:ident,
        $line:ident, $line_load:ident, $line_stream:ident, $run:ident, $sum:ident
    ) => {
        $(#[$doc])*
        struct $name;

        impl Isa for $name {
            const FMA: bool = true;
            type Wide = [$register; $count];

            #[inline(always)]
            fn call<K: Kernel>(kernel: K) -> K::Output {
                // SAFETY: only `dispatch` names this type, on a CPU that has the instructions; so below.
                unsafe { $run(kernel) }
            }
            #[inline(always)]
            fn sum(mut x: Self::Wide) -> f64 {
                let mut width = $count / 2;
                while width > 0 {
                    for r in 0..width {
                        // SAFETY: as for `call`.
                        x[r] = unsafe { $add(x[r], x[r + width]) };
                    }
                    width /= 2;
                }
                // SAFETY: as for `call`.
                unsafe { $sum(x[0]) }
            }
            #[inline(always)]
            fn splat(x: f64) -> Self::Wide {
                // SAFETY: as for `call`.
                [unsafe { $splat(x) }; $count]
            }
            #[inline(always)]
            fn from_f32(x: &[f32; LANES]) -> Self::Wide {
                let mut registers = Self::splat(0.0);
                for (r, register) in registers.iter_mut().enumerate() {
                    // SAFETY: as for `call`; register r reads the numbers from LANES / count · r on, all inside the array.
                    *register = unsafe { $convert($half_load(x.as_ptr().add(LANES / $count * r))) };
                }
                registers
            }
            #[inline(always)]
            fn from_f64(x: &[f64; LANES]) -> Self::Wide {
                let mut registers = Self::splat(0.0);
                for (r, register) in registers.iter_mut().enumerate() {
                    // SAFETY: as for `from_f32`.
                    *register = unsafe { $load(x.as_ptr().add(LANES / $count * r)) };
                }
                registers
            }
            #[inline(always)]
            fn to_array(x: Self::Wide) -> [f64; LANES] {
                let mut array = [0.0; LANES];
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `from_f32`, for a write.
                    unsafe { $store(array.as_mut_ptr().add(LANES / $count * r), x) };
                }
                array
            }
            #[inline(always)]
            fn to_f32(x: Self::Wide, out: &mut [f32; LANES]) {
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `from_f32`, for a write.
                    unsafe { $half_store(out.as_mut_ptr().add(LANES / $count * r), $narrow(x)) };
                }
            }
            #[inline(always)]
            unsafe fn stream_line(to: *mut u8, from: *const u8) {
                for piece in (0..LINE).step_by(size_of::<$line>()) {
                    // SAFETY: inside the line, which the caller vouches for; a piece of an aligned line is aligned, and the load needs
                    // no alignment.
                    unsafe { $line_stream(to.add(piece).cast(), $line_load(from.add(piece).cast())) };
                }
            }
            #[inline(always)]
            fn add(mut x: Self::Wide, y: Self::Wide) -> Self::Wide {
                for (x, y) in x.iter_mut().zip(y) {
                    // SAFETY: as for `call`.
                    *x = unsafe { $add(*x, y) };
                }
                x
            }
            #[inline(always)]
            fn sub(mut x: Self::Wide, y: Self::Wide) -> Self::Wide {
                for (x, y) in x.iter_mut().zip(y) {
                    // SAFETY: as for `call`.
                    *x = unsafe { $sub(*x, y) };
                }
                x
            }
            #[inline(always)]
            fn mul(mut x: Self::Wide, y: Self::Wide) -> Self::Wide {
                for (x, y) in x.iter_mut().zip(y) {
                    // SAFETY: as for `call`.
                    *x = unsafe { $mul(*x, y) };
                }
                x
            }
            #[inline(always)]
            fn fused(x: Self::Wide, y: Self::Wide, mut z: Self::Wide) -> Self::Wide {
                for (z, (x, y)) in z.iter_mut().zip(x.into_iter().zip(y)) {
                    // SAFETY: as for `call`.
                    *z = unsafe { $fma(x, y, *z) };
                }
                z
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
registers!(
    /// AVX2 with FMA.
    Avx2, __m256d, 4,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm_loadu_ps, _mm256_cvtps_pd, _mm_storeu_ps, _mm256_cvtpd_ps,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd,
    __m256i, _mm256_loadu_si256, _mm256_stream_si256, run_avx2, sum_avx2
);
#[cfg(target_arch = "x86_64")]
registers!(
    /// AVX-512.
    Avx512, __m512d, 2,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm256_loadu_ps, _mm512_cvtps_pd, _mm256_storeu_ps, _mm512_cvtpd_ps,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd,
    __m512i, _mm512_loadu_si512, _mm512_stream_si512, run_avx512, sum_avx512
);

/// The sum of the lanes of a register, halves added to halves.
///
/// # Safety
/// The CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn sum_avx2(x: __m256d) -> f64 {
    // SAFETY: passed on from the caller.
    unsafe {
        let x = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)))
    }
}

/// The same.
///
/// # Safety
/// The CPU has AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn sum_avx512(x: __m512d) -> f64 {
    // SAFETY: passed on from the caller; AVX-512 has AVX2.
    unsafe {
        sum_avx2(_mm256_add_pd(
            _mm512_castpd512_pd256(x),
            _mm512_extractf64x4_pd::<1>(x),
        ))
    }
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
#[inline(never)]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// # Safety
/// The CPU must have the features named here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}
