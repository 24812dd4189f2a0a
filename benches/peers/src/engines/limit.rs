//! The least that the machine could take for a case: its bytes read or copied, its arithmetic done in registers.
//!
//! - Row losses: reading every input once, and with gradients writing as much; or, where that is slower (small batches
//!   that live in the cache), the multiply-adds of one f64 pass over the rows.
//! - InfoNCE: the three matrix products at the peak of fused multiply-adds; own negatives add the copy of their bytes.

use super::{Opened, Session};
use crate::case::{Case, Work};
use crate::probes::bandwidth::{Line, Store, buffer, copy, read};
use crate::probes::{Isa, available, fma, milliseconds};

/// Operations of one step, at most: the rest would take as long again.
const FLOPS: f64 = 2e10;
/// Operations that decide which way is the fastest, at most.
const TRIAL: f64 = 5e9;

/// Something that the machine must do, in the fastest way found.
#[derive(Clone, Copy)]
enum Task {
    Read {
        threads: usize,
    },
    Copy {
        store: Store,
        threads: usize,
    },
    Arithmetic {
        isa: Isa,
        flops: f64,
        threads: usize,
    },
}

struct Limit {
    scale: f64,
    tasks: Vec<Task>,
    sources: Vec<Vec<Line>>,
    targets: Vec<Vec<Line>>,
}

pub fn open(case: &Case) -> Opened {
    let bytes = |shape: &[usize]| shape.iter().product::<usize>() * case.width();
    let buffers = || {
        case.inputs()
            .iter()
            .map(|(_, shape)| buffer(bytes(shape)))
            .collect()
    };
    let flops = case.product_flops() * case.width() as f64 / 4.0;
    let mut limit = Limit {
        scale: 1.0,
        tasks: Vec::new(),
        sources: buffers(),
        targets: if case.backward { buffers() } else { Vec::new() },
    };
    let products = limit.fastest(arithmetic(flops));
    let bytes = limit.fastest(movement(case));
    let rows = limit.fastest(arithmetic(row_flops(case)));
    limit.tasks = match case.work {
        Work::CosineEmbedding | Work::TripletMargin if rows.0 > bytes.0 => vec![rows.1],
        Work::CosineEmbedding | Work::TripletMargin | Work::InfoNceOwnNegatives => vec![bytes.1],
        Work::InfoNceOwnAndInBatch => vec![bytes.1, products.1],
        Work::InfoNce | Work::InfoNceSymmetric => {
            limit.scale = (flops / FLOPS).max(1.0);
            vec![products.1]
        }
    };
    Ok(Box::new(limit))
}

/// The ways to do so many f32 operations. The widest vectors are not the fastest on every machine.
fn arithmetic(flops: f64) -> Vec<Task> {
    let ways = |isa| {
        let way = move |threads| Task::Arithmetic {
            isa,
            flops,
            threads,
        };
        thread_counts().into_iter().map(way)
    };
    available().into_iter().flat_map(ways).collect()
}

/// The ways to read, or to copy, the inputs.
fn movement(case: &Case) -> Vec<Task> {
    let copies = |threads| {
        let stores = [Store::Memcpy, Store::Plain, Store::Streamed];
        stores.map(|store| Task::Copy { store, threads })
    };
    match case.backward {
        true => thread_counts().into_iter().flat_map(copies).collect(),
        false => thread_counts()
            .into_iter()
            .map(|threads| Task::Read { threads })
            .collect(),
    }
}

/// f32-sized operations of one pass over the rows: sums are in f64, as the accuracy asks, and an f64 lane is two; gradients end in the precision of the rows.
fn row_flops(case: &Case) -> f64 {
    let last = if case.double { 2 } else { 1 };
    let multiply_adds = match (case.work, case.backward) {
        // x·y, x·x, y·y; then two products with the parts of a share, and one with the factor, for each of the two gradients.
        (Work::CosineEmbedding, false) => 2 * 3,
        (Work::CosineEmbedding, true) => 2 * 3 + last * 6,
        // Two differences and their squares; with a gradient their product, and the differences again with two, one and one products.
        (Work::TripletMargin, false) => 2 * 4,
        (Work::TripletMargin, true) => 2 * 5 + last * 6,
        _ => 0,
    };
    (multiply_adds * 2 * case.rows * case.dim) as f64
}

/// One thread, or all.
fn thread_counts() -> Vec<usize> {
    let all = rayon::current_num_threads();
    if all == 1 { vec![1] } else { vec![1, all] }
}

impl Limit {
    /// The fastest of several ways, and its milliseconds.
    fn fastest(&mut self, ways: Vec<Task>) -> (f64, Task) {
        let timed = ways
            .into_iter()
            .map(|way| (milliseconds(5, || self.perform(way, TRIAL)), way));
        let fastest = timed.min_by(|a, b| a.0.total_cmp(&b.0));
        fastest.expect("there is always a way")
    }

    fn perform(&mut self, task: Task, most: f64) {
        match task {
            Task::Read { threads } => read(&self.sources, threads),
            Task::Copy { store, threads } => copy(&self.sources, &mut self.targets, store, threads),
            Task::Arithmetic {
                isa,
                flops,
                threads,
            } => fma::run(isa, flops.min(most), threads),
        }
    }
}

impl Session for Limit {
    fn step(&mut self) -> f64 {
        for index in 0..self.tasks.len() {
            self.perform(self.tasks[index], FLOPS);
        }
        0.0
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn note(&self) -> String {
        let name = |task: &Task| match task {
            Task::Read { threads } => format!("read, {threads} thr."),
            Task::Copy { store, threads } => format!("{} copy, {threads} thr.", store.name()),
            Task::Arithmetic { isa, threads, .. } => format!("{} FMA, {threads} thr.", isa.name()),
        };
        self.tasks.iter().map(name).collect::<Vec<_>>().join(" + ")
    }
}
