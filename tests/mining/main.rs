//! Mining from labelled batches and from corpora, against references that list everything.
//!
//! * [`batch`] is a loss with its options and a batch; [`naive`] finds its triplets by their definitions, one by one, and adds up their losses.
//! * The modules after that each prove one property, for every strategy and option.

mod batch;
#[path = "../proof/common/cases.rs"]
mod cases;
mod naive;

mod agreement;
mod bad_input;
mod determinism;
mod edge_cases;
mod golden;
mod gradients;
mod hard_negatives;
mod layouts;
mod sampling;
mod weights;
