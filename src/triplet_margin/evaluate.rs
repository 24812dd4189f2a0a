//! The pass over a batch of triplets, and over several prefixes of its rows.

use super::pass::{Pass, Views};
use super::{
    TripletMarginGradient, TripletMarginInput, TripletMarginLoss, TripletMarginReport, Wanted,
};
use crate::distance::{Chosen, Distance};
use crate::error::Error;
use crate::prefixes::{Prefix, Prefixes, TripletViews, clear_beyond};
use crate::rows::{self, Extent, RowLoss, check_shape};
use crate::scalar::Scalar;
use crate::workspace::Workspace;

/// The loss with a distance that is known only now.
pub(crate) fn evaluate<A: Scalar>(
    loss: &TripletMarginLoss<&dyn Distance<A>>,
    input: TripletMarginInput<'_, A>,
    want: Wanted<'_, '_, A>,
    _: &mut Workspace<A>,
) -> Result<A, Error> {
    loss.check(&input, &want)?;
    let pass = Pass {
        loss: &loss.over(Chosen::new(loss.distance)),
        input,
    };
    Ok(loss.run(&pass, input, want))
}

/// The weighted sum over prefixes of the input; `None`, and `want` as it was, where they are not passed over together.
pub(crate) fn evaluate_prefixes<A: Scalar>(
    loss: &TripletMarginLoss<&dyn Distance<A>>,
    input: &TripletMarginInput<'_, A>,
    prefixes: &[(TripletMarginInput<'_, A>, f64)],
    want: &mut Wanted<'_, '_, A>,
) -> Result<Option<A>, Error> {
    loss.check(input, want)?;
    let chosen = loss.over(Chosen::new(loss.distance));
    let passes = prefixes.iter().map(|&(input, weight)| Prefix {
        columns: input.anchor.ncols(),
        pass: Pass {
            loss: &chosen,
            input,
        },
        weight,
    });
    let Some(passes) = Prefixes::<_, TripletViews>::new(loss.reduction, passes) else {
        return Ok(None);
    };
    let mut want = want.take();
    if let Some(gradient) = &mut want.gradient {
        clear_beyond(&mut gradient.anchor, passes.columns());
        clear_beyond(&mut gradient.positive, passes.columns());
        clear_beyond(&mut gradient.negatives, passes.columns());
    }
    Ok(Some(loss.run(&passes, *input, want)))
}

impl<D> TripletMarginLoss<D> {
    /// A pass over input that has been checked.
    fn run<'g, A: Scalar>(
        &self,
        pass: &impl RowLoss<A, Views<'g, A>>,
        input: TripletMarginInput<'_, A>,
        want: Wanted<'_, 'g, A>,
    ) -> A {
        let (n, dim) = input.anchor.dim();
        let k = input.negatives.dim().1;
        let extent = Extent {
            rows: n,
            row_bytes: (2 + k).saturating_mul(dim).saturating_mul(size_of::<A>()),
        };
        let gradient = want
            .gradient
            .map(|gradient| (gradient.anchor, gradient.positive, gradient.negatives));
        let (value, totals) = rows::evaluate(
            pass,
            extent,
            self.reduction,
            input.weights,
            gradient,
            want.rows,
        );
        if let Some(report) = want.report {
            let [active, positive, negative, _] = totals.tally;
            let triplets = (n * k) as f64;
            *report = TripletMarginReport {
                active: active / triplets,
                positive_distance: positive / n as f64,
                negative_distance: negative / triplets,
            };
        }
        value
    }

    fn check<A: Scalar>(
        &self,
        input: &TripletMarginInput<'_, A>,
        want: &Wanted<'_, '_, A>,
    ) -> Result<(), Error> {
        let (n, dim) = input.anchor.dim();
        let k = input.negatives.dim().1;
        check_shape("positive", &[n, dim], input.positive.shape())?;
        check_shape("negatives", &[n, k.max(1), dim], input.negatives.shape())?;
        self.reduction.check_weights("anchor", n, input.weights)?;
        if let Some(rows) = &want.rows {
            check_shape("rows", &[n], rows.shape())?;
        }
        if let Some(TripletMarginGradient {
            anchor,
            positive,
            negatives,
        }) = &want.gradient
        {
            for (name, view) in [("gradient.anchor", anchor), ("gradient.positive", positive)] {
                view.as_ref()
                    .map_or(Ok(()), |view| check_shape(name, &[n, dim], view.shape()))?;
            }
            let view = negatives.as_ref();
            view.map_or(Ok(()), |view| {
                check_shape("gradient.negatives", &[n, k, dim], view.shape())
            })?;
        }
        Ok(())
    }
}
