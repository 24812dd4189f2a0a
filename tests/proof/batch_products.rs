//! All pairs of a batch by matrix products, against the same distance taken pair by pair.

use contrastive::{
    BatchContrastiveGradient, BatchContrastiveInput, BatchContrastiveLoss, ContrastiveLoss,
    ContrastiveReport, CosineDistance, Distance, Loss, Lp, Reduction, Scalar, SquaredEuclidean,
    Want, Workspace,
};
use ndarray::{Array1, Array2, Axis};

use crate::common::largest;
use crate::common::random::Random;

/// In ε, relative to the largest entry. A squared distance from a product is off by some ε of ‖x‖² + ‖y‖², and at least 1/64 of that: by up to 64ε
/// times a few for the sums of the products.
const PRODUCT: f64 = 256.0;

/// A distance of the crate that does not say so: it is asked pair by pair.
#[derive(Clone, Copy)]
struct PairByPair<D>(D);

impl<A: Scalar, D: Distance<A>> Distance<A> for PairByPair<D> {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        self.0.distance(x, y)
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        self.0.gradient(x, y, dx, dy);
    }
}

struct Batch<A> {
    embeddings: Array2<A>,
    classes: Array1<u64>,
    weights: Array1<A>,
}

impl<A: Scalar> Batch<A> {
    /// Every fifth row is near the one before it, in the same class; some weights are 0.
    fn new(n: usize, dim: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut rows: Array2<f64> = Array2::from_shape_simple_fn((n, dim), || random.signed());
        for row in (1..n).filter(|row| row % 5 == 1) {
            let near = rows.row(row - 1).mapv(|x| x + 1e-3 * random.signed());
            rows.row_mut(row).assign(&near);
        }
        let weight = |i: usize| [1.0, 0.5, 0.0, 2.0][i % 4];
        Self {
            embeddings: rows.mapv(|x| A::from(x).unwrap()),
            classes: Array1::from_shape_fn(n, |i| (i / 2 % 7) as u64),
            weights: Array1::from_shape_fn(n, |i| A::from(weight(i)).unwrap()),
        }
    }
}

struct Answer<A> {
    value: A,
    gradient: Array2<A>,
    losses: Array1<A>,
    report: ContrastiveReport,
}

fn solve<A: Scalar, D: Distance<A>>(
    loss: &BatchContrastiveLoss<D>,
    batch: &Batch<A>,
    workspace: &mut Workspace<A>,
) -> Answer<A> {
    let n = batch.classes.len();
    let mut gradient = Array2::from_elem(batch.embeddings.dim(), A::nan());
    let mut losses = Array1::from_elem(n * (n - 1) / 2, A::nan());
    let mut report = ContrastiveReport::default();
    let views = BatchContrastiveGradient {
        embeddings: Some(gradient.view_mut()),
    };
    let want = Want::gradient(views)
        .with_rows(losses.view_mut())
        .with_report(&mut report);
    let input = BatchContrastiveInput::new(batch.embeddings.view(), batch.classes.view())
        .with_weights(batch.weights.view());
    let value = loss.evaluate(input, want, workspace).unwrap();
    Answer {
        value,
        gradient,
        losses,
        report,
    }
}

fn wide<A: Scalar>(x: A) -> f64 {
    x.to_f64().unwrap()
}

/// Relative to the largest entry.
fn close<A: Scalar, D: ndarray::Dimension>(
    found: &ndarray::Array<A, D>,
    expected: &ndarray::Array<A, D>,
    what: &str,
) {
    let expected = expected.mapv(wide);
    let off = largest(&(found.mapv(wide) - &expected));
    let tolerance = PRODUCT * wide(A::epsilon()) * largest(&expected);
    assert!(off <= tolerance, "{what}: off by {off} of {tolerance}");
}

/// One distance, every form of the loss, both element types.
fn agree<D>(name: &str, distance: D, margin: f64)
where
    D: Distance<f32> + Distance<f64> + Copy,
{
    let loss = ContrastiveLoss::new(margin).unwrap();
    for (form, loss) in [("squared", loss), ("linear", loss.with_linear(true))] {
        for reduction in [Reduction::Mean, Reduction::MeanActive, Reduction::Sum] {
            let loss = loss.with_reduction(reduction).unwrap();
            for (n, dim) in [(2, 3), (31, 5), (33, 40), (101, 17)] {
                let what = format!("{name} {form} {reduction:?} {n}x{dim}");
                agree_in::<f32, D>(loss, distance, n, dim, &what);
                agree_in::<f64, D>(loss, distance, n, dim, &what);
            }
        }
    }
}

fn agree_in<A: Scalar, D: Distance<A> + Copy>(
    loss: ContrastiveLoss,
    distance: D,
    n: usize,
    dim: usize,
    what: &str,
) {
    let batch = Batch::<A>::new(n, dim, n as u64);
    let found = BatchContrastiveLoss::new(loss.with_distance(distance)).with_balance(true);
    let found = solve(&found, &batch, &mut Workspace::new());
    let exact = loss.with_distance(PairByPair(distance));
    let exact = BatchContrastiveLoss::new(exact).with_balance(true);
    let exact = solve(&exact, &batch, &mut Workspace::new());
    let off = (wide(found.value) - wide(exact.value)).abs();
    assert!(
        off <= PRODUCT * wide(A::epsilon()) * wide(exact.value),
        "{what}: value off by {off}"
    );
    close(&found.gradient, &exact.gradient, what);
    close(&found.losses, &exact.losses, what);
    assert_eq!(found.report.active, exact.report.active, "{what}");
    let distances = |report: ContrastiveReport| {
        Array1::from_iter([report.match_distance, report.no_match_distance])
            .mapv(|distance| A::from(distance).unwrap())
    };
    if n > 2 {
        close(&distances(found.report), &distances(exact.report), what);
    }
}

#[test]
fn euclidean_distances_by_products_are_those_of_the_pairs() {
    agree("Euclidean", Lp::euclidean(), 4.0);
}

#[test]
fn squared_distances_by_products_are_those_of_the_pairs() {
    agree("squared", SquaredEuclidean, 9.0);
}

#[test]
fn cosine_distances_by_products_are_those_of_the_pairs() {
    agree("cosine", CosineDistance, 0.9);
}

/// What a product can't tell: equal rows, rows of zeros, rows whose squares leave the range of `f32`.
#[test]
fn degenerate_rows_have_the_distances_and_gradients_of_the_pairs() {
    let mut batch = Batch::<f32>::new(40, 6, 1);
    for (row, factor) in [(4, 0.0), (9, 1e-25), (14, 1e-25), (19, 1e25), (24, -1e25)] {
        let scaled = batch.embeddings.row(row).mapv(|x| x * factor);
        batch.embeddings.row_mut(row).assign(&scaled);
    }
    let equal = batch.embeddings.row(30).to_owned();
    batch.embeddings.row_mut(31).assign(&equal);
    let loss = ContrastiveLoss::new(1.0).unwrap().with_linear(true);
    let loss = loss.with_reduction(Reduction::Sum).unwrap();
    let mut workspace = Workspace::new();
    let found = BatchContrastiveLoss::new(loss.with_distance(CosineDistance));
    let exact = BatchContrastiveLoss::new(loss.with_distance(PairByPair(CosineDistance)));
    let (found, exact) = (
        solve(&found, &batch, &mut workspace),
        solve(&exact, &batch, &mut workspace),
    );
    close(&found.losses, &exact.losses, "cosine");
    // Rows of very different lengths have gradients of very different lengths.
    let rows = found.gradient.axis_iter(Axis(0));
    for (found, exact) in rows.zip(exact.gradient.axis_iter(Axis(0))) {
        close(&found.to_owned(), &exact.to_owned(), "cosine");
    }
    let found = BatchContrastiveLoss::new(loss.with_distance(Lp::euclidean()));
    let exact = BatchContrastiveLoss::new(loss.with_distance(PairByPair(Lp::euclidean())));
    let (found, exact) = (
        solve(&found, &batch, &mut workspace),
        solve(&exact, &batch, &mut workspace),
    );
    close(&found.losses, &exact.losses, "Euclidean");
    close(&found.gradient, &exact.gradient, "Euclidean");
}

#[test]
fn a_small_workspace_takes_some_rows_at_a_time_with_the_same_bits() {
    let batch = Batch::<f64>::new(250, 9, 2);
    let loss = ContrastiveLoss::new(4.0)
        .unwrap()
        .with_distance(Lp::euclidean());
    let loss = BatchContrastiveLoss::new(loss);
    let whole = solve(&loss, &batch, &mut Workspace::new());
    let parts = solve(&loss, &batch, &mut Workspace::with_limit(1 << 16).unwrap());
    assert_eq!(parts.gradient, whole.gradient);
    assert_eq!(parts.losses, whole.losses);
    // Sums in other portions.
    assert!((parts.value - whole.value).abs() <= 4.0 * f64::EPSILON * whole.value);
}

/// A weight of 1e-42 times a distance of 1e11, over it: a subnormal `f32` times a difference of 1e11.
#[test]
fn weights_below_the_range_of_the_rows_keep_their_digits() {
    let mut batch = Batch::<f32>::new(40, 6, 4);
    batch.embeddings.mapv_inplace(|x| 1e11 * x);
    batch.weights.fill(1e-21);
    let loss = ContrastiveLoss::new(1.0).unwrap();
    let loss = loss.with_reduction(Reduction::Sum).unwrap();
    let found = BatchContrastiveLoss::new(loss.with_distance(Lp::euclidean()));
    let exact = BatchContrastiveLoss::new(loss.with_distance(PairByPair(Lp::euclidean())));
    let mut workspace = Workspace::new();
    let (found, exact) = (
        solve(&found, &batch, &mut workspace),
        solve(&exact, &batch, &mut workspace),
    );
    assert!(largest(&exact.gradient) > 1e-35);
    close(&found.gradient, &exact.gradient, "Euclidean");
}

/// Near and far pairs, weights of zero, and rows that are no whole panel.
fn losses() -> impl Iterator<Item = BatchContrastiveLoss<Lp>> {
    let reductions = [Reduction::Mean, Reduction::MeanActive, Reduction::Sum];
    reductions.into_iter().map(|reduction| {
        let loss = ContrastiveLoss::new(4.0).unwrap();
        let loss = loss.with_reduction(reduction).unwrap();
        BatchContrastiveLoss::new(loss.with_distance(Lp::euclidean())).with_balance(true)
    })
}

#[test]
fn value_losses_and_report_alone_have_the_bits_of_those_with_a_gradient() {
    let batch = Batch::<f32>::new(101, 17, 5);
    let input = BatchContrastiveInput::new(batch.embeddings.view(), batch.classes.view())
        .with_weights(batch.weights.view());
    for loss in losses() {
        let with = solve(&loss, &batch, &mut Workspace::new());
        let mut rows = Array1::from_elem(with.losses.len(), f32::NAN);
        let mut report = ContrastiveReport::default();
        let want = Want::value()
            .with_rows(rows.view_mut())
            .with_report(&mut report);
        let value = loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        assert_eq!(
            (value, rows, report),
            (with.value, with.losses, with.report)
        );
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_do_not_change_the_bits_of_products() {
    let batch = Batch::<f32>::new(333, 17, 6);
    for loss in losses() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let answer = || solve(&loss, &batch, &mut Workspace::new());
            let answer = pool.unwrap().install(answer);
            (answer.value, answer.gradient, answer.losses)
        };
        let alone = on(1);
        for threads in [2, 3, 8] {
            assert!(on(threads) == alone, "{threads} threads");
        }
    }
}
