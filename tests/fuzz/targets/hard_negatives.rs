//! Fuzzes the check of this name.
#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code, reason = "a target runs one of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::hard_negatives(bytes));
