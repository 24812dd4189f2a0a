//! Forward and backward of mined triplet losses, ours and those of sentence-transformers in turn; then ours where theirs do not fit.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use contrastive::{
    BatchTripletInput, BatchTripletLoss, BatchTripletOwnedGradient, HardNegativeInput,
    HardNegativeMiner, Loss, OwnedGradient, Reduction, TripletMining, Want, Workspace,
};
use ndarray::{Array1, Array2};

const DIM: usize = 384;
const MARGIN: f64 = 0.3;
/// Rows of a class.
const CLASS: usize = 8;
const ROUNDS: usize = 9;
/// Calls of a turn, the first of which warms up.
const CALLS: usize = 4;
/// Between two turns: the other's idle threads stop spinning.
const PAUSE: Duration = Duration::from_millis(30);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build_global()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory", name, n] => memory(name, n.parse()?),
        [peer] => compare(peer),
        _ => Err("usage: contrastive-mining PEER.py".into()),
    }
}

/// Rows near the centres of their classes, as in the midst of training, and the labels.
fn batch(n: usize) -> (Array2<f32>, Array1<u64>) {
    let mut state = 1_u64;
    let mut signed = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres = Array2::from_shape_simple_fn((n.div_ceil(CLASS), DIM), &mut signed);
    let labels = Array1::from_iter((0..n).map(|row| (row % centres.nrows()) as u64));
    let mut rows = Array2::from_shape_simple_fn((n, DIM), signed);
    for (mut row, &label) in rows.rows_mut().into_iter().zip(&labels) {
        row.zip_mut_with(&centres.row(label as usize), |x, centre| *x += 0.5 * centre);
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    (rows, labels)
}

fn losses() -> Outcome<Vec<(&'static str, BatchTripletLoss)>> {
    let all = BatchTripletLoss::new(TripletMining::BatchAll, MARGIN)?;
    Ok(vec![
        (
            "batch-hard",
            BatchTripletLoss::new(TripletMining::BatchHard, MARGIN)?,
        ),
        (
            "batch-hard, soft",
            BatchTripletLoss::soft(TripletMining::BatchHard, 0.0)?,
        ),
        (
            "batch-semi-hard",
            BatchTripletLoss::new(TripletMining::BatchSemiHard, MARGIN)?,
        ),
        ("batch-all", all.with_reduction(Reduction::MeanActive)?),
    ])
}

fn compare(peer: &str) -> Outcome<()> {
    const N: usize = 1024;
    let (rows, labels) = batch(N);
    let mut peer = Peer::start(peer, &rows, &labels)?;
    println!(
        "n = {N}, {DIM} dimensions, f32, classes of {CLASS}, margin {MARGIN}; medians of {} calls in milliseconds\n",
        ROUNDS * (CALLS - 1)
    );
    println!("| loss | ours | sentence-transformers | ratio | extra memory |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (name, loss) in losses()? {
        let input = BatchTripletInput::new(rows.view(), labels.view());
        let mut gradient = BatchTripletOwnedGradient::zeros(input);
        let mut workspace = Workspace::new();
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            sleep(PAUSE);
            let mut value = 0.0;
            for call in 0..CALLS {
                let start = Instant::now();
                let gradient = Want::gradient(gradient.view_mut());
                value = loss.evaluate(input, gradient, &mut workspace)?;
                if call > 0 {
                    times[0].push(1e3 * start.elapsed().as_secs_f64());
                }
            }
            sleep(PAUSE);
            for call in 0..CALLS {
                let [their_value, their_norm, theirs] = peer.call(name)?;
                agree(
                    name,
                    [value.into(), norm(&gradient)],
                    [their_value, their_norm],
                )?;
                if call > 0 {
                    times[1].push(theirs);
                }
            }
        }
        let [ours, theirs] = times.map(median);
        let memory = own(&["memory", name, &N.to_string()])?;
        println!(
            "| {name} | {ours:.1} | {theirs:.1} | {:.1} | {memory} |",
            theirs / ours
        );
    }
    println!("\nOurs alone, with the memory beyond the input and, for losses, the gradient:\n");
    for (name, n) in [("batch-all", 8192), ("hard negatives", 100_000)] {
        println!(
            "* {name}, n = {n}: {}",
            own(&["memory", name, &n.to_string()])?
        );
    }
    Ok(())
}

fn norm(gradient: &BatchTripletOwnedGradient<f32>) -> f64 {
    let squares = gradient.anchors.iter().map(|&x| f64::from(x).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Refuses values, and norms of gradients, that differ.
fn agree(name: &str, ours: [f64; 2], theirs: [f64; 2]) -> Outcome<()> {
    let off = |index: usize| (ours[index] / theirs[index] - 1.0).abs();
    if off(0).max(off(1)) > 1e-3 {
        return Err(format!("{name}: {ours:?}, theirs {theirs:?}").into());
    }
    Ok(())
}

/// What this program says when called so.
fn own(arguments: &[&str]) -> Outcome<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Does one thing, once, and prints the peak of memory that it added.
fn memory(name: &str, n: usize) -> Outcome<()> {
    let (rows, labels) = batch(n);
    if name == "hard negatives" {
        let queries = rows.slice(ndarray::s![..1024, ..]);
        let before = resident()?;
        let start = Instant::now();
        HardNegativeMiner::new(10)?.find(HardNegativeInput::new(queries, rows.view()))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{:.1} MiB, {seconds:.2} s for 1024 queries",
            peak()? - before
        );
        return Ok(());
    }
    let loss = losses()?
        .into_iter()
        .find(|loss| loss.0 == name)
        .ok_or("no such loss")?
        .1;
    let input = BatchTripletInput::new(rows.view(), labels.view());
    let mut gradient = Array2::from_elem(rows.dim(), 1.0);
    let views = contrastive::BatchTripletGradient {
        anchors: Some(gradient.view_mut()),
        candidates: None,
    };
    // Threads are started before the measurement.
    rayon::broadcast(|_| ());
    let before = resident()?;
    let start = Instant::now();
    loss.evaluate(input, Want::gradient(views), &mut Workspace::new())?;
    let seconds = start.elapsed().as_secs_f64();
    let added = peak()? - before;
    if n > 2048 {
        println!("{added:.1} MiB, {seconds:.2} s");
    } else {
        println!("{added:.1} MiB");
    }
    Ok(())
}

/// The resident memory, from which on the peak is taken, in MiB.
fn resident() -> Outcome<f64> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    peak()
}

/// The peak of resident memory so far, in MiB.
fn peak() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .ok_or("no VmHWM")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The Python process.
struct Peer {
    _process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(script: &str, rows: &Array2<f32>, labels: &Array1<u64>) -> Outcome<Self> {
        let python = std::env::var("MINING_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut process = Command::new(python)
            .args([
                script,
                &rows.nrows().to_string(),
                &DIM.to_string(),
                &MARGIN.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut to = process.stdin.take().ok_or("no standard input")?;
        let mut from = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        let mut bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        bytes.extend(
            labels
                .iter()
                .flat_map(|&label| (label as u32).to_le_bytes()),
        );
        to.write_all(&bytes)?;
        to.flush()?;
        let mut line = String::new();
        from.read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err("sentence-transformers did not start".into());
        }
        Ok(Self {
            _process: process,
            to,
            from,
        })
    }

    /// Value, norm of the gradient, milliseconds.
    fn call(&mut self, name: &str) -> Outcome<[f64; 3]> {
        writeln!(self.to, "{name}")?;
        self.to.flush()?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let numbers: Vec<f64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        numbers
            .try_into()
            .map_err(|_| "three numbers expected".into())
    }
}
