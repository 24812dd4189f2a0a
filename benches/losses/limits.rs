//! What the machine can do: bytes read, bytes copied, fused multiply-adds.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use rayon::prelude::*;

use crate::measure::{group, on_threads, shape};
use crate::row_losses::SHAPES;

const PIECE: usize = 1 << 14;

pub(crate) fn limits(c: &mut Criterion) {
    let mut group = group(c, "limit");
    for (n, dim) in SHAPES {
        let from = vec![1.0_f32; 2 * n * dim];
        let mut to = vec![0.0_f32; 2 * n * dim];
        let shape = shape::<f32>(n, dim);
        group.throughput(Throughput::Bytes((2 * n * dim * 4) as u64));
        on_threads(&mut group, &format!("read/{shape}"), || {
            black_box(from.par_chunks(PIECE).map(sum).reduce(|| 0, |x, y| x ^ y));
        });
        group.throughput(Throughput::Bytes((4 * n * dim * 4) as u64));
        on_threads(&mut group, &format!("copy/{shape}"), || {
            to.par_chunks_mut(PIECE)
                .zip(from.par_chunks(PIECE))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
    }
    // As many rounds on every thread as make the flops of the throughput.
    let (rounds, threads) = (1 << 20, rayon::current_num_threads());
    let lanes = lanes();
    let operations = (threads * rounds * CHAINS * lanes * 2) as u64;
    group.throughput(Throughput::Elements(operations));
    on_threads(&mut group, "multiply_adds", || {
        (0..threads)
            .into_par_iter()
            .for_each(|_| multiply_adds(lanes, rounds))
    });
}

fn sum(piece: &[f32]) -> u32 {
    let lanes = piece.chunks_exact(16).fold([0_u32; 16], |mut sum, x| {
        sum.iter_mut()
            .zip(x)
            .for_each(|(sum, x)| *sum ^= x.to_bits());
        sum
    });
    lanes.into_iter().fold(0, |sum, x| sum ^ x)
}

/// Independent chains: more than latency × throughput of any core so far, and few enough for sixteen registers.
const CHAINS: usize = 12;

/// Numbers of a chain: one register of the instruction set that the crate uses.
fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let cap = std::env::var("CONTRASTIVE_MAX_ISA").unwrap_or_default();
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx2 && is_x86_feature_detected!("avx512f") && cap != "avx2" && cap != "portable" {
            return 16;
        }
        if avx2 && cap != "portable" {
            return 8;
        }
    }
    4
}

fn multiply_adds(lanes: usize, rounds: usize) {
    match lanes {
        // SAFETY: `lanes` is 16 only where the CPU has AVX-512.
        #[cfg(target_arch = "x86_64")]
        16 => unsafe { avx512(rounds) },
        // SAFETY: `lanes` is 8 only where the CPU has AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        8 => unsafe { avx2(rounds) },
        _ => portable(rounds),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: usize) {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    let factor = _mm512_set1_ps(black_box(0.5));
    let term = _mm512_set1_ps(black_box(1.0));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, term);
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: usize) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    let factor = _mm256_set1_ps(black_box(0.5));
    let term = _mm256_set1_ps(black_box(1.0));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, term);
        }
    }
    black_box(sums);
}

/// Multiply, then add: what every machine can do.
fn portable(rounds: usize) {
    let (factor, term) = (black_box([0.5_f32; 4]), black_box([1.0_f32; 4]));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for (lane, sum) in sum.iter_mut().enumerate() {
                *sum = *sum * factor[lane] + term[lane];
            }
        }
    }
    black_box(sums);
}
