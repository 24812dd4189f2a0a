# Rewrites pairs.json: pip install -r requirements-pairs.txt && python generate_pairs.py
"""Values and gradients of the losses of pairs, computed in float64 by the classes of sentence-transformers and pytorch-metric-learning.
`pairs.rs` compares with them. Inputs as in `generate.py`: on a grid, clear of kinks, with active and inactive terms."""

import itertools
import warnings

import torch
from pytorch_metric_learning import distances, losses as metric_losses, reducers
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.losses.contrastive import SiameseDistanceMetric

from generate import clear, first_acceptable, leaves, mixed, on_grid, write

warnings.filterwarnings("ignore")
MODEL = torch.nn.Identity()  # embeddings are given
# `CosineSimilarityLoss` makes its labels f32, which PyTorch does not differentiate together with f64.
IN_F64 = {"loss_fct": lambda cosines, labels: torch.nn.functional.mse_loss(cosines, labels.double())}
GRADES = torch.tensor([0.0, 0.25, 0.25, 0.5, 1.0, 1.0, 0.75])


def case(name, options, inputs, value):
    """Without row losses: these classes have none."""
    value.backward()
    differentiable = {key: x for key, x in inputs.items() if x.requires_grad}
    return {
        "name": name,
        "options": options,
        "inputs": {key: x.tolist() for key, x in inputs.items()},
        "value": value.item(),
        "gradient": {key: x.grad.tolist() for key, x in differentiable.items()},
    }


def pairs(draw, n, dim):
    """Pairs that are near and far in turn."""
    x = draw.rows(n, dim)
    y = on_grid(x * torch.linspace(-2, 3, n)[draw.permutation(n), None]) + draw.rows(n, dim, scale=0.7)
    return leaves(x, y)


def graded(loss, scale, n, dim):
    classes = {"cosine_similarity": losses.CosineSimilarityLoss, "cosent": losses.CoSENTLoss, "angle": losses.AnglELoss}

    def build(draw):
        x, y = pairs(draw, n, dim)
        labels = GRADES[draw.permutation(7)[:n]]
        module = classes[loss](MODEL, **(IN_F64 if scale is None else {"scale": scale}))
        value = module.compute_loss_from_embeddings([x, y], labels)
        # A logarithm of a sum near 1 has few digits left, and so has a ranking of few comparisons.
        if value < 0.1 or len(labels.unique()) < 3:
            return None
        options = {"loss": loss, "scale": scale}
        return case(f"{loss}, scale {scale}, {n} x {dim}", options, {"x": x, "y": y, "labels": labels}, value)

    return build


DISTANCES = {
    "cosine": (SiameseDistanceMetric.COSINE_DISTANCE, [0.5, 0.9]),
    "euclidean": (SiameseDistanceMetric.EUCLIDEAN, [1.5, 2.5]),
    "manhattan": (SiameseDistanceMetric.MANHATTAN, [3.0, 4.0]),
}


def contrastive(distance, margin, reduction, n, dim, kinds):
    metric, _ = DISTANCES[distance]

    def build(draw):
        x, y = pairs(draw, n, dim)
        labels = (torch.arange(n) % 2 if kinds == 2 else torch.full((n,), kinds)).double()
        d = metric(x, y).detach()
        apart = margin - d[labels == 0]
        if not clear(apart) or (kinds == 2 and not mixed(apart > 0)):
            return None
        if reduction == "hard":
            bounds = [d[labels == 0].min() if kinds != 1 else d.mean(), d[labels == 1].max() if kinds != 0 else d.mean()]
            if not all(clear(d[labels == k] - bounds[1 - k]) for k in (0, 1)):
                return None
            hard = torch.where(labels == 1, d > bounds[0], d < bounds[1])
            if not mixed(hard):
                return None
            module = losses.OnlineContrastiveLoss(MODEL, metric, margin)
        else:
            module = losses.ContrastiveLoss(MODEL, metric, margin, size_average=reduction == "mean")
        value = module.compute_loss_from_embeddings([x, y], labels)
        options = {"loss": "contrastive", "distance": distance, "margin": margin, "reduction": reduction}
        name = f"{reduction}, {distance}, margin {margin}, {n} x {dim}, kinds {kinds}"
        return case(name, options, {"x": x, "y": y, "labels": labels}, value)

    return build


METRICS = {
    "cosine": (distances.CosineSimilarity(), lambda m: 1 - m),
    "euclidean": (distances.LpDistance(normalize_embeddings=False), lambda m: m),
    "squared_euclidean": (distances.LpDistance(normalize_embeddings=False, power=2), lambda m: m),
}
REDUCERS = {"mean_active": reducers.AvgNonZeroReducer, "mean": reducers.MeanReducer, "sum": reducers.SumReducer}


def batch(distance, margins, reduction, n, dim):
    metric, convert = METRICS[distance]
    positive_margin, margin = margins

    def build(draw):
        (embeddings,) = leaves(draw.rows(n, dim))
        classes = torch.arange(n) % 3
        matrix = metric(embeddings).detach()
        d = 1 - matrix if distance == "cosine" else matrix
        same = classes[:, None] == classes[None]
        off = ~torch.eye(n, dtype=torch.bool)
        excess = [(d - positive_margin)[same & off], (margin - d)[~same]]
        if not all(clear(e) for e in excess) or not mixed(excess[1] > 0):
            return None
        module = metric_losses.ContrastiveLoss(
            convert(positive_margin), convert(margin), distance=metric, reducer=REDUCERS[reduction]()
        )
        value = module(embeddings, classes)
        options = {"loss": "batch", "distance": distance, "margin": margin, "positive_margin": positive_margin, "reduction": reduction}
        name = f"batch, {distance}, margins {margins}, {reduction}, {n} x {dim}"
        return case(name, options, {"embeddings": embeddings, "classes": classes}, value)

    return build


def cases():
    sizes = itertools.cycle([(5, 4), (7, 3), (6, 5), (7, 8), (4, 2)])
    for _ in range(3):
        yield graded("cosine_similarity", None, *next(sizes))
    for loss, scale in itertools.product(["cosent", "angle"], [1.0, 20.0]):
        for _ in range(4):
            yield graded(loss, scale, *next(sizes))
    for distance, (_, margins) in DISTANCES.items():
        for margin, reduction in itertools.product(margins, ["mean", "sum", "hard"]):
            yield contrastive(distance, margin, reduction, 7, next(sizes)[1], 2)
        for kinds in [0, 1]:
            yield contrastive(distance, margins[1], "hard", 6, 3, kinds)
    margins = {"cosine": [(0.0, 0.5), (0.25, 1.0)], "euclidean": [(0.0, 2.0), (0.5, 2.5)], "squared_euclidean": [(0.0, 4.0), (1.0, 6.0)]}
    for distance, reduction in itertools.product(METRICS, REDUCERS):
        for both in margins[distance]:
            yield batch(distance, both, reduction, 7, 4)


if __name__ == "__main__":
    write("pairs", cases())
