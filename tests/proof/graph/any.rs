//! Any options together.

use contrastive::{FalseNegatives, PartitionMode, SeveralPositives, Similarity, Sources};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::case::{Case, OwnKind, TargetKind};
use super::extras::Given;
use super::list::directions;

fn sources() -> impl Strategy<Value = Sources> {
    let any =
        any::<[bool; 6]>().prop_map(
            |[in_batch, own, others, pool, queries, documents]| Sources {
                in_batch,
                own,
                others,
                pool,
                queries,
                documents,
            },
        );
    prop_oneof![Just(Sources::ALL), any]
}

fn given() -> impl Strategy<Value = Option<Given>> {
    let any = any::<[bool; 4]>().prop_map(|[documents, negatives, others, pool]| Given {
        documents,
        negatives,
        others,
        pool,
    });
    option::of(prop_oneof![Just(Given::ALL), any])
}

fn false_negatives() -> impl Strategy<Value = Option<(FalseNegatives, Sources)>> {
    let rule = prop_oneof![
        (-2.0..1.0).prop_map(FalseNegatives::Absolute),
        (-1.0..1.0).prop_map(FalseNegatives::Relative),
    ];
    option::of((rule, sources()))
}

/// Any options together, most of which contradict each other somewhere.
pub(super) fn any_case() -> impl Strategy<Value = Case> {
    let candidates = (
        select(vec![
            TargetKind::Aligned,
            TargetKind::Index,
            TargetKind::Lists,
            TargetKind::Few,
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
        any::<[bool; 2]>(),
    );
    let rules = (
        option::of((0.5..2.0, sources())),
        given(),
        given(),
        false_negatives(),
        given(),
        prop_oneof![2 => Just(0.0), 1 => 0.0..=1.0],
    );
    (candidates, form, rules).prop_map(|(candidates, form, rules)| {
        let (targets, own, pool, [in_batch, pooled], directions) = candidates;
        let (similarity, partition, several, bias, [decoupled, weighted]) = form;
        let (hardness, ids, guide, false_negatives, log_weights, smoothing) = rules;
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
            guide,
            false_negatives,
            log_weights,
            smoothing,
            weighted,
        }
    })
}
