//! Values, row losses and gradients against those that PyTorch computed in f64 by its own autograd.
//!
//! The numbers are in `golden/*.json`; `golden/generate.py` writes them. Inputs are exact in f32.

use contrastive::{
    CosineDistance, CosineEmbeddingInput, CosineEmbeddingLoss, Distance, InfoNceInput, InfoNceLoss,
    Loss, Lp, PairLabel, Reduction, Scalar, Similarity, SquaredEuclidean, Targets,
    TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array, Array1, Array2, Array3, ArrayD, Dimension};
use serde_json::Value;

#[path = "golden/pairs.rs"]
mod pairs;

/// Allowed relative to the largest entry of an array, in f64: some tens of roundings, PyTorch's as
/// well as ours.
const DOUBLE: f64 = 64.0 * f64::EPSILON;
/// Likewise in f32, for the losses that compute in f64 and round once, by half of this.
const SINGLE: f64 = f32::EPSILON as f64;
/// For a softmax of f32 scores, times the largest score z: z is rounded by ε·|z|/2, and the relative
/// error of a probability is the absolute error of its score; the rest is for the inner products.
const SINGLE_SOFTMAX: f64 = 4.0 * SINGLE;

/// PyTorch's ε in the cosine: `constexpr float EPSILON = 1e-12` in ATen/native/Loss.cpp, so rounded
/// to f32 for f64 inputs too.
const COSINE_EPSILON: f64 = 1e-12_f32 as f64;
/// More than what that ε is worth where squared norms are above 0.01, as they are here.
const EXACT_COSINE: f64 = 1e-9;

#[test]
fn cosine_embedding_with_pytorchs_epsilon_equals_pytorch() {
    for case in cases(include_str!("golden/cosine_embedding.json")) {
        let loss = case
            .cosine_embedding_loss()
            .with_epsilon(COSINE_EPSILON)
            .unwrap();
        case.check_cosine_embedding::<f64>(loss, DOUBLE);
        case.check_cosine_embedding::<f32>(loss, SINGLE);
    }
}

#[test]
fn exact_cosine_embedding_equals_pytorch_at_ordinary_norms() {
    for case in cases(include_str!("golden/cosine_embedding.json")) {
        if !case.flag("epsilon") {
            case.check_cosine_embedding::<f64>(case.cosine_embedding_loss(), EXACT_COSINE);
        }
    }
}

#[test]
fn triplet_margin_equals_pytorch_in_f64() {
    triplet_margin::<f64>(DOUBLE);
}

#[test]
fn triplet_margin_equals_pytorch_in_f32() {
    triplet_margin::<f32>(SINGLE);
}

#[test]
fn info_nce_equals_pytorchs_cross_entropy_in_f64() {
    info_nce::<f64>(DOUBLE);
}

#[test]
fn info_nce_equals_pytorchs_cross_entropy_in_f32() {
    info_nce::<f32>(SINGLE_SOFTMAX);
}

fn triplet_margin<A: Scalar>(tolerance: f64) {
    for case in cases(include_str!("golden/triplet_margin.json")) {
        let loss = case.triplet_margin_loss();
        match case.option("distance").as_str().unwrap() {
            "cosine" => {
                case.check_triplet_margin::<A, _>(loss.with_distance(CosineDistance), tolerance)
            }
            "squared_euclidean" => {
                case.check_triplet_margin::<A, _>(loss.with_distance(SquaredEuclidean), tolerance)
            }
            _ => case.check_triplet_margin::<A, _>(loss.with_distance(case.lp()), tolerance),
        }
    }
}

/// The tolerance is for scores of 1.
fn info_nce<A: Scalar>(tolerance: f64) {
    for case in cases(include_str!("golden/info_nce.json")) {
        let largest_score = case.number("largest_score").max(1.0);
        case.check_info_nce::<A>(case.info_nce_loss(), tolerance * largest_score);
    }
}

/// One case of a file: options, inputs, and what PyTorch found.
struct Case(Value);

fn cases(json: &str) -> Vec<Case> {
    let file: Value = serde_json::from_str(json).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases.iter().cloned().map(Case).collect()
}

/// A nested JSON list of numbers; `None` for null.
fn array<A: Scalar, D: Dimension>(json: &Value) -> Option<Array<A, D>> {
    fn collect<A: Scalar>(json: &Value, depth: usize, shape: &mut [usize], data: &mut Vec<A>) {
        let Some(list) = json.as_array() else {
            return data.push(num_traits::cast(json.as_f64().unwrap()).unwrap());
        };
        shape[depth] = list.len();
        list.iter()
            .for_each(|item| collect(item, depth + 1, shape, data));
    }
    if json.is_null() {
        return None;
    }
    let (mut shape, mut data) = (vec![0; D::NDIM.unwrap()], Vec::new());
    collect(json, 0, &mut shape, &mut data);
    Some(
        ArrayD::from_shape_vec(shape, data)
            .unwrap()
            .into_dimensionality()
            .unwrap(),
    )
}

impl Case {
    fn option(&self, key: &str) -> &Value {
        &self.0["options"][key]
    }

    fn number(&self, key: &str) -> f64 {
        self.option(key).as_f64().unwrap()
    }

    fn flag(&self, key: &str) -> bool {
        self.option(key).as_bool().unwrap()
    }

    fn input<A: Scalar, D: Dimension>(&self, key: &str) -> Option<Array<A, D>> {
        array(&self.0["inputs"][key])
    }

    fn reduction(&self) -> Reduction {
        match self.option("reduction").as_str().unwrap() {
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            other => panic!("reduction {other}"),
        }
    }

    fn cosine_embedding_loss(&self) -> CosineEmbeddingLoss {
        let loss = CosineEmbeddingLoss::new(self.number("margin")).unwrap();
        loss.with_reduction(self.reduction()).unwrap()
    }

    fn triplet_margin_loss(&self) -> TripletMarginLoss {
        let new = if self.flag("soft") {
            TripletMarginLoss::soft
        } else {
            TripletMarginLoss::new
        };
        let loss = new(self.number("margin"))
            .unwrap()
            .with_swap(self.flag("swap"));
        loss.with_reduction(self.reduction()).unwrap()
    }

    fn lp(&self) -> Lp {
        let p = self.option("p").as_f64().unwrap_or(f64::INFINITY);
        Lp::new(p)
            .unwrap()
            .with_epsilon(self.number("epsilon"))
            .unwrap()
    }

    fn info_nce_loss(&self) -> InfoNceLoss {
        let similarity = match self.option("similarity").as_str().unwrap() {
            "cosine" => Similarity::Cosine,
            "dot" => Similarity::Dot,
            other => panic!("similarity {other}"),
        };
        let loss = InfoNceLoss::new(self.number("temperature"))
            .unwrap()
            .with_similarity(similarity);
        let loss = loss.with_in_batch_negatives(self.flag("in_batch"));
        loss.with_symmetric(self.flag("symmetric"))
            .with_reduction(self.reduction())
            .unwrap()
    }

    fn check_cosine_embedding<A: Scalar>(&self, loss: CosineEmbeddingLoss, tolerance: f64) {
        let [x, y]: [Array2<A>; 2] = ["x", "y"].map(|key| self.input(key).unwrap());
        let signs: Array1<f64> = self.input("labels").unwrap();
        let labels = signs.mapv(|sign| PairLabel::from_sign(sign).unwrap());
        let weights: Option<Array1<A>> = self.input("weights");
        let mut input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
        input.weights = weights.as_ref().map(|weights| weights.view());
        let gradient = self.check_losses(&loss, input, tolerance);
        self.check_gradient("x", &gradient.x, tolerance);
        self.check_gradient("y", &gradient.y, tolerance);
    }

    fn check_triplet_margin<A: Scalar, D: Distance<A>>(
        &self,
        loss: TripletMarginLoss<D>,
        tolerance: f64,
    ) {
        let [anchor, positive]: [Array2<A>; 2] =
            ["anchor", "positive"].map(|key| self.input(key).unwrap());
        let negatives: Array3<A> = self.input("negatives").unwrap();
        let weights: Option<Array1<A>> = self.input("weights");
        let mut input =
            TripletMarginInput::with_negatives(anchor.view(), positive.view(), negatives.view());
        input.weights = weights.as_ref().map(|weights| weights.view());
        let gradient = self.check_losses(&loss, input, tolerance);
        self.check_gradient("anchor", &gradient.anchor, tolerance);
        self.check_gradient("positive", &gradient.positive, tolerance);
        self.check_gradient("negatives", &gradient.negatives, tolerance);
    }

    fn check_info_nce<A: Scalar>(&self, loss: InfoNceLoss, tolerance: f64) {
        let [queries, documents]: [Array2<A>; 2] =
            ["queries", "documents"].map(|key| self.input(key).unwrap());
        let (negatives, pool): (Option<Array3<A>>, Option<Array2<A>>) =
            (self.input("negatives"), self.input("pool"));
        let weights: Option<Array1<A>> = self.input("weights");
        let index: Vec<usize> = self
            .option("targets")
            .as_array()
            .into_iter()
            .flatten()
            .map(to_usize)
            .collect();
        let mut input = InfoNceInput::new(queries.view(), documents.view()).with_targets(
            match self.option("targets") {
                Value::Null => Targets::Aligned,
                Value::Array(_) => Targets::Index(index.as_slice().into()),
                offset => Targets::Offset(to_usize(offset)),
            },
        );
        input.negatives = negatives.as_ref().map(|negatives| negatives.view());
        input.pool = pool.as_ref().map(|pool| pool.view());
        input.weights = weights.as_ref().map(|weights| weights.view());
        let gradient = self.check_losses(&loss, input, tolerance);
        self.check_gradient("queries", &gradient.queries, tolerance);
        self.check_gradient("documents", &gradient.documents, tolerance);
        if let Some(negatives) = &gradient.negatives {
            self.check_gradient("negatives", negatives, tolerance);
        }
        if let Some(pool) = &gradient.pool {
            self.check_gradient("pool", pool, tolerance);
        }
        self.check_gradient("log_temperature", [&gradient.log_temperature], tolerance);
    }

    /// Value and row losses; the gradient is for the caller to check.
    fn check_losses<'a, A: Scalar, L: Loss<A>>(
        &self,
        loss: &L,
        input: L::Input<'a>,
        tolerance: f64,
    ) -> L::OwnedGradient {
        let mut rows = Array1::zeros(self.0["rows"].as_array().unwrap().len());
        let value = loss.forward_rows(input, rows.view_mut()).unwrap();
        self.check("value", &self.0["value"], [&value], tolerance);
        self.check("rows", &self.0["rows"], &rows, tolerance);
        let (same_value, gradient) = loss.value_and_gradient(input).unwrap();
        assert_eq!(value, same_value);
        gradient
    }

    fn check_gradient<'a, A: Scalar>(
        &self,
        key: &str,
        found: impl IntoIterator<Item = &'a A>,
        tolerance: f64,
    ) {
        self.check(key, &self.0["gradient"][key], found, tolerance);
    }

    /// Every entry, with the tolerance relative to the largest.
    fn check<'a, A: Scalar>(
        &self,
        what: &str,
        expected: &Value,
        found: impl IntoIterator<Item = &'a A>,
        tolerance: f64,
    ) {
        let mut flat = Vec::new();
        flatten(expected, &mut flat);
        let found: Vec<f64> = found
            .into_iter()
            .map(|x| num_traits::cast(*x).unwrap())
            .collect();
        assert_eq!(found.len(), flat.len(), "{}: {what}", self.0["name"]);
        let largest = flat
            .iter()
            .fold(0.0, |largest: f64, x| largest.max(x.abs()));
        for (x, y) in found.iter().zip(&flat) {
            let close = (x - y).abs() <= tolerance * largest;
            assert!(
                close,
                "{}: {what} has {x:e} for {y:e}; its largest entry is {largest:e}",
                self.0["name"]
            );
        }
    }
}

fn flatten(json: &Value, out: &mut Vec<f64>) {
    match json.as_array() {
        Some(list) => list.iter().for_each(|item| flatten(item, out)),
        None => out.push(json.as_f64().unwrap()),
    }
}

fn to_usize(json: &Value) -> usize {
    json.as_u64().unwrap().try_into().unwrap()
}
