//! Which loss when, and how to tell that training goes wrong. Text and examples, no code.
//!
//! * this page: the losses side by side, what they cost, how sensitive they are
//! * [`batches`]: how to choose negatives, temperature or margin, batch size
//! * [`failures`]: collapse, false negatives, a loss that stays at its margin, wrong scaling over ranks, and what the reports show
//! * [`migration`]: names and defaults of PyTorch, sentence-transformers, pytorch-metric-learning and burn
//!
//! # Which loss
//!
//! | what you have | loss | because |
//! | --- | --- | --- |
//! | pairs of query and document, nothing else | [`InfoNceLoss`] with in-batch negatives | every other document of the batch is a negative for free |
//! | the same, and mined hard negatives | [`InfoNceLoss`] with own negatives [`with_negatives`], or a pool [`with_pool`] | the hard ones join the same softmax |
//! | two kinds of the same thing (image and caption), searched both ways | [`InfoNceLoss::clip`] | queries compete for documents too |
//! | the same in very large batches | [`InfoNceLoss::sig_lip`] | each pair is classified for itself, nothing is normalised over the batch |
//! | several documents for a query, or classes | [`InfoNceLoss`] with [`Targets::Ids`] or [`Targets::Lists`] | the positives of a query are not each other's negatives |
//! | triplets, or groups from which to draw them; distances matter, not only their order | [`TripletMarginLoss`] | it stops where the margin is kept |
//! | pairs labelled match or no match, also unbalanced | [`CosineEmbeddingLoss`], or [`ContrastiveLoss`] with its squares | it needs no batch: each pair stands for itself |
//! | a class for each text, and distances matter | [`BatchTripletLoss`] or [`BatchContrastiveLoss`] | the batch's triplets or pairs are found from the labels |
//! | pairs with a grade | [`CoSentLoss`] or [`AngleLoss`]; [`CosineSimilarityLoss`] | the first two ask for the order of the grades alone, the last for the grade itself as cosine |
//! | scores of a teacher, such as a cross-encoder | [`DistillationLoss`] or [`MarginMseLoss`] | the student learns how far ahead a document is, not only that it is |
//! | sparse or multi-vector embeddings | scores of [`SparseDot`] or [`MaxSim`], and [`SoftmaxCrossEntropyLoss`] over them | the loss takes any scores, and the score function carries its gradient on |
//! | dense, sparse and multi-vector embeddings of one encoder | [`M3Loss`] | each learns from the label and from what they say together |
//! | embeddings that will be cut short | [`Matryoshka`] of any loss over embeddings | every prefix is trained |
//!
//! If in doubt: [`InfoNceLoss`] at a temperature of 0.05 to 0.1 with the largest batch that fits.
//!
//! [`with_negatives`]: crate::InfoNceInput::with_negatives
//! [`with_pool`]: crate::InfoNceInput::with_pool
//! [`InfoNceLoss`]: crate::InfoNceLoss
//! [`InfoNceLoss::clip`]: crate::InfoNceLoss::clip
//! [`InfoNceLoss::sig_lip`]: crate::InfoNceLoss::sig_lip
//! [`Targets::Ids`]: crate::Targets::Ids
//! [`Targets::Lists`]: crate::Targets::Lists
//! [`TripletMarginLoss`]: crate::TripletMarginLoss
//! [`CosineEmbeddingLoss`]: crate::CosineEmbeddingLoss
//! [`ContrastiveLoss`]: crate::ContrastiveLoss
//! [`BatchTripletLoss`]: crate::BatchTripletLoss
//! [`BatchContrastiveLoss`]: crate::BatchContrastiveLoss
//! [`CoSentLoss`]: crate::CoSentLoss
//! [`AngleLoss`]: crate::AngleLoss
//! [`CosineSimilarityLoss`]: crate::CosineSimilarityLoss
//! [`DistillationLoss`]: crate::DistillationLoss
//! [`MarginMseLoss`]: crate::MarginMseLoss
//! [`SparseDot`]: crate::SparseDot
//! [`MaxSim`]: crate::MaxSim
//! [`SoftmaxCrossEntropyLoss`]: crate::SoftmaxCrossEntropyLoss
//! [`M3Loss`]: crate::M3Loss
//! [`Matryoshka`]: crate::Matryoshka
//!
//! # Formulas
//!
//! **Cosine embedding.** With c = cos(x, y):
//!
//! <math display="block" alttext="match: 1 - c; no match: max(0, c - margin)"><mi>ℓ</mi><mo>=</mo><mo>{</mo><mtable>
//! <mtr><mtd><mn>1</mn><mo>−</mo><mi>c</mi></mtd><mtd><mtext>match</mtext></mtd></mtr>
//! <mtr><mtd><mi>max</mi><mo>(</mo><mn>0</mn><mo>,</mo><mi>c</mi><mo>−</mo><mi>margin</mi><mo>)</mo></mtd><mtd><mtext>no match</mtext></mtd></mtr>
//! </mtable></math>
//!
//! in plain text `match: 1 − c; no match: max(0, c − margin)`
//!
//! **Triplet margin.** With a distance d, an anchor a, its positive p and a negative n:
//!
//! <math display="block" alttext="max(0, margin + d(a, p) - d(a, n))"><mi>ℓ</mi><mo>=</mo><mi>max</mi><mo>(</mo><mn>0</mn><mo>,</mo>
//! <mi>margin</mi><mo>+</mo><mi>d</mi><mo>(</mo><mi>a</mi><mo>,</mo><mi>p</mi><mo>)</mo>
//! <mo>−</mo><mi>d</mi><mo>(</mo><mi>a</mi><mo>,</mo><mi>n</mi><mo>)</mo><mo>)</mo></math>
//!
//! in plain text `max(0, margin + d(a, p) − d(a, n))`
//!
//! **InfoNCE.** With a similarity s, the temperature τ, a query q, its document d⁺ and all candidates dⱼ, d⁺ among them:
//!
//! <math display="block" alttext="-log(exp(s(q, d+)/tau) / sum over j of exp(s(q, d_j)/tau))"><mi>ℓ</mi><mo>=</mo><mo>−</mo><mi>log</mi><mfrac>
//! <mrow><mi>exp</mi><mo>(</mo><mi>s</mi><mo>(</mo><mi>q</mi><mo>,</mo><msup><mi>d</mi><mo>+</mo></msup><mo>)</mo><mo>/</mo><mi>τ</mi><mo>)</mo></mrow>
//! <mrow><munder><mo>∑</mo><mi>j</mi></munder><mi>exp</mi><mo>(</mo><mi>s</mi><mo>(</mo><mi>q</mi><mo>,</mo>
//! <msub><mi>d</mi><mi>j</mi></msub><mo>)</mo><mo>/</mo><mi>τ</mi><mo>)</mo></mrow></mfrac></math>
//!
//! in plain text `−log( exp(s(q, d⁺)/τ) / Σⱼ exp(s(q, dⱼ)/τ) )`
//!
//! # What each gives and asks
//!
//! | | cosine embedding | triplet margin | InfoNCE |
//! | --- | --- | --- | --- |
//! | what a row sees | one other text | one positive, K negatives | all candidates of the batch |
//! | where the gradient goes | to every pair that violates | to the triplets that violate | mostly to the hardest candidates, by the softmax |
//! | stops by itself | no: matches are pulled to cosine 1 | yes, at the margin | hardly: it fades as p → 1 |
//! | absolute similarities | comparable between queries | distances are | only their order for one query |
//! | label noise | one pair wrong, one pair hurt | one triplet hurt | a false negative hurts most where it is most similar |
//! | cost of n rows of dim D | 2·n·D numbers read and as many written: bound by memory | (2 + K)·n·D read and written: bound by memory | 6·n·m·D operations over m candidates: bound by arithmetic |
//! | memory beyond input and gradient | none | none | 64 MiB of scores at most, settable |
//!
//! How long a step takes is in the README, in the table that `benches/peers/run` prints. An encoder takes so much longer that the loss's own
//! time rarely decides. What it asks of the data does.
//!
//! # How sensitive they are
//!
//! The same encoder on Rust code search with each loss, nDCG@10 on the validation crates at every value that was tried, as
//! `cargo run --release --example compare_losses` leaves it in `target/compare_losses/results.json` (`trials`), beside its plots
//! `sensitivity.svg`, `metrics.svg`, `similarities.svg` and `training_curves.svg`. A value of your own is fixed with `-- --margin 0.3` or
//! `-- --temperature 0.1`.
//!
#![doc = include_str!("../../examples/compare_losses/sensitivity.svg")]
//!
//! One sampled negative for each query:
//!
//! | | | | | | |
//! | --- | --- | --- | --- | --- | --- |
//! | cosine embedding, margin | 0.0 | 0.2 | 0.4 | 0.6 | 0.8 |
//! | | .452 | **.463** | .460 | .441 | .413 |
//! | triplet margin, margin | 0.1 | 0.2 | 0.4 | 0.7 | 1.0 |
//! | | .411 | .434 | .458 | **.467** | .443 |
//! | InfoNCE, temperature | 0.05 | 0.1 | 0.2 | 0.3 | 0.5 |
//! | | .412 | .443 | **.465** | **.465** | .453 |
//!
//! All 127 other documents of the batch as negatives:
//!
//! | | | | | | |
//! | --- | --- | --- | --- | --- | --- |
//! | cosine embedding, margin | 0.0 | 0.2 | 0.4 | 0.6 | 0.8 |
//! | | .284 | .447 | .495 | **.502** | .471 |
//! | triplet margin, margin | 0.1 | 0.2 | 0.4 | 0.7 | 1.0 |
//! | | .441 | .463 | **.486** | .480 | .452 |
//! | InfoNCE, temperature | 0.05 | 0.1 | 0.2 | 0.3 | 0.5 |
//! | | .475 | **.502** | .491 | .477 | .463 |
//!
//! So: over its whole grid InfoNCE loses .039 with in-batch negatives, triplet margin .045, cosine embedding .218, which at margin 0 lets
//! 127 easy negatives drown the one match. With one negative the order turns: what a low temperature singles out is not there to be found,
//! and InfoNCE wants it two to three times higher. A margin or temperature found with some negatives does not carry over to others.
//!
//! What each finds on the test crates, at the value that the validation crates chose, with 95 % intervals over crates:
//!
#![doc = include_str!("../../examples/compare_losses/metrics.svg")]

pub mod batches;
pub mod failures;
pub mod migration;
