//! What a pass has found: losses, value, sums over the queries, the report.

use std::sync::atomic::Ordering;

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

    fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        let weights = self.listed.input.weights;
        (0..self.queries.len()).map(move |i| weights.map_or(1.0, |weights| weights[i].wide()))
    }

    pub(super) fn weighted_sum(&self, losses: &[f64]) -> f64 {
        let rows = losses
            .iter()
            .zip(self.weights())
            .filter(|&(_, weight)| weight != 0.0);
        rows.fold(Sum::default(), |sum, (loss, weight)| {
            sum.plus(loss * weight)
        })
        .value()
    }

    /// The value of the loss, with what its sum over the rows is multiplied by.
    pub(super) fn value(&self, losses: &[f64], scale: f64) -> A {
        A::narrow(if scale == 0.0 {
            0.0
        } else {
            self.weighted_sum(losses) * scale
        })
    }

    /// 1 over the weight of the rows whose loss is not zero.
    pub(super) fn per_active_weight(&self, losses: &[f64]) -> f64 {
        let active = losses
            .iter()
            .zip(self.weights())
            .filter(|&(&loss, _)| loss != 0.0);
        let sum = active.fold(Sum::default(), |sum, (_, weight)| sum.plus(weight));
        reciprocal_or_zero(sum.value())
    }

    /// The sum of something over the queries, each times its weight and the engine's scale.
    pub(super) fn weighted(&self, of: impl Fn(&Query) -> f64) -> f64 {
        let queries = self.queries.iter().enumerate();
        let queries = queries.map(|(i, query)| (self.listed.weight(i), query));
        let queries = queries.filter(|&(weight, _)| weight != 0.0);
        queries
            .fold(Sum::default(), |sum, (weight, query)| {
                sum.plus(weight * of(query))
            })
            .value()
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
