//! Triplets by the definitions of the strategies, and the loss over any list of them, in plain `f64` loops.

use contrastive::{BatchDistance, Reduction, Triplet, TripletMining};
use ndarray::ArrayView1;

use crate::batch::Batch;

pub(crate) fn distance(kind: BatchDistance, x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
    let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
    match kind {
        BatchDistance::Euclidean => square.sqrt(),
        BatchDistance::SquaredEuclidean => square,
        BatchDistance::Cosine => {
            let norm = |x: ArrayView1<'_, f64>| x.dot(&x).sqrt();
            1.0 - x.dot(&y) / (norm(x) * norm(y))
        }
        _ => panic!("a distance without a reference"),
    }
}

/// The distance of an anchor and a candidate.
fn between(batch: &Batch<f64>, anchor: usize, candidate: usize) -> f64 {
    let rows = batch
        .candidates
        .as_ref()
        .map_or(&batch.anchors, |(rows, _)| rows);
    distance(
        batch.options.distance,
        batch.anchors.row(anchor),
        rows.row(candidate),
    )
}

/// All triplets of anchors whose weight is not zero.
pub(crate) fn all_triplets(batch: &Batch<f64>) -> Vec<Triplet> {
    let (labels, own) = match &batch.candidates {
        Some((_, labels)) => (labels, false),
        None => (&batch.labels, true),
    };
    let mut list = Vec::new();
    for anchor in 0..batch.anchors.nrows() {
        if batch
            .weights
            .as_ref()
            .is_some_and(|weights| weights[anchor] == 0.0)
        {
            continue;
        }
        for positive in 0..labels.len() {
            for negative in 0..labels.len() {
                let valid = labels[positive] == batch.labels[anchor]
                    && labels[negative] != batch.labels[anchor]
                    && !(own && positive == anchor);
                if valid {
                    list.push(Triplet {
                        anchor,
                        positive,
                        negative,
                    });
                }
            }
        }
    }
    list
}

/// The triplets that a strategy counts, each judged by itself among all of its anchor. For distance-weighted sampling, which leaves it to chance,
/// those that `drawn` names.
pub(crate) fn triplets(batch: &Batch<f64>, drawn: &[Triplet]) -> Vec<Triplet> {
    let all = all_triplets(batch);
    let own = all.chunk_by(|x, y| x.anchor == y.anchor);
    own.flat_map(|own| of_anchor(batch, own, drawn)).collect()
}

fn of_anchor(batch: &Batch<f64>, own: &[Triplet], drawn: &[Triplet]) -> Vec<Triplet> {
    let measured: Vec<(f64, f64)> = own
        .iter()
        .map(|t| {
            let near = between(batch, t.anchor, t.positive);
            (near, between(batch, t.anchor, t.negative))
        })
        .collect();
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let nearest_positive = least(&mut measured.iter().map(|d| d.0));
    let farthest_positive = -least(&mut measured.iter().map(|d| -d.0));
    let nearest_negative = least(&mut measured.iter().map(|d| d.1));
    let farthest_negative = -least(&mut measured.iter().map(|d| -d.1));
    let nearest_beyond =
        |near: f64| least(&mut measured.iter().map(|d| d.1).filter(|&far| far > near));
    let counts = |t: &Triplet, near: f64, far: f64| match batch.options.strategy {
        TripletMining::BatchAll => true,
        TripletMining::BatchHard => near == farthest_positive && far == nearest_negative,
        TripletMining::EasyPositiveHard => near == nearest_positive && far == nearest_negative,
        TripletMining::EasyPositiveSemiHard => {
            near == nearest_positive && far == nearest_beyond(near)
        }
        TripletMining::BatchSemiHard => match nearest_beyond(near) {
            f64::INFINITY => far == farthest_negative,
            nearest => far == nearest,
        },
        TripletMining::DistanceWeighted(_) => drawn.contains(t),
        _ => panic!("a strategy without a reference"),
    };
    let pairs = own.iter().zip(&measured);
    let counted = pairs.filter(|&(t, d)| counts(t, d.0, d.1));
    counted.map(|(t, _)| *t).collect()
}

/// The loss of a triplet.
pub(crate) fn triplet_loss(batch: &Batch<f64>, t: &Triplet) -> f64 {
    let excess = batch.options.margin + between(batch, t.anchor, t.positive)
        - between(batch, t.anchor, t.negative);
    if !batch.options.soft {
        excess.max(0.0)
    } else if excess > 0.0 {
        excess + (-excess).exp().ln_1p()
    } else {
        excess.exp().ln_1p()
    }
}

/// How far the nearest of some triplets is from its kink.
pub(crate) fn clearance(batch: &Batch<f64>, triplets: &[Triplet]) -> f64 {
    let excess = |t: &Triplet| {
        batch.options.margin + between(batch, t.anchor, t.positive)
            - between(batch, t.anchor, t.negative)
    };
    let kinks = triplets.iter().filter(|_| !batch.options.soft);
    kinks.map(|t| excess(t).abs()).fold(f64::INFINITY, f64::min)
}

/// The row losses.
pub(crate) fn rows(batch: &Batch<f64>, triplets: &[Triplet]) -> Vec<f64> {
    let row = |anchor: usize| {
        let own = triplets.iter().filter(|t| t.anchor == anchor);
        let losses: Vec<f64> = own.map(|t| triplet_loss(batch, t)).collect();
        let sum: f64 = losses.iter().sum();
        if batch.options.per_anchor && !losses.is_empty() {
            sum / losses.len() as f64
        } else {
            sum
        }
    };
    (0..batch.anchors.nrows()).map(row).collect()
}

/// L over a list of triplets.
pub(crate) fn value(batch: &Batch<f64>, triplets: &[Triplet]) -> f64 {
    let weight = |anchor: usize| {
        batch
            .weights
            .as_ref()
            .map_or(1.0, |weights| weights[anchor])
    };
    let rows = rows(batch, triplets);
    let (mut all, mut active) = (0.0, 0.0);
    for (anchor, &row) in rows.iter().enumerate() {
        let own = || triplets.iter().filter(|t| t.anchor == anchor);
        let losing = own().filter(|t| triplet_loss(batch, t) != 0.0).count();
        let counts = if batch.options.per_anchor {
            [own().count().min(1), usize::from(row != 0.0)]
        } else {
            [own().count(), losing]
        };
        all += weight(anchor) * counts[0] as f64;
        active += weight(anchor) * counts[1] as f64;
    }
    let sum: f64 = rows
        .iter()
        .enumerate()
        .map(|(anchor, row)| weight(anchor) * row)
        .sum();
    let z = match batch.options.reduction {
        Reduction::Mean => all,
        Reduction::MeanActive => active,
        Reduction::Sum => 1.0,
        Reduction::Over(z) => z,
        _ => panic!("a reduction without a reference"),
    };
    if z == 0.0 { 0.0 } else { sum / z }
}
