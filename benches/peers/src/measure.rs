//! One case on every engine: first that they agree, then turn by turn, so that a drift of the machine meets all alike.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::agreement::{Difference, Outcome};
use crate::case::Case;
use crate::inputs;
use crate::probes::median;
use crate::worker::{Engine, LIMIT, Worker};

/// Milliseconds that one turn of one engine should take.
const TURN: f64 = 150.0;
/// Calls of one turn, at most.
const CALLS: f64 = 20_000.0;
/// One call in so many is a warm-up, and at least one.
const WARM_UPS: usize = 20;
/// From this many milliseconds on a call needs no warm-up, and runs in three rounds only; in one from ten times as many.
const SLOW: f64 = 1500.0;
/// Between two turns: the last engine's idle threads stop spinning.
const PAUSE: Duration = Duration::from_millis(30);

/// What one engine made of a case.
pub struct Figures {
    pub engine: Engine,
    /// Median milliseconds.
    pub ms: f64,
    /// Peak memory above the inputs, MiB.
    pub mib: f64,
    pub note: String,
}

/// Everything measured for one case.
pub struct Measured {
    pub case: Case,
    pub figures: Vec<Figures>,
    /// Engines that did not run it, or did not agree, and why.
    pub absent: Vec<(Engine, String)>,
}

impl Measured {
    pub fn of(&self, engine: Engine) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.engine == engine)
    }
}

/// An engine in its turns.
struct Runner<'a> {
    worker: &'a mut Worker,
    times: Vec<f64>,
    last: f64,
}

/// Prepares `case` in every worker, compares what they compute, and times them in turns.
pub fn measure(
    case: &Case,
    workers: &mut [Worker],
    rounds: usize,
    folder: &Path,
) -> io::Result<Measured> {
    inputs::write_files(case, folder)?;
    let mut absent = Vec::new();
    let mut runners = prepare(case, workers, folder, &mut absent);
    for round in 0..rounds {
        runners.retain_mut(|runner| match runner.turn(round) {
            Ok(()) => true,
            Err(error) => {
                absent.push((runner.worker.engine, error));
                false
            }
        });
    }
    let figures = runners.into_iter().map(Runner::finish).collect();
    std::fs::remove_dir_all(folder)?;
    Ok(Measured {
        case: *case,
        figures,
        absent,
    })
}

fn prepare<'a>(
    case: &Case,
    workers: &'a mut [Worker],
    folder: &Path,
    absent: &mut Vec<(Engine, String)>,
) -> Vec<Runner<'a>> {
    let mut ours: Option<Outcome> = None; // the first worker is
    let mut runners = Vec::new();
    for worker in workers {
        let engine = worker.engine;
        let checked = worker.prepare(case, folder).and_then(|()| {
            if engine.name == LIMIT.name {
                return Ok(worker.run(0, 1)?[0]);
            }
            let start = Instant::now();
            let outcome = worker.check(case, folder)?;
            compare(case, ours.get_or_insert_with(|| outcome.clone()), &outcome)?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        });
        match checked {
            Ok(last) => runners.push(Runner {
                worker,
                times: Vec::new(),
                last,
            }),
            Err(reason) => {
                let _ = worker.drop_case();
                absent.push((engine, reason));
            }
        }
    }
    runners
}

fn compare(case: &Case, ours: &Outcome, other: &Outcome) -> Result<(), String> {
    let difference = Difference::between(ours, other);
    match difference.is_tolerable(case) {
        true => Ok(()),
        false => Err(format!("DISAGREES with ours: {difference}")),
    }
}

impl Runner<'_> {
    fn turn(&mut self, round: usize) -> Result<(), String> {
        let rounds = if self.last > 10.0 * SLOW { 1 } else { 3 };
        if self.last > SLOW && round >= rounds {
            return Ok(());
        }
        sleep(PAUSE);
        let calls = (TURN / self.last).clamp(1.0, CALLS) as usize;
        let warm_ups = match self.last < SLOW {
            true => calls.div_ceil(WARM_UPS),
            false => 0,
        };
        let times = self.worker.run(warm_ups, calls)?;
        self.last = median(times.clone());
        self.times.extend(times);
        Ok(())
    }

    fn finish(self) -> Figures {
        let mib = self.worker.peak().unwrap_or(f64::NAN);
        let note = match self.worker.engine.name == LIMIT.name {
            true => self.worker.note().unwrap_or_default(),
            false => String::new(),
        };
        let _ = self.worker.drop_case();
        Figures {
            engine: self.worker.engine,
            ms: median(self.times),
            mib,
            note,
        }
    }
}
