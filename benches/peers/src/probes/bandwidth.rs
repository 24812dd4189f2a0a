//! Reading and copying buffers: the bytes that a row loss must move, and nothing else.

use std::hint::black_box;

use super::{Isa, available, side_by_side};

/// Sixteen numbers that start at a cache line's multiple, so that streaming stores are allowed anywhere.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line([f32; 16]);

/// A buffer of at least `bytes`, its pages touched.
pub fn buffer(bytes: usize) -> Vec<Line> {
    vec![Line([1.0; 16]); bytes.div_ceil(size_of::<Line>())]
}

/// How a copy writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// The C library's memcpy.
    Memcpy,
    /// Vector stores through the cache.
    Plain,
    /// Non-temporal stores past the cache.
    Streamed,
}

impl Store {
    /// As the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memcpy => "memcpy",
            Self::Plain => "plain",
            Self::Streamed => "streamed",
        }
    }
}

/// Copies every source to its target, each thread its share of each.
pub fn copy(sources: &[Vec<Line>], targets: &mut [Vec<Line>], store: Store, threads: usize) {
    let isa = available()[0];
    if threads == 1 {
        let pairs = sources.iter().zip(targets);
        return pairs.for_each(|(source, target)| copy_share(source, target, store, isa));
    }
    let mut shares: Vec<Vec<(&[Line], &mut [Line])>> = (0..threads).map(|_| Vec::new()).collect();
    for (source, target) in sources.iter().zip(targets) {
        let share = source.len().div_ceil(threads).max(1);
        for (index, pair) in source
            .chunks(share)
            .zip(target.chunks_mut(share))
            .enumerate()
        {
            shares[index].push(pair);
        }
    }
    let shares: Vec<_> = shares.into_iter().map(std::sync::Mutex::new).collect();
    side_by_side(threads, |index| {
        let mut share = shares[index].try_lock().expect("one thread a share");
        for (source, target) in share.iter_mut() {
            copy_share(source, target, store, isa);
        }
    });
}

fn copy_share(source: &[Line], target: &mut [Line], store: Store, isa: Isa) {
    match (store, isa) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` lists AVX-512 only where the machine has it.
        (Store::Plain, Isa::Avx512) => unsafe { copy_avx512::<false>(source, target) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Store::Streamed, Isa::Avx512) => unsafe { copy_avx512::<true>(source, target) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` lists AVX2 only where the machine has it.
        (Store::Plain, Isa::Avx2) => unsafe { copy_avx2::<false>(source, target) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Store::Streamed, Isa::Avx2) => unsafe { copy_avx2::<true>(source, target) },
        _ => target.copy_from_slice(source),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn copy_avx512<const STREAMED: bool>(source: &[Line], target: &mut [Line]) {
    use std::arch::x86_64::{_mm_sfence, _mm512_load_ps, _mm512_store_ps, _mm512_stream_ps};
    for (from, to) in source.iter().zip(target) {
        // SAFETY: a `Line` is 64 bytes at a multiple of 64.
        unsafe {
            let line = _mm512_load_ps(from.0.as_ptr());
            match STREAMED {
                true => _mm512_stream_ps(to.0.as_mut_ptr(), line),
                false => _mm512_store_ps(to.0.as_mut_ptr(), line),
            }
        }
    }
    if STREAMED {
        _mm_sfence();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_avx2<const STREAMED: bool>(source: &[Line], target: &mut [Line]) {
    use std::arch::x86_64::{_mm_sfence, _mm256_load_ps, _mm256_store_ps, _mm256_stream_ps};
    for (from, to) in source.iter().zip(target) {
        for half in [0, 8] {
            // SAFETY: both halves of a `Line` are 32 bytes at a multiple of 32.
            unsafe {
                let line = _mm256_load_ps(from.0.as_ptr().add(half));
                match STREAMED {
                    true => _mm256_stream_ps(to.0.as_mut_ptr().add(half), line),
                    false => _mm256_store_ps(to.0.as_mut_ptr().add(half), line),
                }
            }
        }
    }
    if STREAMED {
        _mm_sfence();
    }
}

/// Reads every source, each thread its share of each.
pub fn read(sources: &[Vec<Line>], threads: usize) {
    let isa = available()[0];
    side_by_side(threads, |index| {
        for source in sources {
            let share = source.len().div_ceil(threads).max(1);
            if let Some(lines) = source.chunks(share).nth(index) {
                black_box(sum(lines, isa));
            }
        }
    });
}

fn sum(lines: &[Line], isa: Isa) -> Line {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` lists an instruction set only where the machine has it.
        Isa::Avx512 => unsafe { sum_avx512(lines) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { sum_avx2(lines) },
        _ => sum_lanes(lines),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512(lines: &[Line]) -> Line {
    sum_lanes(lines)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(lines: &[Line]) -> Line {
    sum_lanes(lines)
}

/// Four lines at a time, each into sums of its own: the additions never wait for each other.
#[inline(always)]
fn sum_lanes(lines: &[Line]) -> Line {
    let mut sums = [[0.0f32; 16]; 4];
    for block in lines.chunks_exact(4) {
        for (sum, line) in sums.iter_mut().zip(block) {
            for (sum, number) in sum.iter_mut().zip(line.0) {
                *sum += number;
            }
        }
    }
    black_box(sums);
    Line(sums[0])
}
