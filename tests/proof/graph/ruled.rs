//! Every rule for candidates, over every kind of graph.

use contrastive::{
    Directions, FalseNegatives, PartitionMode, SeveralPositives, Similarity, Sources,
};

use super::batch::Batch;
use super::case::{Case, OwnKind, PLAIN, TargetKind};
use super::extras::Given;

/// Graphs that have every kind of candidates in some of them.
fn graphs() -> Vec<Case> {
    let own = Case {
        own: OwnKind::Fixed(2),
        pooled: true,
        pool: 3,
        ..PLAIN
    };
    let ragged = Case {
        own: OwnKind::Ragged,
        pool: 2,
        weighted: true,
        ..PLAIN
    };
    let all = Case {
        targets: TargetKind::Index,
        directions: Directions::ALL,
        pooled: true,
        ..ragged
    };
    let labels = Case {
        targets: TargetKind::Labels,
        ..own
    };
    vec![
        own,
        all,
        Case {
            directions: Directions::SYMMETRIC,
            partition: PartitionMode::PerDirection,
            ..own
        },
        // The only directions in which labels can be smoothed.
        Case {
            directions: Directions {
                document_to_query: false,
                ..Directions::ALL
            },
            ..own
        },
        Case {
            targets: TargetKind::Few,
            decoupled: true,
            pooled: true,
            ..ragged
        },
        Case {
            targets: TargetKind::Few,
            in_batch: false,
            ..ragged
        },
        Case {
            targets: TargetKind::Lists,
            several: SeveralPositives::Apart,
            decoupled: true,
            ..own
        },
        Case {
            targets: TargetKind::Ids,
            pooled: true,
            ..ragged
        },
        labels,
        Case {
            several: SeveralPositives::Apart,
            own: OwnKind::Ragged,
            ..labels
        },
        Case {
            bias: Some(-0.6),
            ..labels
        },
        Case {
            targets: TargetKind::Lists,
            bias: Some(0.3),
            ..own
        },
    ]
}

/// Rules put on a graph one by one, then together.
fn rules(plain: Case) -> Vec<Case> {
    let only = |sources: Sources, margin| Case {
        false_negatives: Some((FalseNegatives::Absolute(margin), sources)),
        ..plain
    };
    let weights = |log_weights| Case {
        log_weights: Some(log_weights),
        ..plain
    };
    let relative = Some((FalseNegatives::Relative(0.3), Sources::ALL));
    let exempt = Given {
        negatives: false,
        ..Given::ALL
    };
    let marked = Case {
        ids: Some(Given::ALL),
        ..plain
    };
    let guided = Case {
        guide: Some(Given::ALL),
        ..plain
    };
    let smoothed = Case {
        smoothing: 0.3,
        ..plain
    };
    let all = Case {
        ids: Some(Given::ALL),
        log_weights: Some(Given::ALL),
        hardness: Some((0.8, Sources::ALL)),
        ..plain
    };
    let judged = Case {
        false_negatives: relative,
        ..all
    };
    vec![
        marked,
        Case {
            ids: Some(exempt),
            ..plain
        },
        only(Sources::ALL, 0.2),
        only(Sources::IN_BATCH, -0.5),
        only(Sources::OWN, 0.0),
        only(
            Sources {
                others: true,
                ..Sources::NONE
            },
            0.1,
        ),
        only(
            Sources {
                pool: true,
                ..Sources::NONE
            },
            0.1,
        ),
        only(
            Sources {
                queries: true,
                ..Sources::NONE
            },
            0.1,
        ),
        only(
            Sources {
                documents: true,
                ..Sources::NONE
            },
            0.1,
        ),
        guided,
        // A guide judges all that it has embeddings of, whatever the sources are.
        Case {
            guide: Some(exempt),
            false_negatives: relative.map(|(rule, _)| (rule, Sources::NONE)),
            ..plain
        },
        weights(Given::ALL),
        weights(Given {
            others: true,
            ..Given::NONE
        }),
        weights(Given {
            documents: true,
            ..Given::NONE
        }),
        smoothed,
        Case {
            smoothing: 0.2,
            ..judged
        },
        Case {
            smoothing: 1.0,
            guide: Some(Given::ALL),
            ..all
        },
        judged,
        Case {
            guide: Some(Given::ALL),
            ..judged
        },
    ]
}

/// Rules over graphs, as far as they go together.
pub(super) fn ruled() -> Vec<Case> {
    let similarities = [
        Similarity::Cosine,
        Similarity::Dot,
        Similarity::SquaredEuclidean,
    ];
    let all = graphs().into_iter().flat_map(rules).enumerate();
    all.map(|(index, case)| Case {
        similarity: similarities[index % similarities.len()],
        ..case
    })
    .filter(|&case| !Batch::new(case, 9, 2, 0).is_ill_defined())
    .collect()
}
