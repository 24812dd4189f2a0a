//! No rank holds all documents: shards go round twice, first for the losses, then for the gradients, which travel with them.
//!
//! For query i let ℓᵢᵇ = log Σ_{j ∈ shard b} exp(zᵢⱼ) − zᵢ⁺ be its loss against shard b alone, zᵢ⁺ the score of its own document. Then the loss
//! against all documents is ℓᵢ = log Σ_b exp(ℓᵢᵇ), and its gradient Σ_b exp(ℓᵢᵇ − ℓᵢ) ∂ℓᵢᵇ: what the loss gives for shard b with weights.
//! Shard b of another rank does not have the own document, so there ℓᵢᵇ is the decoupled form over a pool.

use contrastive::{
    Error, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, Loss, OwnedGradient, Reduction, Want,
    Workspace,
};
use ndarray::{Array1, Array2, ArrayView2, Zip, arr2};

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
    let mut local = Local::new(shards, temperature, queries, documents)?;
    let parts = local.losses()?;
    let losses = merge(&parts);
    let sum = losses.iter().sum::<f64>() / shards.total() as f64;
    let value = shards.all_reduce(arr2(&[[sum]]))[[0, 0]];
    let weights: Vec<_> = parts.iter().map(|part| weights(part, &losses)).collect();
    let (queries, documents) = local.gradients(&weights)?;
    Ok(Share {
        value: number(value),
        queries,
        documents,
    })
}

/// The queries and documents of this rank.
struct Local<'a, A> {
    shards: &'a Shards<'a>,
    own: InfoNceLoss,
    visiting: InfoNceLoss,
    queries: ArrayView2<'a, A>,
    documents: ArrayView2<'a, A>,
    workspace: Workspace<A>,
}

impl<'a, A: Number> Local<'a, A> {
    fn new(
        shards: &'a Shards<'a>,
        temperature: f64,
        queries: ArrayView2<'a, A>,
        documents: ArrayView2<'a, A>,
    ) -> Result<Self, Error> {
        let own = InfoNceLoss::new(temperature)?
            .with_reduction(Reduction::Over(shards.total() as f64))?;
        Ok(Self {
            shards,
            own,
            visiting: own.with_in_batch_negatives(false).with_decoupled(true),
            queries,
            documents,
            workspace: Workspace::new(),
        })
    }

    /// First time round: ℓᵢᵇ of the own queries, for the own shard and each that visits.
    fn losses(&mut self) -> Result<Vec<Array1<A>>, Error> {
        let own = InfoNceInput::new(self.queries, self.documents);
        let mut parts = vec![self.rows(self.own, own)?];
        let mut visitor = self.documents.to_owned();
        for turn in 1..self.shards.ranks() {
            visitor = self.shards.pass_on(&visitor, self.shards.visitor(turn));
            let input = InfoNceInput::new(self.queries, self.documents);
            parts.push(self.rows(self.visiting, input.with_pool(visitor.view()))?);
        }
        Ok(parts)
    }

    fn rows(&mut self, loss: InfoNceLoss, input: InfoNceInput<'_, A>) -> Result<Array1<A>, Error> {
        let mut rows = Array1::zeros(self.queries.nrows());
        // A shard without documents has the sum 0 of exponentials.
        if input.pool.is_some_and(|pool| pool.is_empty()) {
            rows.fill(A::neg_infinity());
            return Ok(rows);
        }
        let want = Want::value().with_rows(rows.view_mut());
        loss.evaluate(input, want, &mut self.workspace)?;
        Ok(rows)
    }

    /// Second time round: each shard comes with the gradient that the ranks before have given it, and one turn more brings it home.
    fn gradients(&mut self, weights: &[Array1<A>]) -> Result<(Array2<A>, Array2<A>), Error> {
        let own = self.part(None, &weights[0])?;
        let (mut queries, mut documents) = (own.queries, own.documents);
        let mut visitor = self.documents.to_owned();
        let mut gradient = Array2::zeros(visitor.dim());
        for (turn, weights) in weights.iter().enumerate().skip(1) {
            let whose = self.shards.visitor(turn);
            visitor = self.shards.pass_on(&visitor, whose);
            gradient = self.shards.pass_on(&gradient, whose);
            if visitor.is_empty() {
                continue;
            }
            let part = self.part(Some(visitor.view()), weights)?;
            queries += &part.queries;
            documents += &part.documents;
            gradient += &part.pool.expect("the visitor is a pool");
        }
        if self.shards.ranks() > 1 {
            documents += &self.shards.pass_on(&gradient, self.shards.own());
        }
        Ok((queries, documents))
    }

    /// The gradient of the own queries against one shard: the own, or one that visits as a pool.
    fn part(
        &mut self,
        visitor: Option<ArrayView2<'_, A>>,
        weights: &Array1<A>,
    ) -> Result<InfoNceOwnedGradient<A>, Error> {
        let input = InfoNceInput::new(self.queries, self.documents).with_weights(weights.view());
        let (loss, input) = match visitor {
            None => (self.own, input),
            Some(visitor) => (self.visiting, input.with_pool(visitor)),
        };
        let mut gradient = InfoNceOwnedGradient::zeros(input);
        let want = Want::gradient(gradient.view_mut());
        loss.evaluate(input, want, &mut self.workspace)?;
        Ok(gradient)
    }
}

/// ℓᵢ = log Σ_b exp(ℓᵢᵇ). The own shard has the own document, so its part is not negative, and a small loss keeps its digits.
fn merge<A: Number>(parts: &[Array1<A>]) -> Array1<f64> {
    let mut losses = parts[0].mapv(wide);
    for part in &parts[1..] {
        Zip::from(&mut losses).and(part).for_each(|loss, &other| {
            let (high, low) = (loss.max(wide(other)), loss.min(wide(other)));
            *loss = high + (low - high).exp().ln_1p();
        });
    }
    losses
}

/// exp(ℓᵢᵇ − ℓᵢ): the share of shard b in the sum of exponentials.
fn weights<A: Number>(part: &Array1<A>, losses: &Array1<f64>) -> Array1<A> {
    Zip::from(part)
        .and(losses)
        .map_collect(|&part, &loss| number((wide(part) - loss).exp()))
}

fn wide<A: Number>(x: A) -> f64 {
    x.to_f64().expect("a float is an f64")
}

fn number<A: Number>(x: f64) -> A {
    A::from(x).expect("an f64 rounds to a float")
}
