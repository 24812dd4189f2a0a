//! A mined loss with its options, a batch, and the crate's answer.

use contrastive::{
    BatchDistance, BatchTripletGradient, BatchTripletInput, BatchTripletLoss, BatchTripletReport,
    DistanceWeighted, Loss, Reduction, Scalar, Triplet, TripletMining, Want, Workspace,
};
use ndarray::{Array1, Array2};

/// SplitMix64 (Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [−1, 1).
    pub(crate) fn signed(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn rows(&mut self, rows: usize, dim: usize) -> Array2<f64> {
        Array2::from_shape_simple_fn((rows, dim), || self.signed())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) strategy: TripletMining,
    pub(crate) distance: BatchDistance,
    pub(crate) margin: f64,
    pub(crate) soft: bool,
    pub(crate) per_anchor: bool,
    pub(crate) reduction: Reduction,
    /// Whether anchors have candidates of their own.
    pub(crate) separate: bool,
    pub(crate) weighted: bool,
}

impl Options {
    pub(crate) fn loss(&self) -> BatchTripletLoss {
        let loss = if self.soft {
            BatchTripletLoss::soft(self.strategy, self.margin)
        } else {
            BatchTripletLoss::new(self.strategy, self.margin)
        };
        loss.unwrap()
            .with_distance(self.distance)
            .per_anchor(self.per_anchor)
            .with_reduction(self.reduction)
            .unwrap()
    }
}

pub(crate) fn strategies() -> Vec<TripletMining> {
    vec![
        TripletMining::BatchAll,
        TripletMining::BatchHard,
        TripletMining::BatchSemiHard,
        TripletMining::EasyPositiveHard,
        TripletMining::EasyPositiveSemiHard,
        TripletMining::DistanceWeighted(DistanceWeighted::new(7).with_cutoffs(0.1, 1.99).unwrap()),
    ]
}

/// Every strategy with every distance and both forms of the margin; the other options in turn, with periods that have no factor in common.
pub(crate) fn all_options() -> Vec<Options> {
    let distances = [
        BatchDistance::Euclidean,
        BatchDistance::SquaredEuclidean,
        BatchDistance::Cosine,
    ];
    let reductions = [
        Reduction::Mean,
        Reduction::MeanActive,
        Reduction::Sum,
        Reduction::Over(7.5),
        Reduction::MeanActive,
    ];
    let mut list = Vec::new();
    for strategy in strategies() {
        for distance in distances {
            for (soft, margin) in [(false, 0.3), (true, 0.0), (false, 1.5), (true, -0.7)] {
                for separate in [false, true] {
                    let index = list.len();
                    list.push(Options {
                        strategy,
                        distance,
                        margin,
                        soft,
                        separate,
                        per_anchor: index % 7 < 3,
                        reduction: reductions[index % 5],
                        weighted: index % 11 < 5,
                    });
                }
            }
        }
    }
    list
}

/// A loss and a batch.
#[derive(Clone, Debug)]
pub(crate) struct Batch<A> {
    pub(crate) options: Options,
    pub(crate) anchors: Array2<A>,
    pub(crate) labels: Array1<u64>,
    pub(crate) candidates: Option<(Array2<A>, Array1<u64>)>,
    pub(crate) weights: Option<Array1<A>>,
}

/// All that the crate says of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Outcome<A> {
    pub(crate) value: A,
    /// By the anchors, and by the candidates where they have their own.
    pub(crate) gradient: Vec<Array2<A>>,
    pub(crate) rows: Array1<A>,
    pub(crate) report: BatchTripletReport,
}

impl Batch<f64> {
    /// `n` anchors in about `classes` classes; half as many candidates again, where they are separate.
    pub(crate) fn new(options: Options, n: usize, dim: usize, classes: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let labels = |random: &mut Random, n| {
            Array1::from_shape_simple_fn(n, || 10 + random.below(classes) as u64)
        };
        let m = n + n / 2;
        let (anchors, own) = (random.rows(n, dim), labels(&mut random, n));
        let candidates = options
            .separate
            .then(|| (random.rows(m, dim), labels(&mut random, m)));
        let signed = matches!(options.reduction, Reduction::Sum | Reduction::Over(_));
        let weights = options.weighted.then(|| {
            Array1::from_shape_simple_fn(n, || match random.below(6) {
                0 => 0.0,
                1 if signed => -0.75,
                _ => 1.0 + 0.5 * random.signed(),
            })
        });
        Self {
            options,
            anchors,
            labels: own,
            candidates,
            weights,
        }
    }

    pub(crate) fn narrow(&self) -> Batch<f32> {
        self.map(|x| x as f32)
    }
}

impl<A: Scalar> Batch<A> {
    pub(crate) fn map<B: Scalar>(&self, f: impl Fn(A) -> B + Copy) -> Batch<B> {
        let candidates = self.candidates.as_ref();
        Batch {
            options: self.options,
            anchors: self.anchors.mapv(f),
            labels: self.labels.clone(),
            candidates: candidates.map(|(rows, labels)| (rows.mapv(f), labels.clone())),
            weights: self.weights.as_ref().map(|weights| weights.mapv(f)),
        }
    }

    pub(crate) fn unweighted(&self) -> Self {
        Self {
            weights: None,
            ..self.clone()
        }
    }

    /// The differentiable matrices.
    pub(crate) fn parts(&mut self) -> Vec<&mut Array2<A>> {
        let candidates = self.candidates.as_mut().map(|(rows, _)| rows);
        [&mut self.anchors].into_iter().chain(candidates).collect()
    }

    pub(crate) fn input(&self) -> BatchTripletInput<'_, A> {
        let mut input = BatchTripletInput::new(self.anchors.view(), self.labels.view());
        if let Some((rows, labels)) = &self.candidates {
            input = input.with_candidates(rows.view(), labels.view());
        }
        input.weights = self.weights.as_ref().map(|weights| weights.view());
        input
    }

    pub(crate) fn triplets(&self) -> Vec<Triplet> {
        self.options.loss().triplets(self.input()).unwrap()
    }

    /// Value, gradient, row losses and report, in buffers that held NaN.
    pub(crate) fn solve(&self) -> Outcome<A> {
        self.solve_with(&mut Workspace::new())
    }

    pub(crate) fn solve_with(&self, workspace: &mut Workspace<A>) -> Outcome<A> {
        let nan = |rows: &Array2<A>| Array2::from_elem(rows.dim(), A::nan());
        let mut anchors = nan(&self.anchors);
        let mut candidates = self.candidates.as_ref().map(|(rows, _)| nan(rows));
        let mut rows = Array1::from_elem(self.anchors.nrows(), A::nan());
        let mut report = BatchTripletReport::listing();
        let gradient = BatchTripletGradient {
            anchors: Some(anchors.view_mut()),
            candidates: candidates.as_mut().map(|rows| rows.view_mut()),
        };
        let want = Want::gradient(gradient)
            .with_rows(rows.view_mut())
            .with_report(&mut report);
        let value = self
            .options
            .loss()
            .evaluate(self.input(), want, workspace)
            .unwrap();
        Outcome {
            value,
            gradient: [anchors].into_iter().chain(candidates).collect(),
            rows,
            report,
        }
    }
}

pub(crate) fn wide<A: Scalar>(x: A) -> f64 {
    x.to_f64().unwrap()
}

pub(crate) fn largest<A: Scalar>(numbers: &Array2<A>) -> f64 {
    numbers.iter().map(|&x| wide(x).abs()).fold(0.0, f64::max)
}
