//! What the machine can do: fused multiply-adds and bytes a second.

pub mod bandwidth;
pub mod fma;
mod report;

use std::time::Instant;

pub use report::report;

/// Instruction sets that the probes know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    Portable,
    Avx2,
    Avx512,
}

impl Isa {
    /// As the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        }
    }
}

/// The instruction sets of this machine, best first, without those above `CONTRASTIVE_MAX_ISA`.
pub fn available() -> Vec<Isa> {
    let cap = std::env::var("CONTRASTIVE_MAX_ISA").unwrap_or_default();
    let mut available = vec![Isa::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && cap != "portable"
        {
            available.insert(0, Isa::Avx2);
            if is_x86_feature_detected!("avx512f") && cap != "avx2" {
                available.insert(0, Isa::Avx512);
            }
        }
    }
    available
}

/// Median milliseconds of `repetitions` calls, after one that is not counted.
pub fn milliseconds(repetitions: usize, mut call: impl FnMut()) -> f64 {
    call();
    let time = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e3
    };
    median((0..repetitions).map(time).collect())
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Runs `part(0)` … `part(threads − 1)` side by side on the rayon pool.
pub fn side_by_side(threads: usize, part: impl Fn(usize) + Sync) {
    if threads == 1 {
        return part(0);
    }
    rayon::scope(|scope| {
        for index in 0..threads {
            let part = &part;
            scope.spawn(move |_| part(index));
        }
    });
}
