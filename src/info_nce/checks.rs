//! What is refused before anything is written.

use super::rules::Counts;
use super::{InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceReport};
use crate::error::Error;
use crate::loss::Want;
use crate::rows::check_shape;
use crate::scalar::Scalar;

impl InfoNceLoss {
    pub(super) fn check_input<A: Scalar>(&self, input: &InfoNceInput<'_, A>) -> Result<(), Error> {
        let (n, dim) = input.queries.dim();
        check_shape(
            "documents",
            &[input.documents.nrows(), dim],
            input.documents.shape(),
        )?;
        if let Some(negatives) = &input.negatives {
            check_shape(
                "negatives",
                &[n, negatives.dim().1.max(1), dim],
                negatives.shape(),
            )?;
        }
        if let Some(pool) = &input.pool {
            check_shape("pool", &[pool.nrows().max(1), dim], pool.shape())?;
        }
        input.targets.check(n, input.documents.nrows())?;
        self.check_rules(input)?;
        self.reduction.check_weights("queries", n, input.weights)?;
        let others = input.negatives.is_some() || input.pool.is_some();
        if !self.in_batch_negatives && !others {
            let reason = "without in-batch negatives a query competes with nothing; give own negatives or a pool";
            return Err(Error::IllDefined { reason });
        }
        if self.symmetric && !self.in_batch_negatives {
            let reason = "the symmetric form lets the queries of the batch compete, which needs in-batch negatives";
            return Err(Error::IllDefined { reason });
        }
        Ok(())
    }

    fn check_rules<A: Scalar>(&self, input: &InfoNceInput<'_, A>) -> Result<(), Error> {
        let counts = Counts {
            queries: input.queries.nrows(),
            documents: input.documents.nrows(),
            own: input.negatives.map(|negatives| negatives.dim().1),
            pool: input.pool.map(|pool| pool.nrows()),
        };
        if let Some(ids) = &input.ids {
            ids.check(&counts)?;
        }
        if let Some(guide) = &input.guide {
            guide.check(&counts)?;
        }
        input.log_weights.check(&counts)?;
        if self.symmetric && (self.decoupled || self.label_smoothing > 0.0) {
            let reason = "label smoothing and the decoupled form are defined for queries alone; call the loss for each direction";
            return Err(Error::IllDefined { reason });
        }
        Ok(())
    }
}

pub(super) fn check_want<A: Scalar>(
    input: &InfoNceInput<'_, A>,
    want: &Want<'_, A, InfoNceGradient<'_, A>, InfoNceReport>,
) -> Result<(), Error> {
    if let Some(rows) = &want.rows {
        check_shape("rows", &[input.queries.nrows()], rows.shape())?;
    }
    let Some(gradient) = &want.gradient else {
        return Ok(());
    };
    if let Some(view) = &gradient.queries {
        check_shape("gradient.queries", input.queries.shape(), view.shape())?;
    }
    if let Some(view) = &gradient.documents {
        check_shape("gradient.documents", input.documents.shape(), view.shape())?;
    }
    if let Some(view) = &gradient.negatives {
        let shape = input
            .negatives
            .map_or(vec![0, 0, 0], |negatives| negatives.shape().to_vec());
        check_shape("gradient.negatives", &shape, view.shape())?;
    }
    if let Some(view) = &gradient.pool {
        let shape = input.pool.map_or(vec![0, 0], |pool| pool.shape().to_vec());
        check_shape("gradient.pool", &shape, view.shape())?;
    }
    Ok(())
}
