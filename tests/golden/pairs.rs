//! Losses of pairs against sentence-transformers and pytorch-metric-learning, which computed in f64 by PyTorch's autograd.
//!
//! The numbers are in `pairs.json`; `generate_pairs.py` writes them.

use contrastive::{
    AngleLoss, BatchContrastiveInput, BatchContrastiveLoss, CoSentLoss, ContrastiveLoss,
    CosineDistance, CosineSimilarityLoss, Distance, Loss, Lp, PairGradient, PairInput, PairLabel,
    PairOwnedGradient, Reduction, Scalar, SquaredEuclidean,
};
use ndarray::{Array1, Array2};

use super::{Case, DOUBLE, SINGLE, cases};

/// ε of `torch.nn.functional.pairwise_distance`.
const PAIRWISE_EPSILON: f64 = 1e-6;
/// sentence-transformers' `OnlineContrastiveLoss` has no factor ½.
const ONLINE: f64 = 2.0;
/// A ranking's shares change by its score's rounding times the scale, PyTorch's as well as ours.
fn ranked(tolerance: f64, scale: f64) -> f64 {
    tolerance * scale.max(1.0)
}

#[test]
fn losses_of_pairs_equal_the_peers_in_f64() {
    check_all::<f64>(DOUBLE);
}

#[test]
fn losses_of_pairs_equal_the_peers_in_f32() {
    check_all::<f32>(SINGLE);
}

fn check_all<A: Scalar>(tolerance: f64) {
    for case in cases(include_str!("pairs.json")) {
        match case.option("loss").as_str().unwrap() {
            "cosine_similarity" => case.graded::<A, _>(CosineSimilarityLoss::new(), tolerance),
            "cosent" => {
                let scale = case.number("scale");
                let tolerance = ranked(tolerance, scale);
                case.graded::<A, _>(CoSentLoss::new(scale).unwrap(), tolerance);
            }
            "angle" => {
                let scale = case.number("scale");
                let tolerance = ranked(tolerance, scale);
                case.graded::<A, _>(AngleLoss::new(scale).unwrap(), tolerance);
            }
            "contrastive" => case.contrastive::<A>(tolerance),
            _ => case.batch::<A>(tolerance),
        }
    }
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.option(key).as_str().unwrap()
    }

    fn distance<A: Scalar>(&self, epsilon: f64) -> Box<dyn Distance<A>> {
        let lp = |p| Lp::new(p).unwrap().with_epsilon(epsilon).unwrap();
        match self.text("distance") {
            "cosine" => Box::new(CosineDistance),
            "squared_euclidean" => Box::new(SquaredEuclidean),
            "manhattan" => Box::new(lp(1.0)),
            _ => Box::new(lp(2.0)),
        }
    }

    fn graded<A, L>(&self, loss: L, tolerance: f64)
    where
        A: Scalar,
        L: for<'a> Loss<
                A,
                Input<'a> = PairInput<'a, A, A>,
                Gradient<'a> = PairGradient<'a, A>,
                OwnedGradient = PairOwnedGradient<A, A>,
            >,
    {
        let [x, y]: [Array2<A>; 2] = ["x", "y"].map(|key| self.input(key).unwrap());
        let grades: Array1<A> = self.input("labels").unwrap();
        let input = PairInput::new(x.view(), y.view(), grades.view());
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        self.check("value", &self.0["value"], [&value], tolerance);
        self.check_gradient("x", &gradient.x, tolerance);
        self.check_gradient("y", &gradient.y, tolerance);
    }

    fn contrastive<A: Scalar>(&self, tolerance: f64) {
        let [x, y]: [Array2<A>; 2] = ["x", "y"].map(|key| self.input(key).unwrap());
        let bits: Array1<f64> = self.input("labels").unwrap();
        let labels = bits.mapv(|bit| PairLabel::from_bit(bit).unwrap());
        let input = PairInput::new(x.view(), y.view(), labels.view());
        let reduction = match self.text("reduction") {
            "mean" => Reduction::Mean,
            "hard" => Reduction::Over(1.0 / ONLINE),
            _ => Reduction::Sum,
        };
        let distance = self.distance::<A>(PAIRWISE_EPSILON);
        let loss = ContrastiveLoss::new(self.number("margin"))
            .unwrap()
            .with_hard_pairs(self.text("reduction") == "hard")
            .with_reduction(reduction)
            .unwrap()
            .with_distance(&*distance);
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        self.check("value", &self.0["value"], [&value], tolerance);
        self.check_gradient("x", &gradient.x, tolerance);
        self.check_gradient("y", &gradient.y, tolerance);
    }

    fn batch<A: Scalar>(&self, tolerance: f64) {
        let embeddings: Array2<A> = self.input("embeddings").unwrap();
        let classes: Array1<f64> = self.input("classes").unwrap();
        let classes = classes.mapv(|class| class as u64);
        let input = BatchContrastiveInput::new(embeddings.view(), classes.view());
        let reduction = match self.text("reduction") {
            "mean" => Reduction::Mean,
            "mean_active" => Reduction::MeanActive,
            // Each pair is listed in both directions there.
            _ => Reduction::Over(0.5),
        };
        let distance = self.distance::<A>(0.0);
        let pairs = ContrastiveLoss::new(self.number("margin"))
            .unwrap()
            .with_positive_margin(self.number("positive_margin"))
            .unwrap()
            .with_linear(true)
            .with_reduction(reduction)
            .unwrap()
            .with_distance(&*distance);
        let loss = BatchContrastiveLoss::new(pairs).with_balance(true);
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        self.check("value", &self.0["value"], [&value], tolerance);
        self.check_gradient("embeddings", &gradient.embeddings, tolerance);
    }
}
