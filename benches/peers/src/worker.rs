//! The driver's end of a worker process.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::agreement::Outcome;
use crate::case::Case;
use crate::inputs::read_file;
use crate::options::Options;

/// What keeps each engine from AVX-512: ours and the probes, MKL, oneDNN, PyTorch and its compiler, XLA.
pub const AVX2: [(&str, &str); 5] = [
    ("CONTRASTIVE_MAX_ISA", "avx2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("XLA_FLAGS", "--xla_cpu_max_isa=AVX2"),
];

/// An engine of the table: who computes, and on how many threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Engine {
    /// As the worker is called.
    pub name: &'static str,
    /// As the table calls it.
    pub title: &'static str,
    pub python: bool,
    /// One thread instead of all.
    pub single: bool,
}

const fn engine(name: &'static str, title: &'static str, python: bool) -> Engine {
    Engine {
        name,
        title,
        python,
        single: false,
    }
}

pub const OURS: Engine = engine("ours", "ours", false);
pub const OURS_FRESH: Engine = engine("fresh", "ours, fresh gradients", false);
pub const LIMIT: Engine = engine("limit", "limit", false);
pub const PEERS: [Engine; 5] = [
    engine("torch", "PyTorch", true),
    engine("compile", "torch.compile", true),
    engine("jax", "JAX jit", true),
    engine("candle", "candle", false),
    engine("burn", "burn", false),
];

impl Engine {
    pub fn on_one_thread(self) -> Self {
        Self {
            single: true,
            ..self
        }
    }
}

/// A worker process and the pipes to it.
pub struct Worker {
    pub engine: Engine,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the process of `engine`.
    pub fn start(engine: Engine, options: &Options) -> io::Result<Self> {
        let mut command = command(engine, options)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Self {
            engine,
            child,
            requests,
            answers,
        })
    }

    /// Loads a case, or tells the reason why the engine skips it.
    pub fn prepare(&mut self, case: &Case, folder: &Path) -> Result<(), String> {
        let answer = self.ask(&format!("prepare {case} {}", folder.display()))?;
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ready", _) => Ok(()),
            (_, reason) => Err(reason.into()),
        }
    }

    /// Computes the case once: the loss and rows of each gradient.
    pub fn check(&mut self, case: &Case, folder: &Path) -> Result<Outcome, String> {
        let stem = folder.join(self.engine.name);
        let loss = self.figures(&format!("check {}", stem.display()))?[0];
        let inputs = if case.backward {
            case.inputs().len()
        } else {
            0
        };
        let read =
            |index| read_file::<f64>(&folder.join(format!("{}.{index}.bin", self.engine.name)));
        let gradients: io::Result<_> = (0..inputs).map(read).collect();
        Ok(Outcome {
            loss,
            gradients: gradients.map_err(|error| error.to_string())?,
        })
    }

    /// Milliseconds of each of `calls`, after so many that are not timed.
    pub fn run(&mut self, warm_ups: usize, calls: usize) -> Result<Vec<f64>, String> {
        self.figures(&format!("run {warm_ups} {calls}"))
    }

    /// What the limit was.
    pub fn note(&mut self) -> Result<String, String> {
        let answer = self.ask("note")?;
        Ok(answer.strip_prefix("note ").unwrap_or_default().into())
    }

    /// MiB of peak memory above the loaded inputs.
    pub fn peak(&mut self) -> Result<f64, String> {
        Ok(self.figures("peak")?[0])
    }

    /// Frees the case.
    pub fn drop_case(&mut self) -> Result<(), String> {
        self.ask("drop").map(drop)
    }

    fn figures(&mut self, request: &str) -> Result<Vec<f64>, String> {
        let answer = self.ask(request)?;
        let figures: Result<Vec<f64>, _> =
            answer.split_whitespace().skip(1).map(str::parse).collect();
        figures
            .ok()
            .filter(|figures| !figures.is_empty())
            .ok_or(answer)
    }

    fn ask(&mut self, request: &str) -> Result<String, String> {
        let failed = |error: io::Error| error.to_string();
        writeln!(self.requests, "{request}").map_err(failed)?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(failed)?;
        match answer.trim_end() {
            "" => Err("the worker died".into()),
            error if error.starts_with("error") => Err(error.into()),
            answer => Ok(answer.into()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(engine: Engine, options: &Options) -> io::Result<Command> {
    let mut command = match &options.python {
        Some(python) if engine.python => {
            let mut command = Command::new(python);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/worker.py"));
            command
        }
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("serve");
            command
        }
    };
    command.arg(engine.name);
    let threads = if engine.single { 1 } else { options.threads }.to_string();
    for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, &threads);
    }
    // Set on some machines to work round old OpenBLAS builds; they slow a current numpy.
    command
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    if options.avx2 {
        command.envs(AVX2);
    }
    Ok(command)
}
