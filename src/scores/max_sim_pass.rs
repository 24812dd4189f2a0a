//! Who wins each query token in each document, and what the winners make of the gradient.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Ix2};

use super::flat::FlatRows;
use super::function::Sides;
use super::offsets::{Ragged, range};
use crate::blocks::{Threads, for_each};
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::{Pair, Similarity};
use crate::store::{Stores, WideRow, write_row};

/// The token texts of one side, in memory order.
#[derive(Clone, Copy)]
pub(super) struct Side<'a, A> {
    pub(super) rows: FlatRows<'a, A>,
    pub(super) offsets: ArrayView1<'a, usize>,
    pub(super) attention_mask: Option<ArrayView1<'a, bool>>,
}

impl<A> Side<'_, A> {
    fn texts(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The tokens of a text that take part.
    #[inline(always)]
    fn attended(&self, text: usize) -> impl Iterator<Item = usize> {
        range(self.offsets, text).filter(|&token| self.takes_part(token))
    }

    #[inline(always)]
    fn takes_part(&self, token: usize) -> bool {
        self.attention_mask.is_none_or(|mask| mask[token])
    }
}

/// Both sides, and how their tokens are compared.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, A> {
    pub(super) similarity: Similarity,
    pub(super) mean: bool,
    pub(super) queries: Side<'a, A>,
    pub(super) documents: Side<'a, A>,
}

/// In the table of winners: no token of the document takes part, or the query's does not.
const NOBODY: usize = usize::MAX;

impl<A: Scalar> Pass<'_, A> {
    /// Writes the scores, and the winner of each query token in each document `[query tokens, m]`, as a row of the document tokens.
    pub(super) fn find(
        self,
        scores: Option<ArrayViewMut2<'_, A>>,
        winners: Option<ArrayViewMut2<'_, usize>>,
    ) {
        let winners = winners.map(|winners| Ragged::new(winners, self.queries.offsets));
        let work = (scores, winners);
        for_each(
            self.threads(),
            self.queries.texts(),
            1,
            work,
            &|first, count, work| {
                let (scores, winners): (_, Option<Ragged<'_, '_, usize, Ix2>>) = work;
                dispatch(Find {
                    pass: self,
                    first,
                    count,
                    scores,
                    winners: winners.map(Ragged::entries),
                });
            },
        );
    }

    /// Writes the gradients.
    pub(super) fn pull(
        self,
        upstream: ArrayView2<'_, A>,
        gradient: Sides<Option<ArrayViewMut2<'_, A>>>,
    ) {
        let shape = (self.queries.rows.count, self.documents.texts());
        let mut winners = Array2::from_elem(shape, NOBODY);
        self.find(None, Some(winners.view_mut()));
        let winners = winners.view();
        if let Some(out) = gradient.queries {
            let out = Ragged::new(out, self.queries.offsets);
            for_each(
                self.threads(),
                self.queries.texts(),
                1,
                out,
                &|first, count, out: Ragged<'_, '_, A, Ix2>| {
                    dispatch(ToQueries {
                        pass: self,
                        upstream,
                        winners,
                        first,
                        count,
                        out: out.entries(),
                    });
                },
            );
        }
        if let Some(out) = gradient.documents {
            let out = Ragged::new(out, self.documents.offsets);
            for_each(
                self.threads(),
                self.documents.texts(),
                1,
                out,
                &|first, count, out: Ragged<'_, '_, A, Ix2>| {
                    dispatch(ToDocuments {
                        pass: self,
                        upstream,
                        winners,
                        first,
                        count,
                        out: out.entries(),
                    });
                },
            );
        }
    }

    fn threads(&self) -> Threads {
        let pairs = self.queries.rows.count as f64 * self.documents.rows.count as f64;
        Threads::for_nanoseconds(pairs * self.queries.rows.dim as f64 / 4.0)
    }

    /// What a token's similarity counts in the score of its query.
    #[inline(always)]
    fn share(&self, query: usize) -> f64 {
        if self.mean {
            1.0 / self.queries.attended(query).count().max(1) as f64
        } else {
            1.0
        }
    }

    /// A pair of tokens, ready to be differentiated.
    #[inline(always)]
    fn pair<I: Isa>(&self, x: &[A], y: &[A]) -> Pair<A::Real> {
        match self.similarity {
            // Its gradient does not ask for its value.
            Similarity::Dot => Pair::Dot(0.0),
            similarity => similarity.measure::<A, I>(x, y),
        }
    }
}

struct Find<'a, 's, 'w, A> {
    pass: Pass<'a, A>,
    first: usize,
    count: usize,
    scores: Option<ArrayViewMut2<'s, A>>,
    winners: Option<ArrayViewMut2<'w, usize>>,
}

/// A query token and the best that it has found in a document.
struct Best {
    token: usize,
    similarity: f64,
    winner: usize,
}

impl<A: Scalar> Kernel for Find<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Pass {
            queries, documents, ..
        } = self.pass;
        let start = queries.offsets[self.first];
        let mut tokens = Vec::new();
        for i in 0..self.count {
            let query = self.first + i;
            tokens.clear();
            tokens.extend(queries.attended(query).map(|token| Best {
                token,
                similarity: 0.0,
                winner: NOBODY,
            }));
            let share = self.pass.share(query);
            for j in 0..documents.texts() {
                self.pass.search::<I>(j, &mut tokens);
                if let Some(scores) = &mut self.scores {
                    let sum: f64 = tokens.iter().map(|best| best.similarity).sum();
                    scores[[i, j]] = A::narrow(share * sum);
                }
                if let Some(winners) = &mut self.winners {
                    for best in &tokens {
                        winners[[best.token - start, j]] = best.winner;
                    }
                }
            }
        }
    }
}

impl<A: Scalar> Pass<'_, A> {
    /// Finds the winner of each token of a query in a document. The document's tokens go by one at a time, the query's stay in the cache.
    #[inline(always)]
    fn search<I: Isa>(&self, document: usize, tokens: &mut [Best]) {
        for best in tokens.iter_mut() {
            best.similarity = 0.0;
            best.winner = NOBODY;
        }
        for b in self.documents.attended(document) {
            let y = self.documents.rows.row(b);
            for best in tokens.iter_mut() {
                let x = self.queries.rows.row(best.token);
                let similarity = self.similarity.measure::<A, I>(x, y).similarity();
                // A NaN wins, and stays.
                let wins = best.winner == NOBODY
                    || similarity > best.similarity
                    || (similarity.is_nan() && !best.similarity.is_nan());
                if wins {
                    best.similarity = similarity;
                    best.winner = b;
                }
            }
        }
    }
}

struct ToQueries<'a, 'u, 'w, 'o, A> {
    pass: Pass<'a, A>,
    upstream: ArrayView2<'u, A>,
    winners: ArrayView2<'w, usize>,
    first: usize,
    count: usize,
    out: ArrayViewMut2<'o, A>,
}

impl<A: Scalar> Kernel for ToQueries<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Pass {
            queries, documents, ..
        } = self.pass;
        let start = queries.offsets[self.first];
        let mut sum = WideRow::new(queries.rows.dim);
        for query in self.first..self.first + self.count {
            let share = self.pass.share(query);
            for token in range(queries.offsets, query) {
                sum.clear();
                for j in 0..documents.texts() {
                    let (winner, factor) = (self.winners[[token, j]], self.upstream[[query, j]]);
                    if winner != NOBODY && factor != A::zero() {
                        let (x, y) = (queries.rows.row(token), documents.rows.row(winner));
                        let pair = self.pass.pair::<I>(x, y);
                        pair.add_first::<A, I>(share * factor.wide(), x, y, &mut sum);
                    }
                }
                write_row::<A, I>(self.out.row_mut(token - start), Stores::Cached, &sum);
            }
        }
    }
}

struct ToDocuments<'a, 'u, 'w, 'o, A> {
    pass: Pass<'a, A>,
    upstream: ArrayView2<'u, A>,
    winners: ArrayView2<'w, usize>,
    first: usize,
    count: usize,
    out: ArrayViewMut2<'o, A>,
}

impl<A: Scalar> Kernel for ToDocuments<'_, '_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Pass {
            queries, documents, ..
        } = self.pass;
        let start = documents.offsets[self.first];
        let mut sums: Vec<WideRow> = (0..self.out.nrows())
            .map(|_| WideRow::new(documents.rows.dim))
            .collect();
        for document in self.first..self.first + self.count {
            for query in 0..queries.texts() {
                let factor = self.upstream[[query, document]];
                if factor == A::zero() {
                    continue;
                }
                let factor = self.pass.share(query) * factor.wide();
                for token in range(queries.offsets, query) {
                    let winner = self.winners[[token, document]];
                    if winner != NOBODY {
                        let (x, y) = (queries.rows.row(token), documents.rows.row(winner));
                        let pair = self.pass.pair::<I>(x, y);
                        pair.swapped()
                            .add_first::<A, I>(factor, y, x, &mut sums[winner - start]);
                    }
                }
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            write_row::<A, I>(self.out.row_mut(row), Stores::Cached, sum);
        }
    }
}
