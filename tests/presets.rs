//! The losses with a name in the field against the libraries that name them: `golden/presets`, whose script says what each computes.

use std::cell::Cell;

use contrastive::{
    Directions, FalseNegatives, Guide, Ids, InfoNceInput, InfoNceLoss, InfoNceOwnedGradient,
    LogWeights, Loss, PartitionMode, Reduction, SeveralPositives, Similarity, Sources, Targets,
};
use ndarray::{Array1, Array2, Array3, Axis, array};
use serde_json::Value;

/// Roundings of scores of the size that a case names, in two libraries.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// A case with the arrays that it names.
struct Case<'a> {
    case: &'a Value,
    inputs: &'a Value,
}

impl Case<'_> {
    fn option(&self, name: &str) -> &Value {
        &self.case["options"][name]
    }

    fn number(&self, name: &str) -> f64 {
        self.option(name)
            .as_f64()
            .unwrap_or_else(|| panic!("{name} is a number"))
    }

    fn word(&self, name: &str) -> &str {
        self.option(name).as_str().unwrap_or_default()
    }

    fn says(&self, name: &str) -> bool {
        self.option(name).as_bool().unwrap_or_default()
    }

    fn matrix(&self, name: &str) -> Array2<f64> {
        matrix(&self.inputs[name])
    }

    /// Columns `[K, n, dim]` as `[n, K, dim]`, if there are any.
    fn columns(&self, name: &str) -> Option<Array3<f64>> {
        self.inputs.get(name).map(cube)
    }

    fn ids(&self, name: &str) -> Array1<u64> {
        let ids = self.inputs[name].as_array().expect("ids");
        ids.iter().map(|id| id.as_u64().expect("an id")).collect()
    }

    fn similarity(&self) -> Similarity {
        let name = [self.word("similarity"), self.word("distance")].concat();
        match name.as_str() {
            "dot" => Similarity::Dot,
            "negative_squared_euclidean" => Similarity::SquaredEuclidean,
            "cos" | "" => Similarity::Cosine,
            other => panic!("no similarity {other}"),
        }
    }

    /// Holds the loss to the value and the gradients of the case.
    fn check(&self, loss: InfoNceLoss, input: InfoNceInput<'_, f64>) {
        let name = &self.case["name"];
        let scale = self.case["largest_score"]
            .as_f64()
            .expect("a size")
            .max(1.0);
        let (value, gradient) = loss
            .value_and_gradient(input)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = self.case["value"].as_f64().expect("a value");
        let off = (value - expected).abs();
        assert!(
            off < ROUNDING * scale.max(expected.abs()),
            "{name}: {value} not {expected}"
        );
        let expected = self.case["gradient"].as_object().expect("gradients");
        let largest = expected
            .values()
            .flat_map(numbers)
            .fold(1.0_f64, |a, b| a.max(b.abs()));
        for (part, expected) in expected {
            let found = self.part(part, &gradient);
            let expected = match part.as_str() {
                "negatives" => cube(expected).into_iter().collect(),
                _ => numbers(expected),
            };
            assert_eq!(found.len(), expected.len(), "{name}: {part}");
            for (found, expected) in found.iter().zip(&expected) {
                let off = (found - expected).abs();
                assert!(
                    off < ROUNDING * scale * largest,
                    "{name}, by {part}: {found} not {expected}"
                );
            }
        }
    }

    fn part(&self, name: &str, gradient: &InfoNceOwnedGradient<f64>) -> Vec<f64> {
        match name {
            "queries" | "anchors" | "embeddings" => gradient.queries.iter().copied().collect(),
            "positives" | "documents" | "ref_emb" => gradient.documents.iter().copied().collect(),
            "negatives" => match (&gradient.negatives, &gradient.pool) {
                (Some(negatives), _) => negatives.iter().copied().collect(),
                (None, Some(pool)) => pool.iter().copied().collect(),
                (None, None) => Vec::new(),
            },
            "log_temperature" => vec![gradient.log_temperature],
            "log_scale" => vec![-gradient.log_temperature],
            "bias" => vec![gradient.bias],
            other => panic!("no gradient by {other}"),
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().expect("a number")],
    }
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows = value.as_array().expect("rows");
    let dim = rows
        .first()
        .map_or(0, |row| row.as_array().expect("a row").len());
    Array2::from_shape_vec((rows.len(), dim), numbers(value)).expect("rows of one length")
}

/// Columns `[K, n, dim]` as `[n, K, dim]`.
fn cube(value: &Value) -> Array3<f64> {
    let columns: Vec<Array2<f64>> = value
        .as_array()
        .expect("columns")
        .iter()
        .map(matrix)
        .collect();
    let views: Vec<_> = columns.iter().map(|column| column.view()).collect();
    ndarray::stack(Axis(1), &views)
        .expect("columns of one shape")
        .as_standard_layout()
        .into_owned()
}

/// Visits all cases of a file; returns how many there are.
fn cases(file: &str, check: impl Fn(&Case<'_>)) -> usize {
    let file: Value = serde_json::from_str(file).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        let inputs = &file["inputs"][case["inputs"].as_str().expect("a name")];
        check(&Case { case, inputs });
    }
    cases.len()
}

fn loss(case: &Case<'_>) -> InfoNceLoss {
    InfoNceLoss::new(case.number("temperature"))
        .unwrap()
        .with_similarity(case.similarity())
}

#[test]
fn multiple_negatives_ranking_is_that_of_sentence_transformers() {
    let count = cases(include_str!("golden/presets/mnrl.json"), |case| {
        check_mnrl(case)
    });
    assert!(count > 10, "{count}");
}

fn check_mnrl(case: &Case<'_>) {
    let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
    let negatives = case.columns("negatives");
    let directions = case.option("directions").as_array().expect("directions");
    let has = |name: &str| directions.iter().any(|direction| direction == name);
    let directions = Directions {
        query_to_query: has("query_to_query"),
        document_to_query: has("doc_to_query"),
        document_to_document: has("doc_to_doc"),
    };
    let partition = match case.word("partition_mode") {
        "joint" => PartitionMode::Joint,
        _ => PartitionMode::PerDirection,
    };
    let in_batch = Sources {
        others: true,
        ..Sources::IN_BATCH
    };
    let sources = match case.word("hardness_mode") {
        "in_batch_negatives" => in_batch,
        "hard_negatives" => Sources::OWN,
        "all_negatives" => Sources {
            own: true,
            ..in_batch
        },
        _ => Sources::NONE,
    };
    let loss = InfoNceLoss::multiple_negatives_ranking(case.number("scale"))
        .unwrap()
        .with_similarity(case.similarity())
        .with_directions(directions, partition)
        .with_hardness(case.number("hardness_strength"), sources)
        .unwrap();
    let mut input = InfoNceInput::new(queries.view(), positives.view());
    if let Some(negatives) = &negatives {
        input = input.with_negatives(negatives.view());
    }
    case.check(loss, input);
}

#[test]
fn symmetric_losses_are_those_of_their_libraries() {
    let count = cases(include_str!("golden/presets/symmetric.json"), |case| {
        let name = case.case["name"].as_str().expect("a name");
        if name.contains("MultipleNegativesRankingLoss") {
            return check_mnrl(case);
        }
        let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
        let negatives = case.columns("negatives");
        let temperature = match case.option("scale").as_f64() {
            Some(scale) => 1.0 / scale,
            None => case.number("temperature"),
        };
        let loss = if name.contains("GTE") {
            InfoNceLoss::gte(temperature).unwrap()
        } else {
            InfoNceLoss::clip(temperature)
                .unwrap()
                .with_pooled_negatives(true)
        };
        // Jina's is the sum of both directions over the mean of queries.
        let loss = if name.contains("Jina") {
            loss.with_reduction(Reduction::Over(queries.nrows() as f64 / 2.0))
                .unwrap()
        } else {
            loss
        };
        let mut input = InfoNceInput::new(queries.view(), positives.view());
        if let Some(negatives) = &negatives {
            input = input.with_negatives(negatives.view());
        }
        case.check(loss.with_similarity(case.similarity()), input);
    });
    assert!(count > 10, "{count}");
}

#[test]
fn gist_is_that_of_sentence_transformers() {
    let skipped = Cell::new(0);
    let count = cases(include_str!("golden/presets/gist.json"), |case| {
        let margin = case.number("margin");
        // There a row competes with itself where the guide finds its positive as good; see `InfoNceLoss::gist`.
        if margin < 0.0 {
            return skipped.set(skipped.get() + 1);
        }
        let (queries, positives) = (case.matrix("anchors"), case.matrix("positives"));
        let (guide_queries, guide_documents) =
            (case.matrix("guide_anchors"), case.matrix("guide_positives"));
        // The negatives of all queries are one pool, in the order of the gradient.
        let flat = |name: &str| {
            let columns = case.columns(name)?;
            let (n, count, dim) = columns.dim();
            Some(
                columns
                    .into_shape_with_order((n * count, dim))
                    .expect("as many"),
            )
        };
        let (pool, guide_pool) = (flat("negatives"), flat("guide_negatives"));
        let directions = Directions {
            query_to_query: case.says("contrast_anchors"),
            document_to_query: false,
            document_to_document: case.says("contrast_positives"),
        };
        let rule = match case.word("margin_strategy") {
            "relative" => FalseNegatives::Relative(margin),
            _ => FalseNegatives::Absolute(margin),
        };
        let loss = InfoNceLoss::gist(case.number("temperature"))
            .unwrap()
            .with_directions(directions, PartitionMode::Joint)
            .with_false_negatives(rule, Sources::ALL)
            .unwrap();
        let mut input = InfoNceInput::new(queries.view(), positives.view()).with_guide(Guide {
            queries: guide_queries.view(),
            documents: guide_documents.view(),
            negatives: None,
            pool: guide_pool.as_ref().map(|rows| rows.view()),
        });
        if let Some(pool) = &pool {
            input = input.with_pool(pool.view());
        }
        case.check(loss, input);
    });
    assert_eq!((count, skipped.get()), (50, 10));
}

/// A batch with labels, or with references that have labels, and how many positives each row has.
fn check_labelled(
    case: &Case<'_>,
    loss: InfoNceLoss,
    reduce: impl Fn(InfoNceLoss, &[f64]) -> (InfoNceLoss, Vec<f64>),
) {
    let (embeddings, labels) = (case.matrix("embeddings"), case.ids("labels"));
    let references = case
        .inputs
        .get("ref_emb")
        .map(|rows| (matrix(rows), case.ids("ref_labels")));
    let others = references.as_ref().map_or(&labels, |(_, labels)| labels);
    let itself = if references.is_some() { 0 } else { 1 };
    let counts = labels
        .iter()
        .map(|label| others.iter().filter(|&other| other == label).count() - itself);
    let counts: Vec<f64> = counts.map(|count| count as f64).collect();
    let (loss, weights) = reduce(loss.with_similarity(case.similarity()), &counts);
    let weights = Array1::from(weights);
    let input = match &references {
        None => InfoNceInput::labelled(embeddings.view(), labels.view()),
        Some((rows, ids)) => {
            InfoNceInput::new(embeddings.view(), rows.view()).with_targets(Targets::Ids {
                queries: labels.view(),
                documents: ids.view(),
            })
        }
    };
    case.check(loss, input.with_weights(weights.view()));
}

#[test]
fn sup_con_is_that_of_pytorch_metric_learning() {
    let count = cases(include_str!("golden/presets/supcon.json"), |case| {
        // With no negatives at all, or no positives, the library has 0 whatever the formula says.
        if case.case["inputs"] == "one class" {
            return;
        }
        let loss = InfoNceLoss::sup_con(case.number("temperature")).unwrap();
        check_labelled(case, loss, |loss, counts| {
            let reduction = match case.word("reducer") {
                "MeanReducer" => Reduction::Over(counts.len() as f64),
                _ => Reduction::MeanActive,
            };
            (
                loss.with_reduction(reduction).unwrap(),
                vec![1.0; counts.len()],
            )
        });
    });
    assert!(count > 10, "{count}");
}

#[test]
fn nt_xent_is_that_of_pytorch_metric_learning() {
    let count = cases(include_str!("golden/presets/ntxent.json"), |case| {
        // With at most one positive and one negative pair in a batch the library has 0.
        if case.case["inputs"] == "one pair of each kind" {
            return;
        }
        let loss = InfoNceLoss::nt_xent(case.number("temperature")).unwrap();
        check_labelled(case, loss, |loss, counts| match case.word("reducer") {
            "PerAnchorReducer" => {
                let reduction = Reduction::Over(counts.len() as f64);
                (
                    loss.with_reduction(reduction).unwrap(),
                    vec![1.0; counts.len()],
                )
            }
            _ => (loss, counts.to_vec()),
        });
    });
    assert!(count > 10, "{count}");
}

#[test]
fn dcl_is_that_of_its_paper() {
    let count = cases(include_str!("golden/presets/dcl.json"), |case| {
        let loss = InfoNceLoss::dcl(case.number("temperature"))
            .unwrap()
            .with_similarity(case.similarity());
        if case.word("form") == "labels" {
            return check_labelled(case, loss, |loss, counts| match case.word("average") {
                "pairs" => (loss, counts.to_vec()),
                _ => (loss, vec![1.0; counts.len()]),
            });
        }
        let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
        let negatives = case.columns("negatives");
        if case.word("form") == "query_document" {
            let mut input = InfoNceInput::new(queries.view(), positives.view());
            if let Some(negatives) = &negatives {
                input = input.with_negatives(negatives.view());
            }
            return case.check(loss, input);
        }
        // Two views are one labelled batch; of one of them alone the other has weight 0.
        let n = queries.nrows();
        let both =
            ndarray::concatenate(Axis(0), &[queries.view(), positives.view()]).expect("two views");
        let labels = Array1::from_shape_fn(2 * n, |i| (i % n) as u64);
        let one = case.word("form") == "one_view";
        let weights = Array1::from_shape_fn(2 * n, |i| if one && i >= n { 0.0 } else { 1.0 });
        let input = InfoNceInput::labelled(both.view(), labels.view()).with_weights(weights.view());
        let (value, gradient) = loss.value_and_gradient(input).unwrap();
        let expected = case.case["value"].as_f64().expect("a value");
        assert!(
            (value - expected).abs() < ROUNDING * 100.0,
            "{value} not {expected}"
        );
        let gradients = &case.case["gradient"];
        let expected = [
            numbers(&gradients["queries"]),
            numbers(&gradients["positives"]),
        ]
        .concat();
        for (found, expected) in gradient.queries.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < ROUNDING * 1000.0,
                "{found} not {expected}"
            );
        }
    });
    assert!(count > 10, "{count}");
}

#[test]
fn sig_lip_is_that_of_open_clip() {
    let count = cases(include_str!("golden/presets/siglip.json"), |case| {
        let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
        let loss = InfoNceLoss::sigmoid(1.0 / case.number("scale"), case.number("bias")).unwrap();
        let offset = case.number("offset") as usize;
        let input = InfoNceInput::new(queries.view(), positives.view())
            .with_targets(Targets::Offset(offset));
        case.check(loss.with_similarity(case.similarity()), input);
    });
    assert!(count > 10, "{count}");
}

#[test]
fn sim_cse_is_that_of_its_paper() {
    cases(include_str!("golden/presets/simcse.json"), |case| {
        let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
        let negatives = case.columns("negatives");
        let mut input = InfoNceInput::new(queries.view(), positives.view());
        if let Some(negatives) = &negatives {
            input = input.with_negatives(negatives.view());
        }
        let weight = case
            .option("hard_negative_weight")
            .as_f64()
            .unwrap_or_default();
        let weights = negatives
            .as_ref()
            .map(|rows| Array2::from_elem((rows.dim().0, rows.dim().1), weight));
        input = input.with_log_weights(LogWeights {
            negatives: weights.as_ref().map(|weights| weights.view()),
            ..LogWeights::default()
        });
        case.check(
            InfoNceLoss::sim_cse(case.number("temperature")).unwrap(),
            input,
        );
    });
}

#[test]
fn smoothed_labels_are_those_of_pytorch() {
    let count = cases(include_str!("golden/presets/smoothing.json"), |case| {
        let (queries, positives) = (case.matrix("queries"), case.matrix("positives"));
        let negatives = case.columns("negatives");
        let share = case.number("label_smoothing");
        let loss = loss(case)
            .with_pooled_negatives(true)
            .with_label_smoothing(share)
            .unwrap();
        let mut input = InfoNceInput::new(queries.view(), positives.view());
        if let Some(negatives) = &negatives {
            input = input.with_negatives(negatives.view());
        }
        let ids = case
            .inputs
            .get("query_ids")
            .map(|_| (case.ids("query_ids"), case.ids("document_ids")));
        let n = queries.nrows();
        let parts = ids.as_ref().map(|(queries, documents)| {
            let (own, others) = documents.view().split_at(Axis(0), n);
            let others = others.into_shape_with_order((n, 1)).expect("one column");
            (queries.view(), own, others)
        });
        if let Some((queries, own, others)) = parts {
            input = input.with_ids(Ids {
                queries,
                documents: Some(own),
                negatives: Some(others),
                pool: None,
            });
        }
        case.check(loss, input);
    });
    assert!(count > 10, "{count}");
}

#[test]
fn several_positives_are_those_of_their_formulas() {
    let count = cases(include_str!("golden/presets/multi_positive.json"), |case| {
        let (queries, documents) = (case.matrix("queries"), case.matrix("documents"));
        let negatives = case.columns("negatives");
        let (mut offsets, mut lists) = (vec![0], Vec::new());
        for relevant in case.inputs["relevant"].as_array().expect("lists") {
            lists.extend(numbers(relevant).into_iter().map(|row| row as usize));
            offsets.push(lists.len());
        }
        let (offsets, lists) = (Array1::from(offsets), Array1::from(lists));
        let several = match case.word("form") {
            "supcon" => SeveralPositives::Together,
            _ => SeveralPositives::Apart,
        };
        let mut input =
            InfoNceInput::new(queries.view(), documents.view()).with_targets(Targets::Lists {
                offsets: offsets.view(),
                documents: lists.view(),
            });
        if let Some(negatives) = &negatives {
            input = input.with_negatives(negatives.view());
        }
        case.check(loss(case).with_several_positives(several), input);
    });
    assert!(count > 10, "{count}");
}

#[test]
fn log_weights_of_a_labelled_batch_are_not_those_of_its_pool() {
    let (rows, labels) = (array![[1.0, 0.0], [1.0, 0.0]], array![3, 3]);
    let (pool, log_weights) = (array![[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]], Array1::zeros(2));
    let pool_log_weights = Array1::from_elem(3, 5.0_f64.ln());
    let input = InfoNceInput::labelled(rows.view(), labels.view()).with_pool(pool.view());
    let loss = InfoNceLoss::new(1.0).unwrap();
    // The positive scores 1, the three of the pool 0.
    for (pool, times) in [(None, 3.0), (Some(pool_log_weights.view()), 15.0)] {
        let log_weights = LogWeights {
            documents: Some(log_weights.view()),
            pool,
            ..LogWeights::default()
        };
        let value: f64 = loss.forward(input.with_log_weights(log_weights)).unwrap();
        let expected = (times * (-1.0_f64).exp()).ln_1p();
        assert!((value - expected).abs() < 1e-14, "{value} {expected}");
    }
}
