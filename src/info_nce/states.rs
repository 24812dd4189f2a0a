//! What queries have seen of documents that come in chunks.

use super::query::Query;
use crate::error::Error;
use crate::log_sum_exp::LogSumExp;
use crate::rows::check_shape;

/// The softmax of each query while documents come in chunks: about 240 bytes for each query, however many the documents are.
///
/// 1. [`observe`](crate::InfoNceLoss::observe) every chunk once, in any order (several workers, each into states of its own: [`merge`](Self::merge) them);
/// 2. [`settle`](crate::InfoNceLoss::settle) for the value;
/// 3. [`apply`](crate::InfoNceLoss::apply) every chunk once more for the gradients.
///
/// All of it with one loss. To rounding that is the loss of all documents at once, whatever the chunks. The options may be any that ask of a candidate nothing
/// but its own score: no other directions, own negatives, pool, false negatives by similarity, or several positives.
///
/// ```
/// use contrastive::{InfoNceChunk, InfoNceInput, InfoNceLoss, InfoNceStates, Loss, Workspace};
/// use ndarray::{array, s};
///
/// let queries = array![[1.0, 0.2], [0.3, 1.0]];
/// let documents = array![[0.9, 0.0], [0.1, 1.0], [0.5, 0.5], [-1.0, 0.0]];
/// let loss = InfoNceLoss::new(0.5)?;
/// let whole: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
///
/// let (mut states, mut workspace) = (InfoNceStates::new(2), Workspace::new());
/// for first_document in [0, 2] {
///     let chunk = documents.slice(s![first_document..first_document + 2, ..]);
///     let input = InfoNceInput::new(queries.view(), chunk);
///     loss.observe(InfoNceChunk { input, first_document }, &mut states, &mut workspace)?;
/// }
/// let total = loss.settle::<f64>(&mut states, None, None)?;
/// assert!((total.value - whole).abs() < 1e-15);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InfoNceStates {
    pub(super) queries: Vec<Query>,
    /// Whether the queries are settled with all that they have seen.
    pub(super) settled: bool,
    /// Whether a sigmoid loss has observed, which sums no softmax.
    pub(super) sigmoid: bool,
}

impl InfoNceStates {
    /// Of queries that have not seen a document.
    pub fn new(queries: usize) -> Self {
        Self {
            queries: vec![Query::NEW; queries],
            settled: false,
            sigmoid: false,
        }
    }

    /// Lets in what other states of the same queries observed of other documents. They have to be settled after that, whether or not they were before.
    ///
    /// # Errors
    /// If they are of another number of queries, or a query has met its positive in both.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_shape("states", &[self.queries.len()], &[other.queries.len()])?;
        let mut both = self.queries.iter().zip(&other.queries);
        if both.any(|(query, other)| query.has_positive && other.has_positive) {
            return Err(Error::IllDefined { reason: TWICE });
        }
        for (query, other) in self.queries.iter_mut().zip(&other.queries) {
            query.merge(other);
        }
        self.settled = false;
        self.sigmoid |= other.sigmoid;
        Ok(())
    }

    /// log Σ exp(z) over what a query has seen, its positive included. `None` for a query that is not there, and where a sigmoid loss has observed: it has no
    /// softmax.
    pub fn log_sum_exp(&self, query: usize) -> Option<LogSumExp> {
        let query = self.queries.get(query).filter(|_| !self.sigmoid)?;
        let mut sum = LogSumExp::of_parts(query.others.max, query.others.sum);
        if query.has_positive {
            sum.update(query.positive.z);
        }
        Some(sum)
    }
}

pub(super) const TWICE: &str =
    "a query has met its positive in two chunks; each document belongs to one";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_take_as_many_bytes_for_a_query_as_is_said() {
        assert!(size_of::<Query>().abs_diff(240) < 8);
    }
}
