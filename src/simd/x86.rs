//! AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::Kernel;
use super::isa::{Isa, LANES};
use super::stream::{LINE, Line};

/// The lanes as registers of one vector type. Loops and no closures: an instruction is only inlined into a function that may use it, which a
/// closure is not before it is itself inlined.
macro_rules! registers {
    (
        $(#[$doc:meta])* $name:ident, $register:ty, $count:literal,
        $splat:ident, $load:ident, $store:ident, $half_load:ident, $convert:ident, $half_store:ident, $narrow:ident,
        $add:ident, $sub:ident, $mul:ident, $fma:ident,
        $single:ty, $single_splat:ident, $single_load:ident, $single_store:ident, $single_stream:ident,
        $single_sub:ident, $single_mul:ident, $single_fma:ident,
        $line:ident, $line_load:ident, $line_stream:ident, $run:ident, $sum:ident, $zip:ident
    ) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl $name {
            /// A register of numbers, widened.
            #[inline(always)]
            fn widened(x: &[f32; LANES], register: usize) -> $register {
                let first = LANES / $count * register;
                assert!(first + LANES / $count <= LANES);
                // SAFETY: only `dispatch` names this type, on a CPU that has the instructions; the numbers from `first` on are inside the array.
                unsafe { $convert($half_load(x.as_ptr().add(first))) }
            }
        }

        impl Isa for $name {
            const FMA: bool = true;
            const WHOLE_LINES: bool = size_of::<$single>() == LINE;
            type Wide = [$register; $count];
            type Single = [$single; $count / 2];

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
                    *register = Self::widened(x, r);
                }
                registers
            }
            #[inline(always)]
            fn add_moments(sums: [&mut Self::Wide; 3], x: &[f32; LANES], y: &[f32; LANES]) {
                let [xx, xy, yy] = sums;
                for r in 0..$count {
                    let (x, y) = (Self::widened(x, r), Self::widened(y, r));
                    // SAFETY: as for `call`.
                    unsafe {
                        xx[r] = $fma(x, x, xx[r]);
                        xy[r] = $fma(x, y, xy[r]);
                        yy[r] = $fma(y, y, yy[r]);
                    }
                }
            }
            #[inline(always)]
            fn add_difference_moments(
                sums: [&mut Self::Wide; 3],
                [x, y, z]: [&[f32; LANES]; 3],
                with_product: bool,
            ) {
                let [squares, products, other_squares] = sums;
                for r in 0..$count {
                    let (x, y, z) = (Self::widened(x, r), Self::widened(y, r), Self::widened(z, r));
                    // SAFETY: as for `call`.
                    unsafe {
                        let (to_y, to_z) = ($sub(x, y), $sub(x, z));
                        squares[r] = $fma(to_y, to_y, squares[r]);
                        other_squares[r] = $fma(to_z, to_z, other_squares[r]);
                        if with_product {
                            products[r] = $fma(to_y, to_z, products[r]);
                        }
                    }
                }
            }
            #[inline(always)]
            fn from_f64(x: &[f64; LANES]) -> Self::Wide {
                let mut registers = Self::splat(0.0);
                for (r, register) in registers.iter_mut().enumerate() {
                    // SAFETY: as for `call`; register r reads the numbers from LANES / count · r on, all inside the array.
                    *register = unsafe { $load(x.as_ptr().add(LANES / $count * r)) };
                }
                registers
            }
            #[inline(always)]
            fn to_array(x: Self::Wide) -> [f64; LANES] {
                let mut array = [0.0; LANES];
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `from_f64`, for a write.
                    unsafe { $store(array.as_mut_ptr().add(LANES / $count * r), x) };
                }
                array
            }
            #[inline(always)]
            fn to_f32(x: Self::Wide, out: &mut [f32; LANES]) {
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `from_f64`, for a write.
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
            #[inline(always)]
            fn single(x: f32) -> Self::Single {
                // SAFETY: as for `call`.
                [unsafe { $single_splat(x) }; $count / 2]
            }
            #[inline(always)]
            fn load(x: &[f32; LANES]) -> Self::Single {
                let mut registers = Self::single(0.0);
                for (r, register) in registers.iter_mut().enumerate() {
                    // SAFETY: as for `from_f64`, with registers of twice as many numbers.
                    *register = unsafe { $single_load(x.as_ptr().add(LANES / $count * 2 * r)) };
                }
                registers
            }
            #[inline(always)]
            fn store(x: Self::Single, out: &mut [f32; LANES]) {
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `load`, for a write.
                    unsafe { $single_store(out.as_mut_ptr().add(LANES / $count * 2 * r), x) };
                }
            }
            #[inline(always)]
            fn stream(x: Self::Single, out: &mut Line) {
                for (r, &x) in x.iter().enumerate() {
                    // SAFETY: as for `store`; a line is aligned to all its registers.
                    unsafe { $single_stream(out.0.as_mut_ptr().add(LANES / $count * 2 * r), x) };
                }
            }
            #[inline(always)]
            fn single_sub(mut x: Self::Single, y: Self::Single) -> Self::Single {
                for (x, y) in x.iter_mut().zip(y) {
                    // SAFETY: as for `call`.
                    *x = unsafe { $single_sub(*x, y) };
                }
                x
            }
            #[inline(always)]
            fn single_mul(mut x: Self::Single, y: Self::Single) -> Self::Single {
                for (x, y) in x.iter_mut().zip(y) {
                    // SAFETY: as for `call`.
                    *x = unsafe { $single_mul(*x, y) };
                }
                x
            }
            #[inline(always)]
            fn single_fused(
                x: Self::Single,
                y: Self::Single,
                mut z: Self::Single,
            ) -> Self::Single {
                for (z, (x, y)) in z.iter_mut().zip(x.into_iter().zip(y)) {
                    // SAFETY: as for `call`.
                    *z = unsafe { $single_fma(x, y, *z) };
                }
                z
            }
            #[inline(always)]
            fn zip(x: Self::Single, y: Self::Single) -> [Self::Single; 2] {
                // SAFETY: as for `call`.
                unsafe { $zip(x, y) }
            }
        }
    };
}

registers!(
    /// AVX2 with FMA.
    Avx2, __m256d, 4,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm_loadu_ps, _mm256_cvtps_pd, _mm_storeu_ps, _mm256_cvtpd_ps,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd,
    __m256, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_stream_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_fmadd_ps,
    __m256i, _mm256_loadu_si256, _mm256_stream_si256, run_avx2, sum_avx2, zip_avx2
);
registers!(
    /// AVX-512.
    Avx512, __m512d, 2,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm256_loadu_ps, _mm512_cvtps_pd, _mm256_storeu_ps, _mm512_cvtpd_ps,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd,
    __m512, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_stream_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_fmadd_ps,
    __m512i, _mm512_loadu_si512, _mm512_stream_si512, run_avx512, sum_avx512, zip_avx512
);

/// The sum of the lanes of a register, halves added to halves.
///
/// # Safety
/// The CPU has AVX2.
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

/// The lanes of two in turn.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn zip_avx2([x0, x1]: [__m256; 2], [y0, y1]: [__m256; 2]) -> [[__m256; 2]; 2] {
    let mut zipped = [[x0, x1]; 2];
    for (zipped, (x, y)) in zipped.iter_mut().zip([(x0, y0), (x1, y1)]) {
        // SAFETY: passed on from the caller.
        *zipped = unsafe {
            let (low, high) = (_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
            [
                _mm256_permute2f128_ps::<0x20>(low, high),
                _mm256_permute2f128_ps::<0x31>(low, high),
            ]
        };
    }
    zipped
}

/// The same.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn zip_avx512([x]: [__m512; 1], [y]: [__m512; 1]) -> [[__m512; 1]; 2] {
    // SAFETY: passed on from the caller.
    unsafe {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        [
            [_mm512_permutex2var_ps(x, low, y)],
            [_mm512_permutex2var_ps(x, high, y)],
        ]
    }
}

/// # Safety
/// The CPU must have the features named here.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
#[inline(never)]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// # Safety
/// The CPU must have the features named here.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}
