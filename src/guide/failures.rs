//! Common failures, and what the reports show in each.
//!
//! A report costs no second pass: [`Want::with_report`](crate::Want::with_report). Every number on this page is asserted by its example.
//!
//! # Collapse: everything is the same
//!
//! The encoder maps all texts to one point. InfoNCE stays at log n. Its report says so by `positive_probability`, 1/n, together with
//! `positive_similarity` and `negative_similarity` near 1; `accuracy` does not, since ties with the positive are not counted against it.
//!
//! ```
//! use contrastive::{InfoNceInput, InfoNceLoss, InfoNceReport, Loss, Want, Workspace};
//! use ndarray::Array2;
//!
//! let same = Array2::<f64>::ones((8, 4));
//! let mut report = InfoNceReport::default();
//! let want = Want::value().with_report(&mut report);
//! let input = InfoNceInput::new(same.view(), same.view());
//! let value = InfoNceLoss::new(0.05)?.evaluate(input, want, &mut Workspace::new())?;
//!
//! assert!((value - 8_f64.ln()).abs() < 1e-12);
//! assert!((report.positive_probability - 1.0 / 8.0).abs() < 1e-12);
//! assert!((report.positive_similarity - 1.0).abs() < 1e-12);
//! assert!((report.negative_similarity - 1.0).abs() < 1e-12);
//! assert_eq!(report.accuracy, 1.0); // all tie
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! With labelled pairs: `match_cosine` and `no_match_cosine` are both near 1. It comes from labels of one kind only, from a margin so
//! high that no negative is active, from a learning rate that is too large, or from two towers that can shrink the loss by ignoring their input.
//!
//! ```
//! use contrastive::{CosineEmbeddingInput, CosineEmbeddingLoss, CosineEmbeddingReport};
//! use contrastive::{Loss, PairLabel, Want, Workspace};
//! use ndarray::{Array2, array};
//!
//! let same = Array2::<f64>::ones((2, 4));
//! let labels = array![PairLabel::Match, PairLabel::NoMatch];
//! let mut report = CosineEmbeddingReport::default();
//! let want = Want::value().with_report(&mut report);
//! let input = CosineEmbeddingInput::new(same.view(), same.view(), labels.view());
//! CosineEmbeddingLoss::new(0.5)?.evaluate(input, want, &mut Workspace::new())?;
//!
//! assert!((report.match_cosine - 1.0).abs() < 1e-12);
//! assert!((report.no_match_cosine - 1.0).abs() < 1e-12);
//! assert_eq!(report.active, 0.5); // the match is satisfied, the other never will be
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! # The loss stays at the margin
//!
//! A triplet loss that settles at exactly its margin has d⁺ = d⁻: the same collapse. `active` is 1, and both distances are equal. Mining
//! only the hardest negatives from the first step on is the classic cause; start with random or semi-hard ones, or with the soft form.
//!
//! ```
//! use contrastive::{Loss, TripletMarginInput, TripletMarginLoss, TripletMarginReport, Want, Workspace};
//! use ndarray::{Array2, array};
//!
//! let evaluate = |anchor: &Array2<f64>, positive: &Array2<f64>, negative: &Array2<f64>| {
//!     let mut report = TripletMarginReport::default();
//!     let want = Want::value().with_report(&mut report);
//!     let input = TripletMarginInput::new(anchor.view(), positive.view(), negative.view());
//!     let value = TripletMarginLoss::new(0.3)?.evaluate(input, want, &mut Workspace::new())?;
//!     Ok::<_, contrastive::Error>((value, report))
//! };
//! let same = Array2::<f64>::ones((4, 3));
//! let (value, report) = evaluate(&same, &same, &same)?;
//! assert_eq!((value, report.active), (0.3, 1.0));
//! assert_eq!((report.positive_distance, report.negative_distance), (0.0, 0.0));
//!
//! // The opposite: nothing is left to learn from these negatives. Time for harder ones, or for a larger margin.
//! let (anchor, negative) = (array![[1.0, 0.0]], array![[0.0, 1.0]]);
//! let (value, report) = evaluate(&anchor, &anchor, &negative)?;
//! assert_eq!((value, report.active), (0.0, 0.0));
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! While `active` is small, [`Reduction::Mean`](crate::Reduction::Mean) divides a few gradients by all rows: training slows down by itself.
//! [`Reduction::MeanActive`](crate::Reduction::MeanActive) divides by the rows that still have one.
//!
//! # False negatives
//!
//! A document that occurs twice in a batch is the negative of its own query. The model cannot tell the two apart, so `positive_probability`
//! stops at ½ for those rows and the loss at log 2, however well it is trained. `accuracy` hides it: the copies tie.
//!
//! ```
//! use contrastive::{Ids, InfoNceInput, InfoNceLoss, InfoNceReport, Loss, Want, Workspace};
//! use ndarray::{Array2, array};
//!
//! // Perfect embeddings; documents 0 and 1 are the same text.
//! let rows = array![[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
//! let evaluate = |input: InfoNceInput<'_, f64>| {
//!     let mut report = InfoNceReport::default();
//!     let want = Want::value().with_report(&mut report);
//!     let value = InfoNceLoss::new(0.05)?.evaluate(input, want, &mut Workspace::new())?;
//!     Ok::<_, contrastive::Error>((value, report))
//! };
//! let input = InfoNceInput::new(rows.view(), rows.view());
//! let (value, report) = evaluate(input)?;
//! assert!((value - 2_f64.ln() / 2.0).abs() < 1e-8); // two rows of four at log 2
//! assert!((report.positive_probability - 0.75).abs() < 1e-8);
//! assert_eq!(report.left_out, 0);
//!
//! // Ids of the texts: each of the two leaves out the other's.
//! let texts = array![7, 7, 8, 9];
//! let ids = Ids { queries: texts.view(), documents: Some(texts.view()), negatives: None, pool: None };
//! let (value, report) = evaluate(input.with_ids(ids))?;
//! assert!(value < 1e-8);
//! assert!((report.positive_probability - 1.0).abs() < 1e-8);
//! assert_eq!(report.left_out, 2);
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! # Wrong scaling over ranks
//!
//! Each of R ranks takes the mean over its own rows, and the gradients are added: R times too large. Or documents are gathered without their
//! gradient, or without the local rows in their place, and the push that other ranks' queries give is lost: too small. The reports are of no
//! help, being means of their own rows. What helps is to compare with one process once, and a divisor that is the same everywhere:
//! [`Reduction::Over`](crate::Reduction::Over) the rows of the whole batch, values and gradients **added**.
//!
//! ```
//! use contrastive::{InfoNceInput, InfoNceLoss, Loss, Reduction, Targets};
//! use ndarray::{array, s};
//!
//! let queries = array![[1.0, 0.2], [0.1, 1.0], [-1.0, 0.3], [0.4, -0.9]];
//! let documents = array![[0.9, 0.1], [0.3, 1.0], [-0.8, 0.5], [0.1, -1.0]];
//! let loss = InfoNceLoss::new(0.5)?;
//! let whole: f64 = loss.forward(InfoNceInput::new(queries.view(), documents.view()))?;
//! let sum_over_ranks = |loss: InfoNceLoss| {
//!     let rank = |rows: std::ops::Range<usize>| {
//!         let targets = Targets::Offset(rows.start);
//!         let input = InfoNceInput::new(queries.slice(s![rows, ..]), documents.view());
//!         loss.forward(input.with_targets(targets))
//!     };
//!     Ok::<f64, contrastive::Error>(rank(0..2)? + rank(2..4)?)
//! };
//! assert!((sum_over_ranks(loss)? / whole - 2.0).abs() < 1e-12); // twice too large on two ranks
//! assert!((sum_over_ranks(loss.with_reduction(Reduction::Over(4.0))?)? / whole - 1.0).abs() < 1e-12);
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! `examples/distributed` does it over MPI, and its test is that comparison.
