//! Peak memory of one process that does nothing but InfoNCE with gradients.

use contrastive::{InfoNceInput, InfoNceLoss, Loss};
use ndarray::Array2;

use crate::case::{Case, TEMPERATURE, Work};
use crate::inputs::generate;
use crate::memory::status;

/// Computes the loss of `rows`×`dim` once; prints peak resident MiB, MiB of inputs and gradients, and the difference.
pub fn footprint(rows: usize, dim: usize) {
    let case = Case {
        work: Work::InfoNce,
        backward: true,
        rows,
        negatives: 0,
        dim,
        double: false,
    };
    let arrays: Vec<Array2<f32>> = generate::<f32>(&case)
        .into_iter()
        .map(|array| array.into_dimensionality().expect("[n, D]"))
        .collect();
    let loss = InfoNceLoss::new(TEMPERATURE).expect("a valid temperature");
    let input = InfoNceInput::new(arrays[0].view(), arrays[1].view());
    let (value, gradient) = loss.value_and_gradient(input).expect("a valid batch");
    assert!(value.is_finite() && gradient.queries.len() == rows * dim);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let (peak, data) = (mib(status("VmHWM")), mib((4 * 4 * rows * dim) as f64));
    println!("peak {peak:.1} data {data:.1} above {:.1}", peak - data);
}
