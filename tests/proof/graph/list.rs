//! Losses over candidate graphs: every option by itself, and with what it might be confused by.

use contrastive::{Directions, PartitionMode, SeveralPositives, Similarity, Sources};

use super::batch::Batch;
use super::case::{Case, OwnKind, PLAIN, TargetKind};
use super::extras::Given;
use super::ruled::ruled;

pub(super) fn directions(bits: usize) -> Directions {
    Directions {
        query_to_query: bits & 1 != 0,
        document_to_query: bits & 2 != 0,
        document_to_document: bits & 4 != 0,
    }
}

/// Every option by itself, and together with what it might be confused by.
pub(super) fn list() -> Vec<Case> {
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
                ids: (bits & 3 == 1).then_some(Given::ALL),
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
        ids: Some(Given::ALL),
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

/// The same, and all rules.
pub(super) fn all() -> Vec<Case> {
    let mut list = list();
    list.extend(ruled());
    list
}

pub(super) fn batches(
    cases: Vec<Case>,
    sizes: &'static [(usize, usize)],
) -> impl Iterator<Item = Batch> {
    let cases = cases.into_iter().enumerate();
    cases.flat_map(move |(seed, case)| {
        sizes
            .iter()
            .map(move |&(n, dim)| Batch::new(case, n, dim, (seed * 31 + n) as u64))
    })
}
