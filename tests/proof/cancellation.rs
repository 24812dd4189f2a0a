//! Nearly parallel pairs and separated positives: digits that plain formulas lose by subtracting are kept.

use crate::common::naive;
use crate::common::random::Random;
use contrastive::{
    CosineDistance, CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss,
    PairLabel, TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, Array2, Axis, array};

/// The goal where PyTorch loses up to 8e-3 of the loss and 4e-4 of the gradient.
const NEARLY_PARALLEL: f64 = 1e-6;

/// Likewise for InfoNCE with separated positives at τ = 0.05, where PyTorch loses 1.3e-3; scores of 20 are rounded by 1.2e-6.
const SEPARATED: f64 = 1e-5;

fn unit(x: &[f64]) -> (Vec<f64>, f64) {
    let norm = naive::dot(x, x).sqrt();
    (x.iter().map(|x| x / norm).collect(), norm)
}

/// 1 − c and ∂c/∂x from the difference of the normalised rows, which f64 keeps to 1e-10 for the f32 pairs below.
fn parallel_reference(x: &[f64], y: &[f64]) -> (f64, Vec<f64>) {
    let ((x, norm), (y, _)) = (unit(x), unit(y));
    let rest: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - x).collect();
    let distance = 0.5 * naive::dot(&rest, &rest);
    let gradient = x
        .iter()
        .zip(&rest)
        .map(|(x, rest)| (rest + distance * x) / norm);
    (distance, gradient.collect())
}

/// ‖found − expected‖ / ‖expected‖
fn relative(found: impl IntoIterator<Item = f64>, expected: &[f64]) -> f64 {
    let rest: Vec<f64> = found
        .into_iter()
        .zip(expected)
        .map(|(found, expected)| found - expected)
        .collect();
    (naive::dot(&rest, &rest) / naive::dot(expected, expected)).sqrt()
}

/// Pairs that differ by noise, and in length.
fn pairs(n: usize, dim: usize, noise: f64, length: f64) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(dim as u64);
    let x = Array2::from_shape_fn((n, dim), |_| random.signed() as f32);
    let y = x.mapv(|x| ((f64::from(x) + noise * random.signed()) * length) as f32);
    (x, y)
}

fn wide(row: ndarray::ArrayView1<'_, f32>) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn nearly_parallel_pairs_keep_six_digits_of_loss_and_gradient() {
    for noise in [1e-3, 1e-4, 1e-5, 1e-6] {
        for (dim, length) in [(2, 1.0), (64, 1.0), (768, 1.0), (768, 3.3), (64, 1e-25)] {
            let (x, y) = pairs(8, dim, noise, length);
            let labels = Array1::from_elem(8, PairLabel::Match);
            let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
            let loss = CosineEmbeddingLoss::new(0.0).unwrap();
            let mut rows = Array1::zeros(8);
            loss.forward_rows(input, rows.view_mut()).unwrap();
            let (_, gradient) = loss.value_and_gradient(input).unwrap();

            // The positive of a triplet has the gradient of its own distance alone.
            let triplet = TripletMarginLoss::new(2.5)
                .unwrap()
                .with_distance(CosineDistance);
            let away = x.mapv(|x| -x);
            let triplets = TripletMarginInput::new(y.view(), x.view(), away.view());
            let (_, pulled) = triplet.value_and_gradient(triplets).unwrap();

            for i in 0..8 {
                let (distance, slope) = parallel_reference(&wide(x.row(i)), &wide(y.row(i)));
                let slope: Vec<f64> = slope.iter().map(|slope| -slope / 8.0).collect();
                let what = format!("noise {noise}, {dim} numbers, length {length}, row {i}");
                let off = (f64::from(rows[i]) / distance - 1.0).abs();
                assert!(off < NEARLY_PARALLEL, "{what}: loss off by {off:e}");
                for found in [gradient.x.row(i), pulled.positive.row(i)] {
                    let off = relative(wide(found), &slope);
                    assert!(off < NEARLY_PARALLEL, "{what}: gradient off by {off:e}");
                }
            }
        }
    }
}

/// For rows (1, 0) and (1, θ) both are known: 1 − c = θ² / (r(1 + r)) with r = √(1 + θ²), and ∂c/∂x = (0, θ/r).
#[test]
fn nearly_parallel_pairs_keep_fourteen_digits_in_f64() {
    for angle in [1e-3_f64, 1e-6, 1e-9, 1e-12] {
        let (x, y) = (array![[1.0, 0.0]], array![[3.0, 3.0 * angle]]);
        let angle = y[[0, 1]] / 3.0;
        let labels = array![PairLabel::Match];
        let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
        let (value, gradient) = CosineEmbeddingLoss::new(0.0)
            .unwrap()
            .value_and_gradient(input)
            .unwrap();
        let length = angle.hypot(1.0);
        let exact = angle * angle / (length * (1.0 + length));
        assert!(
            (value / exact - 1.0).abs() < 1e-14,
            "{angle}: {value}, not {exact}"
        );
        let exact = -angle / length;
        assert!((gradient.x[[0, 1]] / exact - 1.0).abs() < 1e-14, "{angle}");
        assert!(gradient.x[[0, 0]].abs() < 1e-14 * angle, "{angle}");
    }
}

/// Row losses and gradients of aligned queries and documents by cosine, 1 − p as a sum of the others.
fn info_nce_reference(
    queries: &Array2<f32>,
    documents: &Array2<f32>,
    temperature: f64,
    symmetric: bool,
) -> (Vec<f64>, [Vec<Vec<f64>>; 2]) {
    let n = queries.nrows();
    let units = |rows: &Array2<f32>| -> Vec<_> {
        rows.axis_iter(Axis(0))
            .map(|row| unit(&wide(row)))
            .collect()
    };
    let (q, d) = (units(queries), units(documents));
    let cosines: Vec<Vec<f64>> = q
        .iter()
        .map(|(q, _)| d.iter().map(|(d, _)| naive::dot(q, d)).collect())
        .collect();
    let (mut losses, mut slopes) = (vec![0.0; n], vec![vec![0.0; n]; n]);
    let share = if symmetric { 0.5 } else { 1.0 };
    for i in 0..n {
        for by_column in [false, true].into_iter().take(1 + usize::from(symmetric)) {
            let of = |j: usize| {
                if by_column {
                    cosines[j][i]
                } else {
                    cosines[i][j]
                }
            };
            let ratios: Vec<f64> = (0..n)
                .map(|j| ((of(j) - of(i)) / temperature).exp())
                .collect();
            let others: f64 = (0..n).filter(|&j| j != i).map(|j| ratios[j]).sum();
            losses[i] += share * others.ln_1p();
            for (j, &ratio) in ratios.iter().enumerate() {
                let share_of_all = if j == i { -others } else { ratio } / (1.0 + others);
                let (row, column) = if by_column { (j, i) } else { (i, j) };
                slopes[row][column] += share * share_of_all / temperature / n as f64;
            }
        }
    }
    let dim = queries.ncols();
    let mut gradients = [vec![vec![0.0; dim]; n], vec![vec![0.0; dim]; n]];
    for (i, (query, query_norm)) in q.iter().enumerate() {
        for (j, (document, document_norm)) in d.iter().enumerate() {
            for k in 0..dim {
                let (x, y, c) = (query[k], document[k], cosines[i][j]);
                gradients[0][i][k] += slopes[i][j] * (y - c * x) / query_norm;
                gradients[1][j][k] += slopes[i][j] * (x - c * y) / document_norm;
            }
        }
    }
    (losses, gradients)
}

#[test]
fn separated_positives_keep_five_digits_of_loss_and_gradient_at_temperature_0_05() {
    for (n, dim, noise) in [(24, 64, 0.3), (96, 256, 0.1), (40, 768, 0.01)] {
        for symmetric in [false, true] {
            let (queries, documents) = pairs(n, dim, noise, 2.0);
            let loss = InfoNceLoss::new(0.05).unwrap().with_symmetric(symmetric);
            let input = InfoNceInput::new(queries.view(), documents.view());
            let mut rows = Array1::zeros(n);
            loss.forward_rows(input, rows.view_mut()).unwrap();
            let (_, gradient) = loss.value_and_gradient(input).unwrap();
            let (losses, [to_queries, to_documents]) =
                info_nce_reference(&queries, &documents, 0.05, symmetric);
            for i in 0..n {
                let off = (f64::from(rows[i]) / losses[i] - 1.0).abs();
                assert!(
                    off < SEPARATED,
                    "{n}x{dim}, symmetric {symmetric}: loss {i} off by {off:e}"
                );
                for (found, expected) in [
                    (&gradient.queries, &to_queries),
                    (&gradient.documents, &to_documents),
                ] {
                    let off = relative(wide(found.row(i)), &expected[i]);
                    assert!(
                        off < SEPARATED,
                        "{n}x{dim}, symmetric {symmetric}: gradient {i} off by {off:e}"
                    );
                }
            }
        }
    }
}
