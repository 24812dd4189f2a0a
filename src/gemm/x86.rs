//! The vector registers of AVX2 and AVX-512, and the functions that are compiled for them.

use super::Task;
use super::lanes::Lanes;
use super::tiles::tiles;
use std::arch::x86_64::*;

macro_rules! lanes {
    ($vector:ty, $scalar:ty, $count:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $fma:ident) => {
        impl Lanes<$scalar> for $vector {
            const COUNT: usize = $count;
            #[inline(always)]
            unsafe fn splat(x: $scalar) -> Self {
                // SAFETY: the CPU has the instruction, by the trait's contract; so below.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(p: *const $scalar) -> Self {
                // SAFETY: valid for COUNT reads, by the trait's contract; unaligned load.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $scalar) {
                // SAFETY: valid for COUNT writes, by the trait's contract; unaligned store.
                unsafe { $store(p, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as for splat.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn add_product(self, x: Self, y: Self) -> Self {
                // SAFETY: as for splat.
                unsafe { $fma(x, y, self) }
            }
        }
    };
}
lanes!(
    __m512,
    f32,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_fmadd_ps
);
lanes!(
    __m512d,
    f64,
    8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_add_pd,
    _mm512_fmadd_pd
);
lanes!(
    __m256,
    f32,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_fmadd_ps
);
lanes!(
    __m256d,
    f64,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_add_pd,
    _mm256_fmadd_pd
);

// How many rows a tile has, and how many a wide one of so many panels, so many vectors of each.
macro_rules! compiled_for {
    ($name:ident, $features:literal, $scalar:ty, $vector:ty, $rows:literal, $wide_rows:literal of $panels:literal * $vectors:literal) => {
        /// # Safety
        /// As for `run`, with the features named here.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(task: &Task<$scalar>) {
            // SAFETY: passed on; the features are enabled for this function.
            unsafe { tiles::<$scalar, $vector, $rows, $wide_rows, $panels, $vectors>(task) }
        }
    };
}
compiled_for!(
    avx512_f32,
    "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma",
    f32,
    __m512,
    12,
    6 of 2 * 2
);
compiled_for!(
    avx512_f64,
    "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma",
    f64,
    __m512d,
    12,
    6 of 2 * 2
);
compiled_for!(avx2_f32, "avx2,fma", f32, __m256, 6, 3 of 1 * 4);
compiled_for!(avx2_f64, "avx2,fma", f64, __m256d, 6, 3 of 1 * 4);
