//! The losses over scores against PyTorch, sentence-transformers and pytorch-metric-learning: values and gradients computed by
//! `golden/generate_scores.py` in float64.

use contrastive::{
    Csr, DenseScores, DistillationInput, DistillationLoss, Loss, M3Input, M3Loss, MarginMseInput,
    MarginMseLoss, MaxSim, Positives, Scalar, ScoreFunction, SeveralPositives, Sides, Similarity,
    SoftmaxCrossEntropyInput, SoftmaxCrossEntropyLoss, SparseDot, TeacherMargins, Tokens,
};
use ndarray::{Array1, Array2, Axis, s};
use serde_json::Value;

/// PyTorch adds up in f64, and takes losses near zero as differences; relative to the largest entry of an array.
const DOUBLE: f64 = 1e-12;

/// Losses compute in f64 and round once; between score function and loss the scores are rounded to f32, at a temperature of 1/5 at least.
const SINGLE: f64 = 4e-6;

struct Case(Value);

fn cases(kind: &str) -> Vec<Case> {
    let file: Value = serde_json::from_str(include_str!("golden/scores.json")).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    let cases: Vec<_> = cases
        .filter(|case| case["kind"] == kind)
        .cloned()
        .map(Case)
        .collect();
    assert!(!cases.is_empty());
    cases
}

impl Case {
    fn number(&self, key: &str) -> f64 {
        self.0["options"][key].as_f64().unwrap()
    }

    fn flag(&self, key: &str) -> bool {
        self.0["options"][key].as_bool().unwrap()
    }

    fn try_vector<A: Scalar>(&self, key: &str) -> Option<Array1<A>> {
        let list = self.0["inputs"][key].as_array()?;
        Some(
            list.iter()
                .map(|x| A::from(x.as_f64().unwrap()).unwrap())
                .collect(),
        )
    }

    fn vector<A: Scalar>(&self, key: &str) -> Array1<A> {
        self.try_vector(key).unwrap()
    }

    fn matrix<A: Scalar>(&self, key: &str) -> Array2<A> {
        let rows = self.0["inputs"][key].as_array().unwrap();
        let columns = rows[0].as_array().unwrap().len();
        let numbers = rows.iter().flat_map(|row| row.as_array().unwrap());
        let numbers = numbers.map(|x| A::from(x.as_f64().unwrap()).unwrap());
        Array2::from_shape_vec((rows.len(), columns), numbers.collect()).unwrap()
    }

    fn index(&self, key: &str) -> Array1<usize> {
        let list = self.0["inputs"][key].as_array().unwrap();
        list.iter().map(|x| x.as_u64().unwrap() as usize).collect()
    }

    fn flags(&self, key: &str) -> Array1<bool> {
        let list = self.0["inputs"][key].as_array().unwrap();
        list.iter().map(|x| x.as_bool().unwrap()).collect()
    }

    fn check_value<A: Scalar>(&self, found: A, tolerance: f64) {
        compare(
            "value",
            &self.0["value"],
            &[found],
            tolerance,
            &self.0["options"],
        );
    }

    fn check<'a, A: Scalar>(
        &self,
        key: &str,
        found: impl IntoIterator<Item = &'a A>,
        tolerance: f64,
    ) {
        let found: Vec<A> = found.into_iter().copied().collect();
        compare(
            key,
            &self.0["gradient"][key],
            &found,
            tolerance,
            &self.0["options"],
        );
    }
}

fn flatten(json: &Value, out: &mut Vec<f64>) {
    match json.as_array() {
        Some(list) => list.iter().for_each(|item| flatten(item, out)),
        None => out.push(json.as_f64().unwrap()),
    }
}

/// Every entry, with the tolerance relative to the largest.
fn compare<A: Scalar>(key: &str, expected: &Value, found: &[A], tolerance: f64, options: &Value) {
    let mut flat = Vec::new();
    flatten(expected, &mut flat);
    assert_eq!(found.len(), flat.len(), "{key}");
    let largest = flat
        .iter()
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (x, y) in found.iter().zip(&flat) {
        let off = (x.to_f64().unwrap() - y).abs();
        assert!(
            off <= tolerance * largest,
            "{key} has {x} for {y:e}, its largest entry is {largest:e}: {options}"
        );
    }
}

fn softmax<A: Scalar>(tolerance: f64) {
    for case in cases("softmax") {
        let (scores, targets) = (case.matrix::<A>("scores"), case.index("targets"));
        let weights = case.try_vector::<A>("weights");
        let mask = case.0["inputs"]["left_out"].as_array().map(|rows| {
            let flags = rows.iter().flat_map(|row| row.as_array().unwrap());
            let flags = flags.map(|x| x.as_bool().unwrap()).collect();
            Array2::from_shape_vec(scores.dim(), flags).unwrap()
        });
        let mut input = SoftmaxCrossEntropyInput::new(scores.view());
        input = input.with_positives(Positives::Index(targets.view()));
        input.weights = weights.as_ref().map(|weights| weights.view());
        input.left_out = mask.as_ref().map(|mask| mask.view());
        let loss = SoftmaxCrossEntropyLoss::new(case.number("temperature")).unwrap();
        let loss = loss.with_label_smoothing(case.number("smoothing")).unwrap();
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        case.check_value(value, tolerance);
        case.check("scores", &gradient.scores, tolerance);
        case.check("log_temperature", [&gradient.log_temperature], tolerance);
    }
}

fn several_positives<A: Scalar>(kind: &str, form: SeveralPositives, tolerance: f64) {
    for case in cases(kind) {
        let (scores, offsets, indices) = (
            case.matrix::<A>("scores"),
            case.index("offsets"),
            case.index("indices"),
        );
        let weights = case.try_vector::<A>("weights");
        let mut input =
            SoftmaxCrossEntropyInput::new(scores.view()).with_positives(Positives::Lists {
                offsets: offsets.view(),
                indices: indices.view(),
            });
        input.weights = weights.as_ref().map(|weights| weights.view());
        let loss = SoftmaxCrossEntropyLoss::new(case.number("temperature")).unwrap();
        let (value, gradient) = loss
            .with_several_positives(form)
            .value_and_gradient(input)
            .unwrap();
        case.check_value(value, tolerance);
        case.check("scores", &gradient.scores, tolerance);
    }
}

fn distillation<A: Scalar>(tolerance: f64) {
    for case in cases("distillation") {
        let (student, teacher) = (case.matrix::<A>("student"), case.matrix::<A>("teacher"));
        let loss = DistillationLoss::new(case.number("student_temperature")).unwrap();
        let loss = loss
            .with_teacher_temperature(case.number("teacher_temperature"))
            .unwrap();
        let input = DistillationInput::new(student.view(), teacher.view());
        let (value, gradient) = loss
            .with_temperature_squared(true)
            .value_and_gradient(input)
            .unwrap();
        case.check_value(value, tolerance);
        case.check("student", &gradient.student, tolerance);
    }
}

fn margin_mse<A: Scalar>(tolerance: f64) {
    for case in cases("margin_mse") {
        let (student, teacher) = (case.matrix::<A>("student"), case.matrix::<A>("teacher"));
        let margins = if case.flag("margins") {
            TeacherMargins::Margins(teacher.view())
        } else {
            TeacherMargins::Scores {
                positive: teacher.column(0),
                negatives: teacher.slice(s![.., 1..]),
            }
        };
        let input = MarginMseInput::new(student.column(0), student.slice(s![.., 1..]), margins);
        let (value, gradient) = MarginMseLoss::new().value_and_gradient(input).unwrap();
        case.check_value(value, tolerance);
        let positive = gradient.positive.insert_axis(Axis(1));
        let whole = ndarray::concatenate![Axis(1), positive, gradient.negatives];
        case.check("student", &whole, tolerance);
    }
}

fn max_sim<A: Scalar>(tolerance: f64) {
    for case in cases("max_sim") {
        let [q, d] = ["queries", "documents"].map(|side| case.matrix::<A>(side));
        let offsets = ["queries_offsets", "documents_offsets"].map(|key| case.index(key));
        let masks = ["queries_mask", "documents_mask"].map(|key| case.flags(key));
        let sides = Sides {
            queries: Tokens::new(q.view(), offsets[0].view()).with_attention_mask(masks[0].view()),
            documents: Tokens::new(d.view(), offsets[1].view())
                .with_attention_mask(masks[1].view()),
        };
        let (upstream, expected) = (case.matrix::<A>("upstream"), &case.0["inputs"]["scores"]);
        let function = if case.flag("mean") {
            MaxSim::mean()
        } else {
            MaxSim::sum()
        };
        let mut scores = upstream.clone();
        function.forward(sides, scores.view_mut()).unwrap();
        let found: Vec<A> = scores.iter().copied().collect();
        compare("scores", expected, &found, tolerance, &case.0["options"]);
        let (mut to_q, mut to_d) = (q.clone(), d.clone());
        let to = Sides {
            queries: Some(to_q.view_mut()),
            documents: Some(to_d.view_mut()),
        };
        function.backward(sides, upstream.view(), to).unwrap();
        case.check("queries", &to_q, tolerance);
        case.check("documents", &to_d, tolerance);
    }
}

/// From embeddings to the gradient of embeddings.
fn m3<A: Scalar>(tolerance: f64) {
    for case in cases("m3") {
        let [q, d, q_tokens, d_tokens] =
            ["q_dense", "d_dense", "q_tokens", "d_tokens"].map(|key| case.matrix::<A>(key));
        let [q_values, d_values] = ["q_values", "d_values"].map(|key| case.vector::<A>(key));
        let index = [
            "q_indptr",
            "q_indices",
            "d_indptr",
            "d_indices",
            "q_offsets",
            "d_offsets",
        ]
        .map(|key| case.index(key));
        let [
            q_indptr,
            q_indices,
            d_indptr,
            d_indices,
            q_offsets,
            d_offsets,
        ] = index;
        let [q_mask, d_mask] = ["q_mask", "d_mask"].map(|key| case.flags(key));
        let dense = Sides {
            queries: q.view(),
            documents: d.view(),
        };
        let sparse = Sides {
            queries: Csr::new(q_indptr.view(), q_indices.view(), q_values.view()),
            documents: Csr::new(d_indptr.view(), d_indices.view(), d_values.view()),
        };
        let multi = Sides {
            queries: Tokens::new(q_tokens.view(), q_offsets.view())
                .with_attention_mask(q_mask.view()),
            documents: Tokens::new(d_tokens.view(), d_offsets.view())
                .with_attention_mask(d_mask.view()),
        };
        let mut scores = [(); 3].map(|()| Array2::<A>::zeros((q.nrows(), d.nrows())));
        let [s_dense, s_sparse, s_multi] = &mut scores;
        let dense_scores = DenseScores::new(Similarity::Dot);
        dense_scores.forward(dense, s_dense.view_mut()).unwrap();
        SparseDot.forward(sparse, s_sparse.view_mut()).unwrap();
        MaxSim::mean().forward(multi, s_multi.view_mut()).unwrap();

        let targets = case.index("targets");
        let input = M3Input::new(s_dense.view(), s_sparse.view(), s_multi.view());
        let input = input.with_positives(Positives::Index(targets.view()));
        let loss = M3Loss::new(case.number("temperature")).unwrap();
        let loss = loss.with_self_distillation(case.flag("distil"));
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        case.check_value(value, tolerance);

        let [mut to_q, mut to_d, mut to_q_tokens, mut to_d_tokens] =
            [&q, &d, &q_tokens, &d_tokens].map(|x| x.clone());
        let [mut to_q_values, mut to_d_values] = [&q_values, &d_values].map(|x| x.clone());
        let to = Sides {
            queries: Some(to_q.view_mut()),
            documents: Some(to_d.view_mut()),
        };
        dense_scores
            .backward(dense, gradient.dense.view(), to)
            .unwrap();
        let to = Sides {
            queries: Some(to_q_values.view_mut()),
            documents: Some(to_d_values.view_mut()),
        };
        SparseDot
            .backward(sparse, gradient.sparse.view(), to)
            .unwrap();
        let to = Sides {
            queries: Some(to_q_tokens.view_mut()),
            documents: Some(to_d_tokens.view_mut()),
        };
        MaxSim::mean()
            .backward(multi, gradient.multi_vector.view(), to)
            .unwrap();
        let matrices = [
            ("q_dense", to_q),
            ("d_dense", to_d),
            ("q_tokens", to_q_tokens),
            ("d_tokens", to_d_tokens),
        ];
        matrices
            .iter()
            .for_each(|(key, found)| case.check(key, found, tolerance));
        case.check("q_sparse", &to_q_values, tolerance);
        case.check("d_sparse", &to_d_values, tolerance);
    }
}

#[test]
fn softmax_cross_entropy_equals_pytorch() {
    softmax::<f64>(DOUBLE);
    softmax::<f32>(SINGLE);
}

#[test]
fn sup_con_equals_pytorch_metric_learning() {
    several_positives::<f64>("sup_con", SeveralPositives::Together, DOUBLE);
    several_positives::<f32>("sup_con", SeveralPositives::Together, SINGLE);
}

#[test]
fn nt_xent_weighted_by_its_positives_equals_pytorch_metric_learning() {
    several_positives::<f64>("nt_xent", SeveralPositives::Apart, DOUBLE);
    several_positives::<f32>("nt_xent", SeveralPositives::Apart, SINGLE);
}

#[test]
fn distillation_equals_sentence_transformers() {
    distillation::<f64>(DOUBLE);
    distillation::<f32>(SINGLE);
}

#[test]
fn margin_mse_equals_sentence_transformers() {
    margin_mse::<f64>(DOUBLE);
    margin_mse::<f32>(SINGLE);
}

#[test]
fn max_sim_equals_pytorch() {
    max_sim::<f64>(DOUBLE);
    max_sim::<f32>(SINGLE);
}

#[test]
fn m3_recipe_from_embeddings_to_their_gradients_equals_pytorch() {
    m3::<f64>(DOUBLE);
    m3::<f32>(SINGLE);
}
