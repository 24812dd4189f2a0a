//! What a pass has found: losses, value, sums over the queries, the report.

use std::sync::atomic::Ordering;

use ndarray::ArrayView1;

use super::InfoNceReport;
use super::engine::Engine;
use super::query::Query;
use crate::reduction::{Sum, reciprocal_or_zero};
use crate::scalar::Scalar;

impl<A: Scalar> Engine<'_, '_, A> {
    pub(super) fn losses(&self) -> Vec<f64> {
        let queries = self.queries.iter();
        if self.loss.averages_directions() {
            queries
                .map(|query| 0.5 * (query.settled.loss + query.column.loss))
                .collect()
        } else {
            queries.map(|query| query.settled.loss).collect()
        }
    }

    /// The value of the loss, with what its sum over the rows is multiplied by.
    pub(super) fn value(&self, losses: &[f64], scale: f64) -> A {
        total(losses.iter().copied(), self.listed.input.weights, scale)
    }

    /// 1 over the weight of the rows whose loss is not zero.
    pub(super) fn per_active_weight(&self, losses: &[f64]) -> f64 {
        let weights = row_weights(self.listed.input.weights);
        let active = losses.iter().zip(weights).filter(|&(&loss, _)| loss != 0.0);
        reciprocal_or_zero(weighted_sum(active.map(|(_, weight)| (1.0, weight))))
    }

    /// The sum of something over the queries, each times its weight and the engine's scale.
    pub(super) fn weighted(&self, of: impl Fn(&Query) -> f64) -> f64 {
        let queries = self.queries.iter().enumerate();
        weighted_sum(queries.map(|(i, query)| (of(query), self.listed.weight(i))))
    }

    pub(super) fn report(&self, losses: &[f64]) -> InfoNceReport {
        let ranked = || self.queries.iter().filter(|query| query.has_positive);
        let n = ranked().count() as f64;
        let mean = |of: fn(&Query) -> f64| ranked().map(of).sum::<f64>() / n;
        let active = losses.iter().zip(&self.queries);
        let active = active.filter(|&(&loss, query)| query.has_positive && loss != 0.0);
        let sum = |of: fn(&Query) -> f64| ranked().map(of).sum::<f64>();
        let negatives = sum(|query| query.totals.u) / sum(|query| query.totals.count);
        InfoNceReport {
            active: active.count() as f64 / n,
            accuracy: mean(|query| f64::from(query.above == 0.0)),
            reciprocal_rank: mean(|query| 1.0 / (1.0 + query.above)),
            positive_probability: mean(|query| 1.0 - query.settled.others),
            positive_similarity: mean(|query| query.positive.u) / self.listed.per_temperature,
            negative_similarity: negatives / self.listed.per_temperature,
            left_out: self.listed.left_out.load(Ordering::Relaxed),
            without_positive: self.queries.len() - ranked().count(),
        }
    }
}

/// What some number of each row comes to: the weighted sum over the rows, times a scale.
pub(super) fn total<A: Scalar>(
    rows: impl Iterator<Item = f64>,
    weights: Option<ArrayView1<'_, A>>,
    scale: f64,
) -> A {
    // A mean over no weight is 0, also where a row is not finite.
    A::narrow(if scale == 0.0 {
        0.0
    } else {
        weighted_sum(rows.zip(row_weights(weights))) * scale
    })
}

/// The weight of each row, without end.
fn row_weights<A: Scalar>(weights: Option<ArrayView1<'_, A>>) -> impl Iterator<Item = f64> + '_ {
    (0..).map(move |row| weights.map_or(1.0, |weights: ArrayView1<'_, A>| weights[row].wide()))
}

/// The sum of numbers times their weights. What has weight 0 does not take part, not even with a NaN.
fn weighted_sum(numbers: impl Iterator<Item = (f64, f64)>) -> f64 {
    numbers
        .filter(|&(_, weight)| weight != 0.0)
        .fold(Sum::default(), |sum, (x, weight)| sum.plus(x * weight))
        .value()
}
