//! Which documents are whose, by number: targets, ids, and where pieces begin.

use contrastive::Targets;
use ndarray::Array1;

use super::bytes::Bytes;

/// The arrays of [`Targets`].
#[derive(Debug)]
pub(crate) enum Chosen {
    Aligned,
    Offset(usize),
    Index(Array1<usize>),
    Lists([Array1<usize>; 2]),
    Ids([Array1<u64>; 2]),
}

impl Chosen {
    /// Targets of n queries among m documents.
    pub(crate) fn from(bytes: &mut Bytes<'_>, n: usize, m: usize) -> Self {
        match bytes.below(6) {
            0 => Self::Offset(match bytes.byte() {
                255 => usize::MAX,
                byte => usize::from(byte) % (m.saturating_sub(n) + 1),
            }),
            1 => Self::Index(index(bytes, n, m)),
            2 => {
                let total = bytes.length();
                let offsets = offsets(bytes, n, total);
                Self::Lists([offsets, bytes.filled(total, |bytes| bytes.below(m.max(1)))])
            }
            3 => Self::Ids([n, m].map(|count| ids_of(bytes, count))),
            _ => Self::Aligned,
        }
    }

    pub(crate) fn view(&self) -> Targets<'_> {
        match self {
            Self::Aligned => Targets::Aligned,
            Self::Offset(offset) => Targets::Offset(*offset),
            Self::Index(index) => Targets::Index(index.view()),
            Self::Lists([offsets, documents]) => Targets::Lists {
                offsets: offsets.view(),
                documents: documents.view(),
            },
            Self::Ids([queries, documents]) => Targets::Ids {
                queries: queries.view(),
                documents: documents.view(),
            },
        }
    }
}

/// One of m for each of n; now and then none of them.
pub(crate) fn index(bytes: &mut Bytes<'_>, n: usize, m: usize) -> Array1<usize> {
    let count = bytes.about(n);
    bytes.filled(count, |bytes| match bytes.byte() {
        255 => usize::MAX,
        byte => usize::from(byte) % m.max(1),
    })
}

/// Where the pieces of `total` things begin for each of n queries; now and then not quite.
pub(crate) fn offsets(bytes: &mut Bytes<'_>, n: usize, total: usize) -> Array1<usize> {
    let count = bytes.about(n + 1);
    let mut offsets = bytes.filled(count, |bytes| bytes.below(total + 1));
    let sorted = offsets.as_slice_mut().expect("a new array");
    if bytes.byte() < 240 {
        sorted.sort_unstable();
        if let [first, .., last] = sorted {
            (*first, *last) = (0, total);
        }
    }
    offsets
}

/// One of eight ids for each.
pub(crate) fn ids_of(bytes: &mut Bytes<'_>, count: usize) -> Array1<u64> {
    let count = bytes.about(count);
    bytes.filled(count, |bytes| u64::from(bytes.byte() % 8))
}
