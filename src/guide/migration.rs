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
//! | `MultipleNegativesSymmetricRankingLoss(scale=20)` | [`clip`](crate::InfoNceLoss::clip)`(0.05)` | where there are negatives, [`with_pooled_negatives`](crate::InfoNceLoss::with_pooled_negatives)`(true)` |
//! | `CachedMultipleNegativesRankingLoss(mini_batch_size=32)` | the same loss | a way to train, not a loss: `examples/grad_cache` |
//! | `gather_across_devices=True` | [`Targets::Offset`](crate::Targets::Offset), [`Reduction::Over`](crate::Reduction::Over) | `examples/distributed` |
//! | `GISTEmbedLoss(temperature=0.01, margin_strategy="absolute", margin=0)` | [`gist`](crate::InfoNceLoss::gist)`(0.01)` and a [`Guide`](crate::Guide) | margins: [`with_false_negatives`](crate::InfoNceLoss::with_false_negatives) |
//! | `TripletLoss(EUCLIDEAN, triplet_margin=5)` | [`TripletMarginLoss::new`]`(5.0)` | choose another margin for unit rows; `COSINE`: [`CosineDistance`](crate::CosineDistance), `MANHATTAN`: [`Lp`](crate::Lp) of 1 |
//! | `BatchAllTripletLoss(margin=5)` | [`BatchTripletLoss::new`]`(`[`BatchAll`](crate::TripletMining::BatchAll)`, 5.0)` with [`MeanActive`](crate::Reduction::MeanActive) | Euclidean distance in both |
//! | `BatchHardTripletLoss(margin=5)` | [`BatchTripletLoss::new`]`(`[`BatchHard`](crate::TripletMining::BatchHard)`, 5.0)` | anchors without a positive or without a negative count there, here they have no triplet |
//! | `BatchSemiHardTripletLoss(margin=5)` | [`BatchTripletLoss::new`]`(`[`BatchSemiHard`](crate::TripletMining::BatchSemiHard)`, 5.0)` | pairs without a negative count there |
//! | `BatchHardSoftMarginTripletLoss` | [`BatchTripletLoss::soft`](crate::BatchTripletLoss::soft)`(`[`BatchHard`](crate::TripletMining::BatchHard)`, 0.0)` | as for `BatchHardTripletLoss` |
//! | `CosineSimilarityLoss(loss_fct=MSELoss())` | [`CosineSimilarityLoss::new`](crate::CosineSimilarityLoss::new)`()` | a `cos_score_transformation` is not there |
//! | `ContrastiveLoss(COSINE_DISTANCE, margin=0.5, size_average=True)` | [`ContrastiveLoss::new`]`(0.5)` | other distances: [`with_distance`](crate::ContrastiveLoss::with_distance); `size_average=False`: [`Reduction::Sum`](crate::Reduction::Sum); labels 1 and 0: [`PairLabel::from`](crate::PairLabel)`(label == 1)` |
//! | `OnlineContrastiveLoss(COSINE_DISTANCE, margin=0.5)` | [`ContrastiveLoss::new`]`(0.5)` with [`with_hard_pairs`](crate::ContrastiveLoss::with_hard_pairs) and [`Reduction::Sum`](crate::Reduction::Sum) | twice as large there: it has no ½ |
//! | `CoSENTLoss(scale=20)` | [`CoSentLoss::new`](crate::CoSentLoss::new)`(20.0)` | another `similarity_fct`: the negative of a distance, [`with_distance`](crate::CoSentLoss::with_distance) |
//! | `AnglELoss(scale=20)` | [`AngleLoss::new`](crate::AngleLoss::new)`(20.0)` | takes pairs; negatives are pairs of grade 0 |
//! | `MarginMSELoss(pairwise_dot_score)` | [`MarginMseLoss::new`](crate::MarginMseLoss::new)`()` | takes scores: [`DenseScores`](crate::DenseScores) computes them and carries the gradient back |
//! | `DistillKLDivLoss(pairwise_dot_score, temperature=1)` | [`DistillationLoss::new`](crate::DistillationLoss::new)`(1.0)` with [`with_temperature_squared`](crate::DistillationLoss::with_temperature_squared)`(true)` | the factor τ² is off by default here; takes scores likewise |
//! | `MatryoshkaLoss(loss, matryoshka_dims)` | [`Matryoshka::new`](crate::Matryoshka::new)`(loss, dims)` | lengths rise here; prefixes are normalised there, which cosines do not see; a sample of them (`n_dims_per_step`): a loss of these for each step |
//! | `mine_hard_negatives(num_negatives=3, range_min=0, absolute_margin=None, relative_margin=None)` | [`HardNegativeMiner::new`](crate::HardNegativeMiner::new)`(3)`, [`with_skip`](crate::HardNegativeMiner::with_skip), [`with_false_negatives`](crate::HardNegativeMiner::with_false_negatives) | takes embeddings, and searches the whole corpus, not `range_max` ranks of it; documents of the same text need [ids](crate::HardNegativeInput::with_ids); bounds on the score, a random choice and a cross-encoder are not here |
//!
//! # pytorch-metric-learning
//!
//! Its losses take labels and form all pairs or triplets; here [`BatchContrastiveLoss`](crate::BatchContrastiveLoss),
//! [`BatchTripletLoss`](crate::BatchTripletLoss) and InfoNCE of a [labelled batch](crate::InfoNceInput::labelled) do, and the other losses are
//! handed theirs. Its contrastive, triplet and SupCon losses take the mean over the terms that are not zero (`AvgNonZeroReducer`):
//! [`Reduction::MeanActive`](crate::Reduction::MeanActive). Its NTXent takes it over all. Embeddings are normalised there by default. Miners
//! are strategies of [`BatchTripletLoss`](crate::BatchTripletLoss) here ([`TripletMining`](crate::TripletMining)); those that the table lacks
//! are not here.
//!
//! | there | here | differences |
//! | --- | --- | --- |
//! | `ContrastiveLoss(pos_margin=0, neg_margin=1)` | [`BatchContrastiveLoss`](crate::BatchContrastiveLoss) of [`ContrastiveLoss::new`]`(1.0)` with [`Lp::euclidean`](crate::Lp::euclidean), [`with_linear`](crate::ContrastiveLoss::with_linear) and [`MeanActive`](crate::Reduction::MeanActive); [`with_balance`](crate::BatchContrastiveLoss::with_balance) | rows are normalised there first |
//! | `ContrastiveLoss(pos_margin=1, neg_margin=0, distance=CosineSimilarity())` | [`CosineEmbeddingLoss::new`]`(0.0)` | matching and other pairs are averaged apart there, and the two means added; its defaults (0 and 1) are those of a distance |
//! | `TripletMarginLoss(margin=0.05, swap=False, smooth_loss=False)` | [`TripletMarginLoss::new`]`(0.05)`, [`soft`](crate::TripletMarginLoss::soft) | all triplets of a labelled batch: [`BatchTripletLoss::new`]`(`[`BatchAll`](crate::TripletMining::BatchAll)`, 0.05)` |
//! | `NTXentLoss(temperature=0.07)` | [`nt_xent`](crate::InfoNceLoss::nt_xent)`(0.07)` on [`InfoNceInput::labelled`](crate::InfoNceInput::labelled) | the mean is over pairs there, over rows here |
//! | `SupConLoss(temperature=0.1)` | [`sup_con`](crate::InfoNceLoss::sup_con)`(0.1)` on the same | |
//! | `BatchHardMiner()` | [`BatchHard`](crate::TripletMining::BatchHard) | |
//! | `BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard")` | [`EasyPositiveSemiHard`](crate::TripletMining::EasyPositiveSemiHard) | `neg_strategy="hard"`: [`EasyPositiveHard`](crate::TripletMining::EasyPositiveHard) |
//! | `TripletMarginMiner(margin=0.2, type_of_triplets="all")` | [`BatchAll`](crate::TripletMining::BatchAll) with [`MeanActive`](crate::Reduction::MeanActive) | the triplets dropped there have no loss in a hinge of this margin or a smaller one; no other `type_of_triplets` |
//! | `DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)` | [`DistanceWeighted`](crate::TripletMining::DistanceWeighted) of [`DistanceWeighted::new`](crate::DistanceWeighted::new)`(seed)` | there the positives are drawn as well |
//! | `CrossBatchMemory(loss, embedding_size, memory_size=1024)` | [`MemoryQueue::new`](crate::MemoryQueue::new)`(1024, dim)` as [pool](crate::InfoNceInput::with_pool) | labels are kept there, and rows of the queue are positives as well; in a pool all are negatives |
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
//! [`BatchTripletLoss::new`]: crate::BatchTripletLoss::new
//! [`ContrastiveLoss::new`]: crate::ContrastiveLoss::new
//! [`InfoNceLoss::new`]: crate::InfoNceLoss::new
//! [`InfoNceLoss`]: crate::InfoNceLoss
