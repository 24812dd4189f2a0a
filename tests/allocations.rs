//! What a call allocates: nothing for the row losses, little for InfoNCE with a workspace that is reused.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use contrastive::{
    CoSentLoss, ContrastiveLoss, CosineEmbeddingInput, CosineEmbeddingLoss, CosineSimilarityLoss,
    InfoNceInput, InfoNceLoss, Loss, PairInput, PairLabel, TripletMarginInput, TripletMarginLoss,
    Want, Workspace,
};
use ndarray::{Array1, Array2};

/// Counts the bytes that a thread asks for.
struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the count is a thread-local number without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: passed on from the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on from the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated(work: impl FnOnce()) -> usize {
    let before = BYTES.with(Cell::get);
    work();
    BYTES.with(Cell::get) - before
}

fn rows(n: usize, dim: usize, phase: f32) -> Array2<f32> {
    Array2::from_shape_fn((n, dim), |(i, j)| ((i * 31 + j * 17) as f32 + phase).sin())
}

/// Small enough to stay on the calling thread, whose allocations are the ones that are counted.
const SHAPE: (usize, usize) = (64, 384);

#[test]
fn cosine_embedding_allocates_nothing() {
    let (x, y) = (rows(SHAPE.0, SHAPE.1, 0.0), rows(SHAPE.0, SHAPE.1, 0.5));
    let labels = Array1::from_shape_fn(SHAPE.0, |i| PairLabel::from(i % 2 == 0));
    let input = CosineEmbeddingInput::new(x.view(), y.view(), labels.view());
    let loss = CosineEmbeddingLoss::new(0.1).unwrap();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let bytes = allocated(|| {
        loss.forward_backward(input, gradient.view_mut()).unwrap();
    });
    assert_eq!(bytes, 0);
}

#[test]
fn losses_of_independent_pairs_allocate_nothing() {
    let (x, y) = (rows(SHAPE.0, SHAPE.1, 0.0), rows(SHAPE.0, SHAPE.1, 0.5));
    let labels = Array1::from_shape_fn(SHAPE.0, |i| PairLabel::from(i % 2 == 0));
    let input = PairInput::new(x.view(), y.view(), labels.view());
    let loss = ContrastiveLoss::new(0.5).unwrap();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let bytes = allocated(|| {
        loss.forward_backward(input, gradient.view_mut()).unwrap();
    });
    assert_eq!(bytes, 0);
    let grades = Array1::from_shape_fn(SHAPE.0, |i| i as f32);
    let input = PairInput::new(x.view(), y.view(), grades.view());
    let loss = CosineSimilarityLoss::new();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let bytes = allocated(|| {
        loss.forward_backward(input, gradient.view_mut()).unwrap();
    });
    assert_eq!(bytes, 0);
}

/// The order of the pairs, and what sorting takes besides.
#[test]
fn cosent_with_a_reused_workspace_allocates_a_few_numbers_for_each_pair() {
    const PAIRS: usize = 3000;
    let (x, y) = (rows(PAIRS, 2, 0.0), rows(PAIRS, 2, 0.5));
    let grades = Array1::from_shape_fn(PAIRS, |i| (i * 7 % 50) as f32);
    let input = PairInput::new(x.view(), y.view(), grades.view());
    let loss = CoSentLoss::new(20.0).unwrap();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let mut workspace = Workspace::new();
    let mut solve = || {
        let want = Want::gradient(gradient.view_mut());
        loss.evaluate(input, want, &mut workspace).unwrap();
    };
    solve();
    let bytes = allocated(solve);
    assert!(bytes <= 4 * PAIRS * size_of::<usize>(), "{bytes} bytes");
}

#[test]
fn triplet_margin_allocates_nothing_after_the_first_call() {
    let [a, p, n] = [0.0, 0.5, 1.0].map(|phase| rows(SHAPE.0, SHAPE.1, phase));
    let input = TripletMarginInput::new(a.view(), p.view(), n.view());
    let loss = TripletMarginLoss::new(1.0).unwrap();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let bytes = allocated(|| {
        loss.forward_backward(input, gradient.view_mut()).unwrap();
    });
    assert_eq!(bytes, 0);
}

#[test]
fn info_nce_with_a_reused_workspace_allocates_less_than_its_input_holds() {
    let (q, d) = (rows(SHAPE.0, SHAPE.1, 0.0), rows(SHAPE.0, SHAPE.1, 0.5));
    let input = InfoNceInput::new(q.view(), d.view());
    let loss = InfoNceLoss::new(0.05).unwrap();
    let (_, mut gradient) = loss.value_and_gradient(input).unwrap();
    let mut workspace = Workspace::new();
    loss.evaluate(input, Want::gradient(gradient.view_mut()), &mut workspace)
        .unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let bytes = pool.install(|| {
        allocated(|| {
            loss.evaluate(input, Want::gradient(gradient.view_mut()), &mut workspace)
                .unwrap();
        })
    });
    let input_bytes = 2 * SHAPE.0 * SHAPE.1 * size_of::<f32>();
    assert!(bytes < input_bytes, "{bytes} bytes of {input_bytes}");
}
