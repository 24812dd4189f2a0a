//! Any memory layout gives the result of the contiguous copy.

use contrastive::{BatchTripletGradient, BatchTripletInput, Loss, Want, Workspace};
use ndarray::{Array2, ArrayView2, s};

use crate::batch::{Batch, all_options};

/// A copy in a layout, and the view of it that has the numbers of `rows`.
fn laid(rows: &Array2<f32>, layout: usize) -> Array2<f32> {
    let (n, dim) = rows.dim();
    let mut base = match layout {
        0 => Array2::from_elem((dim, n), f32::NAN).reversed_axes(),
        1 => Array2::from_elem((n, dim), f32::NAN),
        _ => Array2::from_elem((2 * n, 2 * dim + 1), f32::NAN),
    };
    view_mut(&mut base, layout).assign(rows);
    base
}

fn view_mut(base: &mut Array2<f32>, layout: usize) -> ndarray::ArrayViewMut2<'_, f32> {
    match layout {
        0 => base.view_mut(),
        1 => base.slice_mut(s![..;-1, ..;-1]),
        _ => base.slice_mut(s![..;2, 1..;2]),
    }
}

fn view(base: &Array2<f32>, layout: usize) -> ArrayView2<'_, f32> {
    match layout {
        0 => base.view(),
        1 => base.slice(s![..;-1, ..;-1]),
        _ => base.slice(s![..;2, 1..;2]),
    }
}

#[test]
fn every_layout_of_rows_and_gradients_gives_the_same_bits() {
    for (index, options) in all_options().into_iter().enumerate() {
        let batch = Batch::new(
            options,
            [9, 40][index % 2],
            35,
            3 + index % 20,
            index as u64,
        )
        .narrow();
        let expected = batch.solve();
        for layout in 0..3 {
            let anchors = laid(&batch.anchors, layout);
            let candidates = batch
                .candidates
                .as_ref()
                .map(|(rows, _)| laid(rows, layout));
            let mut input = BatchTripletInput::new(view(&anchors, layout), batch.labels.view());
            if let (Some(rows), Some((_, labels))) = (&candidates, &batch.candidates) {
                input = input.with_candidates(view(rows, layout), labels.view());
            }
            input.weights = batch.weights.as_ref().map(|weights| weights.view());
            let mut by_anchors = anchors.clone();
            let mut by_candidates = candidates.clone();
            let gradient = BatchTripletGradient {
                anchors: Some(view_mut(&mut by_anchors, layout)),
                candidates: by_candidates.as_mut().map(|rows| view_mut(rows, layout)),
            };
            let want = Want::gradient(gradient);
            let value = options.loss().evaluate(input, want, &mut Workspace::new());
            assert_eq!(
                value.unwrap().to_bits(),
                expected.value.to_bits(),
                "{options:?}"
            );
            assert_eq!(
                view(&by_anchors, layout),
                expected.gradient[0],
                "{options:?}"
            );
            if let Some(by_candidates) = &by_candidates {
                assert_eq!(
                    view(by_candidates, layout),
                    expected.gradient[1],
                    "{options:?}"
                );
            }
        }
    }
}

#[test]
fn gradient_of_one_side_is_the_same_without_the_other() {
    for (index, options) in all_options().into_iter().enumerate() {
        let batch = Batch::new(options, 10, 4, 3, index as u64).narrow();
        let Some((rows, _)) = &batch.candidates else {
            continue;
        };
        let expected = batch.solve().gradient;
        let mut found = Array2::from_elem(rows.dim(), f32::NAN);
        let gradient = BatchTripletGradient {
            candidates: Some(found.view_mut()),
            ..Default::default()
        };
        options.loss().backward(batch.input(), gradient).unwrap();
        assert_eq!(found, expected[1]);
        let mut found = Array2::from_elem(batch.anchors.dim(), f32::NAN);
        let gradient = BatchTripletGradient {
            anchors: Some(found.view_mut()),
            ..Default::default()
        };
        options.loss().backward(batch.input(), gradient).unwrap();
        assert_eq!(found, expected[0]);
    }
}
