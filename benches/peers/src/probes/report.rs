//! All probes as one table.

use super::bandwidth::{Store, buffer, copy, read};
use super::{available, fma, milliseconds};
use crate::table::{figure, markdown};

/// MiB of the buffers that are read, or copied: inside the last cache of most machines, and far outside.
const SIZES: [usize; 2] = [6, 384];
const FLOPS: f64 = 1e9;

/// Fused multiply-adds for each instruction set and bandwidths, on one thread and on all.
pub fn report() -> String {
    let counts = [1, rayon::current_num_threads()];
    let row = |name: String, rate: &mut dyn FnMut(usize) -> f64| {
        let rates = counts.map(|threads| figure(rate(threads)));
        vec![name, rates[0].clone(), rates[1].clone()]
    };
    let mut rows = Vec::new();
    for isa in available() {
        let name = format!("{} multiply-adds, Gflop/s", isa.name());
        rows.push(row(name, &mut |threads| {
            FLOPS / 1e6 / milliseconds(9, || fma::run(isa, FLOPS, threads))
        }));
    }
    for size in SIZES {
        let (source, mut target) = (vec![buffer(size << 20)], vec![buffer(size << 20)]);
        let rate = |factor: usize, ms: f64| (factor * (size << 20)) as f64 / 1e6 / ms;
        let name = format!("read of {size} MiB, GB/s");
        rows.push(row(name, &mut |threads| {
            rate(1, milliseconds(9, || read(&source, threads)))
        }));
        for store in [Store::Memcpy, Store::Plain, Store::Streamed] {
            let name = format!("{} copy of {size} MiB, GB/s read + written", store.name());
            let ms = &mut |threads| milliseconds(9, || copy(&source, &mut target, store, threads));
            rows.push(row(name, &mut |threads| rate(2, ms(threads))));
        }
    }
    let header = [
        "probe".into(),
        "1 thread".into(),
        format!("{} threads", counts[1]),
    ];
    markdown(&header, &rows)
}
