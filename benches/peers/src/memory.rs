//! Resident memory of this process, from the kernel's own counters (Linux; elsewhere not measured).

use std::fs;

const MIB: f64 = (1 << 20) as f64;

/// Bytes of a line of `/proc/self/status`, such as `VmHWM`, the peak, or `VmRSS`, the present.
pub fn status(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    let kib = found.and_then(|l| {
        l.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse::<f64>()
            .ok()
    });
    kib.map_or(f64::NAN, |kib| kib * 1024.0)
}

/// Gives freed memory back and starts a new peak; returns the resident bytes.
pub fn restart_peak() -> f64 {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and has no other precondition.
    unsafe {
        libc::malloc_trim(0)
    };
    // 5 resets VmHWM to VmRSS (proc(5)). Where that is forbidden the old peak stays, and the figure is too high.
    let _ = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS")
}

/// MiB by which the peak exceeds `resident` bytes.
pub fn peak_above(resident: f64) -> f64 {
    (status("VmHWM") - resident) / MIB
}
