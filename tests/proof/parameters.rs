//! Hyper-parameters and labels out of their range are refused by name, with range and value.

use contrastive::{
    AngleLoss, CoSentLoss, ContrastiveLoss, CosineEmbeddingLoss, CosineSimilarityLoss, Error,
    InfoNceLoss, Lp, PairLabel, Reduction, SoftmaxCrossEntropyLoss, TripletMarginLoss, Workspace,
};

/// The refusal of each of `bad`, with the parameter's name, the range and the value in its message.
fn parameter<T: std::fmt::Debug>(
    name: &str,
    range: &str,
    bad: &[f64],
    of: impl Fn(f64) -> Result<T, Error>,
) {
    for &bad in bad {
        let error = of(bad).expect_err("out of range");
        let Error::Parameter {
            name: found_name,
            found,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((*found_name, found.to_bits()), (name, bad.to_bits()));
        assert_eq!(
            error.to_string(),
            format!("{name}: expected {range}, found {bad}")
        );
    }
}

const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

#[test]
fn hyper_parameters_out_of_range_are_refused() {
    let [nan, infinite, below] = NOT_FINITE;
    let cosine = CosineEmbeddingLoss::new(0.0).unwrap();
    let outside = [
        nan,
        infinite,
        below,
        1.0 + f64::EPSILON,
        -1.0 - f64::EPSILON,
    ];
    parameter(
        "margin",
        "a number in [-1, 1]",
        &outside,
        CosineEmbeddingLoss::new,
    );
    parameter("positive margin", "a number in [-1, 1]", &outside, |x| {
        cosine.with_positive_margin(x)
    });
    let negative = [nan, infinite, below, -1e-300];
    parameter("epsilon", "a finite number, not negative", &negative, |x| {
        cosine.with_epsilon(x)
    });
    parameter("epsilon", "a finite number, not negative", &negative, |x| {
        Lp::euclidean().with_epsilon(x)
    });
    let not_positive = [nan, infinite, below, 0.0, -0.0, -1.0];
    parameter(
        "margin",
        "a positive, finite number",
        &not_positive,
        TripletMarginLoss::new,
    );
    parameter(
        "margin",
        "a finite number",
        &NOT_FINITE,
        TripletMarginLoss::soft,
    );
    parameter(
        "temperature",
        "a positive, finite number",
        &not_positive,
        InfoNceLoss::new,
    );
    parameter(
        "p",
        "a number of at least 1",
        &[nan, below, 0.0, 1.0 - f64::EPSILON, -2.0],
        Lp::new,
    );
    let range = "a positive, finite divisor with a finite reciprocal";
    parameter("reduction", range, &not_positive, |z| {
        cosine.with_reduction(Reduction::Over(z))
    });
    let triplet = TripletMarginLoss::new(1.0).unwrap();
    parameter("reduction", range, &not_positive, |z| {
        triplet.with_reduction(Reduction::Over(z))
    });
    parameter(
        "margin",
        "a positive, finite number",
        &not_positive,
        ContrastiveLoss::new,
    );
    let contrastive = ContrastiveLoss::new(1.0).unwrap();
    let range = "a finite number, not negative";
    parameter("positive margin", range, &negative, |x| {
        contrastive.with_positive_margin(x)
    });
    let scales = [nan, infinite, below, 0.0, -1.0, 1.1e300];
    let range = "a positive number, at most 1e300";
    parameter("scale", range, &scales, CoSentLoss::new);
    parameter("scale", range, &scales, AngleLoss::new);
    let range = "a positive, finite divisor with a finite reciprocal";
    parameter("reduction", range, &not_positive, |z| {
        contrastive.with_reduction(Reduction::Over(z))
    });
    parameter("reduction", range, &not_positive, |z| {
        CosineSimilarityLoss::new().with_reduction(Reduction::Over(z))
    });
    let info_nce = InfoNceLoss::new(1.0).unwrap();
    parameter("reduction", range, &not_positive, |z| {
        info_nce.with_reduction(Reduction::Over(z))
    });
    parameter(
        "workspace limit",
        "at least 65536 bytes",
        &[0.0, 65_535.0],
        |x| Workspace::<f64>::with_limit(x as usize),
    );
}

#[test]
fn hyper_parameters_at_the_ends_of_their_range_are_taken() {
    for margin in [-1.0, 1.0] {
        assert!(
            CosineEmbeddingLoss::new(margin)
                .unwrap()
                .with_positive_margin(margin)
                .is_ok()
        );
    }
    assert!(
        CosineEmbeddingLoss::new(0.0)
            .unwrap()
            .with_epsilon(0.0)
            .is_ok()
    );
    assert!(
        TripletMarginLoss::new(f64::MIN_POSITIVE).is_ok() && TripletMarginLoss::soft(-3.0).is_ok()
    );
    assert!(Lp::new(1.0).is_ok() && Lp::new(f64::INFINITY).is_ok());
    assert!(InfoNceLoss::new(f64::MIN_POSITIVE).is_ok());
    assert!(Workspace::<f32>::with_limit(65_536).is_ok());
}

#[test]
fn losses_tell_the_temperature_that_they_were_given() {
    assert_eq!(InfoNceLoss::new(0.07).unwrap().temperature(), 0.07);
    assert_eq!(InfoNceLoss::sigmoid(0.1, -10.0).unwrap().temperature(), 0.1);
    assert_eq!(
        SoftmaxCrossEntropyLoss::new(0.07).unwrap().temperature(),
        0.07
    );
}

#[test]
fn labels_that_are_none_of_the_two_are_refused() {
    for bad in [2.0, 0.0, 0.5, -2.0, f64::NAN, f64::INFINITY] {
        let error = PairLabel::from_sign(bad).unwrap_err();
        assert!(matches!(error, Error::Label { found, .. } if found.to_bits() == bad.to_bits()));
        assert_eq!(
            error.to_string(),
            format!("label: expected 1 for a match or -1 for no match, found {bad}")
        );
    }
    for bad in [2.0, -1.0, 0.5, f64::NAN] {
        let error = PairLabel::from_bit(bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("label: expected 1 for a match or 0 for no match, found {bad}")
        );
    }
}
