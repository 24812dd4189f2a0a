//! The search: products of a few queries and documents at a time, and a second look at whatever may belong to the best.
//!
//! A product in the type of the rows is off by at most (dim + 8)·ε·‖q‖‖d‖. A document whose similarity is below the last of the ranking by more than that
//! is forgotten; any other is measured from the rows. Once a ranking is full that is rare (each of m documents in random order has a chance of
//! length/m), so exactness costs next to nothing.

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};

use super::bounds::{Bound, bounds, rounding};
use super::scan::Scan;
use super::{HardNegativeInput, HardNegativeMiner};
use crate::blocks::{Threads, Units, for_each, map_merge};
use crate::gemm::{Packed, Write, product};
use crate::info_nce::Positives;
use crate::scalar::Scalar;
use crate::simd::{Isa, Kernel, dispatch};
use crate::similarity::Similarity;
use crate::staging::contiguous;

/// A document's place among the negatives of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rank {
    pub(super) document: usize,
    pub(super) score: f64,
}

impl Rank {
    fn before(&self, other: &Self) -> bool {
        self.score > other.score || (self.score == other.score && self.document < other.document)
    }
}

/// The best documents of a query so far, the best first.
pub(super) type Ranking = Vec<Rank>;

/// Panels of queries that share a reading of the documents.
const PANELS: usize = 8;
/// Documents that stay in the second-level cache while the panels pass by.
const CHUNK: usize = 256;
/// Documents that a thread goes through before rankings are merged.
const RANGE: usize = 128 * CHUNK;

/// The ranking of each query, `skip + keep` long at most.
pub(super) fn run<A: Scalar>(
    miner: &HardNegativeMiner,
    input: &HardNegativeInput<'_, A>,
) -> Vec<Ranking> {
    let search = Search {
        miner,
        input,
        length: miner.skip.saturating_add(miner.keep),
        positives: input
            .targets
            .map(|targets| Positives::new(&targets, input.queries.nrows(), false)),
        queries: bounds(input.queries, miner.similarity),
        documents: bounds(input.documents, miner.similarity),
    };
    let ((n, dim), m) = (input.queries.dim(), input.documents.nrows());
    let threads = Threads::for_products(n as f64 * m as f64 * dim as f64);
    let mut rankings = vec![Ranking::new(); n];
    let work = Units {
        slice: &mut rankings,
        len: 1,
    };
    for_each(threads, n, PANELS * A::PANEL, work, &|first, count, out| {
        let queries = Queries::new(&search, first..first + count);
        let leaf = |first, count, ()| queries.rank(first..first + count);
        let best = map_merge(threads, m, RANGE, (), &leaf, &|left, right| {
            search.merge(left, right)
        });
        out.slice
            .iter_mut()
            .zip(best)
            .for_each(|(out, best)| *out = best);
    });
    rankings
}

pub(super) struct Search<'s, 'a, A> {
    pub(super) miner: &'s HardNegativeMiner,
    pub(super) input: &'s HardNegativeInput<'a, A>,
    /// Of a ranking.
    pub(super) length: usize,
    positives: Option<Positives>,
    queries: Vec<Bound<A>>,
    pub(super) documents: Vec<Bound<A>>,
}

impl<A: Scalar> Search<'_, '_, A> {
    /// The rankings of the same queries over two ranges of documents as those over both.
    fn merge(&self, left: Vec<Ranking>, right: Vec<Ranking>) -> Vec<Ranking> {
        let pairs = left.into_iter().zip(right);
        pairs
            .map(|(mut left, right)| {
                for rank in right {
                    insert(&mut left, rank, self.length);
                }
                left
            })
            .collect()
    }

    pub(super) fn positives(&self, query: usize) -> impl Iterator<Item = usize> {
        self.positives
            .iter()
            .flat_map(move |positives| positives.of(query))
    }
}

/// Puts a document where it belongs in a ranking of at most `length`.
pub(super) fn insert(ranking: &mut Ranking, rank: Rank, length: usize) {
    let place = ranking.partition_point(|other| other.before(&rank));
    if place < length {
        ranking.truncate(length - 1);
        ranking.insert(place, rank);
    }
}

/// Some queries, packed.
pub(super) struct Queries<'q, 's, 'a, A> {
    pub(super) search: &'q Search<'s, 'a, A>,
    pub(super) range: Range<usize>,
    /// `[panel][dim, lane]`, times their factors.
    packed: Vec<A>,
    /// Of each lane, zero beyond the last query.
    pub(super) slacks: Vec<A>,
    pub(super) offsets: Vec<A>,
    pub(super) spans: Vec<A>,
    /// The similarity above which a document is no negative.
    pub(super) ceilings: Vec<f64>,
}

impl<'q, 's, 'a, A: Scalar> Queries<'q, 's, 'a, A> {
    fn new(search: &'q Search<'s, 'a, A>, range: Range<usize>) -> Self {
        let dim = search.input.queries.ncols();
        let panels = range.len().div_ceil(A::PANEL);
        let mut packed = vec![A::zero(); panels * dim * A::PANEL];
        let zeros = || vec![A::zero(); panels * A::PANEL];
        let (mut slacks, mut offsets, mut spans) = (zeros(), zeros(), zeros());
        for (index, query) in range.clone().enumerate() {
            let panel = &mut packed[index / A::PANEL * dim * A::PANEL..];
            let bound = search.queries[query];
            let factor = match search.miner.similarity {
                Similarity::SquaredEuclidean => bound.factor + bound.factor,
                _ => bound.factor,
            };
            let numbers = search.input.queries.row(query);
            for (to, &x) in panel.chunks_exact_mut(A::PANEL).zip(numbers) {
                // Not 0·∞, where the row is not to be trusted.
                to[index % A::PANEL] = if factor.is_zero() {
                    A::zero()
                } else {
                    x * factor
                };
            }
            slacks[index] = bound.slack * A::narrow(rounding::<A>(dim));
            offsets[index] = bound.offset;
            spans[index] = bound.span;
        }
        let mut ceilings = vec![f64::INFINITY; range.len()];
        dispatch(Ceilings {
            search,
            first: range.start,
            out: &mut ceilings,
        });
        Self {
            search,
            range,
            packed,
            slacks,
            offsets,
            spans,
            ceilings,
        }
    }

    /// The rankings over a range of documents.
    fn rank(&self, documents: Range<usize>) -> Vec<Ranking> {
        let input = self.search.input;
        let mut rankings = vec![Ranking::new(); self.range.len()];
        let mut floors = vec![A::neg_infinity(); self.slacks.len()];
        // Lanes without a query.
        floors[self.range.len()..].fill(A::infinity());
        let mut tile = vec![A::zero(); CHUNK * A::PANEL];
        for start in documents.clone().step_by(CHUNK) {
            let chunk = start..documents.end.min(start + CHUNK);
            let rows = input.documents.slice(s![chunk.clone(), ..]);
            let tile = &mut tile[..chunk.len() * A::PANEL];
            let panels = input.queries.ncols() * A::PANEL;
            for (panel, floors) in floors.chunks_exact_mut(A::PANEL).enumerate() {
                let shape = (chunk.len(), A::PANEL);
                let out = ArrayViewMut2::from_shape(shape, &mut *tile);
                let out = out.expect("as long as its shape");
                let queries = Packed::panel(&self.packed[panel * panels..]);
                product(rows, queries, out, Write::Set);
                dispatch(Scan {
                    queries: self,
                    first_query: panel * A::PANEL,
                    first_document: start,
                    tile,
                    floors,
                    rankings: &mut rankings,
                });
            }
        }
        rankings
    }
}

/// The ceilings of some queries.
struct Ceilings<'c, 's, 'a, A> {
    search: &'c Search<'s, 'a, A>,
    first: usize,
    out: &'c mut [f64],
}

impl<A: Scalar> Kernel for Ceilings<'_, '_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Search { miner, input, .. } = self.search;
        let Some(rule) = miner.false_negatives else {
            return;
        };
        let (mut spare, mut other_spare) = (Vec::new(), Vec::new());
        for (index, ceiling) in self.out.iter_mut().enumerate() {
            let query = self.first + index;
            let x = contiguous(input.queries.row(query), &mut spare);
            let mut least: Option<f64> = None;
            for positive in self.search.positives(query) {
                let y = contiguous(input.documents.row(positive), &mut other_spare);
                let similarity = miner.similarity.measure::<A, I>(x, y).similarity();
                // A NaN stays, and leaves nothing below it.
                least = Some(match least {
                    Some(least) if similarity >= least || least.is_nan() => least,
                    _ => similarity,
                });
            }
            if let Some(least) = least {
                *ceiling = rule.ceiling(least, A::epsilon().wide());
            }
        }
    }
}
