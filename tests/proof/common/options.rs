//! A loss with its options, by name.

use contrastive::{Distance, Scalar, Similarity};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Options {
    Cosine(CosineOptions),
    Triplet(TripletOptions),
    InfoNce(InfoNceOptions),
    Pair(PairOptions),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CosineOptions {
    pub(crate) margin: f64,
    pub(crate) positive_margin: f64,
    pub(crate) epsilon: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TripletOptions {
    pub(crate) margin: f64,
    pub(crate) soft: bool,
    pub(crate) swap: bool,
    pub(crate) metric: Metric,
    /// K
    pub(crate) negatives: usize,
}

/// The losses that take pairs as [`contrastive::PairInput`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PairOptions {
    CosineSimilarity,
    Contrastive(ContrastiveOptions),
    CoSent { scale: f64, metric: Metric },
    Angle { scale: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ContrastiveOptions {
    pub(crate) margin: f64,
    pub(crate) positive_margin: f64,
    pub(crate) linear: bool,
    pub(crate) hard_pairs: bool,
    pub(crate) metric: Metric,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    Lp { p: f64, epsilon: f64 },
    SquaredEuclidean,
    Cosine,
    User,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InfoNceOptions {
    pub(crate) temperature: f64,
    pub(crate) similarity: Similarity,
    pub(crate) in_batch: bool,
    pub(crate) symmetric: bool,
    /// K own negatives of each query; 0 for none.
    pub(crate) own: usize,
    /// Rows of the pool; 0 for none.
    pub(crate) pool: usize,
    pub(crate) positives: Positives,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Positives {
    Aligned,
    Offset(usize),
    /// Any document of each query; some are shared.
    Index,
}

impl Options {
    /// Whether the loss is one number for the whole batch, without row losses and reductions.
    pub(crate) fn ranks(self) -> bool {
        matches!(
            self,
            Self::Pair(PairOptions::CoSent { .. } | PairOptions::Angle { .. })
        )
    }

    /// The distance, if it is one of choice.
    pub(crate) fn metric(self) -> Option<Metric> {
        match self {
            Self::Triplet(TripletOptions { metric, .. })
            | Self::Pair(
                PairOptions::Contrastive(ContrastiveOptions { metric, .. })
                | PairOptions::CoSent { metric, .. },
            ) => Some(metric),
            _ => None,
        }
    }

    /// The name of each part, as the API has it.
    pub(crate) fn part_names(self) -> Vec<&'static str> {
        match self {
            Self::Cosine(_) | Self::Pair(_) => vec!["x", "y"],
            Self::Triplet(_) => vec!["anchor", "positive", "negatives"],
            Self::InfoNce(options) => {
                let mut names = vec!["queries", "documents"];
                names.extend((options.own > 0).then_some("negatives"));
                names.extend((options.pool > 0).then_some("pool"));
                names.push("log_temperature");
                names
            }
        }
    }
}

impl InfoNceOptions {
    /// Where the own negatives are among the parts.
    pub(crate) fn negatives_part(self) -> Option<usize> {
        (self.own > 0).then_some(2)
    }

    /// Where the pool is among the parts.
    pub(crate) fn pool_part(self) -> Option<usize> {
        (self.pool > 0).then_some(2 + usize::from(self.own > 0))
    }
}

/// A distance as a user might write it, neither symmetric nor homogeneous: Σ (1 + i mod 3)·(xᵢ − yᵢ/2)²/4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserDistance;

impl UserDistance {
    pub(crate) fn factor(column: usize) -> f64 {
        (1 + column % 3) as f64 / 4.0
    }
}

impl<A: Scalar> Distance<A> for UserDistance {
    fn distance(&self, x: &[A], y: &[A]) -> f64 {
        let pairs = x.iter().zip(y).enumerate();
        pairs
            .map(|(i, (x, y))| {
                Self::factor(i) * (x.to_f64().unwrap() - 0.5 * y.to_f64().unwrap()).powi(2)
            })
            .sum()
    }

    fn gradient(&self, x: &[A], y: &[A], dx: &mut [f64], dy: &mut [f64]) {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let z = x.to_f64().unwrap() - 0.5 * y.to_f64().unwrap();
            dx[i] = 2.0 * Self::factor(i) * z;
            dy[i] = -Self::factor(i) * z;
        }
    }
}
