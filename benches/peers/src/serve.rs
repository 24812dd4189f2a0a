//! A worker: one engine in a process of its own, told what to do on standard input, a line at a time.
//!
//! ```text
//! prepare CASE FOLDER   -> ready | skip REASON
//! check STEM            -> loss VALUE             (writes the gradients as STEM.0.bin, STEM.1.bin, … in f64)
//! run WARM-UPS CALLS    -> ms T T …
//! peak                  -> mib M                  (peak memory above the loaded inputs)
//! note                  -> note TEXT              (what the table says beside the figure; asked of the limit only)
//! drop                  -> ok
//! ```
//! `python/worker.py` speaks the same.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use crate::agreement::sampled;
use crate::case::Case;
use crate::engines::{self, Session};
use crate::inputs::write_file;
use crate::memory;

/// Answers until the driver closes the pipe.
pub fn serve(engine: &str) -> io::Result<()> {
    let mut worker = Worker {
        engine,
        case: None,
        session: None,
        resident: 0.0,
    };
    for line in io::stdin().lock().lines() {
        let answer = worker
            .answer(&line?)
            .unwrap_or_else(|error| format!("error {error}"));
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

struct Worker<'a> {
    engine: &'a str,
    case: Option<Case>,
    session: Option<Box<dyn Session>>,
    /// Resident bytes when the inputs were loaded.
    resident: f64,
}

impl Worker<'_> {
    fn answer(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["prepare", case, folder] => self.prepare(case.parse()?, Path::new(folder)),
            ["check", stem] => self.check(stem),
            ["run", warm_ups, calls] => self.run(number(warm_ups)?, number(calls)?),
            ["peak"] => Ok(format!("mib {}", memory::peak_above(self.resident))),
            ["note"] => Ok(format!("note {}", self.session()?.note())),
            ["drop"] => {
                self.session = None;
                Ok("ok".into())
            }
            _ => Err(format!("unknown request {line}")),
        }
    }

    fn prepare(&mut self, case: Case, folder: &Path) -> Result<String, String> {
        self.session = None;
        self.case = Some(case);
        match engines::open(self.engine, &case, folder) {
            Ok(session) => {
                self.session = Some(session);
                self.resident = memory::restart_peak();
                Ok("ready".into())
            }
            Err(reason) => Ok(format!("skip {reason}")),
        }
    }

    fn session(&mut self) -> Result<&mut dyn Session, String> {
        Ok(self.session.as_deref_mut().ok_or("nothing is prepared")?)
    }

    fn check(&mut self, stem: &str) -> Result<String, String> {
        let case = self.case.ok_or("nothing is prepared")?;
        let session = self.session()?;
        session.release();
        let loss = session.step();
        for (index, gradient) in session.gradients().iter().enumerate() {
            let numbers = sampled(gradient, case.rows);
            let path = format!("{stem}.{index}.bin");
            write_file(numbers, Path::new(&path)).map_err(|error| error.to_string())?;
        }
        session.release();
        memory::restart_peak(); // what the first call and the files took is not the loss's
        Ok(format!("loss {loss:e}"))
    }

    fn run(&mut self, warm_ups: usize, calls: usize) -> Result<String, String> {
        let session = self.session()?;
        session.begin_turn();
        let mut answer = String::from("ms");
        for call in 0..warm_ups + calls {
            session.release();
            let start = Instant::now();
            session.step();
            let milliseconds = start.elapsed().as_secs_f64() * 1e3 * session.scale();
            if call >= warm_ups {
                answer += &format!(" {milliseconds}");
            }
        }
        Ok(answer)
    }
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}
