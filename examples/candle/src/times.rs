//! Seconds of a training step with the loss of this crate and with the one that candle composes.

use std::time::Instant;

use crate::encoder::Encoder;
use crate::objective::{Error, InfoNce, composed};
use crate::text::{Pairs, Vocabulary};
use crate::train::{Ids, TEMPERATURE, untrained};

const BATCHES: [usize; 3] = [256, 1024, 4096];
const ROUNDS: usize = 5;

/// Prints a table: medians over rounds in which the four take turns, so that a drift of the machine meets all.
pub fn print(pairs: &Pairs) -> Result<(), Error> {
    let vocabulary = Vocabulary::new(&pairs.train);
    let encoder = untrained(&vocabulary)?;
    let ids = Ids::new(&vocabulary, &pairs.train)?;
    println!(
        "| batch | step, ms | composed step, ms | ratio | loss, ms | composed loss, ms | ratio |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for batch in BATCHES {
        let rows: Vec<u32> = (0..batch as u32).collect();
        let times = medians(&encoder, &ids.select(&rows)?)?;
        print!("| {batch} |");
        for [ours, theirs] in times {
            let [ours, theirs] = [ours * 1e3, theirs * 1e3];
            print!(" {ours:.1} | {theirs:.1} | {:.2}× |", theirs / ours);
        }
        println!();
    }
    Ok(())
}

/// Of embedding, loss and the way back to all weights; and of the loss with its gradients for the embeddings alone. Ours, then candle's.
fn medians(encoder: &Encoder, batch: &Ids) -> Result<[[f64; 2]; 2], Error> {
    let mut info_nce = InfoNce::<f32>::new(TEMPERATURE)?;
    let embed = || -> candle_core::Result<_> {
        Ok((
            encoder.queries(&batch.queries)?,
            encoder.documents(&batch.documents)?,
        ))
    };
    let (q, d) = embed()?;
    let (q, d) = (
        candle_core::Var::from_tensor(&q.detach())?,
        candle_core::Var::from_tensor(&d.detach())?,
    );
    let mut seconds: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let mut time = |i: usize, work: &mut dyn FnMut() -> Result<(), Error>| {
            let start = Instant::now();
            work()?;
            // The first round only warms up.
            if round > 0 {
                seconds[i].push(start.elapsed().as_secs_f64());
            }
            Ok::<_, Error>(())
        };
        time(0, &mut || {
            let (q, d) = embed()?;
            info_nce.backward(&q, &d).map(drop)
        })?;
        time(1, &mut || {
            let (q, d) = embed()?;
            Ok(composed(&q, &d, TEMPERATURE)?.backward().map(drop)?)
        })?;
        time(2, &mut || info_nce.gradient(&q, &d).map(drop))?;
        time(3, &mut || {
            Ok(composed(&q, &d, TEMPERATURE)?.backward().map(drop)?)
        })?;
    }
    let [step, composed_step, loss, composed_loss] = seconds.map(|mut all| {
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    });
    Ok([[step, composed_step], [loss, composed_loss]])
}
