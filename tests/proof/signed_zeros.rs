//! The sign of a zero in a gradient does not depend on the layout of the buffer.

use contrastive::{
    CosineEmbeddingGradient, CosineEmbeddingInput, CosineEmbeddingLoss, Loss, Matryoshka,
    PairLabel, SquaredEuclidean, TripletMarginGradient, TripletMarginInput, TripletMarginLoss,
    Want, Workspace,
};
use ndarray::{Array2, Axis, ShapeBuilder, array};

/// Buffers of 2×3 in the order of rows, and of columns.
fn buffers() -> [Array2<f32>; 2] {
    [
        Array2::from_elem((2, 3), f32::NAN),
        Array2::from_elem((2, 3).f(), f32::NAN),
    ]
}

fn bits(gradient: &Array2<f32>) -> Vec<u32> {
    gradient.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn zero_of_a_pair_has_its_sign_in_any_layout() {
    let x = array![[1.0_f32, 0.0, 0.0], [1.0, 0.0, -0.0]];
    let y = array![[0.6_f32, 0.8, 0.0], [0.6, 0.8, -0.0]];
    let labels = array![PairLabel::Match, PairLabel::Match];
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    let [rows, columns] = buffers().map(|mut to_x| {
        let gradient = CosineEmbeddingGradient {
            x: Some(to_x.view_mut()),
            ..Default::default()
        };
        let want = Want::gradient(gradient);
        loss.evaluate(input, want, &mut Workspace::new()).unwrap();
        bits(&to_x)
    });
    assert_eq!(rows, columns);
}

/// The second prefix is active, the first adds zeros to what it has written.
#[test]
fn zero_of_a_triplet_over_prefixes_has_its_sign_in_any_layout() {
    let anchor = array![[1.0_f32, 2.0, 0.5], [1.0, 2.0, 0.5]];
    let positive = array![[1.0_f32, 2.0, 4.5], [1.0, 1.0, 4.5]];
    let negative = array![[9.0_f32, 2.0, 1.0], [9.0, 2.0, -63.0]];
    let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
    for margin in [1.0, 100.0] {
        let loss = TripletMarginLoss::new(margin).unwrap();
        let loss = Matryoshka::new(loss.with_distance(SquaredEuclidean), &[2, 3]).unwrap();
        let [rows, columns] = buffers().map(|mut to_positive| {
            let mut to_negative = to_positive.clone();
            let gradient = TripletMarginGradient {
                positive: Some(to_positive.view_mut()),
                negatives: Some(to_negative.view_mut().insert_axis(Axis(1))),
                ..Default::default()
            };
            let want = Want::gradient(gradient);
            loss.evaluate(input, want, &mut Workspace::new()).unwrap();
            [bits(&to_positive), bits(&to_negative)]
        });
        assert_eq!(rows, columns);
    }
}
