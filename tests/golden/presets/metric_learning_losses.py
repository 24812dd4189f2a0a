"""The losses of pytorch-metric-learning over labelled embeddings."""

import functools

import torch
from pytorch_metric_learning import losses, reducers
from pytorch_metric_learning.distances import CosineSimilarity, DotProductSimilarity, LpDistance

import naive
from common import LN, Family, describe, largest_score, plain

PACKAGES = ("pytorch-metric-learning", "numpy")
DISTANCES = {
    "cos": CosineSimilarity,
    "dot": functools.partial(DotProductSimilarity, normalize_embeddings=False),
    "negative_squared_euclidean": functools.partial(LpDistance, normalize_embeddings=False, p=2, power=2),
}
LABELS = {
    "a class with one member": [0, 1, 0, 1, 2],
    "classes of three, two and one": [5, 3, 5, 5, 3, 9],
    "two classes": [1, 1, 0, 0],
    "two views": [0, 1, 2, 0, 1, 2],
    "one class": [4, 4, 4],
    "no positives": [0, 1, 2],
}
# Labels of queries and of references, none of which is a query itself.
REFERENCES = {
    "references": ([0, 1, 1, 3], [1, 0, 0, 2, 1]),
    "a query without negatives, one without positives": ([0, 1, 0], [0, 0, 0, 0]),
    "one pair of each kind": ([0], [0, 1]),
}


def draw(dim, labels, ref_labels=None):
    """Rows of one label resemble each other."""

    def build(d):
        centres = d.rows(10, dim)
        inputs = {"embeddings": d.near(centres[labels], 0.4), "labels": labels}
        if ref_labels is not None:
            inputs |= {"ref_emb": d.near(centres[ref_labels], 0.4), "ref_labels": ref_labels}
        return inputs

    return build


def loss_of(make, temperature_free_options, wrap=None):
    """Value by the reducer; rows (of pairs, with their indices) by none."""
    distance, reducer = temperature_free_options

    def loss(embeddings, labels, log_temperature, ref_emb=None, ref_labels=None):
        temperature = log_temperature.exp()
        arguments = {"embeddings": embeddings, "labels": torch.tensor(labels)}
        if ref_emb is not None:
            arguments |= {"ref_emb": ref_emb, "ref_labels": torch.tensor(ref_labels)}
        build = lambda r: make(temperature=temperature, distance=DISTANCES[distance](), reducer=r)
        value = build(getattr(reducers, reducer)())(**arguments)
        if wrap is not None:
            half = len(labels) // 2
            halves = losses.SelfSupervisedLoss(build(getattr(reducers, reducer)()))(embeddings[:half], embeddings[half:])
            assert torch.equal(value, halves)
        found = build(reducers.DoNothingReducer())(**arguments)["loss"]
        rows = None
        if torch.is_tensor(found["losses"]):
            rows = plain(found["losses"].detach())
            if found["reduction_type"] == "pos_pair":
                a, p = found["indices"]
                rows = {"anchor": a.tolist(), "positive": p.tolist(), "losses": rows}
        return value, rows, largest_score(distance, 1 / temperature, embeddings, ref_emb)

    return loss


def specs(make, reference, temperatures, distances, reducer_names, **flags):
    """Every distance with the first reducer; the other reducer with the cosine."""
    for temperature in temperatures:
        for distance in distances:
            for reducer in reducer_names if distance == "cos" else reducer_names[:1]:
                o = {"distance": distance, "reducer": reducer}
                yield {
                    "name": describe({"temperature": temperature, **o}),
                    "options": {"loss": make.__name__, "temperature": temperature, **o},
                    "loss": loss_of(make, (distance, reducer), flags.get("wrap")),
                    "parameters": {"log_temperature": LN(temperature)},
                    "reference": reference and functools.partial(by_temperature, reference, **o),
                    "trivial": flags.get("trivial", False),
                }


def by_temperature(reference, log_temperature, **rest):
    return reference(temperature=naive.math.exp(log_temperature), **rest)


def supcon():
    family = Family("supcon", *PACKAGES)
    build = functools.partial(specs, losses.SupConLoss, naive.supcon, [0.1, 0.5])
    reducers_ = ["AvgNonZeroReducer", "MeanReducer"]
    for key in ["a class with one member", "classes of three, two and one", "two classes", "two views"]:
        distances = list(DISTANCES) if "one" in key else ["cos"]
        family.group(key, draw(4, LABELS[key]), list(build(distances, reducers_ if "one" in key else reducers_[:1])))
    for key in ["one class", "no positives"]:
        family.group(key, draw(4, LABELS[key]), list(build(["cos"], reducers_[:1], trivial=True)))
    for key in list(REFERENCES)[:2]:
        trivial = "without negatives" in key
        family.group(key, draw(4, *REFERENCES[key]), list(build(["cos", "dot"], reducers_, trivial=trivial)))
    return family


def ntxent():
    family = Family("ntxent", *PACKAGES)
    build = functools.partial(specs, losses.NTXentLoss)
    temperatures = [0.07, 0.5]
    for key in ["a class with one member", "classes of three, two and one", "two classes"]:
        several = "one" in key
        distances, reducers_ = (list(DISTANCES), ["MeanReducer", "PerAnchorReducer"]) if several else (["cos"], ["MeanReducer"])
        family.group(key, draw(4, LABELS[key]), list(build(naive.nt_xent, temperatures, distances, reducers_)))
    views = draw(4, LABELS["two views"])
    family.group("two views", views, list(build(naive.nt_xent, [0.07, 0.1, 0.5], ["cos"], ["MeanReducer"], wrap=True)))
    for key in list(REFERENCES)[:2]:
        trivial = "without negatives" in key
        family.group(key, draw(4, *REFERENCES[key]), list(build(naive.nt_xent, temperatures, ["cos", "dot"], ["MeanReducer"], trivial=trivial)))
    # Counted as no pairs at all: with its one negative the query has a loss, yet the library's is 0.
    lonely = build(None, temperatures, ["cos"], ["MeanReducer"], trivial=True)
    family.group("one pair of each kind", draw(4, *REFERENCES["one pair of each kind"]), list(lonely))
    return family
