//! How to choose negatives, temperature or margin, and batch size.
//!
//! # Negatives
//!
//! *In-batch negatives first.* They cost nothing to embed and grow with the square of the batch. Their flaw is that most are easy: a random
//! document shares nothing with the query.
//!
//! *Then a few mined ones per query*, from BM25 or from the last checkpoint: rank 30 to 200 rather than 1 to 10, where unlabelled positives
//! are. [`HardNegativeMiner`] finds them in a corpus, and [`with_skip`] passes the first ranks over. [`InfoNceInput::with_negatives`] gives each
//! query its own ([`with_ragged_negatives`] as many as there are); [`InfoNceLoss::with_pooled_negatives`] lets all queries see all of them, as
//! sentence-transformers does, at the cost of n·n·K more scores.
//!
//! *Guard against false ones.* Data in which several queries share a document, or documents repeat, needs [`Ids`]; where nothing is labelled,
//! a ceiling on the similarity ([`InfoNceLoss::with_false_negatives`]) or a [`Guide`] model. The report counts what was left out:
//! a few in a hundred is plausible, half is a rule that is too strict.
//!
//! [`HardNegativeMiner`]: crate::HardNegativeMiner
//! [`with_skip`]: crate::HardNegativeMiner::with_skip
//! [`InfoNceInput::with_negatives`]: crate::InfoNceInput::with_negatives
//! [`with_ragged_negatives`]: crate::InfoNceInput::with_ragged_negatives
//! [`InfoNceLoss::with_pooled_negatives`]: crate::InfoNceLoss::with_pooled_negatives
//! [`InfoNceLoss::with_false_negatives`]: crate::InfoNceLoss::with_false_negatives
//! [`Ids`]: crate::Ids
//! [`Guide`]: crate::Guide
//!
//! # Temperature
//!
//! Cosines lie in [−1, 1], so scores lie in [−1/τ, 1/τ], and the loss against n − 1 negatives cannot fall below log(1 + (n − 1)·e^(−2/τ)). A
//! temperature at which that floor is high leaves a gradient that never ends, spent on pushing apart what is far apart already. A very low one
//! makes the softmax a maximum: only the hardest candidate counts, and it is the likeliest false negative.
//!
//! | τ | floor for n = 1024 | use |
//! | --- | --- | --- |
//! | 1 | 4.9 | dot products, hardly ever cosines |
//! | 0.2 | 0.05 | few or easy negatives |
//! | 0.05 to 0.1 | 0 | in-batch and hard negatives |
//! | 0.01 to 0.02 | 0 | large batches with clean, deduplicated negatives |
//!
//! ```
//! use contrastive::{InfoNceInput, InfoNceLoss, Loss};
//! use ndarray::Array2;
//!
//! // The best there is: queries on their documents, all negatives opposite. Two such groups, of one pair and of 1023.
//! let floor = |temperature: f64| -> Result<f64, contrastive::Error> {
//!     let embeddings = Array2::from_shape_fn((1024, 1), |(i, _)| if i == 0 { 1.0 } else { -1.0 });
//!     let first = embeddings.slice(ndarray::s![..1, ..]);
//!     InfoNceLoss::new(temperature)?.forward(InfoNceInput::new(first, embeddings.view()))
//! };
//! assert!((floor(1.0)? - 4.94).abs() < 5e-3);
//! assert!((floor(0.2)? - 0.045).abs() < 5e-3);
//! assert!(floor(0.1)? < 1e-5);
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! To learn it, take [`log_temperature`](crate::InfoNceGradient::log_temperature) from the gradient and step in log τ; CLIP starts at 0.07 and
//! keeps 1/τ at most 100. A learned temperature falls as long as the training pairs are separable: watch the validation score, not the loss.
//!
//! # Margin
//!
//! A margin is in the units of its distance. Cosine embedding: a cosine above which strangers are pushed apart, 0 to 0.6; the more negatives
//! per match, the higher, or their number drowns the matches. Triplet: with unit rows and the Euclidean distance, which lies in [0, 2],
//! 0.2 to 0.7. PyTorch's default of 1 and sentence-transformers' of 5 are meant for rows of any length: on unit rows a margin above 2 can
//! never be met, and every triplet stays active.
//!
//! ```
//! use contrastive::{Loss, TripletMarginInput, TripletMarginLoss};
//! use ndarray::array;
//!
//! // A perfect triplet of unit rows: positive on the anchor, negative opposite.
//! let (anchor, negative) = (array![[1.0, 0.0]], array![[-1.0, 0.0]]);
//! let input = TripletMarginInput::new(anchor.view(), anchor.view(), negative.view());
//! assert_eq!(TripletMarginLoss::new(5.0)?.forward(input)?, 3.0);
//! # Ok::<(), contrastive::Error>(())
//! ```
//!
//! # Batch size
//!
//! Only InfoNCE (and whatever mines in the batch) gains from it by more than less noise: a batch of n gives each query n − 1 negatives. Gains
//! per doubling shrink, false negatives double. What does not fit is gathered in pieces:
//!
//! * an encoder too large for the batch: embed in chunks, take the loss once, go back in chunks (`examples/grad_cache`);
//! * a machine too small: each of several embeds a shard (`examples/distributed`);
//! * negatives from earlier steps: a [`MemoryQueue`](crate::MemoryQueue) keeps them, for a pool without gradient
//!   (`pool: None` in [`InfoNceGradient`](crate::InfoNceGradient)).
//!
//! The learning rate grows with the batch, at most in proportion. [`Reduction::Mean`](crate::Reduction::Mean) keeps the loss comparable
//! between sizes only in part: against more negatives log n of it is the batch's, not the model's.
