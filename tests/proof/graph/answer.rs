//! What the crate says of a batch.

use contrastive::{
    Error, Guide, Ids, InfoNceInput, InfoNceOwnedGradient, InfoNceReport, LogWeights, Loss,
    OwnedGradient, Scalar, Targets, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, Axis};

use super::batch::Batch;
use super::case::{OwnKind, TargetKind};
use super::extras::{Given, Shaped};

#[derive(Debug)]
pub(super) struct Answer<A> {
    pub(super) value: A,
    pub(super) rows: Array1<A>,
    pub(super) gradient: InfoNceOwnedGradient<A>,
    pub(super) report: InfoNceReport,
}

impl<A: Scalar> Answer<A> {
    /// The gradient by each input, in the order of [`Parts::numbers`].
    pub(super) fn parts(&self) -> [(&'static str, Vec<f64>); 6] {
        let gradient = &self.gradient;
        let wide = |x: &A| x.to_f64().expect("a number");
        let (negatives, pool) = (gradient.negatives.iter(), gradient.pool.iter());
        [
            ("queries", gradient.queries.iter().map(wide).collect()),
            ("documents", gradient.documents.iter().map(wide).collect()),
            ("negatives", negatives.flatten().map(wide).collect()),
            ("pool", pool.flatten().map(wide).collect()),
            ("log temperature", vec![wide(&gradient.log_temperature)]),
            ("bias", vec![wide(&gradient.bias)]),
        ]
    }

    /// All numbers of the gradient, in the order of [`Parts::numbers`].
    pub(super) fn flat(&self) -> Vec<f64> {
        let parts = self.parts().into_iter();
        parts.flat_map(|(_, numbers)| numbers).collect()
    }

    #[cfg(feature = "rayon")]
    pub(super) fn bits(&self) -> Vec<u64> {
        let value = self.value.to_f64().expect("a number");
        let all = self.flat().into_iter().chain([value]);
        all.map(f64::to_bits).collect()
    }
}

impl Batch {
    /// What the crate says of the batch, in the precision of `A`.
    pub(super) fn solve<A: Scalar>(
        &self,
        workspace: &mut Workspace<A>,
    ) -> Result<Answer<A>, Error> {
        let narrow = |x: &f64| A::from(*x).expect("a number");
        let matrix = |rows: &Array2<f64>| rows.map(narrow);
        let (case, n) = (&self.case, self.parts.queries.nrows());
        let (queries, documents) = (matrix(&self.parts.queries), matrix(&self.parts.documents));
        let (negatives, pool) = (matrix(&self.parts.negatives), matrix(&self.parts.pool));
        let weights = self.weights.map(narrow);
        let lists = Array1::from(self.positives.concat());
        let mut list_offsets = vec![0];
        for positives in &self.positives {
            list_offsets.push(list_offsets[list_offsets.len() - 1] + positives.len());
        }
        let list_offsets = Array1::from(list_offsets);
        let own = match case.own {
            OwnKind::Fixed(count) => (n, count),
            OwnKind::Ragged | OwnKind::None => (negatives.nrows(), 1),
        };
        let cube = (own.0, own.1, negatives.ncols());
        let cube: Array3<A> = negatives.into_shape_with_order(cube).expect("as many");
        let shaped = Shaped::new(&self.extras, own);

        let mut input = match case.targets {
            TargetKind::Labels => InfoNceInput::labelled(queries.view(), self.target_ids[0].view()),
            _ => InfoNceInput::new(queries.view(), documents.view()),
        };
        input = match case.targets {
            TargetKind::Aligned | TargetKind::Labels => input,
            TargetKind::Index => input.with_targets(Targets::Index(lists.view())),
            TargetKind::Lists | TargetKind::Few => input.with_targets(Targets::Lists {
                offsets: list_offsets.view(),
                documents: lists.view(),
            }),
            TargetKind::Ids => input.with_targets(Targets::Ids {
                queries: self.target_ids[0].view(),
                documents: self.target_ids[1].view(),
            }),
        };
        input = match case.own {
            OwnKind::None => input,
            OwnKind::Fixed(_) => input.with_negatives(cube.view()),
            OwnKind::Ragged => {
                let rows = cube.index_axis(Axis(1), 0);
                input.with_ragged_negatives(rows, self.offsets.view())
            }
        };
        if case.pool > 0 {
            input = input.with_pool(pool.view());
        }
        if case.weighted {
            input = input.with_weights(weights.view());
        }
        self.evaluate(self.with_extras(input, &shaped), workspace)
    }

    /// Adds what the case gives of ids, a guide and log weights.
    fn with_extras<'a, A: Scalar>(
        &'a self,
        mut input: InfoNceInput<'a, A>,
        shaped: &'a Shaped<A>,
    ) -> InfoNceInput<'a, A> {
        let case = &self.case;
        let there = |given: Given| Given {
            negatives: given.negatives && case.own != OwnKind::None,
            others: given.others && case.own != OwnKind::None,
            pool: given.pool && case.pool > 0,
            ..given
        };
        if let Some(given) = case.ids.map(there) {
            let [queries, documents, _, pool] = self.extras.marks.each_ref();
            input = input.with_ids(Ids {
                queries: queries.view(),
                documents: given.documents.then(|| documents.view()),
                negatives: given.negatives.then(|| shaped.negative_marks.view()),
                pool: given.pool.then(|| pool.view()),
            });
        }
        if let Some(given) = case.guide.map(there) {
            let [queries, documents, _, pool] = shaped.guide.each_ref();
            input = input.with_guide(Guide {
                queries: queries.view(),
                documents: documents.view(),
                negatives: given.negatives.then(|| shaped.negative_guide.view()),
                pool: given.pool.then(|| pool.view()),
            });
        }
        if let Some(given) = case.log_weights.map(there) {
            let [_, documents, _, pool] = shaped.log_weights.each_ref();
            input = input.with_log_weights(LogWeights {
                documents: given.documents.then(|| documents.view()),
                negatives: given.negatives.then(|| shaped.negative_log_weights.view()),
                others: given.others.then(|| shaped.other_log_weights.view()),
                pool: given.pool.then(|| pool.view()),
            });
        }
        input
    }

    fn evaluate<A: Scalar>(
        &self,
        input: InfoNceInput<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<Answer<A>, Error> {
        let mut gradient = InfoNceOwnedGradient::zeros(input);
        let mut rows = Array1::zeros(self.weights.len());
        let mut report = InfoNceReport::default();
        let want = Want::gradient(gradient.view_mut())
            .with_rows(rows.view_mut())
            .with_report(&mut report);
        let value = self.loss()?.evaluate(input, want, workspace)?;
        Ok(Answer {
            value,
            rows,
            gradient,
            report,
        })
    }
}
