//! The value of every graph against its formula, its gradient against the central differences of the formula.

use contrastive::{Error, Workspace};
use proptest::prelude::*;

use super::any::any_case;
use super::batch::Batch;
use super::list::{all, batches, list};
use super::ruled::ruled;
use super::{judged, naive};
use crate::common::cases::at_most;

/// Scores up to 20, added up one by one by the reference.
pub(super) const ROUNDING: f64 = 1e-12;

/// Relative to the largest of 1, the value and the slopes. A central difference with step h = ∛ε = 6e-6 errs by ε|f|/h = 4e-11·|f| for a value rounded
/// to ε, several times that for one summed up from as many scores, and by h²f'''/6 = 6e-12·f''', where f''' reaches some tens at this temperature;
/// measured: 3e-10.
const DIFFERENCE: f64 = 2e-9;

fn has_the_value_of_its_formula(batch: &Batch) {
    let answer = batch.solve::<f64>(&mut Workspace::new()).unwrap();
    let rows = naive::rows(batch, &batch.parts, &batch.parts);
    for (i, (&found, &expected)) in answer.rows.iter().zip(&rows).enumerate() {
        let off = (found - expected).abs();
        assert!(
            off < ROUNDING * expected.abs().max(20.0),
            "{i}: {found} {expected} {:?}",
            batch.case
        );
    }
    let value = naive::value(batch, &batch.parts, &batch.parts);
    let off = (answer.value - value).abs();
    assert!(
        off < ROUNDING * value.abs().max(20.0),
        "{} {value} {:?}",
        answer.value,
        batch.case
    );
    let without = batch.positives.iter().filter(|list| list.is_empty());
    let without = without.count();
    assert_eq!(answer.report.without_positive, without, "{:?}", batch.case);
    let left_out = judged::count(batch);
    assert_eq!(answer.report.left_out, left_out, "{:?}", batch.case);
}

fn has_the_gradient_of_its_formula(batch: &Batch) {
    let answer = batch.solve::<f64>(&mut Workspace::new()).unwrap();
    let gradient = answer.flat();
    let scale = gradient
        .iter()
        .fold(answer.value.abs().max(1.0), |largest, slope| {
            largest.max(slope.abs())
        });
    let step = f64::EPSILON.cbrt();
    let stride = gradient.len().div_ceil(40);
    let last = gradient.len() - 2..gradient.len();
    for index in (0..last.start).step_by(stride).chain(last) {
        let at = |by: f64| {
            let mut moved = batch.parts.clone();
            *moved.numbers()[index] += by;
            naive::value(batch, &moved, &batch.parts)
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        let slope = if index + 1 == gradient.len() && batch.case.bias.is_none() {
            0.0
        } else {
            slope
        };
        let off = (slope - gradient[index]).abs();
        assert!(
            off < DIFFERENCE * scale,
            "{index}: {} not {slope}: {:?}",
            gradient[index],
            batch.case
        );
    }
}

#[test]
fn every_graph_has_the_value_of_its_formula() {
    batches(all(), &[(2, 3), (7, 4), (45, 5)])
        .for_each(|batch| has_the_value_of_its_formula(&batch));
}

#[test]
fn every_graph_has_the_gradient_of_its_formula() {
    batches(list(), &[(3, 4), (9, 3), (40, 5)])
        .for_each(|batch| has_the_gradient_of_its_formula(&batch));
}

/// In batches of more than one panel.
#[test]
fn every_graph_with_rules_has_the_gradient_of_its_formula() {
    batches(ruled(), &[(3, 4), (9, 3), (20, 5)])
        .for_each(|batch| has_the_gradient_of_its_formula(&batch));
}

/// Otherwise all that is said of them would hold of any losses.
#[test]
fn rules_leave_out_candidates_of_most_graphs() {
    let counts = batches(ruled(), &[(20, 5)]).map(|batch| judged::count(&batch));
    let counts: Vec<usize> = counts.collect();
    let some = counts.iter().filter(|&&count| count > 0).count();
    assert!(some * 2 > counts.len(), "{some} of {}", counts.len());
}

/// With one column a row of cosines has no slope; products and distances have.
#[test]
fn every_graph_of_single_numbers_has_the_value_and_the_gradient_of_its_formula() {
    for batch in batches(all(), &[(9, 1)]) {
        has_the_value_of_its_formula(&batch);
        has_the_gradient_of_its_formula(&batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Most sets of options that are drawn at random contradict themselves somewhere.
        max_global_rejects: 1 << 16,
        ..at_most(256)
    })]

    #[test]
    fn any_graph_that_is_well_defined_has_the_value_and_the_gradient_of_its_formula(
        case in any_case(),
        (n, dim) in (2..12_usize, 2..5_usize),
        seed: u64,
    ) {
        let batch = Batch::new(case, n, dim, seed);
        if batch.is_ill_defined() {
            let refused = batch.solve::<f64>(&mut Workspace::new());
            let reason = matches!(refused, Err(Error::IllDefined { .. }));
            prop_assert!(reason, "{refused:?}: {case:?}");
            return Err(TestCaseError::reject("ill-defined"));
        }
        has_the_value_of_its_formula(&batch);
        has_the_gradient_of_its_formula(&batch);
    }
}
