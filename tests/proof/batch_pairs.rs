//! All pairs of a labelled batch are the pairs of a list.

use crate::common::pairs::{contrastive_loss, those, with_metric};
use crate::common::random::Random;
use crate::common::{ContrastiveOptions, Options, PairOptions, largest, list};
use contrastive::{
    BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss, ContrastiveLoss,
    ContrastiveReport, Distance, Error, Loss, Lp, PairInput, PairLabel, Reduction, Scalar, Want,
    Workspace,
};
use ndarray::{Array1, Array2, Axis, array, s};

/// Sums of some hundred pairs in another order, in f64.
const ROUNDING: f64 = 1e-12;

/// Relative to the largest entry: everything is computed in f64 and rounded once.
const SINGLE: f64 = f32::EPSILON as f64;

struct Batch {
    embeddings: Array2<f64>,
    classes: Array1<u64>,
    weights: Option<Array1<f64>>,
}

impl Batch {
    /// Three classes, of which the last has one member; some weights are 0.
    fn new(n: usize, dim: usize, seed: u64, weighted: bool) -> Self {
        let mut random = Random::new(seed);
        let rows = random.rows(&[n, dim], 0);
        let embeddings = rows.into_dimensionality().expect("two axes");
        let classes = Array1::from_shape_fn(n, |i| if i == n / 2 { 9 } else { i as u64 % 2 });
        let weights = weighted.then(|| {
            Array1::from_shape_fn(n, |i| {
                if i % 4 == 1 {
                    0.0
                } else {
                    random.unit() + 0.25
                }
            })
        });
        Self {
            embeddings,
            classes,
            weights,
        }
    }

    fn input(&self) -> BatchContrastiveInput<'_, f64> {
        let mut input = BatchContrastiveInput::new(self.embeddings.view(), self.classes.view());
        input.weights = self.weights.as_ref().map(|weights| weights.view());
        input
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let n = self.classes.len();
        (0..n)
            .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
            .collect()
    }
}

/// Value, gradient, losses of pairs and report of the list, the lower row first: a user's distance need not be symmetric.
fn listed<D: contrastive::Distance<f64> + Copy>(
    loss: ContrastiveLoss<D>,
    batch: &Batch,
    keep: impl Fn(PairLabel) -> bool,
) -> (f64, Array2<f64>, Array1<f64>, ContrastiveReport) {
    let label = |&(i, j): &(usize, usize)| PairLabel::from(batch.classes[i] == batch.classes[j]);
    let pairs: Vec<_> = batch
        .pairs()
        .into_iter()
        .filter(|pair| keep(label(pair)))
        .collect();
    let (first, second): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let x = batch.embeddings.select(Axis(0), &first);
    let y = batch.embeddings.select(Axis(0), &second);
    let labels: Array1<_> = pairs.iter().map(label).collect();
    let mut input = PairInput::new(x.view(), y.view(), labels.view());
    let weights: Option<Array1<f64>> = batch.weights.as_ref().map(|weights| {
        pairs
            .iter()
            .map(|&(i, j)| weights[i] * weights[j])
            .collect()
    });
    input.weights = weights.as_ref().map(|weights| weights.view());
    let (value, of_pairs) = loss.value_and_gradient(input).unwrap();
    let mut gradient = Array2::zeros(batch.embeddings.raw_dim());
    for (pair, &(i, j)) in pairs.iter().enumerate() {
        let mut row = gradient.row_mut(i);
        row += &of_pairs.x.row(pair);
        let mut row = gradient.row_mut(j);
        row += &of_pairs.y.row(pair);
    }
    let (mut rows, mut report) = (Array1::zeros(pairs.len()), ContrastiveReport::default());
    let want = Want::value()
        .with_rows(rows.view_mut())
        .with_report(&mut report);
    loss.evaluate(input, want, &mut Workspace::new()).unwrap();
    (value, gradient, rows, report)
}

fn options() -> Vec<ContrastiveOptions> {
    let of = |options: Vec<Options>| {
        those(options, |options| {
            matches!(options, PairOptions::Contrastive(_))
        })
    };
    [of(list::pairs()), of(list::joint_pairs())]
        .concat()
        .into_iter()
        .filter_map(|options| match options {
            Options::Pair(PairOptions::Contrastive(options)) => Some(options),
            _ => None,
        })
        .collect()
}

const REDUCTIONS: [Reduction; 4] = [
    Reduction::Mean,
    Reduction::Sum,
    Reduction::MeanActive,
    Reduction::Over(7.0),
];

fn close(found: &Array2<f64>, expected: &Array2<f64>, what: &str) {
    let off = largest(&(found - expected));
    assert!(
        off <= ROUNDING * largest(expected).max(1.0),
        "{what}: off by {off}"
    );
}

#[test]
fn batch_is_the_list_of_its_pairs_for_every_option() {
    for (index, options) in options().into_iter().enumerate() {
        let batch = Batch::new(11, 6, index as u64, index % 2 == 0);
        for reduction in REDUCTIONS {
            let what = format!("{options:?} {reduction:?}");
            let loss = contrastive_loss(options).unwrap();
            let loss = loss.with_reduction(reduction).unwrap();
            with_metric::<f64, _>(options.metric, |distance| {
                let loss = loss.with_distance(distance);
                let (value, gradient, rows, report) = listed(loss, &batch, |_| true);
                let all = BatchContrastiveLoss::new(loss);
                let (mut found_rows, mut found_report) =
                    (Array1::zeros(rows.len()), ContrastiveReport::default());
                let mut found = Array2::from_elem(gradient.raw_dim(), f64::NAN);
                let want = Want::gradient(BatchContrastiveGradient {
                    embeddings: Some(found.view_mut()),
                });
                let want = want
                    .with_rows(found_rows.view_mut())
                    .with_report(&mut found_report);
                let found_value = all
                    .evaluate(batch.input(), want, &mut Workspace::new())
                    .unwrap();
                assert!(
                    (found_value - value).abs() <= ROUNDING * value.max(1.0),
                    "{what}"
                );
                close(&found, &gradient, &what);
                let off = largest(&(&found_rows - &rows));
                assert!(off <= ROUNDING * largest(&rows).max(1.0), "{what}: {off}");
                assert!((found_report.active - report.active).abs() < ROUNDING);
                let off = (found_report.match_distance - report.match_distance).abs()
                    + (found_report.no_match_distance - report.no_match_distance).abs();
                assert!(off < ROUNDING * report.no_match_distance.max(1.0), "{what}");
                let mut alone = Array1::from_elem(rows.len(), f64::NAN);
                let value = all.forward_rows(batch.input(), alone.view_mut());
                assert_eq!((value.unwrap(), alone), (found_value, found_rows));
                assert_eq!(all.forward(batch.input()).unwrap(), found_value);
            })
            .unwrap();
        }
    }
}

#[test]
fn balance_adds_the_means_of_matches_and_of_others() {
    for (index, options) in options().into_iter().enumerate() {
        if options.hard_pairs {
            continue; // which pairs are hard depends on both kinds
        }
        let batch = Batch::new(10, 5, index as u64, index % 2 == 1);
        for reduction in [Reduction::Mean, Reduction::MeanActive] {
            let loss = contrastive_loss(options).unwrap();
            let loss = loss.with_reduction(reduction).unwrap();
            with_metric::<f64, _>(options.metric, |distance| {
                let loss = loss.with_distance(distance);
                let kinds = [PairLabel::Match, PairLabel::NoMatch]
                    .map(|kind| listed(loss, &batch, |label| label == kind));
                let balanced = BatchContrastiveLoss::new(loss).with_balance(true);
                let (value, gradient) = balanced.value_and_gradient(batch.input()).unwrap();
                let expected = kinds[0].0 + kinds[1].0;
                assert!(
                    (value - expected).abs() <= ROUNDING * expected.max(1.0),
                    "{options:?}"
                );
                let expected = &kinds[0].1 + &kinds[1].1;
                close(&gradient.embeddings, &expected, &format!("{options:?}"));
            })
            .unwrap();
        }
    }
}

/// The value and the gradient for the default distance, which comes from products.
fn solve<A: Scalar>(
    embeddings: ndarray::ArrayView2<'_, A>,
    classes: ndarray::ArrayView1<'_, u64>,
) -> (A, Array2<A>) {
    let pairs = ContrastiveLoss::new(0.9).unwrap();
    solve_for(pairs, embeddings, classes)
}

fn solve_for<A: Scalar, D: Distance<A>>(
    pairs: ContrastiveLoss<D>,
    embeddings: ndarray::ArrayView2<'_, A>,
    classes: ndarray::ArrayView1<'_, u64>,
) -> (A, Array2<A>) {
    let loss = BatchContrastiveLoss::new(pairs.with_hard_pairs(true)).with_balance(true);
    let input = BatchContrastiveInput::new(embeddings, classes);
    let (value, gradient) = loss.value_and_gradient(input).unwrap();
    (value, gradient.embeddings)
}

#[test]
fn layout_of_a_batch_does_not_change_the_bits() {
    let batch = Batch::new(20, 19, 3, false);
    let expected = solve(batch.embeddings.view(), batch.classes.view());
    let mut large = Array2::from_elem((40, 40), 7.0);
    large
        .slice_mut(s![1..;2, 1..39;2])
        .assign(&batch.embeddings);
    let turned = batch.embeddings.t().as_standard_layout().into_owned();
    for view in [large.slice(s![1..;2, 1..39;2]), turned.t()] {
        assert_eq!(solve(view, batch.classes.view()), expected);
    }
    let pairs = ContrastiveLoss::new(0.9).unwrap().with_hard_pairs(true);
    let loss = BatchContrastiveLoss::new(pairs).with_balance(true);
    let mut out = Array2::from_elem((40, 40), 7.0);
    let gradient = BatchContrastiveGradient {
        embeddings: Some(out.slice_mut(s![1..;2, 1..39;2])),
    };
    loss.forward_backward(batch.input(), gradient).unwrap();
    assert_eq!(out.slice(s![1..;2, 1..39;2]), expected.1);
    assert_eq!(out.iter().filter(|&&x| x == 7.0).count(), 40 * 40 - 20 * 19);
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_change_the_bits_of_a_batch() {
    let batch = Batch::new(150, 40, 3, false);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| solve(batch.embeddings.view(), batch.classes.view()))
    };
    let alone = on(1);
    for threads in [2, 3, 8] {
        assert_eq!(on(threads), alone, "{threads} threads");
    }
}

#[test]
fn batch_of_f32_measured_pair_by_pair_is_that_of_f64_rounded() {
    let batch = Batch::new(30, 65, 8, false);
    let single = batch.embeddings.mapv(|x| x as f32);
    let double = single.mapv(f64::from);
    let manhattan = ContrastiveLoss::new(70.0).unwrap();
    let manhattan = manhattan.with_distance(Lp::new(1.0).unwrap());
    let (value, gradient) = solve_for(manhattan, double.view(), batch.classes.view());
    let (found, found_gradient) = solve_for(manhattan, single.view(), batch.classes.view());
    assert!((f64::from(found) - value).abs() <= SINGLE * value);
    let off = largest(&(found_gradient.mapv(f64::from) - &gradient));
    assert!(off <= SINGLE * largest(&gradient), "{off}");
}

#[test]
fn batch_gradient_is_the_slope() {
    let batch = Batch::new(6, 5, 21, true);
    let loss = BatchContrastiveLoss::new(
        ContrastiveLoss::new(0.9)
            .unwrap()
            .with_positive_margin(0.2)
            .unwrap(),
    )
    .with_balance(true);
    let (_, gradient) = loss.value_and_gradient(batch.input()).unwrap();
    let step = f64::EPSILON.cbrt();
    for (index, slope) in gradient.embeddings.indexed_iter() {
        let at = |step: f64| {
            let mut moved = batch.embeddings.clone();
            moved[index] += step;
            let mut input = BatchContrastiveInput::new(moved.view(), batch.classes.view());
            input.weights = batch.weights.as_ref().map(|weights| weights.view());
            loss.forward(input).unwrap()
        };
        let expected = (at(step) - at(-step)) / (2.0 * step);
        // The error of a central difference: ε^⅔ and a third derivative of some hundreds.
        assert!(
            (slope - expected).abs() < 2e-8,
            "{index:?}: {slope} {expected}"
        );
    }
}

#[test]
fn wrong_batches_are_refused_and_nothing_is_written() {
    let batch = Batch::new(4, 3, 1, true);
    let good = batch.input();
    let pairs = ContrastiveLoss::new(0.5).unwrap();
    let refuse = |input, rows: usize, shape: (usize, usize)| {
        let (mut gradient, mut rows) =
            (Array2::from_elem(shape, 7.0), Array1::from_elem(rows, 7.0));
        let want = Want::gradient(BatchContrastiveGradient {
            embeddings: Some(gradient.view_mut()),
        });
        let want = want.with_rows(rows.view_mut());
        let error = BatchContrastiveLoss::new(pairs)
            .evaluate(input, want, &mut Workspace::new())
            .unwrap_err();
        assert!(gradient.iter().chain(&rows).all(|&x| x == 7.0));
        error
    };
    let shape = |name, expected: &[usize], found: &[usize]| Error::Shape {
        name,
        expected: expected.to_vec(),
        found: found.to_vec(),
    };
    let three = array![1, 2, 3];
    let mut input = good;
    input.classes = three.view();
    assert_eq!(refuse(input, 6, (4, 3)), shape("classes", &[4], &[3]));
    assert_eq!(refuse(good, 5, (4, 3)), shape("rows", &[6], &[5]));
    let error = shape("gradient.embeddings", &[4, 3], &[4, 2]);
    assert_eq!(refuse(good, 6, (4, 2)), error);
    let weights = array![1.0, -1.0, 1.0, 1.0];
    let error = refuse(good.with_weights(weights.view()), 6, (4, 3));
    assert!(matches!(error, Error::Weight { row: 1, .. }));
    let one = Batch::new(1, 3, 1, false);
    assert!(matches!(
        refuse(one.input(), 0, (1, 3)),
        Error::IllDefined { .. }
    ));
    let none = Batch::new(0, 3, 1, false);
    assert_eq!(
        refuse(none.input(), 0, (0, 3)),
        Error::EmptyBatch { name: "embeddings" }
    );
}

#[test]
fn nan_shows_in_the_value_but_not_with_weight_zero() {
    let mut batch = Batch::new(7, 4, 2, true);
    let clean = solve_weighted(&batch);
    batch.embeddings[[1, 2]] = f64::NAN; // of weight 0
    assert_eq!(solve_weighted(&batch), clean);
    batch.embeddings[[2, 2]] = f64::NAN;
    assert!(solve_weighted(&batch).0.is_nan());
}

fn solve_weighted(batch: &Batch) -> (f64, Array2<f64>) {
    let loss = BatchContrastiveLoss::new(ContrastiveLoss::new(0.5).unwrap());
    let (value, gradient) = loss.value_and_gradient(batch.input()).unwrap();
    (value, gradient.embeddings)
}
