//! Names and defaults elsewhere, and here.
//!
//! Versions: PyTorch 2.10, sentence-transformers 6.2, pytorch-metric-learning 2.9, burn 0.22. Nothing here has a default margin or temperature:
//! constructors take it, because none fits all. Common to all rows: here a zero row has cosine 0 and gradient 0, a zero
//! distance gradient 0, and a hinge exactly at its kink is inactive.
//!
//! # PyTorch
//!
//! | there | here | differences |
//! | --- | --- | --- |
//! | `CosineEmbeddingLoss(margin=0)` | [`CosineEmbeddingLoss::new`]`(0.0)` | ε = 1e-12 is added to squared norms there: [`with_epsilon`](crate::CosineEmbeddingLoss::with_epsilon)`(1e-12)`; labels ±1: [`PairLabel::from_sign`](crate::PairLabel::from_sign) |
//! | `TripletMarginLoss(margin=1, p=2, eps=1e-6, swap=False)` | [`TripletMarginLoss::new`]`(1.0)` | ε is added to every difference there: [`Lp::with_epsilon`](crate::Lp::with_epsilon)`(1e-6)` |
//! | `TripletMarginWithDistanceLoss(distance_function=…)` | [`with_distance`](crate::TripletMarginLoss::with_distance) | a [`Distance`](crate::Distance) brings its gradient |
//! | `F.cross_entropy(q @ d.T / t, torch.arange(n))` | [`InfoNceLoss::new`]`(t)` with [`Similarity::Dot`](crate::Similarity::Dot) | cosine by default here; the scores are never held |
//! | `cross_entropy(…, label_smoothing=e)` | [`with_label_smoothing`](crate::InfoNceLoss::with_label_smoothing)`(e)` | |
//! | `reduction="mean"`, `"sum"`, `"none"` | [`Reduction`](crate::Reduction), [`forward_rows`](crate::Loss::forward_rows) | weights of rows in every input |
//!
//! # sentence-transformers
//!
//! | there | here | differences |
//! | --- | --- | --- |
//! | `MultipleNegativesRankingLoss(scale=20)` | [`multiple_negatives_ranking`](crate::InfoNceLoss::multiple_negatives_ranking)`(20.0)` | `scale` is 1/τ; negative columns compete for all queries, which [`new`](crate::InfoNceLoss::new) does not let them |
//! | `directions=("query_to_doc",)`, `partition_mode="joint"` | [`with_directions`](crate::InfoNceLoss::with_directions), [`PartitionMode`](crate::PartitionMode) | query → document is always on; all four: [`gte`](crate::InfoNceLoss::gte) |
//! | `hardness_mode=None`, `hardness_strength=0` | [`with_hardness`](crate::InfoNceLoss::with_hardness) | |
//! | `MultipleNegativesSymmetricRankingLoss(scale=20)` | [`clip`](crate::InfoNceLoss::clip)`(0.05)` | |
//! | `CachedMultipleNegativesRankingLoss(mini_batch_size=32)` | the same loss | a way to train, not a loss: `examples/grad_cache` |
//! | `gather_across_devices=True` | [`Targets::Offset`](crate::Targets::Offset), [`Reduction::Over`](crate::Reduction::Over) | `examples/distributed` |
//! | `GISTEmbedLoss(temperature=0.01, margin_strategy="absolute", margin=0)` | [`gist`](crate::InfoNceLoss::gist)`(0.01)` and a [`Guide`](crate::Guide) | margins: [`with_false_negatives`](crate::InfoNceLoss::with_false_negatives) |
//! | `TripletLoss(EUCLIDEAN, triplet_margin=5)` | [`TripletMarginLoss::new`]`(5.0)` | choose another margin for unit rows; `COSINE`: [`CosineDistance`](crate::CosineDistance), `MANHATTAN`: [`Lp`](crate::Lp) of 1 |
//!
//! # pytorch-metric-learning
//!
//! Its losses take labels and form all pairs or triplets; here they are handed over. It takes the mean over terms that are not zero
//! (`AvgNonZeroReducer`): [`Reduction::MeanActive`](crate::Reduction::MeanActive). Embeddings are normalised there by default.
//!
//! | there | here | differences |
//! | --- | --- | --- |
//! | `ContrastiveLoss(pos_margin=1, neg_margin=0, distance=CosineSimilarity())` | [`CosineEmbeddingLoss::new`]`(0.0)` | matching and other pairs are averaged apart there, and the two means added; its defaults (0 and 1) are those of a distance |
//! | `TripletMarginLoss(margin=0.05, swap=False, smooth_loss=False)` | [`TripletMarginLoss::new`]`(0.05)`, [`soft`](crate::TripletMarginLoss::soft) | |
//! | `NTXentLoss(temperature=0.07)` | [`nt_xent`](crate::InfoNceLoss::nt_xent)`(0.07)` on [`InfoNceInput::labelled`](crate::InfoNceInput::labelled) | the mean is over pairs there, over rows here |
//! | `SupConLoss(temperature=0.1)` | [`sup_con`](crate::InfoNceLoss::sup_con)`(0.1)` on the same | |
//!
//! # burn
//!
//! | there | here | differences |
//! | --- | --- | --- |
//! | `CosineEmbeddingLossConfig` (margin 0, mean) | [`CosineEmbeddingLoss::new`]`(0.0)` | |
//! | `TripletMarginLossConfig` (margin 1, p 2) | [`TripletMarginLoss::new`]`(1.0)` | a bare root there, NaN in the gradient at distance 0 |
//! | `CrossEntropyLoss` over composed scores | [`InfoNceLoss`] | |
//!
//! How to carry the gradient into each of them: [the recipe](crate#in-a-training-loop-of-another-framework).
//!
//! [`CosineEmbeddingLoss::new`]: crate::CosineEmbeddingLoss::new
//! [`TripletMarginLoss::new`]: crate::TripletMarginLoss::new
//! [`InfoNceLoss::new`]: crate::InfoNceLoss::new
//! [`InfoNceLoss`]: crate::InfoNceLoss
