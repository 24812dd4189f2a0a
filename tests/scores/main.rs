//! The proof of the losses over scores and of the score functions: one module for each claim.
//!
//! `cargo test --test scores gradients` runs one module. A [`case::Case`] is a loss or function with its options and a batch; [`naive`] computes its
//! value in plain `f64` loops and shares no code with the crate.

mod bad_input;
mod case;
#[path = "../proof/common/cases.rs"]
mod cases;
mod edges;
mod gradients;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../proof/common/layout.rs"]
mod layout;
mod naive;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../proof/common/random.rs"]
mod random;
mod same_bits;
mod solve;

/// The exact value of a number, and its bits; NaNs are all alike.
fn bits<A: contrastive::Scalar>(x: A) -> (u64, i16, i8) {
    if x.is_nan() {
        (u64::MAX, i16::MAX, 0)
    } else {
        x.integer_decode()
    }
}

fn largest<'a, A: contrastive::Scalar>(numbers: impl IntoIterator<Item = &'a A>) -> f64 {
    let numbers = numbers
        .into_iter()
        .map(|x| x.to_f64().expect("a float").abs());
    numbers.fold(0.0, f64::max)
}
