//! What the losses that rank pairs by their grades share: measure all pairs, rank, write the gradients.

use super::distances::measure_all;
use super::input::{PairInput, Wanted, check_grades};
use super::pass::{Measure, Pass, Term};
use super::ranking::Ranking;
use crate::error::{Error, check};
use crate::reduction::Reduction;
use crate::rows;
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// What a batch of graded pairs looked like to a loss that ranks them. Pairs of weight 0 are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RankingReport {
    /// The number of comparisons: two pairs of different grades.
    pub comparisons: f64,
    /// The share of comparisons in which the pair with the higher grade is the more similar one; NaN if there are none.
    pub concordance: f64,
}

/// The scale of a ranking loss, if it is in range.
pub(super) fn checked_scale(scale: f64) -> Result<f64, Error> {
    // Beyond this a scaled similarity could overflow.
    let in_range = scale > 0.0 && scale <= 1e300;
    check("scale", "a positive number, at most 1e300", scale, in_range)
}

/// The loss of a batch, ranked by what `measure` takes for a distance.
pub(super) fn evaluate<A: Scalar>(
    measure: impl Measure<A, Value = f64>,
    scale: f64,
    input: PairInput<'_, A, A>,
    want: Wanted<'_, '_, A, RankingReport>,
    workspace: &mut Workspace<A>,
) -> Result<A, Error> {
    if want.rows.is_some() {
        return Err(Error::IllDefined {
            reason: "one logarithm over all comparisons has no row losses; ask for none",
        });
    }
    let n = input.x.nrows();
    // A mean takes the same weights, but for an empty batch.
    let weights = if n == 0 {
        Reduction::Sum
    } else {
        Reduction::Mean
    };
    input.check(weights, &want)?;
    check_grades(input.labels)?;

    let (distances, slopes) = workspace.sums.take(2 * n).split_at_mut(n);
    measure_all(&measure, input.x, input.y, distances);
    let ranking = Ranking::new(input.labels, input.weights);
    let mut slopes = want.gradient.is_some().then_some(slopes);
    let loss = ranking.loss(scale, distances, slopes.as_deref_mut());
    if let (Some(gradient), Some(slopes)) = (want.gradient, slopes) {
        let pass = Pass {
            x: input.x,
            y: input.y,
            measure,
            term: |row: usize, _: f64| Term {
                slope: slopes[row],
                ..Term::default()
            },
        };
        let views = Some((gradient.x, gradient.y));
        rows::evaluate(&pass, input.extent(), Reduction::Sum, None, views, None);
    }
    if let Some(report) = want.report {
        let (comparisons, concordant) = ranking.concordance(distances);
        *report = RankingReport {
            comparisons,
            concordance: concordant / comparisons,
        };
    }
    Ok(A::narrow(loss))
}
