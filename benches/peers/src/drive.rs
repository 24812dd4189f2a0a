//! The driver: starts the workers, measures every table, prints Markdown.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::case::Case;
use crate::measure::{Measured, measure};
use crate::options::Options;
use crate::setting;
use crate::suites::{Size, growth, memory_rows, scaling, suites};
use crate::table;
use crate::worker::{AVX2, Engine, LIMIT, OURS, OURS_FRESH, PEERS, Worker};

/// Runs everything that `options` ask for; whether every engine agreed.
pub fn drive(options: &Options) -> io::Result<bool> {
    println!("{}\n", setting::describe(options));
    let mut measured = Vec::new();
    {
        let mut workers = start(&all_engines(options), options)?;
        for suite in suites(options.size) {
            let cases = wanted(suite.cases, options);
            let results = run(&cases, &mut workers, options)?;
            if !results.is_empty() {
                print_section(suite.title, &table::against_peers(&results));
            }
            measured.extend(results);
        }
    }
    if options.only.is_none() {
        measured.extend(ours_alone(options)?);
        print_section("Memory of a process of its own", &footprint(options)?);
        print_section("Probes", &alone(&["probe"], options)?);
    }
    let absences = table::absences(&measured);
    if !absences.is_empty() {
        print_section("Left out", &absences);
    }
    Ok(!absences.contains("DISAGREES"))
}

fn all_engines(options: &Options) -> Vec<Engine> {
    let runs = |engine: &Engine| options.python.is_some() || !engine.python;
    let peers = PEERS.into_iter().filter(runs);
    [OURS, OURS_FRESH]
        .into_iter()
        .chain(peers)
        .chain([LIMIT])
        .collect()
}

/// One thread against all, and growth with the batch.
fn ours_alone(options: &Options) -> io::Result<Vec<Measured>> {
    let engines = [OURS, LIMIT, OURS.on_one_thread(), LIMIT.on_one_thread()];
    let mut workers = start(&engines, options)?;
    let threads = run(&scaling(options.size), &mut workers, options)?;
    print_section("One thread against all", &table::scaling(&threads));

    workers.truncate(2);
    let dim = if options.size == Size::Smoke { 96 } else { 768 };
    let id = |rows: &usize| format!("info_nce/forward_backward/{rows}x{dim}");
    let cases: Vec<Case> = growth(options.size)
        .iter()
        .map(|rows| id(rows).parse().expect("a well-formed id"))
        .collect();
    let growth = run(&cases, &mut workers, options)?;
    print_section("Growth with the batch", &table::growth(&growth));
    Ok(threads.into_iter().chain(growth).collect())
}

fn start(engines: &[Engine], options: &Options) -> io::Result<Vec<Worker>> {
    engines
        .iter()
        .map(|engine| Worker::start(*engine, options))
        .collect()
}

fn wanted(cases: Vec<Case>, options: &Options) -> Vec<Case> {
    let text = options.only.as_deref().unwrap_or("");
    cases
        .into_iter()
        .filter(|case| case.to_string().contains(text))
        .collect()
}

fn run(cases: &[Case], workers: &mut [Worker], options: &Options) -> io::Result<Vec<Measured>> {
    let measure = |case: &Case| {
        eprintln!("{case}");
        measure(case, workers, options.rounds, &cache().join("batch"))
    };
    cases.iter().map(measure).collect()
}

/// Where the batches go while they are measured.
fn cache() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.cache"))
}

fn footprint(options: &Options) -> io::Result<String> {
    let (rows, dim) = (memory_rows(options.size), 768);
    eprintln!("memory of {rows}x{dim}");
    let text = alone(&["memory", &rows.to_string(), &dim.to_string()], options)?;
    let figures: Vec<String> = text
        .split_whitespace()
        .skip(1)
        .step_by(2)
        .map(String::from)
        .collect();
    let header = [
        "case (MiB)",
        "peak resident",
        "inputs and gradients",
        "above them",
    ]
    .map(String::from);
    let row = [
        vec![format!("info_nce/forward_backward/{rows}x{dim}")],
        figures,
    ]
    .concat();
    Ok(table::markdown(&header, &[row]))
}

/// What another process of this program prints.
fn alone(arguments: &[&str], options: &Options) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    let threads = options.threads.to_string();
    command.args(arguments).env("RAYON_NUM_THREADS", threads);
    if options.avx2 {
        command.envs(AVX2);
    }
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

fn print_section(title: &str, text: &str) {
    println!("### {title}\n\n{text}");
}
