//! Which documents are the positives of which query.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Error;
use crate::offsets::check_offsets;
use crate::rows::check_shape;

/// Which rows of the documents are the positives of a query.
///
/// A query may have one positive, several or none; see [`SeveralPositives`](crate::SeveralPositives) for what several mean. A query
/// without a positive is left out: its loss is 0, it gets no gradient, means do not divide by it, and the report counts it. Not so in the
/// [sigmoid](crate::InfoNceLoss::sigmoid) loss, where all candidates of such a query are negatives like any others; the report counts it there, too.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Targets};
/// use ndarray::array;
///
/// // The second half of a batch on one machine, against the documents of all.
/// let queries = array![[0.0, 1.0]];
/// let documents = array![[1.0, 0.0], [0.0, 1.0]];
/// let input = InfoNceInput::new(queries.view(), documents.view()).with_targets(Targets::Offset(1));
/// let value: f64 = InfoNceLoss::new(1.0)?.forward(input)?;
/// assert!((value - (-1.0_f64).exp().ln_1p()).abs() < 1e-15);
///
/// // The same told by ids.
/// let (query_ids, document_ids) = (array![7], array![3, 7]);
/// let ids = Targets::Ids { queries: query_ids.view(), documents: document_ids.view() };
/// assert_eq!(value, InfoNceLoss::new(1.0)?.forward(input.with_targets(ids))?);
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Document i is the positive of query i.
    #[default]
    Aligned,
    /// Document i + offset is the positive of query i.
    Offset(usize),
    /// The positive of each query, `[n]`. Several queries may share a document.
    Index(ArrayView1<'a, usize>),
    /// Any number of positives for each query, as lists laid end to end. A document that a list has twice counts once.
    Lists {
        /// Where the list of each query begins, and one end more, `[n + 1]`: from 0 to the length of `documents`, never decreasing.
        offsets: ArrayView1<'a, usize>,
        /// Rows of the documents.
        documents: ArrayView1<'a, usize>,
    },
    /// Every document with the id of the query is its positive.
    Ids {
        /// Of the queries, `[n]`.
        queries: ArrayView1<'a, u64>,
        /// Of the documents, `[m]`.
        documents: ArrayView1<'a, u64>,
    },
}

impl<'a> Targets<'a> {
    /// See [`InfoNceInput::reborrow`](super::InfoNceInput).
    pub(super) fn reborrow<'b>(self) -> Targets<'b>
    where
        'a: 'b,
    {
        match self {
            Self::Aligned => Targets::Aligned,
            Self::Offset(offset) => Targets::Offset(offset),
            Self::Index(index) => Targets::Index(index.reborrow()),
            Self::Lists { offsets, documents } => Targets::Lists {
                offsets: offsets.reborrow(),
                documents: documents.reborrow(),
            },
            Self::Ids { queries, documents } => Targets::Ids {
                queries: queries.reborrow(),
                documents: documents.reborrow(),
            },
        }
    }

    pub(crate) fn check(&self, queries: usize, documents: usize) -> Result<(), Error> {
        let index = |row, found| {
            if found < documents {
                return Ok(());
            }
            Err(Error::Index {
                name: "targets",
                row,
                rows: documents,
                found,
            })
        };
        match self {
            Self::Aligned | Self::Offset(_) => match queries.checked_sub(1) {
                Some(last) => index(last, last.saturating_add(self.offset())),
                None => Ok(()),
            },
            Self::Index(targets) => {
                check_shape("targets", &[queries], targets.shape())?;
                let mut rows = targets.iter().enumerate();
                rows.try_for_each(|(row, &found)| index(row, found))
            }
            Self::Lists {
                offsets,
                documents: rows,
            } => {
                check_offsets("targets.offsets", *offsets, Some(queries), rows.len())?;
                let mut rows = rows.iter().enumerate();
                rows.try_for_each(|(row, &found)| index(row, found))
            }
            Self::Ids {
                queries: query_ids,
                documents: document_ids,
            } => {
                check_shape("targets.queries", &[queries], query_ids.shape())?;
                check_shape("targets.documents", &[documents], document_ids.shape())
            }
        }
    }

    fn offset(&self) -> usize {
        if let Self::Offset(offset) = self {
            *offset
        } else {
            0
        }
    }
}

/// The positives of every query, in ascending order.
pub(crate) struct Positives {
    /// Where those of a query lie in `rows`.
    spans: Vec<Range<usize>>,
    rows: Vec<usize>,
    total: usize,
    /// Whether the documents are the queries themselves, none of which is its own positive.
    within: bool,
}

impl Positives {
    pub(crate) fn new(targets: &Targets<'_>, queries: usize, within: bool) -> Self {
        let (spans, rows) = match targets {
            Targets::Ids {
                queries: ids,
                documents,
            } => by_id(ids, documents),
            Targets::Lists { offsets, documents } => listed(offsets, documents),
            Targets::Index(index) => ((0..queries).map(|i| i..i + 1).collect(), index.to_vec()),
            Targets::Aligned | Targets::Offset(_) => {
                let first = targets.offset();
                let spans = (0..queries).map(|i| i..i + 1);
                (spans.collect(), (first..first + queries).collect())
            }
        };
        Self {
            total: spans.iter().map(Range::len).sum(),
            spans,
            rows,
            within,
        }
    }

    /// The positives that are among `count` documents from `first` on, counted from there. For targets that name one document for each query.
    pub(super) fn in_chunk(
        targets: &Targets<'_>,
        queries: usize,
        first: usize,
        count: usize,
    ) -> Self {
        let all = Self::new(targets, queries, false);
        let chunk = first..first.saturating_add(count);
        let (mut spans, mut rows) = (Vec::with_capacity(queries), Vec::new());
        for query in 0..queries {
            let start = rows.len();
            rows.extend(all.among(query, &chunk).map(|row| row - first));
            spans.push(start..rows.len());
        }
        Self {
            total: rows.len(),
            spans,
            rows,
            within: false,
        }
    }

    fn span(&self, query: usize) -> &[usize] {
        &self.rows[self.spans[query].clone()]
    }

    /// All positives of a query.
    #[inline]
    pub(crate) fn of(&self, query: usize) -> impl Iterator<Item = usize> {
        let (within, span) = (self.within, self.span(query));
        span.iter()
            .copied()
            .filter(move |&row| !(within && row == query))
    }

    /// Those that lie in some rows.
    #[inline]
    pub(super) fn among(&self, query: usize, rows: &Range<usize>) -> impl Iterator<Item = usize> {
        let (within, span, end) = (self.within, self.span(query), rows.end);
        let first = span.partition_point(|&row| row < rows.start);
        let span = span[first..]
            .iter()
            .copied()
            .take_while(move |&row| row < end);
        span.filter(move |&row| !(within && row == query))
    }

    /// How many positives the queries have in all, roughly.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// How many a query has.
    #[inline]
    pub(super) fn count(&self, query: usize) -> usize {
        let span = self.span(query);
        let itself = self.within && span.binary_search(&query).is_ok();
        span.len() - usize::from(itself)
    }
}

/// Of each query the group of documents with its id, in an order of the documents by id.
fn by_id(
    queries: &ArrayView1<'_, u64>,
    documents: &ArrayView1<'_, u64>,
) -> (Vec<Range<usize>>, Vec<usize>) {
    let mut rows: Vec<usize> = (0..documents.len()).collect();
    rows.sort_unstable_by_key(|&row| (documents[row], row));
    let span = |&id: &u64| {
        let start = rows.partition_point(|&row| documents[row] < id);
        let len = rows[start..].partition_point(|&row| documents[row] == id);
        start..start + len
    };
    (queries.iter().map(span).collect(), rows)
}

fn listed(
    offsets: &ArrayView1<'_, usize>,
    documents: &ArrayView1<'_, usize>,
) -> (Vec<Range<usize>>, Vec<usize>) {
    let (mut spans, mut rows) = (
        Vec::with_capacity(offsets.len()),
        Vec::with_capacity(documents.len()),
    );
    for (&from, &to) in offsets.iter().zip(offsets.iter().skip(1)) {
        let mut list: Vec<usize> = (from..to).map(|at| documents[at]).collect();
        list.sort_unstable();
        list.dedup();
        let start = rows.len();
        rows.extend(list);
        spans.push(start..rows.len());
    }
    (spans, rows)
}

#[cfg(test)]
mod tests {
    use super::super::askers::Askers;
    use super::*;
    use ndarray::array;

    fn all(positives: &Positives, queries: usize) -> Vec<Vec<usize>> {
        (0..queries)
            .map(|query| positives.of(query).collect())
            .collect()
    }

    #[test]
    fn ids_and_lists_name_the_same_positives() {
        let (query_ids, document_ids) = (array![5, 1, 9, 5], array![1, 5, 2, 5, 1]);
        let by_id = Targets::Ids {
            queries: query_ids.view(),
            documents: document_ids.view(),
        };
        let (offsets, documents) = (array![0, 2, 5, 5, 7], array![3, 1, 0, 4, 0, 1, 3]);
        let lists = Targets::Lists {
            offsets: offsets.view(),
            documents: documents.view(),
        };
        let expected = vec![vec![1, 3], vec![0, 4], vec![], vec![1, 3]];
        for targets in [by_id, lists] {
            targets.check(4, 5).unwrap();
            let positives = Positives::new(&targets, 4, false);
            assert_eq!(all(&positives, 4), expected);
            assert_eq!(positives.among(1, &(1..5)).collect::<Vec<_>>(), [4]);
            assert_eq!(positives.count(2), 0);
            let askers = Askers::new(&positives, 4, 5);
            assert_eq!((askers.of(1), askers.of(2)), (&[0, 3][..], &[][..]));
        }
    }

    #[test]
    fn no_row_of_a_labelled_batch_is_its_own_positive() {
        let labels = array![4, 2, 4, 4, 2, 8];
        let targets = Targets::Ids {
            queries: labels.view(),
            documents: labels.view(),
        };
        let positives = Positives::new(&targets, 6, true);
        assert_eq!(all(&positives, 6)[..3], [vec![2, 3], vec![4], vec![0, 3]]);
        assert_eq!((positives.count(0), positives.count(5)), (2, 0));
    }

    #[test]
    fn offsets_that_decrease_or_overrun_are_refused() {
        let documents = array![0, 1, 0];
        for offsets in [
            array![0, 2, 1, 3],
            array![0, 1, 2, 4],
            array![1, 1, 2, 3],
            array![0, 1, 2, 2],
            array![0, 3],
        ] {
            let lists = Targets::Lists {
                offsets: offsets.view(),
                documents: documents.view(),
            };
            assert!(lists.check(3, 2).is_err(), "{offsets}");
        }
    }
}
