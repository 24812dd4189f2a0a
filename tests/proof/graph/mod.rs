//! InfoNCE over every kind of candidate graph: several positives, ragged and pooled negatives, all directions, labelled batches, the sigmoid form,
//! distances. Values against the formula, gradients against its central differences.

mod case;
mod naive;

use case::{Batch, Case, OwnKind, PLAIN, TargetKind};
use contrastive::{
    Directions, Error, InfoNceInput, InfoNceLoss, Loss, PartitionMode, SeveralPositives,
    Similarity, Sources, Targets, Workspace,
};
use ndarray::{Array2, array};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::common::cases::at_most;

fn directions(bits: usize) -> Directions {
    Directions {
        query_to_query: bits & 1 != 0,
        document_to_query: bits & 2 != 0,
        document_to_document: bits & 4 != 0,
    }
}

/// Every option by itself, and together with what it might be confused by.
fn list() -> Vec<Case> {
    let mut list = Vec::new();
    for bits in 0..8 {
        for (own, pooled) in [
            (OwnKind::None, false),
            (OwnKind::Fixed(2), true),
            (OwnKind::Ragged, bits & 1 == 0),
        ] {
            let plain = Case {
                directions: directions(bits),
                own,
                pooled,
                ids: bits & 3 == 1,
                weighted: bits & 2 != 0,
                ..PLAIN
            };
            list.extend([
                plain,
                Case {
                    targets: TargetKind::Index,
                    pool: 4,
                    ..plain
                },
            ]);
        }
    }
    let per_direction = Case {
        directions: Directions::SYMMETRIC,
        partition: PartitionMode::PerDirection,
        own: OwnKind::Fixed(1),
        pooled: true,
        ..PLAIN
    };
    let hard = |sources| Case {
        hardness: Some((2.0, sources)),
        own: OwnKind::Fixed(2),
        pooled: true,
        pool: 2,
        directions: Directions::ALL,
        ..PLAIN
    };
    let in_batch = Sources {
        others: true,
        ..Sources::IN_BATCH
    };
    list.extend([
        per_direction,
        hard(Sources::ALL),
        hard(Sources::OWN),
        hard(in_batch),
    ]);
    for targets in [TargetKind::Lists, TargetKind::Ids, TargetKind::Labels] {
        for several in [SeveralPositives::Together, SeveralPositives::Apart] {
            let plain = Case {
                targets,
                several,
                ..PLAIN
            };
            let apart = several == SeveralPositives::Apart;
            list.extend([
                plain,
                Case {
                    own: OwnKind::Ragged,
                    pool: 3,
                    weighted: true,
                    ..plain
                },
                Case {
                    own: OwnKind::Fixed(2),
                    pooled: true,
                    decoupled: apart,
                    ..plain
                },
            ]);
            if targets != TargetKind::Labels {
                list.push(Case {
                    in_batch: false,
                    own: OwnKind::Fixed(2),
                    ..plain
                });
            }
        }
        let sigmoid = Case {
            targets,
            bias: Some(-0.7),
            ..PLAIN
        };
        list.extend([
            sigmoid,
            Case {
                own: OwnKind::Ragged,
                pool: 2,
                weighted: true,
                ..sigmoid
            },
        ]);
    }
    list.push(Case {
        bias: Some(0.4),
        own: OwnKind::Fixed(2),
        pooled: true,
        ids: true,
        ..PLAIN
    });
    let of_other_similarity = list.iter().enumerate().map(|(index, &case)| {
        let similarity = [Similarity::Dot, Similarity::SquaredEuclidean][index % 2];
        Case { similarity, ..case }
    });
    let of_other_similarity: Vec<Case> = of_other_similarity.collect();
    list.extend(of_other_similarity);
    list
}

fn batches(sizes: &'static [(usize, usize)]) -> impl Iterator<Item = Batch> {
    let cases = list().into_iter().enumerate();
    cases.flat_map(move |(seed, case)| {
        sizes
            .iter()
            .map(move |&(n, dim)| Batch::new(case, n, dim, (seed * 31 + n) as u64))
    })
}

/// Scores up to 20, added up one by one by the reference.
const ROUNDING: f64 = 1e-12;

/// A central difference with step ∛ε errs by h²f'''/6, where f''' reaches some thousands at this temperature, and ε|f|/h.
const DIFFERENCE: f64 = 1e-6;

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
}

fn has_the_gradient_of_its_formula(batch: &Batch) {
    let gradient = batch.solve::<f64>(&mut Workspace::new()).unwrap().flat();
    let scale = gradient
        .iter()
        .fold(1.0_f64, |largest, slope| largest.max(slope.abs()));
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
    batches(&[(2, 3), (7, 4), (45, 5)]).for_each(|batch| has_the_value_of_its_formula(&batch));
}

#[test]
fn every_graph_has_the_gradient_of_its_formula() {
    batches(&[(3, 4), (9, 3), (40, 5)]).for_each(|batch| has_the_gradient_of_its_formula(&batch));
}

/// With one column a row of cosines has no slope; products and distances have.
#[test]
fn every_graph_of_single_numbers_has_the_value_and_the_gradient_of_its_formula() {
    for batch in batches(&[(9, 1)]) {
        has_the_value_of_its_formula(&batch);
        has_the_gradient_of_its_formula(&batch);
    }
}

/// Any options together.
fn any_case() -> impl Strategy<Value = Case> {
    let candidates = (
        select(vec![
            TargetKind::Aligned,
            TargetKind::Index,
            TargetKind::Lists,
            TargetKind::Ids,
            TargetKind::Labels,
        ]),
        select(vec![
            OwnKind::None,
            OwnKind::Fixed(1),
            OwnKind::Fixed(3),
            OwnKind::Ragged,
        ]),
        0..4_usize,
        any::<[bool; 2]>(),
        (0..8_usize).prop_map(directions),
    );
    let form = (
        select(vec![
            Similarity::Cosine,
            Similarity::Dot,
            Similarity::SquaredEuclidean,
        ]),
        select(vec![PartitionMode::Joint, PartitionMode::PerDirection]),
        select(vec![SeveralPositives::Together, SeveralPositives::Apart]),
        option::of(-1.0..1.0),
        option::of((
            0.5..2.0,
            select(vec![Sources::ALL, Sources::OWN, Sources::IN_BATCH]),
        )),
        any::<[bool; 3]>(),
    );
    (candidates, form).prop_map(|(candidates, form)| {
        let (targets, own, pool, [in_batch, pooled], directions) = candidates;
        let (similarity, partition, several, bias, hardness, [decoupled, ids, weighted]) = form;
        Case {
            similarity,
            targets,
            own,
            pool,
            in_batch,
            pooled,
            directions,
            partition,
            several,
            decoupled,
            bias,
            hardness,
            ids,
            weighted,
        }
    })
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
        match batch.solve::<f64>(&mut Workspace::new()) {
            Ok(_) => {}
            Err(Error::IllDefined { .. }) => return Err(TestCaseError::reject("ill-defined")),
            Err(other) => panic!("{other}: {case:?}"),
        }
        has_the_value_of_its_formula(&batch);
        has_the_gradient_of_its_formula(&batch);
    }
}

/// A workspace that holds a few tiles at a time: scores are computed again for the gradient.
#[test]
fn graphs_hold_when_scores_are_computed_again() {
    for batch in batches(&[(500, 6)]) {
        let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
        let narrow = batch
            .solve::<f64>(&mut Workspace::with_limit(1 << 16).unwrap())
            .unwrap();
        let all = wide.flat().into_iter().zip(narrow.flat());
        for (wide, narrow) in all.chain([(wide.value, narrow.value)]) {
            assert!(
                (wide - narrow).abs() < ROUNDING * wide.abs().max(20.0),
                "{wide} {narrow} {:?}",
                batch.case
            );
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn graphs_give_the_same_bits_for_any_number_of_threads() {
    for batch in batches(&[(200, 33)]) {
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| batch.solve::<f32>(&mut Workspace::new()).unwrap().bits())
        };
        let first = bits(1);
        assert!(
            [2, 3, 8].into_iter().all(|threads| bits(threads) == first),
            "{:?}",
            batch.case
        );
    }
}

/// Scores of 20 are rounded by 1e-6, and with them the logarithms of the gradients.
const SINGLE: f64 = 3e-5;

#[test]
fn graphs_in_f32_agree_with_f64() {
    for batch in batches(&[(50, 40)]) {
        let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
        let narrow = batch.solve::<f32>(&mut Workspace::new()).unwrap();
        let scale = wide
            .flat()
            .iter()
            .fold(wide.value.abs(), |largest, slope| largest.max(slope.abs()));
        let all = wide.flat().into_iter().zip(narrow.flat());
        for (wide, narrow) in all.chain([(wide.value, f64::from(narrow.value))]) {
            assert!(
                (wide - narrow).abs() < SINGLE * scale.max(1.0),
                "{wide} {narrow} {:?}",
                batch.case
            );
        }
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
    let batch = Batch::new(case, 500, 6, 4);
    let wide = batch.solve::<f64>(&mut Workspace::new()).unwrap();
    let narrow = batch
        .solve::<f32>(&mut Workspace::with_limit(1 << 16).unwrap())
        .unwrap();
    let [wide, narrow] = [
        wide.gradient.negatives.unwrap(),
        narrow.gradient.negatives.unwrap().mapv(f64::from),
    ];
    let largest = wide
        .iter()
        .fold(0.0_f64, |most, slope| most.max(slope.abs()));
    for (wide, narrow) in wide.iter().zip(&narrow) {
        assert!((wide - narrow).abs() < SINGLE * largest, "{wide} {narrow}");
    }
}

/// Negatives `[n, K, dim]` that cannot be counted through in place are copied, and their gradient is brought back.
#[test]
fn pooled_negatives_and_their_gradient_may_have_any_layout() {
    let case = Case {
        own: OwnKind::Fixed(3),
        pooled: true,
        directions: Directions::ALL,
        ..PLAIN
    };
    let batch = Batch::new(case, 6, 4, 3);
    let (queries, documents) = (&batch.parts.queries, &batch.parts.documents);
    let straight = batch
        .parts
        .negatives
        .clone()
        .into_shape_with_order((6, 3, 4))
        .unwrap();
    let mut turned = ndarray::Array3::zeros((3, 4, 6)).permuted_axes([2, 0, 1]);
    turned.assign(&straight);
    let loss = batch.loss().unwrap();
    let input = InfoNceInput::new(queries.view(), documents.view());
    let (value, gradient) = loss
        .value_and_gradient(input.with_negatives(straight.view()))
        .unwrap();
    let mut other = gradient.clone();
    other.negatives = Some(ndarray::Array3::zeros((4, 6, 3)).permuted_axes([1, 2, 0]));
    let again = loss
        .forward_backward(input.with_negatives(turned.view()), other.view_mut())
        .unwrap();
    assert_eq!(value, again);
    assert_eq!(gradient, other);
}

#[test]
fn a_batch_without_any_positive_costs_nothing_and_has_no_gradient() {
    let embeddings = array![[1.0, 2.0], [0.5, f64::NAN], [3.0, -1.0]];
    let labels = array![1, 2, 3];
    let input = InfoNceInput::labelled(embeddings.view(), labels.view());
    let (value, gradient) = InfoNceLoss::new(0.1)
        .unwrap()
        .value_and_gradient(input)
        .unwrap();
    assert_eq!(value, 0.0);
    assert_eq!(gradient.queries, Array2::<f64>::zeros((3, 2)));
}

#[test]
fn ill_defined_graphs_are_refused_with_the_reason() {
    let rows = Array2::from_shape_fn((3, 2), |(i, j)| 1.0 + (i * 2 + j) as f64);
    let plain = InfoNceInput::new(rows.view(), rows.view());
    let labels = array![1, 1, 2];
    let labelled = InfoNceInput::labelled(rows.view(), labels.view());
    let loss = InfoNceLoss::new(0.5).unwrap();
    let sigmoid = InfoNceLoss::sigmoid(0.5, 0.0).unwrap();
    let (offsets, documents) = (array![0, 2, 2, 3], array![0, 1, 2]);
    let lists = plain.with_targets(Targets::Lists {
        offsets: offsets.view(),
        documents: documents.view(),
    });
    let per_direction = |bits| loss.with_directions(directions(bits), PartitionMode::PerDirection);
    let joint = |bits| loss.with_directions(directions(bits), PartitionMode::Joint);
    let refused = [
        (per_direction(1), plain, "no positive of their own"),
        (per_direction(4), plain, "no positive of their own"),
        (
            joint(7).with_in_batch_negatives(false),
            plain.with_pool(rows.view()),
            "needs in-batch negatives",
        ),
        (joint(1), labelled, "labelled batch"),
        (joint(2), lists, "exactly one positive"),
        (
            sigmoid.with_symmetric(true),
            plain,
            "same in both directions",
        ),
        (sigmoid.with_decoupled(true), plain, "no softmax"),
        (
            loss.with_label_smoothing(0.1).unwrap(),
            lists,
            "cannot be smoothed",
        ),
        (loss.with_decoupled(true), lists, "keep them apart"),
    ];
    for (loss, input, reason) in refused {
        match loss.forward(input) {
            Err(Error::IllDefined { reason: found }) => assert!(found.contains(reason), "{found}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn offsets_of_negatives_that_decrease_or_overrun_are_refused() {
    let rows = Array2::from_shape_fn((3, 2), |(i, j)| 1.0 + (i * 2 + j) as f64);
    let refuse = |offsets: &ndarray::Array1<usize>| {
        let input = InfoNceInput::new(rows.view(), rows.view());
        let input = input.with_ragged_negatives(rows.view(), offsets.view());
        InfoNceLoss::new(0.5).unwrap().forward(input).unwrap_err()
    };
    for (offsets, row, found) in [
        (array![0, 2, 1, 3], 2, 1),
        (array![0, 1, 2, 4], 3, 4),
        (array![1, 1, 2, 3], 0, 1),
    ] {
        let error = refuse(&offsets);
        let expected =
            matches!(error, Error::Offset { row: at, found: was, .. } if (at, was) == (row, found));
        assert!(expected, "{error}");
    }
    let short = array![0, 3];
    let error = refuse(&short);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}
