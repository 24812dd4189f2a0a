//! Fused multiply-adds in registers: independent chains, enough of them to fill the pipelines.

use std::hint::black_box;

use super::{Isa, side_by_side};

/// More than latency × throughput of any core so far (4 cycles × 2 a cycle), and few enough for 16 registers.
const CHAINS: usize = 12;

/// Runs about `flops` f32 operations on `threads` threads.
pub fn run(isa: Isa, flops: f64, threads: usize) {
    let round = (2 * CHAINS * lanes(isa)) as f64;
    let rounds = (flops / threads as f64 / round).ceil() as u64;
    side_by_side(threads, |_| chains(isa, rounds));
}

fn lanes(isa: Isa) -> usize {
    match isa {
        Isa::Portable => 4,
        Isa::Avx2 => 8,
        Isa::Avx512 => 16,
    }
}

fn chains(isa: Isa, rounds: u64) {
    match isa {
        Isa::Portable => portable(rounds),
        // SAFETY: `available` lists an instruction set only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(rounds) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => portable(rounds),
    }
}

/// Multiply, then add: what a baseline build can do.
fn portable(rounds: u64) {
    let (a, b) = (black_box([0.5f32; 4]), black_box([1.0f32; 4]));
    let mut sums = [[1.0f32; 4]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(&b)) {
                *sum = *sum * a + b;
            }
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: u64) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    let (a, b) = (
        _mm256_set1_ps(black_box(0.5)),
        _mm256_set1_ps(black_box(1.0)),
    );
    let mut sums = [b; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: u64) {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    let (a, b) = (
        _mm512_set1_ps(black_box(0.5)),
        _mm512_set1_ps(black_box(1.0)),
    );
    let mut sums = [b; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
}
