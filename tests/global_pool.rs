//! The crate leaves rayon's global pool to the application. A test crate of its own: there is one such pool in a process.
#![cfg(feature = "rayon")]

use contrastive::{
    CosineEmbeddingInput, CosineEmbeddingLoss, InfoNceInput, InfoNceLoss, Loss, PairLabel,
    TripletMarginInput, TripletMarginLoss,
};
use ndarray::{Array1, Array2};

/// Every loss on enough rows to be worth sharing.
fn all_losses() {
    let x = Array2::from_shape_fn((3000, 20), |(i, j)| ((i * 31 + j * 17) % 23) as f32 - 11.0);
    let x = x.view();
    let labels = Array1::from_elem(3000, PairLabel::Match);
    let input = CosineEmbeddingInput::new(x, x, labels.view());
    let loss = CosineEmbeddingLoss::new(0.0).unwrap();
    loss.value_and_gradient(input).unwrap();
    let loss = TripletMarginLoss::new(1.0).unwrap();
    loss.value_and_gradient(TripletMarginInput::new(x, x, x))
        .unwrap();
    let loss = InfoNceLoss::new(1.0).unwrap();
    loss.value_and_gradient(InfoNceInput::new(x, x)).unwrap();
}

#[test]
fn global_pool_is_neither_built_from_inside_a_pool_nor_configured_by_the_crate() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    pool.install(all_losses);
    // This fails if the pool is there already.
    rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build_global()
        .unwrap();
    all_losses();
    assert_eq!(rayon::current_num_threads(), 3);
}
