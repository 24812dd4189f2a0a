//! The least that the machine could take for a case: its bytes read or copied, its arithmetic done in registers.
//!
//! - Row losses: reading every input once, and with gradients writing as much; or, where that is slower (small batches
//!   that live in the cache), the multiply-adds of one f64 pass over the rows.
//! - InfoNCE: the three matrix products at the peak of fused multiply-adds; own negatives add the copy of their bytes.
//!
//! Each is done in the way that is fastest at the moment, which every turn tries anew: what other guests of a host are at changes which one that is.

use super::{Opened, Session};
use crate::case::{Case, Work};
use crate::probes::bandwidth::{Line, Store, buffer, copy, read};
use crate::probes::{Isa, available, fma, milliseconds};

/// Operations of one step, at most: the rest would take as long again.
const FLOPS: f64 = 2e10;
/// Operations that decide which way to do matrix products is the fastest, at most.
const TRIAL: f64 = 5e8;
/// Calls that decide it, after one that is not counted.
const TRIALS: usize = 3;

/// Something that the machine must do, in one way.
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

/// What a case needs; each in all ways that could be the fastest.
enum Needs {
    /// Both at the same time, so that the slower one counts.
    Rows {
        bytes: Vec<Task>,
        arithmetic: Vec<Task>,
    },
    /// One after the other.
    Each(Vec<Vec<Task>>),
}

struct Limit {
    scale: f64,
    needs: Needs,
    /// What this turn does.
    tasks: Vec<Task>,
    /// What each turn did.
    notes: Vec<String>,
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
    let (products, movement) = (arithmetic(flops), movement(case));
    let needs = match case.work {
        Work::CosineEmbedding | Work::TripletMargin => Needs::Rows {
            bytes: movement,
            arithmetic: arithmetic(row_flops(case)),
        },
        Work::InfoNceOwnNegatives => Needs::Each(vec![movement]),
        Work::InfoNceOwnAndInBatch => Needs::Each(vec![movement, products]),
        Work::InfoNce | Work::InfoNceSymmetric => Needs::Each(vec![products]),
    };
    let is_cut = matches!(case.work, Work::InfoNce | Work::InfoNceSymmetric);
    Ok(Box::new(Limit {
        scale: if is_cut {
            (flops / FLOPS).max(1.0)
        } else {
            1.0
        },
        needs,
        tasks: Vec::new(),
        notes: Vec::new(),
        sources: buffers(),
        targets: if case.backward { buffers() } else { Vec::new() },
    }))
}

/// The ways to do so many f32 operations. The widest vectors are not the fastest on every machine; none at all never are.
fn arithmetic(flops: f64) -> Vec<Task> {
    let ways = |isa| {
        let way = move |threads| Task::Arithmetic {
            isa,
            flops,
            threads,
        };
        thread_counts().into_iter().map(way)
    };
    let mut isas = available();
    isas.retain(|isa| *isa != Isa::Portable);
    if isas.is_empty() {
        isas.push(Isa::Portable);
    }
    isas.into_iter().flat_map(ways).collect()
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

impl Task {
    fn name(&self) -> String {
        match self {
            Self::Read { threads } => format!("read, {threads} thr."),
            Self::Copy { store, threads } => format!("{} copy, {threads} thr.", store.name()),
            Self::Arithmetic { isa, threads, .. } => format!("{} FMA, {threads} thr.", isa.name()),
        }
    }
}

impl Limit {
    /// What is to be done, each in the way that is the fastest now.
    fn chosen(&mut self) -> Vec<Task> {
        let Self {
            needs,
            sources,
            targets,
            ..
        } = self;
        match needs {
            Needs::Rows { bytes, arithmetic } => {
                let (moved, computed) = (
                    fastest(bytes, sources, targets, FLOPS),
                    fastest(arithmetic, sources, targets, FLOPS),
                );
                vec![if computed.0 > moved.0 {
                    computed.1
                } else {
                    moved.1
                }]
            }
            Needs::Each(needs) => needs
                .iter()
                .map(|ways| fastest(ways, sources, targets, TRIAL).1)
                .collect(),
        }
    }
}

/// The fastest of several ways, and its milliseconds.
fn fastest(
    ways: &[Task],
    sources: &[Vec<Line>],
    targets: &mut [Vec<Line>],
    most: f64,
) -> (f64, Task) {
    let timed = ways.iter().map(|&way| {
        let time = milliseconds(TRIALS, || perform(way, sources, targets, most));
        (time, way)
    });
    let fastest = timed.min_by(|a, b| a.0.total_cmp(&b.0));
    fastest.expect("there is always a way")
}

/// Does it, with so many operations at most.
fn perform(task: Task, sources: &[Vec<Line>], targets: &mut [Vec<Line>], most: f64) {
    match task {
        Task::Read { threads } => read(sources, threads),
        Task::Copy { store, threads } => copy(sources, targets, store, threads),
        Task::Arithmetic {
            isa,
            flops,
            threads,
        } => fma::run(isa, flops.min(most), threads),
    }
}

impl Session for Limit {
    fn begin_turn(&mut self) {
        self.tasks = self.chosen();
        let names: Vec<_> = self.tasks.iter().map(Task::name).collect();
        self.notes.push(names.join(" + "));
    }

    fn step(&mut self) -> f64 {
        for &task in &self.tasks {
            perform(task, &self.sources, &mut self.targets, FLOPS);
        }
        0.0
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    /// What most turns did.
    fn note(&self) -> String {
        let count = |note: &&String| self.notes.iter().filter(|other| other == note).count();
        let most = self.notes.iter().max_by_key(count);
        most.cloned().unwrap_or_default()
    }
}
