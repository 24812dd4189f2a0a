//! What `--extra` adds: variants of triplet and InfoNCE, each held against InfoNCE with the same candidates.

use crate::cli::Options;
use crate::corpus::Corpus;
use crate::losses::LossKind;
use crate::negatives::Negatives;
use crate::results::{Condition, Results, per_query};
use crate::significance::{METRIC, Paired, correct};

/// What is trained for it. InfoNCE is shared with the arms, if they have it.
pub(crate) const SETTINGS: [(LossKind, Negatives); 5] = [
    REFERENCE,
    (LossKind::BatchHard, Negatives::InBatch),
    (LossKind::SemiHard, Negatives::InBatch),
    (LossKind::LearnedTemperature, Negatives::InBatch),
    (LossKind::Matryoshka, Negatives::InBatch),
];

const REFERENCE: (LossKind, Negatives) = (LossKind::InfoNce, Negatives::InBatch);

/// The prefixes of embeddings that are tested besides the whole.
const PREFIXES: [usize; 3] = [8, 16, 32];

/// Those that are shorter than the embeddings.
pub(crate) fn prefixes(dim: usize) -> impl Iterator<Item = usize> {
    PREFIXES.into_iter().filter(move |&prefix| prefix < dim)
}

/// Whether a setting is tested on prefixes.
pub(crate) fn has_prefixes(setting: (LossKind, Negatives)) -> bool {
    setting == REFERENCE || setting.0 == LossKind::Matryoshka
}

/// Rows that belong together.
pub(crate) struct Group<'a> {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row<'a>>,
    /// The ranks that the rows are held against.
    reference: Vec<Vec<usize>>,
}

/// A condition with its ranks, one list for each seed.
pub(crate) struct Row<'a> {
    pub(crate) condition: &'a Condition,
    pub(crate) ranks: Vec<Vec<usize>>,
}

/// A row against InfoNCE; positive differences are in favour of the row.
pub(crate) struct Comparison {
    pub(crate) title: String,
    pub(crate) loss: LossKind,
    pub(crate) paired: Paired,
}

/// All of it.
pub(crate) struct Extra<'a> {
    pub(crate) groups: Vec<Group<'a>>,
    pub(crate) comparisons: Vec<Comparison>,
}

impl<'a> Extra<'a> {
    /// None if it is not asked for.
    pub(crate) fn new(options: &Options, corpus: &Corpus, results: &'a Results) -> Option<Self> {
        let groups = options
            .extra
            .then(|| groups(results, options.training().dim))?;
        Some(Self {
            comparisons: compare(corpus, &groups),
            groups,
        })
    }
}

fn groups(results: &Results, dim: usize) -> Vec<Group<'_>> {
    let of = |loss| results.find((loss, Negatives::InBatch));
    let whole = |title: &str, losses: &[LossKind]| {
        let rows = losses.iter().filter_map(|&loss| of(loss));
        Group {
            title: title.to_owned(),
            rows: rows.map(|row| Row::new(row, Condition::ranks)).collect(),
            reference: of(LossKind::InfoNce).map_or_else(Vec::new, Condition::ranks),
        }
    };
    let nested = [LossKind::InfoNce, LossKind::Matryoshka];
    let mut groups = vec![
        whole("mined triplets", &[LossKind::BatchHard, LossKind::SemiHard]),
        whole("trained along", &[LossKind::LearnedTemperature]),
    ];
    groups.extend(prefixes(dim).enumerate().map(|(k, prefix)| {
        let ranks = |condition: &Condition| condition.prefix_ranks(k);
        let rows = nested.iter().filter_map(|&loss| of(loss));
        Group {
            title: format!("first {prefix} dims"),
            rows: rows.map(|row| Row::new(row, ranks)).collect(),
            reference: of(LossKind::InfoNce).map_or_else(Vec::new, ranks),
        }
    }));
    groups.push(whole(&format!("all {dim} dims"), &nested));
    groups
}

impl<'a> Row<'a> {
    fn new(condition: &'a Condition, ranks: impl Fn(&Condition) -> Vec<Vec<usize>>) -> Self {
        Self {
            condition,
            ranks: ranks(condition),
        }
    }
}

/// Every row but InfoNCE's own against it.
fn compare(corpus: &Corpus, groups: &[Group<'_>]) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for group in groups {
        let reference = per_query(&group.reference, METRIC);
        for row in &group.rows {
            let loss = row.condition.loss;
            if loss == LossKind::InfoNce {
                continue;
            }
            let values = per_query(&row.ranks, METRIC);
            comparisons.push(Comparison {
                title: group.title.clone(),
                loss,
                paired: Paired::new(&values, &reference, &corpus.test_groups),
            });
        }
    }
    correct(
        comparisons
            .iter_mut()
            .map(|comparison| &mut comparison.paired),
    );
    comparisons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_shorter_than_the_whole() {
        assert_eq!(prefixes(128).collect::<Vec<_>>(), [8, 16, 32]);
        assert_eq!(prefixes(32).collect::<Vec<_>>(), [8, 16]);
        assert_eq!(prefixes(8).count(), 0);
    }
}
