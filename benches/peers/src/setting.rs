//! Where and with what a run was made: the line above the tables.

use std::fs;
use std::process::Command;

use crate::options::Options;

const LOCK: &str = include_str!("../Cargo.lock");
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Machine, date, threads and versions.
pub fn describe(options: &Options) -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date = date.map_or(String::new(), |date| {
        String::from_utf8_lossy(&date.stdout).trim().into()
    });
    let cap = if options.avx2 {
        ", nothing above AVX2"
    } else {
        ""
    };
    let crates =
        ["contrastive", "candle-core", "burn"].map(|name| format!("{name} {}", locked(name)));
    let mut versions = crates.to_vec();
    if options.python.is_some() {
        versions.extend(REQUIREMENTS.lines().map(|line| line.replace("==", " ")));
    }
    let threads = options.threads;
    format!(
        "{}, {threads} threads{cap}, {date}; {}.",
        processor(),
        versions.join(", ")
    )
}

fn processor() -> String {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = information.lines();
        let value = lines.find_map(|line| {
            line.strip_prefix(name)?
                .split_once(": ")
                .map(|(_, value)| value)
        });
        value.unwrap_or("unknown").to_string()
    };
    format!(
        "{} (family {}, model {})",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )
}

/// The version of a package in the lock file.
fn locked(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    LOCK.split_once(&entry)
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("unknown")
}
