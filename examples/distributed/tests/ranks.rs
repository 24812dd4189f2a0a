//! Runs the program under `mpirun`: all ranks together equal one process.

use std::process::Command;

/// Starts one rank for each entry of `rows`, the rows that it holds.
fn together(rows: &[usize]) {
    let output = Command::new("mpirun")
        // For containers, where the tests run as root, and for machines with fewer cores than ranks.
        .args(["--allow-run-as-root", "--oversubscribe", "-n"])
        .arg(rows.len().to_string())
        .arg(env!("CARGO_BIN_EXE_contrastive-distributed"))
        .arg("check")
        .args(rows.iter().map(usize::to_string))
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("Open MPI is installed: see README.md");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{rows:?}: {said}");
}

#[test]
fn one_rank_equals_one_process() {
    together(&[9]);
}

#[test]
fn two_ranks_equal_one_process_with_even_and_uneven_shards() {
    together(&[8, 8]);
    together(&[3, 11]);
}

#[test]
fn three_ranks_equal_one_process_with_even_and_uneven_shards_and_one_without_rows() {
    together(&[6, 6, 6]);
    together(&[7, 1, 4]);
    together(&[5, 0, 2]);
}
