//! Which cases each form of the command runs.

use crate::case::Case;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Every row that the README shows.
    Full,
    /// A few minutes.
    Quick,
    /// Tiny shapes, to see that everything runs.
    Smoke,
}

/// One table and what it shows.
pub struct Suite {
    pub title: &'static str,
    pub cases: Vec<Case>,
}

/// The tables against the peers.
pub fn suites(size: Size) -> Vec<Suite> {
    match size {
        Size::Full => vec![
            suite("Row losses", FULL_ROW_LOSSES),
            suite("InfoNCE", FULL_INFO_NCE),
            suite("f64", FULL_DOUBLE),
        ],
        Size::Quick => vec![
            suite("Row losses", QUICK_ROW_LOSSES),
            suite("InfoNCE", QUICK_INFO_NCE),
            suite("f64", QUICK_DOUBLE),
        ],
        Size::Smoke => vec![suite("Smoke", SMOKE)],
    }
}

/// Cases that are also measured on one thread.
pub fn scaling(size: Size) -> Vec<Case> {
    match size {
        Size::Full => parse(&[
            "cosine_embedding/forward_backward/65536x768",
            "triplet_margin/forward_backward/65536x768",
            "info_nce/forward_backward/1024x768",
            "info_nce/forward_backward/4096x768",
            "info_nce_symmetric/forward_backward/4096x768",
        ]),
        Size::Quick => parse(&[
            "cosine_embedding/forward_backward/16384x768",
            "info_nce/forward_backward/2048x768",
        ]),
        Size::Smoke => parse(&["info_nce/forward_backward/128x96"]),
    }
}

/// Batches of InfoNCE at 768 dimensions whose time must grow as n².
pub fn growth(size: Size) -> &'static [usize] {
    match size {
        Size::Full => &[2048, 4096, 8192, 16384, 32768, 65536],
        Size::Quick => &[1024, 2048, 4096],
        Size::Smoke => &[128, 256],
    }
}

/// The batch of InfoNCE at 768 dimensions whose peak memory is measured in a process of its own.
pub fn memory_rows(size: Size) -> usize {
    match size {
        Size::Full => 65536,
        Size::Quick => 4096,
        Size::Smoke => 256,
    }
}

fn suite(title: &'static str, ids: &[&str]) -> Suite {
    Suite {
        title,
        cases: parse(ids),
    }
}

fn parse(ids: &[&str]) -> Vec<Case> {
    ids.iter()
        .map(|id| id.parse().expect("the ids of this file are well-formed"))
        .collect()
}

const FULL_ROW_LOSSES: &[&str] = &[
    "cosine_embedding/forward/65536x768",
    "cosine_embedding/forward/1024x768",
    "cosine_embedding/forward/256x768",
    "cosine_embedding/forward/64x384",
    "cosine_embedding/forward_backward/65536x768",
    "cosine_embedding/forward_backward/1024x768",
    "cosine_embedding/forward_backward/256x768",
    "cosine_embedding/forward_backward/64x384",
    "triplet_margin/forward/65536x768",
    "triplet_margin/forward/1024x768",
    "triplet_margin/forward/256x768",
    "triplet_margin/forward/64x384",
    "triplet_margin/forward_backward/65536x768",
    "triplet_margin/forward_backward/1024x768",
    "triplet_margin/forward_backward/256x768",
    "triplet_margin/forward_backward/64x384",
];

const FULL_INFO_NCE: &[&str] = &[
    "info_nce/forward_backward/64x384",
    "info_nce/forward_backward/256x768",
    "info_nce/forward_backward/1024x768",
    "info_nce/forward_backward/4096x768",
    "info_nce/forward_backward/8192x256",
    "info_nce/forward_backward/8192x768",
    "info_nce_symmetric/forward_backward/1024x768",
    "info_nce_symmetric/forward_backward/4096x768",
    "info_nce_symmetric/forward_backward/8192x768",
    "info_nce_own_negatives/forward_backward/1024x15x768",
    "info_nce_own_and_in_batch/forward_backward/1024x15x768",
];

const FULL_DOUBLE: &[&str] = &[
    "cosine_embedding/forward_backward/1024x768/f64",
    "cosine_embedding/forward_backward/16384x768/f64",
    "triplet_margin/forward_backward/1024x768/f64",
    "triplet_margin/forward_backward/16384x768/f64",
    "info_nce/forward_backward/1024x768/f64",
    "info_nce/forward_backward/4096x768/f64",
];

const QUICK_ROW_LOSSES: &[&str] = &[
    "cosine_embedding/forward/16384x768",
    "cosine_embedding/forward_backward/16384x768",
    "cosine_embedding/forward_backward/1024x768",
    "cosine_embedding/forward_backward/64x384",
    "triplet_margin/forward/16384x768",
    "triplet_margin/forward_backward/16384x768",
    "triplet_margin/forward_backward/1024x768",
    "triplet_margin/forward_backward/64x384",
];

const QUICK_INFO_NCE: &[&str] = &[
    "info_nce/forward_backward/64x384",
    "info_nce/forward_backward/256x768",
    "info_nce/forward_backward/1024x768",
    "info_nce/forward_backward/2048x768",
    "info_nce_symmetric/forward_backward/1024x768",
    "info_nce_own_negatives/forward_backward/256x15x768",
    "info_nce_own_and_in_batch/forward_backward/256x15x768",
];

const QUICK_DOUBLE: &[&str] = &[
    "cosine_embedding/forward_backward/1024x768/f64",
    "triplet_margin/forward_backward/1024x768/f64",
    "info_nce/forward_backward/1024x768/f64",
];

/// Every loss in both forms: what the tests compare, too.
pub const SMOKE: &[&str] = &[
    "cosine_embedding/forward/64x96",
    "cosine_embedding/forward_backward/64x96",
    "triplet_margin/forward/64x96",
    "triplet_margin/forward_backward/64x96",
    "info_nce/forward/64x96",
    "info_nce/forward_backward/64x96",
    "info_nce_symmetric/forward_backward/64x96",
    "info_nce_own_negatives/forward_backward/32x5x96",
    "info_nce_own_and_in_batch/forward_backward/32x5x96",
    "cosine_embedding/forward_backward/64x96/f64",
    "triplet_margin/forward_backward/64x96/f64",
    "info_nce/forward_backward/64x96/f64",
];
