//! What the gradient needs to know of each query of a block.

use std::ops::Range;

use super::columns::shift_of;
use super::engine::Engine;
use super::listed::times;
use super::query::Query;
use crate::scalar::Scalar;

/// What the gradient of a block of queries needs, lane by lane; zero beyond the last query.
pub(super) struct Lanes<A> {
    pub(super) shifts: Vec<A>,
    /// What a lane's exponentials are multiplied with, where two softmaxes share a tile.
    pub(super) weights: Vec<A>,
    /// What a lane's products are multiplied with, where one softmax has the tile to itself.
    pub(super) scales: Vec<f64>,
    /// Lanes of queries that do not take part: what they hold, a NaN perhaps, must not reach the documents.
    pub(super) idle: Vec<usize>,
    /// The value at a single positive, before the document's factor.
    pub(super) positives: Vec<f64>,
    /// What ∂ℓ/∂z of one of several positives is divided by for the same; 0 where both have underflown.
    pub(super) pull_scales: Vec<f64>,
    /// What is taken off each candidate, with smoothed labels.
    pub(super) offsets: Option<Vec<A>>,
}

impl<A: Scalar> Lanes<A> {
    pub(super) fn new(engine: &Engine<'_, '_, A>, queries: &Range<usize>) -> Self {
        let width = queries.len().div_ceil(A::PANEL) * A::PANEL;
        let smoothing = engine.loss.label_smoothing;
        // Where a tile holds more than multiples of one softmax, the weights go into the tile.
        let in_tile = engine.weights_in_tiles();
        // Lanes beyond the last query are idle, too: a document that is not finite makes NaN of their zeros.
        let mut lanes = Self {
            offsets: (smoothing > 0.0).then(|| vec![A::zero(); width]),
            shifts: vec![A::zero(); width],
            weights: vec![A::zero(); width],
            scales: vec![0.0; width],
            idle: (queries.len()..width).collect(),
            positives: vec![0.0; width],
            pull_scales: vec![0.0; width],
        };
        for (lane, i) in queries.clone().enumerate() {
            let (weight, query) = (engine.listed.weight(i), &engine.queries[i]);
            if weight == 0.0 && !engine.loss.directions.document_to_query {
                lanes.idle.push(lane);
            }
            if engine.loss.bias.is_some() {
                lanes.scales[lane] = weight;
                lanes.positives[lane] = -query.settled.pull;
                lanes.pull_scales[lane] = 1.0;
                continue;
            }
            let (shift, rounding) = shift_and_rounding::<A>(query);
            let share = times(weight, query.settled.per_sum * rounding.exp());
            lanes.shifts[lane] = shift;
            if let Some(offsets) = &mut lanes.offsets {
                offsets[lane] = A::narrow(weight * smoothing / (1.0 + query.totals.count));
            }
            if in_tile {
                lanes.weights[lane] = A::narrow(share);
                lanes.scales[lane] = 1.0;
                lanes.positives[lane] = query.column_positive - times(weight, query.settled.pull);
            } else {
                lanes.scales[lane] = share;
                lanes.positives[lane] = -query.others.sum * (-rounding).exp();
                lanes.pull_scales[lane] = query.settled.per_sum * rounding.exp();
            }
        }
        lanes
    }
}

impl<A: Scalar> Lanes<A> {
    /// The lanes of a panel that do not take part, counted from its first.
    pub(super) fn idle_in(&self, panel: usize) -> Vec<usize> {
        let range = panel * A::PANEL..(panel + 1) * A::PANEL;
        let idle = self.idle.iter().filter(|lane| range.contains(lane));
        idle.map(|lane| lane - range.start).collect()
    }
}

/// What is subtracted from a query's scores: their maximum rounded up. What the rounding does to the exponentials is undone by a factor. A rounding
/// of more than this means that scores of such size tell nothing apart, and undoing it would overflow.
fn shift_and_rounding<A: Scalar>(query: &Query) -> (A, f64) {
    const MOST: f64 = 1.0;
    let shift = shift_of::<A>(query.others.max);
    let rounding = match query.others.max {
        f64::NEG_INFINITY => 0.0,
        max => (shift.wide() - max).min(MOST),
    };
    (shift, rounding)
}
