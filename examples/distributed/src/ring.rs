//! No rank holds all documents: shards go round twice, first for the softmaxes of the queries, then for the gradients, which travel with them.

use contrastive::{
    Error, InfoNceChunk, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceStates, Reduction,
    Targets, Workspace,
};
use ndarray::{Array2, ArrayView2, arr2};

use crate::shards::Shards;
use crate::{Number, Share};

/// As [`gathered::info_nce`](crate::gathered::info_nce), in memory that does not grow with the number of ranks.
///
/// # Errors
/// If the temperature is not positive, or the two sides differ in shape.
pub fn info_nce<A: Number>(
    shards: &Shards<'_>,
    temperature: f64,
    queries: ArrayView2<'_, A>,
    documents: ArrayView2<'_, A>,
) -> Result<Share<A>, Error> {
    let local = Local {
        shards,
        loss: InfoNceLoss::new(temperature)?
            .with_reduction(Reduction::Over(shards.total() as f64))?,
        queries,
        documents,
    };
    let mut workspace = Workspace::new();
    let mut states = local.observe(&mut workspace)?;
    let own: A = local.loss.settle(&mut states, None, None)?.value;
    let value = shards.all_reduce(arr2(&[[own]]))[[0, 0]];
    let (queries, documents) = local.gradients(&states, &mut workspace)?;
    Ok(Share {
        value,
        queries,
        documents,
    })
}

/// The queries and documents of this rank.
struct Local<'a, A> {
    shards: &'a Shards<'a>,
    loss: InfoNceLoss,
    queries: ArrayView2<'a, A>,
    documents: ArrayView2<'a, A>,
}

impl<A: Number> Local<'_, A> {
    /// First time round: every shard is scored by the own queries.
    fn observe(&self, workspace: &mut Workspace<A>) -> Result<InfoNceStates, Error> {
        let mut states = InfoNceStates::new(self.queries.nrows());
        let mut visitor = self.documents.to_owned();
        for turn in 0..self.shards.ranks() {
            if turn > 0 {
                visitor = self.shards.pass_on(&visitor, self.shards.visitor(turn));
            }
            let chunk = self.chunk(visitor.view(), turn);
            self.loss.observe(chunk, &mut states, workspace)?;
        }
        Ok(states)
    }

    /// Second time round: each shard comes with the gradient that the ranks before have given it, and one turn more brings it home.
    fn gradients(
        &self,
        states: &InfoNceStates,
        workspace: &mut Workspace<A>,
    ) -> Result<(Array2<A>, Array2<A>), Error> {
        let ranks = self.shards.ranks();
        let mut queries = Array2::zeros(self.queries.dim());
        let mut visitor = self.documents.to_owned();
        let mut gradient = Array2::zeros(visitor.dim());
        for turn in 0..ranks {
            if turn > 0 {
                let whose = self.shards.visitor(turn);
                visitor = self.shards.pass_on(&visitor, whose);
                gradient = self.shards.pass_on(&gradient, whose);
            }
            let mut by_queries = Array2::zeros(queries.dim());
            let mut by_visitor = Array2::zeros(visitor.dim());
            let views = InfoNceGradient {
                queries: Some(by_queries.view_mut()),
                documents: Some(by_visitor.view_mut()),
                ..InfoNceGradient::default()
            };
            let chunk = self.chunk(visitor.view(), turn);
            self.loss.apply(chunk, states, views, workspace)?;
            queries += &by_queries;
            gradient += &by_visitor;
        }
        if ranks > 1 {
            gradient = self.shards.pass_on(&gradient, self.shards.own());
        }
        Ok((queries, gradient))
    }

    /// The own queries against the shard that is here after `turn` turns.
    fn chunk<'b>(&'b self, visitor: ArrayView2<'b, A>, turn: usize) -> InfoNceChunk<'b, A> {
        let positives = Targets::Offset(self.shards.offset(self.shards.own()));
        InfoNceChunk {
            input: InfoNceInput::new(self.queries, visitor).with_targets(positives),
            first_document: self.shards.offset(self.shards.visitor(turn)),
        }
    }
}
