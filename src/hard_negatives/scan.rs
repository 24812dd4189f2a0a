//! A second look at whatever may belong to the best.

use super::search::{Queries, Rank, Ranking, insert};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel};
use crate::staging::contiguous;

/// Goes through the products of a panel of queries and a chunk of documents.
pub(super) struct Scan<'c, 'q, 's, 'a, A> {
    pub(super) queries: &'c Queries<'q, 's, 'a, A>,
    /// Of the panel, among the queries.
    pub(super) first_query: usize,
    pub(super) first_document: usize,
    /// `[document, lane]`
    pub(super) tile: &'c [A],
    /// What a similarity must reach to enter the ranking of a lane.
    pub(super) floors: &'c mut [A],
    pub(super) rankings: &'c mut [Ranking],
}

impl<A: Scalar> Kernel for Scan<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let mut spares = (Vec::new(), Vec::new());
        let lanes = self.first_query..self.first_query + A::PANEL;
        let slacks = &self.queries.slacks[lanes.clone()];
        let offsets = &self.queries.offsets[lanes.clone()];
        let spans = &self.queries.spans[lanes];
        for (index, products) in self.tile.chunks_exact(A::PANEL).enumerate() {
            let document = self.first_document + index;
            let bound = self.queries.search.documents[document];
            let exact = |product: A, offset: A| product * bound.factor + (offset + bound.offset);
            let off = |slack: A, span: A| slack * bound.slack + (span + bound.span);
            let queries = products.iter().zip(offsets).zip(slacks).zip(spans);
            // The comparison is false for NaN, which needs a second look as well.
            let none = queries.zip(&*self.floors).fold(
                true,
                |none, ((((&product, &offset), &slack), &span), &floor)| {
                    none & (exact(product, offset) + off(slack, span) < floor)
                },
            );
            if none {
                continue;
            }
            for lane in 0..A::PANEL {
                let (exact, off) = (
                    exact(products[lane], offsets[lane]),
                    off(slacks[lane], spans[lane]),
                );
                let below = exact + off < self.floors[lane];
                // Beyond the last query there is no ranking.
                if !below && self.first_query + lane < self.rankings.len() {
                    self.look::<I>(lane, document, exact - off, &mut spares);
                }
            }
        }
    }
}

impl<A: Scalar> Scan<'_, '_, '_, '_, A> {
    /// Measures a document from its row, and puts it into the ranking if it belongs there. Its similarity is `least` at least.
    #[inline(always)]
    fn look<I: Isa>(
        &mut self,
        lane: usize,
        document: usize,
        least: A,
        spares: &mut (Vec<A>, Vec<A>),
    ) {
        let search = self.queries.search;
        let index = self.first_query + lane;
        let query = self.queries.range.start + index;
        let ceiling = self.queries.ceilings[index];
        let same = search
            .input
            .ids
            .is_some_and(|(queries, documents)| queries[query] == documents[document]);
        if same || least.wide() > ceiling || search.positives(query).any(|row| row == document) {
            return;
        }
        let x = contiguous(search.input.queries.row(query), &mut spares.0);
        let y = contiguous(search.input.documents.row(document), &mut spares.1);
        let score = search.miner.similarity.measure::<A, I>(x, y).similarity();
        // False for NaN, of the positive or of this one.
        if score <= ceiling {
            let ranking = &mut self.rankings[index];
            insert(ranking, Rank { document, score }, search.length);
            if ranking.len() == search.length {
                self.floors[lane] = A::narrow(ranking[search.length - 1].score);
            }
        }
    }
}
