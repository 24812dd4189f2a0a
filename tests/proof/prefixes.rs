//! Prefixes of an InfoNCE batch that are scored together: what each gives by itself, to the rounding that is promised.

use contrastive::{
    Directions, Error, Ids, InfoNceGradient, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient,
    InfoNceReport, Loss, Matryoshka, Nested, OwnedGradient, PartitionMode, Reduction, Scalar,
    Similarity, Targets, Want, Workspace,
};
use ndarray::{
    Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayViewMutD, Axis, Ix2, concatenate, s,
};

use crate::common::all_zero;
use crate::common::layout::{self, Laid, Layout};
use crate::common::random::Random;
use crate::matryoshka::is_the_slope;

/// The promise for a loss is 4ε(1 + 1/τ) of itself, for a row of the gradient as much of all that pulls and pushes it; with dot products 1/τ is the largest
/// ‖q‖‖d‖/τ. Over prefixes it is the sum of their promises.
const PROMISE: f64 = 4.0;
/// Sums of some terms of order 1, in f64 and in other orders.
const ROUNDING: f64 = 1e-14;

fn rows(n: usize, dim: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_fn((n, dim), |_| random.signed())
}

fn narrow(rows: &Array2<f64>) -> Array2<f32> {
    rows.mapv(|x| x as f32)
}

fn wide<A: Scalar>(rows: &Array2<A>) -> Array2<f64> {
    rows.mapv(|x| x.to_f64().expect("a float"))
}

fn cut<A: Scalar>(rows: &Array2<A>, dim: usize) -> Array2<A> {
    rows.slice(s![.., ..dim]).to_owned()
}

fn dot(x: ArrayView1<'_, f64>, y: ArrayView1<'_, f64>) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// A batch with one positive for each query, and what is asked of it.
#[derive(Clone)]
struct Batch<A> {
    queries: Array2<A>,
    documents: Array2<A>,
    pool: Option<Array2<A>>,
    weights: Option<Array1<A>>,
    temperature: f64,
    similarity: Similarity,
    symmetric: bool,
    reduction: Reduction,
}

impl Batch<f64> {
    fn new(n: usize, m: usize, dim: usize) -> Self {
        Self {
            queries: rows(n, dim, 1),
            documents: rows(m, dim, 2),
            pool: None,
            weights: None,
            temperature: 0.1,
            similarity: Similarity::Cosine,
            symmetric: false,
            reduction: Reduction::Mean,
        }
    }

    fn narrow(&self) -> Batch<f32> {
        Batch {
            queries: narrow(&self.queries),
            documents: narrow(&self.documents),
            pool: self.pool.as_ref().map(narrow),
            weights: self
                .weights
                .as_ref()
                .map(|weights| weights.mapv(|x| x as f32)),
            temperature: self.temperature,
            similarity: self.similarity,
            symmetric: self.symmetric,
            reduction: self.reduction,
        }
    }
}

/// Value, row losses and gradients.
struct Solved {
    value: f64,
    rows: Vec<f64>,
    queries: Array2<f64>,
    /// Documents, and the pool after them.
    documents: Array2<f64>,
}

impl<A: Scalar> Batch<A> {
    fn loss(&self) -> InfoNceLoss {
        InfoNceLoss::new(self.temperature)
            .and_then(|loss| loss.with_reduction(self.reduction))
            .unwrap()
            .with_similarity(self.similarity)
            .with_symmetric(self.symmetric)
    }

    fn input(&self) -> InfoNceInput<'_, A> {
        let mut input = InfoNceInput::new(self.queries.view(), self.documents.view());
        input.pool = self.pool.as_ref().map(|pool| pool.view());
        input.weights = self.weights.as_ref().map(|weights| weights.view());
        input
    }

    fn candidates(&self) -> Array2<A> {
        let mut all = vec![self.documents.view()];
        all.extend(self.pool.as_ref().map(|pool| pool.view()));
        concatenate(Axis(0), &all).unwrap()
    }

    fn solve(&self, dims: &[usize], weights: &[f64], limit: usize) -> Solved {
        let loss = Matryoshka::new(self.loss(), dims)
            .and_then(|loss| loss.with_weights(weights))
            .unwrap();
        let mut gradient: InfoNceOwnedGradient<A> = OwnedGradient::zeros(self.input());
        gradient.queries.fill(A::nan());
        gradient.documents.fill(A::nan());
        let mut rows = Array1::from_elem(self.queries.nrows(), A::nan());
        let want = Want::gradient(gradient.view_mut()).with_rows(rows.view_mut());
        let mut workspace = Workspace::with_limit(limit).unwrap();
        let value = loss.evaluate(self.input(), want, &mut workspace).unwrap();
        let mut all = vec![gradient.documents.view()];
        all.extend(gradient.pool.as_ref().map(|pool| pool.view()));
        Solved {
            value: value.to_f64().unwrap(),
            rows: rows.iter().map(|x| x.to_f64().unwrap()).collect(),
            queries: wide(&gradient.queries),
            documents: wide(&concatenate(Axis(0), &all).unwrap()),
        }
    }
}

/// What a prefix gives, in plain loops, and what its rows' gradients are the sums of.
struct Naive {
    solved: Solved,
    pulls: [Vec<f64>; 2],
    /// What stands for 1/τ in the promise.
    sharpness: f64,
}

/// −∂ log softmax of entry `positive` by all entries, and the loss.
fn softmax(scores: &[f64], positive: usize) -> (Vec<f64>, f64) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = scores.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = terms.iter().sum();
    let others: f64 = (0..terms.len())
        .filter(|&j| j != positive)
        .map(|j| terms[j])
        .sum();
    let by_scores = (0..terms.len()).map(|j| if j == positive { -others } else { terms[j] } / sum);
    let ahead = others / terms[positive];
    let loss = if ahead.is_finite() {
        ahead.ln_1p()
    } else {
        max + sum.ln() - scores[positive]
    };
    (by_scores.collect(), loss)
}

fn naive(batch: &Batch<f64>, dim: usize) -> Naive {
    let (queries, documents) = (cut(&batch.queries, dim), cut(&batch.candidates(), dim));
    let (n, m) = (queries.nrows(), documents.nrows());
    let cosine = batch.similarity == Similarity::Cosine;
    let norm = |row: ArrayView1<'_, f64>| if cosine { dot(row, row).sqrt() } else { 1.0 };
    let q_norms: Vec<f64> = queries.outer_iter().map(norm).collect();
    let d_norms: Vec<f64> = documents.outer_iter().map(norm).collect();
    let scores = Array2::from_shape_fn((n, m), |(i, j)| {
        dot(queries.row(i), documents.row(j)) / (q_norms[i] * d_norms[j] * batch.temperature)
    });
    let weight = |i: usize| batch.weights.as_ref().map_or(1.0, |weights| weights[i]);
    let z = match batch.reduction {
        Reduction::Sum => 1.0,
        Reduction::Over(z) => z,
        _ => (0..n).map(weight).sum(),
    };
    let share = if batch.symmetric { 0.5 } else { 1.0 };
    let mut by_scores = Array2::<f64>::zeros((n, m));
    let mut losses = vec![0.0; n];
    for i in 0..n {
        let (slopes, loss) = softmax(&scores.row(i).to_vec(), i);
        losses[i] += share * loss;
        for j in 0..m {
            by_scores[[i, j]] += share * weight(i) / z * slopes[j];
        }
        if batch.symmetric {
            let (slopes, loss) = softmax(&scores.column(i).to_vec(), i);
            losses[i] += share * loss;
            for k in 0..n {
                by_scores[[k, i]] += share * weight(i) / z * slopes[k];
            }
        }
    }
    let mut solved = Solved {
        value: (0..n).map(|i| weight(i) / z * losses[i]).sum(),
        rows: losses,
        queries: Array2::zeros((n, dim)),
        documents: Array2::zeros((m, dim)),
    };
    let mut pulls = [vec![0.0; n], vec![0.0; m]];
    let mut sharpness = 1.0 / batch.temperature;
    for i in 0..n {
        for j in 0..m {
            let slope = by_scores[[i, j]] / (q_norms[i] * d_norms[j] * batch.temperature);
            let (q, d) = (queries.row(i), documents.row(j));
            let along = if cosine { dot(q, d) } else { 0.0 };
            let along = [&q_norms[i], &d_norms[j]].map(|norm| along / (norm * norm));
            for c in 0..dim {
                solved.queries[[i, c]] += slope * (d[c] - along[0] * q[c]);
                solved.documents[[j, c]] += slope * (q[c] - along[1] * d[c]);
            }
            let (q_length, d_length) = (dot(q, q).sqrt(), dot(d, d).sqrt());
            pulls[0][i] += slope.abs() * d_length;
            pulls[1][j] += slope.abs() * q_length;
            if !cosine {
                sharpness = sharpness.max(q_length * d_length / batch.temperature);
            }
        }
    }
    Naive {
        solved,
        pulls,
        sharpness,
    }
}

/// What one prefix has in the gradient by one side.
struct Share<'n> {
    weight: f64,
    gradient: &'n Array2<f64>,
    /// Of each row, the sum of what pulls and pushes it.
    pulls: &'n [f64],
    sharpness: f64,
}

/// Whether the rows of a gradient are where the sums of the prefixes' are, each as exact as promised.
fn rows_agree(found: &Array2<f64>, shares: &[Share<'_>], epsilon: f64) {
    for (i, found) in found.outer_iter().enumerate() {
        let (mut expected, mut promise) = (Array1::<f64>::zeros(found.len()), 0.0);
        for share in shares {
            let mut within = expected.slice_mut(s![..share.gradient.ncols()]);
            within.scaled_add(share.weight, &share.gradient.row(i));
            promise += PROMISE * epsilon * (1.0 + share.sharpness) * share.weight * share.pulls[i];
        }
        let off = (&found - &expected).mapv(|x| x * x).sum().sqrt();
        assert!(off <= promise, "row {i}: off by {off}, promised {promise}");
    }
}

/// Holds a batch to the promise.
fn is_as_exact_as_promised<A: Scalar>(
    batch: &Batch<A>,
    exact: &Batch<f64>,
    dims: &[usize],
    limit: usize,
) {
    let weights: Vec<f64> = (0..dims.len())
        .map(|k| [1.0, 0.25, 0.0, 2.0][k % 4])
        .collect();
    let found = batch.solve(dims, &weights, limit);
    let parts: Vec<Naive> = dims.iter().map(|&dim| naive(exact, dim)).collect();
    // The references are sums in f64, too.
    let epsilon = A::epsilon().to_f64().unwrap().max(4.0 * f64::EPSILON);
    let sum = |of: &dyn Fn(&Naive) -> f64| -> f64 {
        parts
            .iter()
            .zip(&weights)
            .map(|(part, weight)| weight * of(part))
            .sum()
    };
    let within = |found: f64, of: &dyn Fn(&Naive) -> f64| {
        let size = |part: &Naive| (1.0 + part.sharpness) * of(part).abs();
        let (expected, promise) = (sum(of), PROMISE * epsilon * sum(&size));
        assert!(
            (found - expected).abs() <= promise,
            "{found}, not {expected}"
        );
    };
    if weights_are_positive(exact) {
        within(found.value, &|part| part.solved.value);
    }
    for i in 0..found.rows.len() {
        within(found.rows[i], &|part| part.solved.rows[i]);
    }
    let shares = |side: usize| -> Vec<Share<'_>> {
        let shares = parts.iter().zip(&weights).map(|(part, &weight)| Share {
            weight,
            gradient: [&part.solved.queries, &part.solved.documents][side],
            pulls: &part.pulls[side],
            sharpness: part.sharpness,
        });
        shares.collect()
    };
    rows_agree(&found.queries, &shares(0), epsilon);
    rows_agree(&found.documents, &shares(1), epsilon);
}

fn weights_are_positive(batch: &Batch<f64>) -> bool {
    batch
        .weights
        .as_ref()
        .is_none_or(|weights| weights.iter().all(|&w| w >= 0.0))
}

/// Batches of several blocks, with every option that has arithmetic of its own.
fn batches() -> Vec<(Batch<f64>, Vec<usize>)> {
    let plain = Batch::new(70, 90, 43);
    let weights = Array1::from_shape_fn(70, |i| [1.0, 0.0, 0.5, 2.0, 1.25][i % 5]);
    let signed = weights.mapv(|w| if w == 0.5 { -0.5 } else { w });
    let dims = || vec![3, 7, 8, 40];
    let mut list = vec![
        (plain.clone(), dims()),
        (plain.clone(), (1..=43).collect()),
        (
            Batch {
                temperature: 0.02,
                ..plain.clone()
            },
            vec![8, 43],
        ),
        (
            Batch {
                weights: Some(weights.clone()),
                pool: Some(rows(9, 43, 3)),
                ..plain.clone()
            },
            dims(),
        ),
        (
            Batch {
                symmetric: true,
                weights: Some(weights),
                ..plain.clone()
            },
            dims(),
        ),
        (
            Batch {
                symmetric: true,
                reduction: Reduction::MeanActive,
                ..plain.clone()
            },
            dims(),
        ),
        (
            Batch {
                weights: Some(signed),
                reduction: Reduction::Sum,
                ..plain.clone()
            },
            dims(),
        ),
        (
            Batch {
                reduction: Reduction::MeanActive,
                ..plain.clone()
            },
            dims(),
        ),
        (
            Batch {
                reduction: Reduction::Over(7.0),
                ..plain.clone()
            },
            dims(),
        ),
    ];
    let dots = Batch {
        similarity: Similarity::Dot,
        temperature: 2.0,
        ..plain
    };
    list.push((
        Batch {
            symmetric: true,
            ..dots.clone()
        },
        dims(),
    ));
    list.push((dots, dims()));
    list
}

/// The least limit for which these prefixes share products: scores are computed twice.
fn least(dims: &[usize]) -> usize {
    dims.len() << 16
}

#[test]
fn prefixes_together_are_as_exact_as_promised_for_each_by_itself() {
    for (batch, dims) in batches() {
        for limit in [64 << 20, least(&dims)] {
            is_as_exact_as_promised(&batch, &batch, &dims, limit);
            let single = batch.narrow();
            let exact = Batch {
                queries: wide(&single.queries),
                documents: wide(&single.documents),
                pool: single.pool.as_ref().map(wide),
                weights: single
                    .weights
                    .as_ref()
                    .map(|weights| weights.mapv(f64::from)),
                ..batch.clone()
            };
            is_as_exact_as_promised(&single, &exact, &dims, limit);
        }
    }
}

#[test]
fn prefixes_of_very_different_size_are_as_exact() {
    let plain = Batch::new(40, 40, 24);
    // Columns that get larger and smaller by a million, and documents that are all but their queries.
    let sized = |size: &dyn Fn(usize) -> f64| {
        let sized =
            |rows: &Array2<f64>| Array2::from_shape_fn(rows.dim(), |(i, c)| size(c) * rows[[i, c]]);
        Batch {
            queries: sized(&plain.queries),
            documents: sized(&plain.documents),
            ..plain.clone()
        }
    };
    let near = Batch {
        documents: &plain.queries + &(1e-3 * &plain.documents),
        temperature: 0.02,
        ..plain.clone()
    };
    for batch in [
        sized(&|c| 1e-3 * 1e6f64.powf(c as f64 / 24.0)),
        sized(&|c| 1e3 * 1e-6f64.powf(c as f64 / 24.0)),
        near,
    ] {
        let single = batch.narrow();
        let exact = Batch {
            queries: wide(&single.queries),
            documents: wide(&single.documents),
            ..batch
        };
        is_as_exact_as_promised(&single, &exact, &[2, 9, 16, 24], 64 << 20);
    }
}

#[test]
fn norms_that_are_far_from_one_change_nothing_but_the_size_of_gradients() {
    let batch = Batch::new(20, 20, 12);
    let plain = batch.solve(&[3, 12], &[1.0, 1.0], 64 << 20);
    // The larger of these keep prefixes from being scored together.
    for power in [-900, -40, 40, 900] {
        let size = 2f64.powi(power);
        let scaled = Batch {
            queries: &batch.queries * size,
            ..batch.clone()
        };
        let found = scaled.solve(&[3, 12], &[1.0, 1.0], 64 << 20);
        assert!((found.value - plain.value).abs() <= ROUNDING);
        for (found, plain) in found.queries.iter().zip(&plain.queries) {
            assert!((found * size - plain).abs() <= ROUNDING);
        }
        for (found, plain) in found.documents.iter().zip(&plain.documents) {
            assert!((found - plain).abs() <= ROUNDING);
        }
    }
}

const DIMS: [usize; 3] = [2, 3, 6];
const WEIGHTS: [f64; 3] = [0.5, 0.0, 2.0];

fn nested(loss: InfoNceLoss) -> Matryoshka<InfoNceLoss> {
    let nested = Matryoshka::new(loss, &DIMS).unwrap();
    nested.with_weights(&WEIGHTS).unwrap()
}

#[test]
fn gradients_of_large_weights_and_small_rows_do_not_overflow_on_their_way() {
    let batch = Batch::new(20, 20, 12);
    let batch = Batch {
        queries: 1e-10 * &batch.queries,
        documents: 1e-8 * &batch.documents,
        // Times both factors it is beyond f32, times either it is not.
        weights: Some(Array1::from_elem(20, 1e25)),
        reduction: Reduction::Sum,
        ..batch
    };
    let found = batch.narrow().solve(&[3, 12], &[1.0, 1.0], 64 << 20);
    let all = found.queries.iter().chain(&found.documents);
    assert!(all.chain([&found.value]).all(|x| x.is_finite()));
}

/// Candidates and options for queries and documents that are still to come.
type With<'w> = &'w dyn for<'a> Fn(InfoNceInput<'a, f64>) -> InfoNceInput<'a, f64>;

fn input<'a>(rows: [ArrayView2<'a, f64>; 2], with: With<'_>) -> InfoNceInput<'a, f64> {
    let [queries, documents] = rows;
    with(InfoNceInput::new(queries, documents))
}

/// A loss over prefixes against copies that are cut short, and against slopes.
fn is_the_sum_over_copies(loss: InfoNceLoss, with: With<'_>) {
    let (queries, documents) = (rows(7, 8, 4), rows(9, 8, 5));
    let views = || input([queries.view(), documents.view()], with);
    let (value, gradient) = nested(loss).value_and_gradient(views()).unwrap();
    let (mut sum, mut sums) = (0.0, [Array2::zeros((7, 8)), Array2::zeros((9, 8))]);
    let (mut log_temperature, mut bias) = (0.0, 0.0);
    for (dim, weight) in DIMS.into_iter().zip(WEIGHTS) {
        let copies = [cut(&queries, dim), cut(&documents, dim)];
        let [queries, documents] = &copies;
        let own = input([queries.view(), documents.view()], with);
        let (value, own) = loss.value_and_gradient(own).unwrap();
        sum += weight * value;
        log_temperature += weight * own.log_temperature;
        bias += weight * own.bias;
        for (sum, own) in sums.iter_mut().zip([own.queries, own.documents]) {
            sum.slice_mut(s![.., ..dim]).scaled_add(weight, &own);
        }
    }
    let close = |found: f64, expected: f64| {
        let off = (found - expected).abs();
        assert!(
            off <= ROUNDING * expected.abs().max(1.0),
            "{found}, not {expected}: {loss:?}"
        );
    };
    close(value, sum);
    close(gradient.log_temperature, log_temperature);
    close(gradient.bias, bias);
    let [by_queries, by_documents] = &sums;
    gradient
        .queries
        .iter()
        .zip(by_queries)
        .for_each(|(x, y)| close(*x, *y));
    gradient
        .documents
        .iter()
        .zip(by_documents)
        .for_each(|(x, y)| close(*x, *y));
    let at = |queries: &Array2<f64>, documents: &Array2<f64>| {
        let input = input([queries.view(), documents.view()], with);
        nested(loss).forward(input).unwrap()
    };
    is_the_slope(&gradient.queries, &queries, |queries| {
        at(queries, &documents)
    });
    is_the_slope(&gradient.documents, &documents, |documents| {
        at(&queries, documents)
    });
}

#[test]
fn every_form_of_the_loss_over_prefixes_is_the_sum_over_copies_with_its_slope() {
    let plain = InfoNceLoss::new(0.5).unwrap();
    let joint = Directions::SYMMETRIC;
    for loss in [
        plain,
        plain.with_similarity(Similarity::Dot),
        plain.with_similarity(Similarity::SquaredEuclidean),
        plain.with_label_smoothing(0.2).unwrap(),
        plain.with_decoupled(true),
        plain.with_symmetric(true),
        plain
            .with_symmetric(true)
            .with_similarity(Similarity::SquaredEuclidean),
        plain.with_directions(joint, PartitionMode::Joint),
        plain.with_reduction(Reduction::MeanActive).unwrap(),
        InfoNceLoss::sigmoid(0.5, -1.0).unwrap(),
    ] {
        is_the_sum_over_copies(loss, &|input| input);
    }
}

#[test]
fn targets_and_weights_of_prefixes_are_those_of_the_batch() {
    // A document of several queries; queries without a positive; and with several.
    const INDEX: &[usize] = &[4, 4, 0, 8, 1, 4, 2];
    const IDS: &[u64] = &[3, 9, 4, 11, 0, 1, 2];
    const FEW: &[u64] = &[0, 1, 2, 3, 4, 5, 6, 7, 8];
    const MANY: &[u64] = &[0, 1, 2, 3, 4, 3, 2, 0, 0];
    const WEIGHTS: &[f64] = &[1.0, 0.0, 2.0, 0.5, 1.0, 0.0, 3.0];
    let plain = InfoNceLoss::new(0.5).unwrap();
    let symmetric = plain.with_symmetric(true);
    let index: With<'_> = &|input| input.with_targets(Targets::Index(INDEX.into()));
    is_the_sum_over_copies(plain, index);
    is_the_sum_over_copies(symmetric, index);
    is_the_sum_over_copies(plain, &|input| input.with_targets(Targets::Offset(2)));
    for ids in [FEW, MANY] {
        is_the_sum_over_copies(plain, &|input| {
            let (queries, documents) = (IDS.into(), ids.into());
            input.with_targets(Targets::Ids { queries, documents })
        });
    }
    let active = plain.with_reduction(Reduction::MeanActive).unwrap();
    for loss in [plain, symmetric, active] {
        is_the_sum_over_copies(loss, &|input| input.with_weights(WEIGHTS.into()));
    }
}

#[test]
fn prefixes_with_rules_are_the_sum_over_copies() {
    const QUERIES: &[u64] = &[0, 1, 2, 3, 4, 5, 6];
    const DOCUMENTS: &[u64] = &[0, 1, 2, 3, 4, 5, 6, 2, 3];
    let plain = InfoNceLoss::new(0.5).unwrap();
    is_the_sum_over_copies(plain, &|input| {
        input.with_ids(Ids {
            queries: QUERIES.into(),
            documents: Some(DOCUMENTS.into()),
            negatives: None,
            pool: None,
        })
    });
}

#[cfg(feature = "rayon")]
mod threads {
    use super::*;
    use crate::common::all_bits;

    /// Everything that a pass gives, as bits.
    fn everything<A: Scalar>(
        batch: &Batch<A>,
        dims: &[usize],
        limit: usize,
    ) -> Vec<(u64, i16, i8)> {
        let loss = Matryoshka::new(batch.loss(), dims).unwrap();
        let mut gradient: InfoNceOwnedGradient<A> = OwnedGradient::zeros(batch.input());
        let mut rows = Array1::zeros(batch.queries.nrows());
        let want = Want::gradient(gradient.view_mut()).with_rows(rows.view_mut());
        let mut workspace = Workspace::with_limit(limit).unwrap();
        let value = loss.evaluate(batch.input(), want, &mut workspace).unwrap();
        let pool = gradient.pool.iter().flatten();
        let rest = gradient
            .queries
            .iter()
            .chain(&gradient.documents)
            .chain(pool);
        let numbers = [&value, &gradient.log_temperature]
            .into_iter()
            .chain(rest)
            .chain(&rows);
        all_bits(numbers)
    }

    #[test]
    fn threads_do_not_change_the_bits_of_prefixes() {
        let with_threads = |threads: usize, batch: &Batch<f32>, limit| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let work = || everything(batch, &[5, 32, 50], limit);
            pool.expect("threads can be started").install(work)
        };
        let plain = Batch::new(300, 350, 50);
        for symmetric in [false, true] {
            let batch = Batch {
                symmetric,
                pool: Some(rows(70, 50, 3)),
                ..plain.clone()
            }
            .narrow();
            for limit in [64 << 20, least(&[5, 32, 50])] {
                let alone = with_threads(1, &batch, limit);
                for threads in [2, 3] {
                    assert!(
                        with_threads(threads, &batch, limit) == alone,
                        "{threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn value_of_prefixes_has_the_same_bits_whatever_else_is_wanted() {
    for (batch, dims) in batches() {
        let loss = Matryoshka::new(batch.loss(), &dims).unwrap();
        let input = batch.input();
        let mut workspace = Workspace::new();
        let (value, all) = loss.value_and_gradient(input).unwrap();
        let mut report = InfoNceReport::default();
        let want = Want::value().with_report(&mut report);
        assert_eq!(loss.evaluate(input, want, &mut workspace), Ok(value));
        assert_eq!(loss.forward(input), Ok(value));
        let longest = dims[dims.len() - 1];
        let (queries, documents) = (cut(&batch.queries, longest), cut(&batch.documents, longest));
        let pool = batch.pool.as_ref().map(|pool| cut(pool, longest));
        let alone = Batch {
            queries,
            documents,
            pool,
            ..batch.clone()
        };
        let mut expected = InfoNceReport::default();
        let want = Want::value().with_report(&mut expected);
        alone
            .loss()
            .evaluate(alone.input(), want, &mut workspace)
            .unwrap();
        assert_eq!(report.accuracy, expected.accuracy);
        assert_eq!(report.reciprocal_rank, expected.reciprocal_rank);
        let off = report.positive_probability - expected.positive_probability;
        assert!(off.abs() <= ROUNDING);

        let mut queries = Array2::zeros(batch.queries.dim());
        let gradient = InfoNceGradient {
            queries: Some(queries.view_mut()),
            ..Default::default()
        };
        assert_eq!(loss.forward_backward(input, gradient), Ok(value));
        assert_eq!(queries, all.queries);
        let mut documents = Array2::zeros(batch.documents.dim());
        let gradient = InfoNceGradient {
            documents: Some(documents.view_mut()),
            ..Default::default()
        };
        assert_eq!(loss.forward_backward(input, gradient), Ok(value));
        assert_eq!(documents, all.documents);
    }
}

#[test]
fn layouts_do_not_change_the_bits_of_prefixes() {
    /// What no loss computes, so that a gap that was written shows.
    const SENTINEL: f64 = 12_345.0;
    let batch = Batch::new(40, 50, 23);
    let loss = Matryoshka::new(batch.loss(), &[5, 16, 21]).unwrap();
    let (value, expected) = loss.value_and_gradient(batch.input()).unwrap();
    let laid = |rows: &Array2<f64>, layout| Laid::new(&rows.clone().into_dyn(), layout, SENTINEL);
    for layout in layout::ALL {
        for output in [layout, Layout::Standard] {
            let inputs = [&batch.queries, &batch.documents].map(|rows| laid(rows, layout));
            let mut outputs = [&batch.queries, &batch.documents].map(|rows| laid(rows, output));
            let [queries, documents] = inputs
                .each_ref()
                .map(|rows| rows.view().into_dimensionality::<Ix2>().expect("two axes"));
            let [by_queries, by_documents] = outputs.each_mut().map(|rows| {
                rows.view_mut()
                    .into_dimensionality::<Ix2>()
                    .expect("two axes")
            });
            let gradient = InfoNceGradient {
                queries: Some(by_queries),
                documents: Some(by_documents),
                ..Default::default()
            };
            let input = InfoNceInput::new(queries, documents);
            assert_eq!(loss.forward_backward(input, gradient), Ok(value));
            let [by_queries, by_documents] = &outputs;
            assert!(by_queries.gaps_are_untouched() && by_documents.gaps_are_untouched());
            assert_eq!(by_queries.view(), expected.queries.view().into_dyn());
            assert_eq!(by_documents.view(), expected.documents.view().into_dyn());
        }
    }
}

#[test]
fn nan_in_a_prefix_reaches_the_value_unless_its_query_does_not_take_part() {
    let dims = [5, 16, 21];
    let mut batch = Batch::new(40, 50, 23);
    let clean = batch.solve(&dims, &[1.0; 3], 64 << 20);
    // Beyond the longest prefix it is not read.
    batch.queries[[3, 22]] = f64::NAN;
    assert_eq!(batch.solve(&dims, &[1.0; 3], 64 << 20).value, clean.value);
    batch.queries[[3, 18]] = f64::NAN;
    assert!(batch.solve(&dims, &[1.0; 3], 64 << 20).value.is_nan());
    batch.weights = Some(Array1::from_shape_fn(
        40,
        |i| if i == 3 { 0.0 } else { 1.0 },
    ));
    let found = batch.solve(&dims, &[1.0; 3], 64 << 20);
    batch.queries.row_mut(3).fill(0.5);
    let expected = batch.solve(&dims, &[1.0; 3], 64 << 20);
    assert!((found.value - expected.value).abs() <= ROUNDING);
    let found = found.queries.iter().chain(&found.documents);
    let expected = expected.queries.iter().chain(&expected.documents);
    assert!(found.zip(expected).all(|(x, y)| (x - y).abs() <= ROUNDING));
}

#[test]
fn overflowing_products_of_a_query_that_does_not_take_part_reach_nothing() {
    let mut batch = Batch {
        similarity: Similarity::Dot,
        ..Batch::new(40, 40, 8)
    };
    batch.weights = Some(Array1::from_shape_fn(
        40,
        |i| if i == 3 { 0.0 } else { 1.0 },
    ));
    let large = Array1::from_shape_fn(8, |c| if c % 2 == 0 { 1e308 } else { -1e308 });
    batch.queries.row_mut(3).assign(&large);
    batch.documents.row_mut(5).fill(20.0);
    let found = batch.solve(&[4, 8], &[1.0; 2], 64 << 20);
    batch.queries.row_mut(3).fill(0.5);
    let expected = batch.solve(&[4, 8], &[1.0; 2], 64 << 20);
    assert_eq!(found.value, expected.value);
    assert_eq!(found.documents, expected.documents);
    assert!(all_zero(found.queries.row(3)));
}

#[test]
fn one_document_or_none_costs_nothing_and_zero_prefixes_have_no_gradient() {
    let one = Batch::new(1, 1, 8).solve(&[2, 8], &[1.0; 2], 64 << 20);
    assert_eq!((one.value, one.rows[0]), (0.0, 0.0));
    assert!(all_zero(&one.queries) && all_zero(&one.documents));

    // Queries that have no positive, for there is no document.
    let none = Batch::new(4, 0, 8);
    let loss = Matryoshka::new(none.loss(), &[2, 8]).unwrap();
    let ids = Array1::from_iter(0..4);
    let targets = Targets::Ids {
        queries: ids.view(),
        documents: ArrayView1::from(&[]),
    };
    let input = none.input().with_targets(targets);
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    assert!(value == 0.0 && all_zero(&gradient.queries));

    let mut batch = Batch::new(6, 6, 8);
    batch.queries.slice_mut(s![2, ..3]).fill(0.0);
    batch.documents.row_mut(4).fill(0.0);
    let found = batch.solve(&[3, 8], &[1.0; 2], 64 << 20);
    let (alone, long) = (
        batch.solve(&[3], &[1.0], 64 << 20),
        batch.solve(&[8], &[1.0], 64 << 20),
    );
    assert!((found.value - alone.value - long.value).abs() <= ROUNDING);
    assert!(all_zero(alone.queries.row(2)) && all_zero(found.documents.row(4)));
    for (found, (alone, long)) in found
        .queries
        .iter()
        .zip(alone.queries.iter().zip(&long.queries))
    {
        assert!((found - alone - long).abs() <= ROUNDING);
    }
}

#[test]
fn workspace_that_served_one_loss_serves_the_other() {
    let batch = Batch::new(70, 70, 20).narrow();
    let plain = batch.loss();
    let nested = Matryoshka::new(plain, &[4, 20]).unwrap();
    let (input, mut workspace) = (batch.input(), Workspace::new());
    let fresh = (plain.forward(input), nested.forward(input));
    for _ in 0..2 {
        let again = (
            plain.evaluate(input, Want::value(), &mut workspace),
            nested.evaluate(input, Want::value(), &mut workspace),
        );
        assert_eq!(again, fresh);
    }
}

/// What [`Matryoshka`] would refuse, asked of the loss itself.
#[test]
fn prefixes_in_any_order_are_the_sum_of_each_and_none_are_refused() {
    let (queries, documents) = (rows(5, 8, 1), rows(5, 8, 2));
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (loss, mut workspace) = (InfoNceLoss::new(0.5).expect("positive"), Workspace::new());
    let falling = [(8, 1.0), (4, 0.5), (4, 0.25), (9, 1.0)];
    let found = loss.evaluate_prefixes(&falling, input, Want::value(), &mut workspace);
    let each = falling.map(|(dim, weight)| {
        let cut = InfoNceInput::new(
            queries.slice(s![.., ..dim.min(8)]),
            documents.slice(s![.., ..dim.min(8)]),
        );
        weight * loss.forward(cut).expect("a good batch")
    });
    assert!((found.expect("a good batch") - each.iter().sum::<f64>()).abs() < ROUNDING);
    let mut gradient = InfoNceOwnedGradient::zeros(input);
    gradient.queries.fill(7.0);
    let want = Want::gradient(gradient.view_mut());
    let refused = loss.evaluate_prefixes(&[], input, want, &mut workspace);
    let refused = refused.expect_err("no prefix").to_string();
    assert!(refused.contains("at least one"), "{refused}");
    assert!(gradient.queries.iter().all(|&x| x == 7.0));
}

/// InfoNCE, which takes note of the shapes of the gradients that it is asked for.
#[derive(Debug)]
struct Noting {
    loss: InfoNceLoss,
    asked: std::cell::RefCell<Vec<Vec<Option<Vec<usize>>>>>,
}

type Input<'a> = InfoNceInput<'a, f64>;
type Gradient<'a> = InfoNceGradient<'a, f64>;

impl Loss<f64> for Noting {
    type Input<'a> = Input<'a>;
    type Gradient<'a> = Gradient<'a>;
    type OwnedGradient = InfoNceOwnedGradient<f64>;
    type Report = InfoNceReport;

    fn evaluate(
        &self,
        input: Input<'_>,
        want: Want<'_, f64, Gradient<'_>, InfoNceReport>,
        workspace: &mut Workspace<f64>,
    ) -> Result<f64, Error> {
        let arrays = want.gradient.map(<InfoNceLoss as Nested<f64>>::arrays);
        if let Some(arrays) = &arrays {
            let shapes = arrays
                .iter()
                .map(|array| array.as_ref().map(|array| array.shape().to_vec()));
            self.asked.borrow_mut().push(shapes.collect());
        }
        let want = Want {
            gradient: arrays.map(<InfoNceLoss as Nested<f64>>::gradient),
            rows: want.rows,
            report: want.report,
        };
        self.loss.evaluate(input, want, workspace)
    }
}

/// A pass for each prefix, for the provided method is not replaced.
impl Nested<f64> for Noting {
    fn shapes<'i>(input: &'i Input<'_>) -> Vec<(&'static str, &'i [usize])> {
        <InfoNceLoss as Nested<f64>>::shapes(input)
    }

    fn prefix<'a>(input: <Self as Loss<f64>>::Input<'a>, dim: usize) -> Input<'a> {
        <InfoNceLoss as Nested<f64>>::prefix(input, dim)
    }

    fn arrays<'g>(
        gradient: <Self as Loss<f64>>::Gradient<'g>,
    ) -> Vec<Option<ArrayViewMutD<'g, f64>>> {
        <InfoNceLoss as Nested<f64>>::arrays(gradient)
    }

    fn gradient<'g>(arrays: Vec<Option<ArrayViewMutD<'g, f64>>>) -> Gradient<'g> {
        <InfoNceLoss as Nested<f64>>::gradient(arrays)
    }
}

#[test]
fn passes_for_each_prefix_are_asked_for_what_the_caller_asks_for() {
    let (queries, documents, pool) = (rows(5, 8, 1), rows(6, 8, 2), rows(4, 8, 3));
    let input = InfoNceInput::new(queries.view(), documents.view()).with_pool(pool.view());
    let loss = InfoNceLoss::new(0.5).unwrap();
    let whole = nested(loss).value_and_gradient(input).unwrap().1;
    let noting = Noting {
        loss,
        asked: Default::default(),
    };
    let mut by_documents = Array2::from_elem((6, 8), f64::NAN);
    let mut log_temperature = f64::NAN;
    let gradient = InfoNceGradient {
        documents: Some(by_documents.view_mut()),
        log_temperature: Some(&mut log_temperature),
        ..Default::default()
    };
    let prefixes = [(2, 0.5), (6, 2.0)];
    let want = Want::gradient(gradient);
    noting
        .evaluate_prefixes(&prefixes, input, want, &mut Workspace::new())
        .unwrap();
    let close = |found: f64, expected: f64| assert!((found - expected).abs() <= ROUNDING);
    let both = by_documents.iter().zip(&whole.documents);
    both.for_each(|(&found, &expected)| close(found, expected));
    close(log_temperature, whole.log_temperature);
    let asked = |dim| vec![None, Some(vec![6, dim]), None, None, Some(vec![]), None];
    assert_eq!(noting.asked.into_inner(), [asked(6), asked(2)]);
}

#[test]
fn gradient_of_what_is_not_there_is_empty_however_prefixes_are_passed_over() {
    let (queries, documents) = (rows(5, 8, 1), rows(5, 8, 2));
    let ids = Array1::from_iter(0..5);
    let plain = InfoNceInput::new(queries.view(), documents.view());
    let ruled = plain.with_ids(Ids {
        queries: ids.view(),
        documents: Some(ids.view()),
        negatives: None,
        pool: None,
    });
    let loss = InfoNceLoss::new(0.5).unwrap();
    for (dims, input) in [(&[2, 6][..], plain), (&[2, 6], ruled), (&[6], plain)] {
        let solve = |shape: [usize; 3], pool: [usize; 2]| {
            let (mut negatives, mut pool) = (Array3::zeros(shape), Array2::zeros(pool));
            let gradient = InfoNceGradient {
                negatives: Some(negatives.view_mut()),
                pool: Some(pool.view_mut()),
                ..Default::default()
            };
            let nested = Matryoshka::new(loss, dims).unwrap();
            nested.forward_backward(input, gradient)
        };
        let value = Matryoshka::new(loss, dims).unwrap().forward(input);
        assert_eq!(solve([0; 3], [0; 2]), value);
        for refused in [solve([0, 0, 8], [0; 2]), solve([0; 3], [0, 6])] {
            assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
        }
    }
}

#[test]
fn gradients_of_other_shapes_are_refused_by_passes_for_each_prefix() {
    let rows = rows(5, 8, 1);
    let input = InfoNceInput::new(rows.view(), rows.view());
    let loss = Matryoshka::new(InfoNceLoss::new(0.5).unwrap(), &[6]).unwrap();
    for shape in [(5, 6), (5, 1), (5, 0), (4, 8), (5, 9)] {
        let mut bad = Array2::from_elem(shape, 7.0);
        let gradient = InfoNceGradient {
            queries: Some(bad.view_mut()),
            ..Default::default()
        };
        let expected = Error::Shape {
            name: "gradient",
            expected: vec![5, 8],
            found: vec![shape.0, shape.1],
        };
        assert_eq!(loss.forward_backward(input, gradient), Err(expected));
        assert!(bad.iter().all(|&x| x == 7.0));
    }
}
