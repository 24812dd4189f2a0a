//! A loss with a batch, and the crate's answer to it.

use std::fmt;

use contrastive::{Error, Loss, Lp, PairLabel, Reduction, Scalar, Workspace};
use ndarray::{Array1, ArrayD, ArrayView1, ArrayViewD, ArrayViewMut1, ArrayViewMutD};

use super::options::UserDistance;
use super::random::Random;
use super::{Metric, Options, Positives};

/// A loss with its options and a batch.
#[derive(Clone)]
pub(crate) struct Problem<A> {
    pub(crate) options: Options,
    /// What the numbers were drawn from.
    pub(crate) seed: u64,
    pub(crate) reduction: Reduction,
    /// The differentiable inputs, see [`Options::part_names`]. The logarithm of a temperature is one, with no axes.
    pub(crate) parts: Vec<ArrayD<A>>,
    pub(crate) weights: Option<Array1<A>>,
    /// Of pairs.
    pub(crate) labels: Array1<PairLabel>,
    /// Of queries.
    pub(crate) targets: Array1<usize>,
}

/// What the problem can be made again from, rather than thousands of numbers.
impl<A> fmt::Debug for Problem<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<_> = self.parts.iter().map(|part| part.shape()).collect();
        let weighted = self.weights.is_some();
        f.debug_struct("Problem")
            .field("options", &self.options)
            .field("reduction", &self.reduction)
            .field("weighted", &weighted)
            .field("shapes", &shapes)
            .field("seed", &self.seed)
            .finish()
    }
}

/// Views of the floating-point inputs, in whatever layout.
pub(crate) struct Views<'a, A> {
    pub(crate) parts: Vec<ArrayViewD<'a, A>>,
    pub(crate) weights: Option<ArrayView1<'a, A>>,
}

/// What is wanted besides the value: the gradient of each part, and the row losses.
pub(crate) struct Wanted<'a, A> {
    pub(crate) gradient: Option<Vec<Option<ArrayViewMutD<'a, A>>>>,
    pub(crate) rows: Option<ArrayViewMut1<'a, A>>,
}

impl<A> Wanted<'_, A> {
    pub(crate) fn value() -> Self {
        Self {
            gradient: None,
            rows: None,
        }
    }
}

/// All that the crate says of a problem.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome<A> {
    pub(crate) value: A,
    pub(crate) gradient: Vec<ArrayD<A>>,
    pub(crate) rows: Array1<A>,
}

impl<A: Scalar> Outcome<A> {
    pub(crate) fn bits(&self) -> Vec<(u64, i16, i8)> {
        let gradient = self.gradient.iter().flat_map(|part| part.iter());
        super::all_bits([&self.value].into_iter().chain(gradient).chain(&self.rows))
    }
}

impl Problem<f64> {
    /// A batch of `n` rows of `dim` numbers; means of no rows become sums.
    pub(crate) fn new(options: Options, n: usize, dim: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut targets = Array1::zeros(0);
        let mut parts = match options {
            Options::Cosine(_) | Options::Pair(_) => vec![vec![n, dim]; 2],
            Options::Triplet(options) => {
                vec![vec![n, dim], vec![n, dim], vec![n, options.negatives, dim]]
            }
            Options::InfoNce(options) => {
                let extra = random.below(4);
                let documents = match options.positives {
                    Positives::Aligned => n + extra,
                    Positives::Offset(offset) => n + offset + extra,
                    Positives::Index => 1 + random.below(n + 4),
                };
                targets = Array1::from_shape_fn(n, |i| match options.positives {
                    Positives::Aligned => i,
                    Positives::Offset(offset) => i + offset,
                    Positives::Index => random.below(documents),
                });
                let mut shapes = vec![vec![n, dim], vec![documents, dim]];
                shapes.extend((options.own > 0).then(|| vec![n, options.own, dim]));
                shapes.extend((options.pool > 0).then(|| vec![options.pool, dim]));
                shapes
            }
        }
        .into_iter()
        .enumerate()
        .map(|(part, shape)| random.rows(&shape, part))
        .collect::<Vec<_>>();
        if matches!(options.metric(), Some(Metric::Lp { p, .. }) if p == f64::INFINITY) {
            parts[1..]
                .iter_mut()
                .for_each(|part| random.plant_peaks(part));
        }
        if let Options::InfoNce(options) = options {
            parts.push(ArrayD::from_elem(vec![], options.temperature.ln()));
        }
        let labels = Array1::from_shape_fn(n, |_| PairLabel::from(random.next() & 1 == 0));
        let reduction = if n == 0 {
            Reduction::Sum
        } else {
            Reduction::Mean
        };
        Self {
            options,
            seed,
            reduction,
            parts,
            weights: None,
            labels,
            targets,
        }
    }

    /// Weights between 1/4 and 5/4, some of them 0; some negative where the reduction takes such.
    pub(crate) fn weighted(mut self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let signed =
            matches!(self.reduction, Reduction::Sum | Reduction::Over(_)) && !self.options.ranks();
        self.weights = Some(Array1::from_shape_fn(self.rows(), |_| {
            let weight = if random.below(5) == 0 {
                0.0
            } else {
                0.25 + random.unit()
            };
            if signed {
                random.sign() * weight
            } else {
                weight
            }
        }));
        self
    }

    pub(crate) fn reduced(self, reduction: Reduction) -> Self {
        Self { reduction, ..self }
    }

    /// The same numbers, rounded to `f32`.
    pub(crate) fn narrow(&self) -> Problem<f32> {
        self.map(|x| x as f32)
    }
}

impl Problem<f32> {
    pub(crate) fn wide(&self) -> Problem<f64> {
        self.map(f64::from)
    }
}

impl<A: Scalar> Problem<A> {
    pub(crate) fn rows(&self) -> usize {
        self.parts[0].shape()[0]
    }

    fn map<B: Scalar>(&self, of: impl Fn(A) -> B) -> Problem<B> {
        Problem {
            options: self.options,
            seed: self.seed,
            reduction: self.reduction,
            parts: self.parts.iter().map(|part| part.mapv(&of)).collect(),
            weights: self.weights.as_ref().map(|weights| weights.mapv(&of)),
            labels: self.labels.clone(),
            targets: self.targets.clone(),
        }
    }

    pub(crate) fn views(&self) -> Views<'_, A> {
        Views {
            parts: self.parts.iter().map(|part| part.view()).collect(),
            weights: self.weights.as_ref().map(|weights| weights.view()),
        }
    }

    /// Buffers of the shape of each part, full of NaN.
    pub(crate) fn gradient_buffers(&self) -> Vec<ArrayD<A>> {
        let buffer = |part: &ArrayD<A>| ArrayD::from_elem(part.raw_dim(), A::nan());
        self.parts.iter().map(buffer).collect()
    }

    pub(crate) fn value(&self) -> A {
        self.evaluate(&self.views(), Wanted::value(), &mut Workspace::new())
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.options))
    }

    /// Value, gradient and row losses, in buffers that held NaN.
    pub(crate) fn solve(&self) -> Outcome<A> {
        self.solve_with(&mut Workspace::new())
    }

    pub(crate) fn solve_with(&self, workspace: &mut Workspace<A>) -> Outcome<A> {
        let mut gradient = self.gradient_buffers();
        let mut rows = Array1::from_elem(self.rows(), A::nan());
        let wanted = Wanted {
            gradient: Some(
                gradient
                    .iter_mut()
                    .map(|part| Some(part.view_mut()))
                    .collect(),
            ),
            rows: Some(rows.view_mut()),
        };
        let value = self
            .evaluate(&self.views(), wanted, workspace)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.options));
        Outcome {
            value,
            gradient,
            rows,
        }
    }

    /// The crate's answer, for `views` of the floating-point inputs.
    pub(crate) fn evaluate(
        &self,
        views: &Views<'_, A>,
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error> {
        match self.options {
            Options::Cosine(options) => self.cosine(options, views, wanted, workspace),
            Options::Triplet(options) => self.triplet(options, views, wanted, workspace),
            Options::InfoNce(options) => self.info_nce(options, views, wanted, workspace),
            Options::Pair(options) => self.pair(options, views, wanted, workspace),
        }
    }
}
