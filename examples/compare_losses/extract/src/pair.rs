//! A query with its relevant document, and the split that its crate belongs to.

use std::fmt;

/// The part of the data that a whole crate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub(crate) const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        })
    }
}

/// The first sentence of a function's documentation and the function's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) split: Split,
    /// Name of the crate.
    pub(crate) group: String,
    pub(crate) query: String,
    pub(crate) document: String,
}

#[cfg(test)]
impl Pair {
    pub(crate) fn new(split: Split, group: &str, query: &str, document: &str) -> Self {
        Self {
            split,
            group: group.into(),
            query: query.into(),
            document: document.into(),
        }
    }
}
