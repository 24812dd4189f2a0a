# Rewrites mining.json beside this script: pip install -r requirements_mining.txt && python generate_mining.py
"""Values and gradients of triplet losses mined from labelled batches, computed in float64 by sentence-transformers and
pytorch-metric-learning. `tests/mining/golden.rs` compares with them.

Embeddings are multiples of a power of two, so that they are the same numbers in f32. Every label occurs several times, because the libraries
differ from each other, and from the crate, for anchors without positives or negatives. Cases are drawn, by seed, until hinges and choices are clear of
ties and a hinge has both active and inactive triplets.
"""

import json
import pathlib

import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from pytorch_metric_learning.utils import loss_and_miner_utils
from sentence_transformers.sentence_transformer.losses.batch_all_triplet import BatchAllTripletLoss
from sentence_transformers.sentence_transformer.losses.batch_hard_soft_margin_triplet import BatchHardSoftMarginTripletLoss
from sentence_transformers.sentence_transformer.losses.batch_hard_triplet import (
    BatchHardTripletLoss,
    BatchHardTripletLossDistanceFunction,
)
from sentence_transformers.sentence_transformer.losses.batch_semi_hard_triplet import BatchSemiHardTripletLoss

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

GRID = 1024  # embeddings are multiples of 1/GRID
CLEAR = 1e-3  # distance from every kink and tie
N, M, DIM, CLASSES = 8, 10, 5, 3


def draw(seed):
    rng = torch.Generator().manual_seed(seed)
    rows = lambda n: (torch.randn((n, DIM), generator=rng) * GRID / 2).round() / GRID
    labels = lambda n: torch.arange(n) % CLASSES
    return rows(N), labels(N), rows(M), labels(M)


def distance_matrix(kind, x, y):
    if kind == "cosine":
        return 1 - torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
    d = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return d**2 if kind == "squared_euclidean" else d


def clear(kind, margin, x, labels, y, other_labels, itself):
    """Whether all hinges and all choices are clear, and some triplets active and some not."""
    d = distance_matrix(kind, x, y)
    excesses = []
    for a in range(len(x)):
        p = [j for j in range(len(y)) if other_labels[j] == labels[a] and not (itself and j == a)]
        n = [j for j in range(len(y)) if other_labels[j] != labels[a]]
        gaps = d[a][p + n].sort().values.diff()
        if (gaps < CLEAR).any():
            return False
        excesses.append((margin + d[a][p].unsqueeze(1) - d[a][n].unsqueeze(0)).flatten())
    excess = torch.cat(excesses)
    return bool((excess.abs() > CLEAR).all() and (excess > 0).any() and (excess < 0).any())


def st(cls, kind, **margin):
    metric = {
        "euclidean": BatchHardTripletLossDistanceFunction.eucledian_distance,
        "cosine": BatchHardTripletLossDistanceFunction.cosine_distance,
    }[kind]
    loss = cls(model=None, distance_metric=metric, **margin)
    return lambda x, labels, y, other_labels: loss.compute_loss_from_embeddings([x], labels)


def pml(kind, margin, soft, reducer, miner=None):
    distance = {
        "euclidean": distances.LpDistance(normalize_embeddings=False),
        "squared_euclidean": distances.LpDistance(normalize_embeddings=False, power=2),
        "cosine": distances.CosineSimilarity(),
    }[kind]
    loss = losses.TripletMarginLoss(margin=margin, smooth_loss=soft, distance=distance, reducer=reducer)
    if miner is not None:
        positive, negative = miner
        miner = miners.BatchEasyHardMiner(pos_strategy=positive, neg_strategy=negative, distance=distance)

    def value(x, labels, y, other_labels):
        ref = (None, None) if y is x else (y, other_labels)
        chosen = miner(x, labels, *ref) if miner else None
        return loss(x, labels, chosen, *ref)

    return value


def case(name, value, strategy, kind, margin, soft, reduction, separate, seed):
    for attempt in range(1000):
        x, labels, y, other_labels = draw(1000 * seed + attempt)
        if not separate:
            y, other_labels = x, labels
        if clear(kind, margin, x, labels, y, other_labels, not separate):
            break
    else:
        raise AssertionError(name)
    leaves = [x.requires_grad_()] + ([y.requires_grad_()] if separate else [])
    loss = value(x, labels, y if separate else x, other_labels)
    loss.backward()
    options = dict(strategy=strategy, distance=kind, margin=margin, soft=soft, reduction=reduction)
    inputs = dict(anchors=x.tolist(), labels=labels.tolist())
    if separate:
        inputs |= dict(candidates=y.tolist(), candidate_labels=other_labels.tolist())
    return dict(
        name=name, options=options, inputs=inputs, value=loss.item(), gradient=[leaf.grad.tolist() for leaf in leaves]
    )


def cases():
    for kind, margin in [("euclidean", 1.0), ("cosine", 0.25)]:
        yield "BatchAllTripletLoss", st(BatchAllTripletLoss, kind, margin=margin), "all", kind, margin, False, "active", False
        yield "BatchHardTripletLoss", st(BatchHardTripletLoss, kind, margin=margin), "hard", kind, margin, False, "mean", False
        yield (
            "BatchHardSoftMarginTripletLoss", st(BatchHardSoftMarginTripletLoss, kind), "hard", kind, 0.0, True, "mean", False
        )  # fmt: skip
        yield (
            "BatchSemiHardTripletLoss", st(BatchSemiHardTripletLoss, kind, margin=margin),
            "semi_hard", kind, margin, False, "mean", False,
        )  # fmt: skip
    reductions = [("mean", reducers.MeanReducer), ("active", reducers.AvgNonZeroReducer), ("sum", reducers.SumReducer)]
    strategies = [("all", None), ("hard", ("hard", "hard")), ("easy_hard", ("easy", "hard")), ("easy_semi_hard", ("easy", "semihard"))]
    index = 0
    for strategy, miner in strategies:
        for kind, margin in [("euclidean", 0.75), ("squared_euclidean", 1.5), ("cosine", 0.3)]:
            for soft in [False, True]:
                for separate in [False, True]:
                    reduction, reducer = reductions[index % 3]
                    index += 1 if separate else 2
                    if soft and reduction == "active":
                        reduction, reducer = reductions[0]
                    yield (
                        f"TripletMarginLoss {miner}", pml(kind, margin, soft, reducer(), miner),
                        strategy, kind, margin, soft, reduction, separate,
                    )  # fmt: skip


def sampling():
    """The probabilities with which DistanceWeightedMiner draws negatives."""
    x, labels, _, _ = draw(77)
    x = (x + 0.75).detach()  # near enough to each other that some are drawn
    captured = {}

    def capture(labels, ref_labels=None, t_per_anchor=None, weights=None):
        captured["weights"] = weights
        return (torch.zeros(0, dtype=torch.long),) * 3

    original = loss_and_miner_utils.get_random_triplet_indices
    loss_and_miner_utils.get_random_triplet_indices = capture
    miners.DistanceWeightedMiner()(x, labels)
    loss_and_miner_utils.get_random_triplet_indices = original
    return dict(anchors=x.tolist(), labels=labels.tolist(), probabilities=captured["weights"].nan_to_num(0).tolist())


def main():
    list_of_cases = [case(*arguments, seed) for seed, arguments in enumerate(cases())]
    lines = ",\n".join(json.dumps(c) for c in list_of_cases)
    text = f'{{"cases": [\n{lines}\n],\n"sampling": {json.dumps(sampling())}\n}}\n'
    (pathlib.Path(__file__).parent / "mining.json").write_text(text)


if __name__ == "__main__":
    main()
