//! Resident memory of this process, from the kernel's own counters (Linux).

use std::fs;

/// MiB at present.
pub(crate) fn resident() -> Option<f64> {
    status("VmRSS:")
}

/// The most MiB so far.
pub(crate) fn peak() -> Option<f64> {
    status("VmHWM:")
}

fn status(line: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let found = status.lines().find_map(|l| l.strip_prefix(line))?;
    let kib: f64 = found.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}
