//! InfoNCE with rules for its candidates: false negatives, hardness, log weights, smoothed labels, the decoupled form.

use crate::common::naive;
use crate::common::random::Random;
use contrastive::{
    FalseNegatives, Guide, Ids, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient, InfoNceReport,
    LogWeights, Loss, OwnedGradient, Scalar, Similarity, Sources, Targets, Want, Workspace,
};
use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, s};

/// The options of a loss with rules.
#[derive(Clone, Copy, Debug)]
struct Options {
    similarity: Similarity,
    in_batch: bool,
    symmetric: bool,
    own: usize,
    pool: usize,
    ids: bool,
    log_weights: bool,
    guide: bool,
    false_negatives: Option<(FalseNegatives, Sources)>,
    hardness: Option<(f64, Sources)>,
    smoothing: f64,
    decoupled: bool,
}

const PLAIN: Options = Options {
    similarity: Similarity::Cosine,
    in_batch: true,
    symmetric: false,
    own: 2,
    pool: 3,
    ids: false,
    log_weights: false,
    guide: false,
    false_negatives: None,
    hardness: None,
    smoothing: 0.0,
    decoupled: false,
};

const TEMPERATURE: f64 = 0.4;

/// Every rule by itself, and together with what it might be confused by.
fn list() -> Vec<Options> {
    let absolute = |margin, sources| Some((FalseNegatives::Absolute(margin), sources));
    let relative = |margin, sources| Some((FalseNegatives::Relative(margin), sources));
    let pool = Sources {
        pool: true,
        ..Sources::NONE
    };
    let single = [
        Options { ids: true, ..PLAIN },
        Options {
            log_weights: true,
            ..PLAIN
        },
        Options {
            guide: true,
            ..PLAIN
        },
        Options {
            guide: true,
            false_negatives: relative(0.2, Sources::ALL),
            ..PLAIN
        },
        Options {
            false_negatives: absolute(0.1, Sources::ALL),
            ..PLAIN
        },
        Options {
            false_negatives: absolute(-0.3, Sources::IN_BATCH),
            ..PLAIN
        },
        Options {
            false_negatives: relative(0.1, Sources::OWN),
            ..PLAIN
        },
        Options {
            hardness: Some((3.0, Sources::ALL)),
            ..PLAIN
        },
        Options {
            hardness: Some((5.0, Sources::OWN)),
            ..PLAIN
        },
        Options {
            hardness: Some((2.0, pool)),
            ..PLAIN
        },
        Options {
            smoothing: 0.3,
            ..PLAIN
        },
        Options {
            decoupled: true,
            ..PLAIN
        },
    ];
    let all = Options {
        ids: true,
        log_weights: true,
        guide: true,
        false_negatives: absolute(0.05, Sources::ALL),
        hardness: Some((1.5, Sources::IN_BATCH)),
        ..PLAIN
    };
    let mut list: Vec<Options> = single.to_vec();
    list.extend([
        all,
        Options {
            smoothing: 0.2,
            ..all
        },
        Options {
            smoothing: 0.2,
            decoupled: true,
            ..all
        },
        Options {
            similarity: Similarity::Dot,
            false_negatives: relative(0.3, Sources::ALL),
            guide: false,
            ..all
        },
        Options {
            in_batch: false,
            smoothing: 0.1,
            ..all
        },
        Options {
            in_batch: false,
            own: 0,
            ..all
        },
        Options {
            in_batch: false,
            pool: 0,
            decoupled: true,
            ..all
        },
        Options {
            own: 0,
            pool: 0,
            ..all
        },
        Options {
            symmetric: true,
            ..all
        },
        Options {
            symmetric: true,
            ids: true,
            own: 0,
            pool: 0,
            ..PLAIN
        },
        Options {
            symmetric: true,
            hardness: Some((3.0, Sources::ALL)),
            log_weights: true,
            ..PLAIN
        },
    ]);
    list
}

/// The differentiable inputs.
#[derive(Clone)]
struct Parts {
    queries: Array2<f64>,
    documents: Array2<f64>,
    negatives: Array3<f64>,
    pool: Array2<f64>,
    log_temperature: f64,
}

/// A batch with all that rules may ask for.
struct Batch {
    options: Options,
    parts: Parts,
    targets: Array1<usize>,
    weights: Array1<f64>,
    ids: [Array1<u64>; 3],
    negative_ids: Array2<u64>,
    log_weights: [Array1<f64>; 2],
    negative_log_weights: Array2<f64>,
    guide: [Array2<f64>; 3],
    guide_negatives: Array3<f64>,
}

impl Batch {
    /// `shared` lets some queries have the same positive.
    fn new(options: Options, n: usize, dim: usize, shared: bool, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (m, own, pool, guide) = (n + 3, options.own, options.pool, 5);
        let mut matrix =
            |rows: usize, dim: usize| Array2::from_shape_fn((rows, dim), |_| random.signed());
        let cube = |rows: Array2<f64>| {
            let dim = rows.ncols();
            rows.into_shape_with_order((n, own, dim)).expect("n·K rows")
        };
        let parts = Parts {
            queries: matrix(n, dim),
            documents: matrix(m, dim),
            negatives: cube(matrix(n * own, dim)),
            pool: matrix(pool, dim),
            log_temperature: TEMPERATURE.ln(),
        };
        let guides = [matrix(n, guide), matrix(m, guide), matrix(pool, guide)];
        let guide_negatives = cube(matrix(n * own, guide));
        let numbers = matrix(1, m + pool + n * own + n);
        let numbers = numbers.row(0);
        let some = |from: usize, len: usize| numbers.slice(s![from..from + len]).to_owned();
        let mut id = |len: usize| Array1::from_shape_fn(len, |_| random.below(6) as u64);
        let ids = [id(n), id(m), id(pool)];
        let negative_ids = id(n * own).into_shape_with_order((n, own)).expect("n·K");
        Self {
            options,
            parts,
            targets: Array1::from_shape_fn(n, |i| if shared { i / 2 } else { (i + 2) % m }),
            weights: some(m + pool + n * own, n).mapv(|x| 0.2 + x.abs()),
            ids,
            negative_ids,
            log_weights: [some(0, m), some(m, pool)],
            negative_log_weights: some(m + pool, n * own)
                .into_shape_with_order((n, own))
                .expect("n·K"),
            guide: guides,
            guide_negatives,
        }
    }

    fn loss(&self, log_temperature: f64) -> InfoNceLoss {
        let options = self.options;
        let mut loss = InfoNceLoss::new(log_temperature.exp())
            .unwrap()
            .with_similarity(options.similarity)
            .with_in_batch_negatives(options.in_batch)
            .with_symmetric(options.symmetric)
            .with_decoupled(options.decoupled)
            .with_label_smoothing(options.smoothing)
            .unwrap();
        if let Some((rule, sources)) = options.false_negatives {
            loss = loss.with_false_negatives(rule, sources).unwrap();
        }
        if let Some((strength, sources)) = options.hardness {
            loss = loss.with_hardness(strength, sources).unwrap();
        }
        loss
    }

    /// The crate's answer in `f64` or `f32`.
    fn solve<A: Scalar>(&self, workspace: &mut Workspace<A>) -> Answer<A> {
        let narrow = |x: f64| A::from(x).expect("a float");
        let matrix = |matrix: &Array2<f64>| matrix.mapv(narrow);
        let parts = &self.parts;
        let (queries, documents) = (matrix(&parts.queries), matrix(&parts.documents));
        let (negatives, pool) = (parts.negatives.mapv(narrow), matrix(&parts.pool));
        let guide = self.guide.each_ref().map(matrix);
        let guide_negatives = self.guide_negatives.mapv(narrow);
        let log_weights = self
            .log_weights
            .each_ref()
            .map(|weights| weights.mapv(narrow));
        let negative_log_weights = self.negative_log_weights.mapv(narrow);
        let weights = self.weights.mapv(narrow);

        let options = self.options;
        let (own, has_pool) = (options.own > 0, options.pool > 0);
        let mut input = InfoNceInput::new(queries.view(), documents.view())
            .with_targets(Targets::Index(self.targets.view()))
            .with_weights(weights.view());
        input.negatives = own.then(|| negatives.view());
        input.pool = has_pool.then(|| pool.view());
        if options.ids {
            input = input.with_ids(Ids {
                queries: self.ids[0].view(),
                documents: Some(self.ids[1].view()),
                negatives: own.then(|| self.negative_ids.view()),
                pool: has_pool.then(|| self.ids[2].view()),
            });
        }
        if options.log_weights {
            input = input.with_log_weights(LogWeights {
                documents: Some(log_weights[0].view()),
                negatives: own.then(|| negative_log_weights.view()),
                others: None,
                pool: has_pool.then(|| log_weights[1].view()),
            });
        }
        if options.guide {
            input = input.with_guide(Guide {
                queries: guide[0].view(),
                documents: guide[1].view(),
                negatives: own.then(|| guide_negatives.view()),
                pool: has_pool.then(|| guide[2].view()),
            });
        }
        let loss = self.loss(parts.log_temperature);
        let mut gradient = InfoNceOwnedGradient::zeros(input);
        let mut rows = Array1::zeros(self.targets.len());
        let mut report = InfoNceReport::default();
        let want = Want::gradient(gradient.view_mut())
            .with_rows(rows.view_mut())
            .with_report(&mut report);
        let value = loss.evaluate(input, want, workspace).unwrap();
        // With the same workspace: another limit sums the scores in other portions.
        let alone = loss.evaluate(input, Want::value(), workspace).unwrap();
        assert_eq!(value, alone, "{options:?}");
        Answer {
            value,
            rows,
            gradient,
            left_out: report.left_out,
        }
    }

    /// The value and the row losses of the formula, and how many candidates it leaves out. Masks and what is added by hardness are constants: they
    /// are taken from `frozen`.
    fn formula(&self, parts: &Parts, frozen: &Parts) -> (f64, Vec<f64>, usize) {
        let n = self.targets.len();
        let mut left_out = 0;
        let rows: Vec<f64> = (0..n)
            .map(|i| {
                let scores = self.scores(parts, frozen, i, &mut left_out);
                let loss = self.row(&scores.others, scores.positive);
                if !self.options.symmetric {
                    return loss;
                }
                let rivals: Vec<f64> = (0..n)
                    .filter(|&rival| rival != i)
                    .filter_map(|rival| self.column_score(parts, frozen, rival, self.targets[i]))
                    .collect();
                let positive = self.plain(parts, i, self.targets[i]);
                0.5 * (loss + naive::cross_entropy(&rivals, positive))
            })
            .collect();
        let weighted: f64 = rows
            .iter()
            .zip(&self.weights)
            .map(|(loss, weight)| loss * weight)
            .sum();
        (weighted / self.weights.sum(), rows, left_out)
    }

    fn row(&self, others: &[f64], positive: f64) -> f64 {
        if others.is_empty() {
            return 0.0;
        }
        let loss = if self.options.decoupled {
            others.iter().map(|z| z.exp()).sum::<f64>().ln() - positive
        } else {
            naive::cross_entropy(others, positive)
        };
        let mean = (others.iter().sum::<f64>() + positive) / (1 + others.len()) as f64;
        loss + self.options.smoothing * (positive - mean)
    }

    fn similarity(&self, x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
        let (x, y) = (x.to_vec(), y.to_vec());
        match self.options.similarity {
            Similarity::Dot => naive::dot(&x, &y),
            _ => naive::cosine(&x, &y, 0.0),
        }
    }

    fn column_score(
        &self,
        parts: &Parts,
        frozen: &Parts,
        rival: usize,
        document: usize,
    ) -> Option<f64> {
        let plain = self.plain(parts, rival, document);
        if self.targets[rival] == document {
            return Some(plain);
        }
        self.in_batch(parts, frozen, rival, document).map(|_| plain)
    }

    /// A score that no rule moves.
    fn plain(&self, parts: &Parts, i: usize, j: usize) -> f64 {
        self.similarity(parts.queries.row(i), parts.documents.row(j)) / parts.log_temperature.exp()
    }

    /// A document that is not the positive of a query; `None` if it is left out.
    fn in_batch(&self, parts: &Parts, frozen: &Parts, i: usize, j: usize) -> Option<f64> {
        self.candidate(
            (parts, frozen),
            i,
            [parts, frozen].map(|parts| parts.documents.row(j)),
            |sources| sources.in_batch,
            self.ids[1][j],
            self.log_weights[0][j],
            self.guide[1].row(j),
        )
    }

    #[expect(clippy::too_many_arguments, reason = "all that a rule may look at")]
    fn candidate(
        &self,
        (parts, frozen): (&Parts, &Parts),
        i: usize,
        [row, frozen_row]: [ArrayView1<'_, f64>; 2],
        of: fn(Sources) -> bool,
        id: u64,
        log_weight: f64,
        guide: ArrayView1<'_, f64>,
    ) -> Option<f64> {
        let options = self.options;
        let (queries, frozen_queries) = (parts.queries.row(i), frozen.queries.row(i));
        let cosine = |x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>| {
            naive::cosine(&x.to_vec(), &y.to_vec(), 0.0)
        };
        let target = self.targets[i];
        let frozen_similarity = self.similarity(frozen_queries, frozen_row);
        let above = |rule, similarity: f64, positive: f64| match rule {
            FalseNegatives::Absolute(margin) => similarity > positive - margin,
            FalseNegatives::Relative(margin) => similarity > positive - positive.abs() * margin,
            _ => unreachable!(),
        };
        if options.ids && id == self.ids[0][i] {
            return None;
        }
        if options.guide {
            let rule = options
                .false_negatives
                .map_or(FalseNegatives::Absolute(0.0), |(rule, _)| rule);
            let positive = cosine(self.guide[0].row(i), self.guide[1].row(target));
            if above(rule, cosine(self.guide[0].row(i), guide), positive) {
                return None;
            }
        } else if let Some((rule, sources)) = options.false_negatives {
            let positive = self.similarity(frozen_queries, frozen.documents.row(target));
            if of(sources) && above(rule, frozen_similarity, positive) {
                return None;
            }
        }
        let mut z = self.similarity(queries, row) / parts.log_temperature.exp();
        if let Some((strength, sources)) = options.hardness {
            z += if of(sources) {
                strength * frozen_similarity
            } else {
                0.0
            };
        }
        Some(z + if options.log_weights { log_weight } else { 0.0 })
    }

    fn scores(&self, parts: &Parts, frozen: &Parts, i: usize, left_out: &mut usize) -> Scores {
        let options = self.options;
        let target = self.targets[i];
        let mut others = Vec::new();
        if options.in_batch {
            let rest = (0..parts.documents.nrows()).filter(|&j| j != target);
            others.extend(rest.map(|j| self.in_batch(parts, frozen, i, j)));
        }
        for k in 0..options.own {
            others.push(self.candidate(
                (parts, frozen),
                i,
                [parts, frozen].map(|parts| parts.negatives.slice(s![i, k, ..])),
                |sources| sources.own,
                self.negative_ids[[i, k]],
                self.negative_log_weights[[i, k]],
                self.guide_negatives.slice(s![i, k, ..]),
            ));
        }
        for j in 0..options.pool {
            others.push(self.candidate(
                (parts, frozen),
                i,
                [parts, frozen].map(|parts| parts.pool.row(j)),
                |sources| sources.pool,
                self.ids[2][j],
                self.log_weights[1][j],
                self.guide[2].row(j),
            ));
        }
        *left_out += others.iter().filter(|other| other.is_none()).count();
        let mut positive = self.similarity(parts.queries.row(i), parts.documents.row(target));
        positive /= parts.log_temperature.exp();
        if options.log_weights {
            positive += self.log_weights[0][target];
        }
        Scores {
            others: others.into_iter().flatten().collect(),
            positive,
        }
    }
}

struct Scores {
    others: Vec<f64>,
    positive: f64,
}

struct Answer<A> {
    value: A,
    rows: Array1<A>,
    gradient: InfoNceOwnedGradient<A>,
    left_out: usize,
}

impl<A: Scalar> Answer<A> {
    fn bits(&self) -> Vec<u64> {
        let mut all = vec![self.value];
        all.extend(&self.rows);
        all.extend(self.flat());
        all.iter()
            .map(|x| x.to_f64().expect("a float").to_bits())
            .collect()
    }

    /// All gradients, one after the other.
    fn flat(&self) -> Vec<A> {
        let gradient = &self.gradient;
        let mut all: Vec<A> = gradient
            .queries
            .iter()
            .chain(&gradient.documents)
            .copied()
            .collect();
        all.extend(gradient.negatives.iter().flatten());
        all.extend(gradient.pool.iter().flatten());
        all.push(gradient.log_temperature);
        all
    }
}

impl Parts {
    /// All numbers that the gradient is by, in the order of [`Answer::flat`].
    fn numbers(&mut self) -> Vec<&mut f64> {
        let mut all: Vec<&mut f64> = self.queries.iter_mut().chain(&mut self.documents).collect();
        all.extend(self.negatives.iter_mut());
        all.extend(self.pool.iter_mut());
        all.push(&mut self.log_temperature);
        all
    }
}

/// Scores up to 10, added up one by one by the reference.
const ROUNDING: f64 = 1e-13;

/// A central difference with step ∛ε errs by h²f'''/6, where f''' reaches some thousands at this temperature, and ε|f|/h.
const DIFFERENCE: f64 = 1e-7;

fn batches() -> impl Iterator<Item = Batch> {
    let shapes = [(1, 3, false), (6, 4, false), (9, 7, true), (40, 5, false)];
    let cases = list().into_iter().enumerate();
    cases.flat_map(move |(seed, options)| {
        shapes.map(|(n, dim, shared)| Batch::new(options, n, dim, shared, (seed * 31 + n) as u64))
    })
}

#[test]
fn every_rule_has_the_value_of_its_formula_and_counts_what_it_leaves_out() {
    let mut left_out = 0;
    for batch in batches() {
        let answer = batch.solve::<f64>(&mut Workspace::new());
        let (value, rows, expected) = batch.formula(&batch.parts, &batch.parts);
        for (found, expected) in answer.rows.iter().zip(&rows) {
            assert!(
                (found - expected).abs() < ROUNDING * expected.abs().max(10.0),
                "{found} {expected} {:?}",
                batch.options
            );
        }
        assert!(
            (answer.value - value).abs() < ROUNDING * value.abs().max(10.0),
            "{:?}",
            batch.options
        );
        assert_eq!(answer.left_out, expected, "{:?}", batch.options);
        left_out += expected;
    }
    assert!(left_out > 1000, "the rules leave something out: {left_out}");
}

#[test]
fn every_rule_has_the_gradient_of_its_formula() {
    for batch in batches() {
        let gradient = batch.solve::<f64>(&mut Workspace::new()).flat();
        let scale = gradient
            .iter()
            .fold(1.0_f64, |largest, slope| largest.max(slope.abs()));
        let step = f64::EPSILON.cbrt();
        let stride = gradient.len().div_ceil(60);
        let last = gradient.len() - 1;
        for index in (0..last).step_by(stride).chain([last]) {
            let at = |by: f64| {
                let mut moved = batch.parts.clone();
                *moved.numbers()[index] += by;
                batch.formula(&moved, &batch.parts).0
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let off = (slope - gradient[index]).abs();
            assert!(
                off < DIFFERENCE * scale,
                "{index}: {} not {slope}: {:?}",
                gradient[index],
                batch.options
            );
        }
    }
}

/// A workspace that holds a few tiles at a time: scores are computed again for the gradient, and rules applied again.
#[test]
fn rules_hold_when_scores_are_computed_again() {
    for options in list() {
        let batch = Batch::new(options, 700, 6, true, 5);
        let wide = batch.solve::<f64>(&mut Workspace::new());
        let narrow = batch.solve::<f64>(&mut Workspace::with_limit(1 << 16).unwrap());
        assert_eq!(wide.left_out, narrow.left_out, "{options:?}");
        let all = wide.flat().into_iter().zip(narrow.flat());
        for (wide, narrow) in all.chain([(wide.value, narrow.value)]) {
            assert!(
                (wide - narrow).abs() < ROUNDING * wide.abs().max(1.0),
                "{wide} {narrow} {options:?}"
            );
        }
    }
}

#[test]
fn rules_give_the_same_bits_for_any_number_of_threads() {
    for options in list() {
        let batch = Batch::new(options, 300, 33, false, 7);
        let mut bits = [1, 2, 3, 8]
            .into_iter()
            .map(|threads| on_threads(threads, &batch));
        let first = bits.next().unwrap();
        assert!(bits.all(|bits| bits == first), "{options:?}");
    }
}

#[cfg(feature = "rayon")]
fn on_threads(threads: usize, batch: &Batch) -> Vec<u64> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| batch.solve::<f32>(&mut Workspace::new()).bits())
}

#[cfg(not(feature = "rayon"))]
fn on_threads(_: usize, batch: &Batch) -> Vec<u64> {
    batch.solve::<f32>(&mut Workspace::new()).bits()
}

/// Scores of 10 are rounded by 6e-7, and with them the logarithms of the gradients.
const SINGLE: f64 = 2e-5;

#[test]
fn rules_in_f32_agree_with_f64() {
    for options in list() {
        // Rules that compare rounded similarities may decide otherwise in f32; ids and the rest may not.
        if options.guide || options.false_negatives.is_some() {
            continue;
        }
        let batch = Batch::new(options, 50, 40, false, 11);
        let wide = batch.solve::<f64>(&mut Workspace::new());
        let narrow = batch.solve::<f32>(&mut Workspace::new());
        let scale = wide
            .flat()
            .iter()
            .fold(0.0_f64, |largest, x| largest.max(x.abs()));
        for (wide, narrow) in wide.flat().iter().zip(narrow.flat()) {
            assert!(
                (wide - f64::from(narrow)).abs() < SINGLE * scale,
                "{wide} {narrow} {options:?}"
            );
        }
    }
}

#[test]
fn copies_of_the_positive_are_no_better_than_it_and_stay() {
    let queries = Array2::from_shape_fn((5, 40), |(i, j)| ((i * 40 + j) as f32).sin());
    let documents = queries.mapv(|x| x + 0.3);
    let pool = documents.clone();
    let input = InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view());
    let only_pool = Sources {
        pool: true,
        ..Sources::NONE
    };
    let loss = InfoNceLoss::new(0.05)
        .unwrap()
        .with_false_negatives(FalseNegatives::Absolute(0.0), only_pool)
        .unwrap();
    let mut report = InfoNceReport::default();
    let want = Want::value().with_report(&mut report);
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    let better = (0..5)
        .flat_map(|i| (0..5).map(move |j| (i, j)))
        .filter(|&(i, j)| {
            let wide = |row: ArrayView1<'_, f32>| row.mapv(f64::from).to_vec();
            let of = |j: usize| naive::cosine(&wide(queries.row(i)), &wide(documents.row(j)), 0.0);
            of(j) > of(i) + 1e-4
        });
    assert_eq!(report.left_out, better.count());
}

#[test]
fn a_query_that_loses_all_its_negatives_costs_nothing() {
    let queries = Array2::from_shape_fn((4, 3), |(i, j)| ((i * 3 + j) as f64).cos());
    let ids = Array1::from_elem(4, 7);
    let input = InfoNceInput::new(queries.view(), queries.view()).with_ids(Ids {
        queries: ids.view(),
        documents: Some(ids.view()),
        negatives: None,
        pool: None,
    });
    for loss in [
        InfoNceLoss::new(0.1).unwrap(),
        InfoNceLoss::new(0.1).unwrap().with_decoupled(true),
        InfoNceLoss::new(0.1).unwrap().with_symmetric(true),
        InfoNceLoss::new(0.1)
            .unwrap()
            .with_label_smoothing(0.5)
            .unwrap(),
    ] {
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        assert_eq!(value, 0.0);
        assert!(
            gradient
                .queries
                .iter()
                .chain(&gradient.documents)
                .all(|&x| x == 0.0)
        );
    }
}

#[test]
fn rules_of_another_shape_are_refused_by_name() {
    let queries = Array2::<f64>::ones((4, 3));
    let plain = InfoNceInput::new(queries.view(), queries.view());
    let loss = InfoNceLoss::new(0.1).unwrap();
    let (ids, short) = (Array1::from_elem(4, 7), Array1::from_elem(3, 7));
    let refused = |input| loss.forward(input).unwrap_err().to_string();
    let with = |queries, documents, pool| {
        let negatives = None;
        plain.with_ids(Ids {
            queries,
            documents,
            negatives,
            pool,
        })
    };
    assert!(refused(with(short.view(), None, None)).starts_with("ids.queries"));
    assert!(refused(with(ids.view(), Some(short.view()), None)).starts_with("ids.documents"));
    assert!(refused(with(ids.view(), None, Some(ids.view()))).starts_with("ids.pool"));
    let guide = |documents| {
        let (negatives, pool) = (None, None);
        plain.with_guide(Guide {
            queries: queries.view(),
            documents,
            negatives,
            pool,
        })
    };
    assert!(refused(guide(queries.slice(s![1.., ..]))).starts_with("guide.documents"));
    let weights = array_of_nan();
    let log_weights = LogWeights {
        documents: Some(weights.view()),
        ..LogWeights::default()
    };
    assert!(refused(plain.with_log_weights(log_weights)).starts_with("log weight"));
    assert!(loss.with_hardness(-1.0, Sources::ALL).is_err());
    assert!(loss.with_label_smoothing(1.5).is_err());
    assert!(
        loss.with_false_negatives(FalseNegatives::Relative(f64::NAN), Sources::ALL)
            .is_err()
    );
    let symmetric = loss.with_symmetric(true);
    assert!(symmetric.with_decoupled(true).forward(plain).is_err());
    assert!(
        symmetric
            .with_label_smoothing(0.1)
            .unwrap()
            .forward(plain)
            .is_err()
    );
}

fn array_of_nan() -> Array1<f64> {
    let mut weights = Array1::zeros(4);
    weights[2] = f64::NAN;
    weights
}

/// A view of another layout is read as its copy.
#[test]
fn rules_read_any_layout() {
    let options = Options {
        guide: true,
        log_weights: true,
        own: 0,
        pool: 0,
        ..PLAIN
    };
    let batch = Batch::new(options, 12, 9, false, 3);
    let expected = batch.solve::<f64>(&mut Workspace::new());
    let [queries, documents, _] = &batch.guide;
    let (mut turned, mut reversed) = (
        queries.t().as_standard_layout().into_owned(),
        documents.clone(),
    );
    turned.swap_axes(0, 1);
    reversed.invert_axis(Axis(0));
    let reversed = reversed.as_standard_layout().into_owned();
    let weights = Array2::from_shape_fn((15, 2), |(j, _)| batch.log_weights[0][j]);
    let input = InfoNceInput::new(batch.parts.queries.view(), batch.parts.documents.view())
        .with_targets(Targets::Index(batch.targets.view()))
        .with_weights(batch.weights.view())
        .with_log_weights(LogWeights {
            documents: Some(weights.column(1)),
            ..LogWeights::default()
        })
        .with_guide(Guide {
            queries: turned.view(),
            documents: reversed.slice(s![..;-1, ..]),
            negatives: None,
            pool: None,
        });
    let value = batch
        .loss(batch.parts.log_temperature)
        .forward(input)
        .unwrap();
    assert_eq!(value, expected.value);
}
