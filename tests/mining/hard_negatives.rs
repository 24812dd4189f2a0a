//! The hardest documents against a full sort of all similarities.

use contrastive::{
    FalseNegatives, HardNegativeInput, HardNegativeMiner, HardNegatives, Similarity, Targets,
};
use ndarray::{Array1, Array2, ArrayView1, array, s};
use proptest::prelude::*;

use crate::batch::Random;
use crate::cases::at_most;

/// A search with its options.
#[derive(Clone, Debug)]
struct Search {
    queries: Array2<f64>,
    documents: Array2<f64>,
    targets: Option<Array1<usize>>,
    ids: Option<(Array1<u64>, Array1<u64>)>,
    similarity: Similarity,
    rule: Option<FalseNegatives>,
    skip: usize,
    keep: usize,
}

impl Search {
    fn new(seed: u64, n: usize, m: usize, dim: usize) -> Self {
        let mut random = Random(seed);
        let (queries, documents) = (random.rows(n, dim), random.rows(m, dim));
        let rules = [
            None,
            Some(FalseNegatives::Absolute(0.2)),
            Some(FalseNegatives::Relative(0.3)),
            Some(FalseNegatives::Absolute(-0.4)),
        ];
        let rule = rules[random.below(4)];
        let targets = (rule.is_some() || random.below(2) == 0)
            .then(|| Array1::from_shape_simple_fn(n, || random.below(m)));
        let ids = (random.below(2) == 0).then(|| {
            let mut ids = |len| Array1::from_shape_simple_fn(len, || random.below(4) as u64);
            (ids(n), ids(m))
        });
        Self {
            queries,
            documents,
            targets,
            ids,
            similarity: if seed & 1 == 0 {
                Similarity::Cosine
            } else {
                Similarity::Dot
            },
            rule,
            skip: random.below(4),
            keep: 1 + random.below(12),
        }
    }

    fn find<A: contrastive::Scalar>(&self, of: impl Fn(f64) -> A + Copy) -> HardNegatives<A> {
        let (queries, documents) = (self.queries.mapv(of), self.documents.mapv(of));
        let mut miner = HardNegativeMiner::new(self.keep)
            .unwrap()
            .with_skip(self.skip)
            .with_similarity(self.similarity);
        if let Some(rule) = self.rule {
            miner = miner.with_false_negatives(rule).unwrap();
        }
        let mut input = HardNegativeInput::new(queries.view(), documents.view());
        input.targets = self
            .targets
            .as_ref()
            .map(|targets| Targets::Index(targets.view()));
        input.ids = self
            .ids
            .as_ref()
            .map(|(queries, documents)| (queries.view(), documents.view()));
        miner.find(input).unwrap()
    }

    fn score(&self, query: usize, document: usize) -> f64 {
        let (x, y) = (self.queries.row(query), self.documents.row(document));
        match self.similarity {
            Similarity::Cosine => dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(),
            Similarity::Dot => dot(x, y),
            _ => -x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>(),
        }
    }

    /// Documents in order, with their scores, from a full sort; `epsilon` is that of the rows' type, for ties with the ceiling.
    fn expected(&self, query: usize, epsilon: f64) -> Vec<(usize, f64)> {
        let target = self.targets.as_ref().map(|targets| targets[query]);
        let positive = target.map(|target| self.score(query, target));
        let ceiling = match (self.rule, positive) {
            (Some(FalseNegatives::Absolute(margin)), Some(positive)) => positive - margin,
            (Some(FalseNegatives::Relative(margin)), Some(positive)) => {
                positive - positive.abs() * margin
            }
            _ => f64::INFINITY,
        };
        let ceiling = ceiling + 16.0 * epsilon * positive.unwrap_or(0.0).abs().max(1.0);
        let same = |document: usize| {
            let ids = self.ids.as_ref();
            ids.is_some_and(|(queries, documents)| queries[query] == documents[document])
        };
        let mut list: Vec<(usize, f64)> = (0..self.documents.nrows())
            .filter(|&document| Some(document) != target && !same(document))
            .map(|document| (document, self.score(query, document)))
            .filter(|&(_, score)| score <= ceiling)
            .collect();
        list.sort_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
        list.into_iter().skip(self.skip).take(self.keep).collect()
    }

    fn check<A: contrastive::Scalar>(&self, of: impl Fn(f64) -> A + Copy, rounding: f64) {
        let found = self.find(of);
        assert_eq!(found.queries(), self.queries.nrows());
        for query in 0..found.queries() {
            let expected = self.expected(query, A::epsilon().to_f64().unwrap());
            let documents: Vec<usize> = expected.iter().map(|x| x.0).collect();
            assert_eq!(found.of(query), documents, "query {query} of {self:?}");
            for (score, expected) in found.scores(query).iter().zip(expected) {
                let score = score.to_f64().unwrap();
                assert!((score - expected.1).abs() <= rounding * expected.1.abs().max(1.0));
            }
        }
    }
}

fn dot(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Numbers that f32 has exactly, so that both types have the same exact scores.
fn rounded(mut search: Search) -> Search {
    search.queries.mapv_inplace(|x| f64::from(x as f32));
    search.documents.mapv_inplace(|x| f64::from(x as f32));
    search
}

proptest! {
    #![proptest_config(at_most(150))]

    #[test]
    fn negatives_are_those_of_a_full_sort(seed: u64, n in 1..40_usize, m in 1..600_usize, dim in 2..20_usize) {
        let search = rounded(Search::new(seed, n, m, dim));
        search.check(|x| x, 1e-14);
        search.check(|x| x as f32, f64::from(f32::EPSILON));
    }
}

#[test]
fn corpora_longer_than_a_range_of_documents_are_merged() {
    for seed in [2, 3, 7] {
        let search = rounded(Search::new(seed, 3, 70_000, 4));
        search.check(|x| x as f32, f64::from(f32::EPSILON));
    }
}

#[test]
fn ties_go_to_the_first_document_across_chunks_and_ranges() {
    let documents = Array2::from_elem((70_000, 3), 0.7_f32);
    let queries = array![[0.1_f32, 0.2, 0.3]];
    for similarity in [
        Similarity::Cosine,
        Similarity::Dot,
        Similarity::SquaredEuclidean,
    ] {
        let miner = HardNegativeMiner::new(5)
            .unwrap()
            .with_skip(300)
            .with_similarity(similarity);
        let found = miner
            .find(HardNegativeInput::new(queries.view(), documents.view()))
            .unwrap();
        assert_eq!(found.of(0), [300, 301, 302, 303, 304]);
    }
}

#[test]
fn scores_that_f32_products_confuse_are_told_apart() {
    // Cosines that differ by 1e-9, in the order of the last column.
    let dim = 64;
    let documents = Array2::from_shape_fn((500, dim), |(row, column)| {
        let order = (row * 37) % 500;
        if column == dim - 1 {
            1e-3 + 1e-6 * order as f32
        } else {
            1.0
        }
    });
    let mut queries = Array2::from_elem((1, dim), 1.0_f32);
    queries[[0, dim - 1]] = 1e-3 + 1e-6 * 499.0;
    let search = Search {
        queries: queries.mapv(f64::from),
        documents: documents.mapv(f64::from),
        targets: None,
        ids: None,
        similarity: Similarity::Dot,
        rule: None,
        skip: 0,
        keep: 20,
    };
    search.check(|x| x as f32, f64::from(f32::EPSILON));
}

#[test]
fn rows_that_are_not_numbers_are_passed_over_and_extreme_ones_are_not() {
    let mut documents =
        Array2::from_shape_fn((40, 3), |(row, column)| ((row * 3 + column) as f32).sin());
    documents[[7, 1]] = f32::NAN;
    documents[[8, 1]] = f32::INFINITY;
    documents.row_mut(9).fill(0.0);
    documents.row_mut(10).assign(&array![2e30_f32, 1e30, 0.0]);
    documents.row_mut(11).assign(&array![2e-30_f32, 1e-30, 0.0]);
    let queries = array![
        [2.0_f32, 1.0, 0.0],
        [f32::NAN, 1.0, 0.0],
        [2e-25, 1e-25, 0.0],
        [0.0, 0.0, 0.0]
    ];
    let miner = HardNegativeMiner::new(38).unwrap();
    let found = miner
        .find(HardNegativeInput::new(queries.view(), documents.view()))
        .unwrap();
    for query in [0, 2] {
        let mut best = found.of(query)[..2].to_vec();
        best.sort_unstable();
        assert_eq!(best, [10, 11]);
        assert_eq!(found.of(query).len(), 38);
        assert!(!found.of(query).contains(&7) && !found.of(query).contains(&8));
    }
    assert!(found.of(1).is_empty());
    assert!(found.scores(3).iter().all(|&score| score == 0.0));
}

#[test]
fn every_layout_gives_the_same_negatives() {
    let search = rounded(Search::new(4, 20, 300, 6));
    let expected = search.find(|x| x);
    let mut wide = Array2::zeros((600, 12));
    wide.slice_mut(s![..;2, ..;2]).assign(&search.documents);
    let (documents, queries) = (
        wide.slice(s![..;2, ..;2]),
        search.queries.t().as_standard_layout().into_owned(),
    );
    let mut miner = HardNegativeMiner::new(search.keep)
        .unwrap()
        .with_skip(search.skip)
        .with_similarity(search.similarity);
    if let Some(rule) = search.rule {
        miner = miner.with_false_negatives(rule).unwrap();
    }
    let mut input = HardNegativeInput::new(queries.t(), documents);
    input.targets = search
        .targets
        .as_ref()
        .map(|targets| Targets::Index(targets.view()));
    input.ids = search
        .ids
        .as_ref()
        .map(|(queries, documents)| (queries.view(), documents.view()));
    assert_eq!(miner.find(input).unwrap(), expected);
}

#[test]
fn empty_corpora_and_batches_have_no_negatives() {
    let (none, some) = (Array2::<f32>::zeros((0, 3)), Array2::zeros((2, 3)));
    let miner = HardNegativeMiner::new(2).unwrap();
    let found = miner
        .find(HardNegativeInput::new(some.view(), none.view()))
        .unwrap();
    assert_eq!((found.queries(), found.of(1)), (2, &[][..]));
    let found = miner
        .find(HardNegativeInput::new(none.view(), some.view()))
        .unwrap();
    assert_eq!(found.queries(), 0);
}
