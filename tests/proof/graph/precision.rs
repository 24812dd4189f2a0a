//! Graphs in f32 against the same numbers in f64: the value, the losses and the gradient by each input, each relative to the largest of its own.

use contrastive::{Similarity, Workspace};

use super::answer::Answer;
use super::batch::Batch;
use super::case::{Case, OwnKind, PLAIN};
use super::list::{all, batches};
use super::{judged, naive};

/// Roundings of the largest score that all that is said of products and distances stays within. A score is rounded to ε/2 of the largest |s|/τ,
/// a probability is off by as much of itself, and so is its share of a gradient; measured: 1.1.
const SCORES: f64 = 2.0;

/// The same for cosines, which the normalisation rounds once more, and whose gradients lose what lies along the row; measured: 4.7.
const COSINES: f64 = 8.0;

/// Probabilities below e⁻⁸⁷, which f32 has none for.
const NOTHING: f64 = 1e-36;

/// How near to its ceiling a candidate may be: f32 takes 16 ε = 2e-6 for a tie, and rounds both.
const CLEAR: f64 = 1e-5;

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Of the largest number of each part.
fn tolerance(batch: &Batch) -> f64 {
    let roundings = match batch.case.similarity {
        Similarity::Cosine => COSINES,
        _ => SCORES,
    };
    roundings * f64::from(f32::EPSILON) * (1.0 + naive::largest_logit(batch))
}

fn agree(batch: &Batch, wide: &Answer<f64>, narrow: &Answer<f32>) {
    let tolerance = tolerance(batch);
    let compare = |name: &str, wide: &[f64], narrow: &[f64], scale: f64| {
        for (wide, narrow) in wide.iter().zip(narrow) {
            assert!(
                (wide - narrow).abs() <= tolerance * scale + NOTHING,
                "{name}: {wide} {narrow}, of {scale} {:?}",
                batch.case
            );
        }
    };
    let value = wide.value.abs();
    compare("value", &[wide.value], &[f64::from(narrow.value)], value);
    let rows = [wide.rows.to_vec(), narrow.rows.mapv(f64::from).to_vec()];
    compare("rows", &rows[0], &rows[1], largest(&rows[0]));
    for ((name, wide), (_, narrow)) in wide.parts().iter().zip(narrow.parts()) {
        // The slope by log τ is what remains of scores of the value's size.
        let scale = match *name {
            "log temperature" => largest(wide).max(value),
            _ => largest(wide),
        };
        compare(name, wide, &narrow, scale);
    }
    let left_out = [wide.report.left_out, narrow.report.left_out];
    assert_eq!(left_out[0], left_out[1], "{:?}", batch.case);
}

/// A batch like the given one, of numbers that f32 has, in which nobody is a false negative by a rounding.
fn clear(batch: &Batch, seed: u64) -> Batch {
    let (n, dim) = batch.parts.queries.dim();
    let again = (seed..).map(|seed| Batch::new(batch.case, n, dim, seed).rounded_to_single());
    let mut clear = again.filter(|batch| judged::clearance(batch) > CLEAR);
    clear.next().expect("one of so many")
}

#[test]
fn graphs_in_f32_agree_with_f64_in_the_value_and_in_the_gradient_by_each_input() {
    for (seed, batch) in batches(all(), &[(50, 40), (33, 5)]).enumerate() {
        let batch = clear(&batch, 1000 * seed as u64);
        let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
        let narrow = batch.solve::<f32>(&mut Workspace::new()).unwrap();
        agree(&batch, &wide, &narrow);
    }
}

/// The gradient of a negative holds what earlier blocks of queries have given when its own query adds to it.
#[test]
fn pooled_negatives_in_f32_keep_the_gradient_of_all_blocks_of_queries() {
    let case = Case {
        own: OwnKind::Fixed(2),
        pooled: true,
        ..PLAIN
    };
    let batch = Batch::new(case, 500, 6, 4).rounded_to_single();
    let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
    let mut workspace = Workspace::with_limit(1 << 16).unwrap();
    let narrow = batch.solve::<f32>(&mut workspace).unwrap();
    agree(&batch, &wide, &narrow);
}
