//! A run on many ranks, on paper: what one rank computes is measured here, what travels is counted.

use std::time::Instant;

use contrastive::{
    Error, InfoNceGradient, InfoNceInput, InfoNceLoss, Loss, Reduction, Want, Workspace,
};
use ndarray::Array2;

use crate::traffic::Batch;

const ROWS: usize = 256;
const DIM: usize = 768;
const ROUNDS: usize = 5;
/// Links of 10, 25 and 100 Gbit/s, in bytes a second.
const LINKS: [(&str, f64); 3] = [("10", 1.25e9), ("25", 3.125e9), ("100", 12.5e9)];
const MIB: f64 = (1 << 20) as f64;

/// Prints the step of one rank as ranks are added and every rank keeps its rows; then where communication and computation balance.
pub fn print() -> Result<(), Error> {
    println!("{ROWS} queries and documents a rank, {DIM} dims, f32. All times in ms.\n");
    println!(
        "| ranks | batch | gathered, MiB in | ring, MiB in | memory gathered / ring, MiB | loss (measured) | {} |",
        LINKS
            .map(|(name, _)| format!("gathered over {name} Gbit/s"))
            .join(" | ")
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rate = 0.0;
    for ranks in [1, 2, 8, 64] {
        let batch = Batch {
            ranks,
            rows: ROWS,
            dim: DIM,
            bytes: size_of::<f32>(),
        };
        let seconds = loss_seconds(batch)?;
        // Three products of rows × all documents × dim, two operations a multiply-add.
        rate = 6.0 * (ROWS * ranks * ROWS * DIM) as f64 / seconds;
        let mib = |bytes: usize| bytes as f64 / MIB;
        let transfers =
            LINKS.map(|(_, speed)| format!("{:.1}", batch.gathered() as f64 / speed * 1e3));
        println!(
            "| {ranks} | {} | {:.1} | {:.1} | {:.1} / {:.1} | {:.1} | {} |",
            ranks * ROWS,
            mib(batch.gathered()),
            mib(batch.ring()),
            mib(batch.memory_gathered()),
            mib(batch.memory_ring()),
            seconds * 1e3,
            transfers.join(" | "),
        );
    }
    println!("\nA rank's loss runs at {:.0} Gflop/s here.", rate / 1e9);
    for (name, speed) in LINKS {
        // 6·rows·m·dim/rate seconds of arithmetic against 8·m·dim/speed of transfer: m and dim cancel.
        let rows = 8.0 * rate / (6.0 * speed);
        println!(
            "Over {name} Gbit/s the loss outlasts its transfer from {rows:.0} rows a rank on."
        );
    }
    Ok(())
}

/// The median time of the loss and gradient of one rank of `batch`.
fn loss_seconds(batch: Batch) -> Result<f64, Error> {
    let total = batch.ranks * batch.rows;
    let queries = rows(batch.rows, batch.dim);
    let documents = rows(total, batch.dim);
    let loss = InfoNceLoss::new(0.05)?.with_reduction(Reduction::Over(total as f64))?;
    let mut gradient = (Array2::zeros(queries.dim()), Array2::zeros(documents.dim()));
    let mut workspace = Workspace::new();
    let mut seconds = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let views = InfoNceGradient {
            queries: Some(gradient.0.view_mut()),
            documents: Some(gradient.1.view_mut()),
            ..InfoNceGradient::default()
        };
        let input = InfoNceInput::new(queries.view(), documents.view());
        loss.evaluate(input, Want::gradient(views), &mut workspace)?;
        // The first round only warms up.
        if round > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_unstable_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

/// Rows that differ: a low-discrepancy sequence in [−1, 1).
fn rows(n: usize, dim: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, dim), |(i, j)| {
        let x = (i * dim + j) as f64 * 0.618_033_988_749_895;
        (2.0 * x.fract() - 1.0) as f32
    })
}
