"""The losses of sentence-transformers, driven through a model that returns the embeddings it is given."""

import functools
import itertools
import warnings

import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import cos_sim, dot_score
from transformers import PreTrainedTokenizerBase

import naive
from common import LN, Family, clear, cosines, describe, largest_score, on_grid

PACKAGES = ("sentence-transformers", "transformers", "numpy")
SIMILARITY = {"cos": cos_sim, "dot": dot_score}
COLUMNS = [0, 1, 3]  # numbers of columns of hard negatives
ROWS = {0: 4, 1: 3, 3: 3}
DIM = 4
FURTHER = ["query_to_query", "doc_to_query", "doc_to_doc"]
SUBSETS = [["query_to_doc", *further] for r in range(4) for further in itertools.combinations(FURTHER, r)]
PER_DIRECTION = [["query_to_doc"], ["query_to_doc", "doc_to_query"]]
HARDNESS = [None, "in_batch_negatives", "hard_negatives", "all_negatives"]


class Learnable:
    """A scale or temperature that is differentiated and leaves masked scores alone: of a plain tensor the gradient would be −∞·0 = NaN."""

    def __init__(self, value):
        self.value = value

    def __gt__(self, other):
        return bool(self.value > other)

    def __rmul__(self, scores):
        masked = scores.isneginf()
        return (scores.masked_fill(masked, 0) * self.value).masked_fill(masked, -torch.inf)

    def __rtruediv__(self, scores):
        masked = scores.isneginf()
        return (scores.masked_fill(masked, 0) / self.value).masked_fill(masked, -torch.inf)


class Tokenizer(PreTrainedTokenizerBase):
    """The same for model and guide, so that nothing is tokenized again."""

    def __init__(self):
        pass

    def get_vocab(self):
        return {}


class Embeddings(torch.nn.Module):
    """A model whose features are the embeddings themselves."""

    max_seq_length = 1

    def __init__(self, role):
        super().__init__()
        self.role, self.tokenizer = role, Tokenizer()

    def __getitem__(self, layer):
        return self

    def forward(self, features):
        return {"sentence_embedding": features[self.role]}


def columns(k):
    """Queries, positives that resemble them, and k columns of negatives that do so less."""

    def draw(d):
        queries = d.rows(ROWS[k], DIM)
        inputs = {"queries": queries, "positives": d.near(queries, 0.5)}
        if k:
            inputs["negatives"] = torch.stack([d.near(queries, 0.7) for _ in range(k)])
        return inputs

    return draw


def mnrl_loss(make, similarity, hardness_strength=0.0):
    def loss(queries, positives, log_temperature, negatives=()):
        temperature = log_temperature.exp()
        module = make(Embeddings("embedding"), scale=Learnable(1 / temperature), similarity_fct=SIMILARITY[similarity])
        features = [{"embedding": x} for x in (queries, positives, *negatives)]
        factor = 1 / temperature + hardness_strength
        return module(features, None), None, largest_score(similarity, factor, *(x["embedding"] for x in features))

    return loss


def mnrl_spec(scale, **o):
    similarity = o["similarity"]
    kept = {k: x for k, x in o.items() if k != "similarity"}
    make = functools.partial(losses.MultipleNegativesRankingLoss, **kept)
    return {
        "name": mnrl_name(scale, **o),
        "options": {"scale": scale, **o},
        "loss": mnrl_loss(make, similarity, o["hardness_strength"]),
        "parameters": {"log_temperature": -LN(scale)},
        "reference": functools.partial(naive.mnrl, **o),
    }


def mnrl_name(scale, similarity, directions, partition_mode, hardness_mode, hardness_strength):
    initials = "+".join("2".join(word[0] for word in direction.split("_to_")) for direction in directions)
    hardness = f", {hardness_mode} {hardness_strength:g}" if hardness_mode else ""
    return f"{similarity}, scale {scale:g}, {initials}, {partition_mode}{hardness}"


def mnrl_specs(k):
    """Every selection of directions with every hardness mode; scales and similarities take turns, so that each meets everything else."""
    turns = list(itertools.product([20.0, 5.0], ["cos", "dot"]))
    partitions = [("joint", d) for d in SUBSETS] + [("per_direction", d) for d in PER_DIRECTION]
    for (i, (mode, directions)), (j, hardness) in itertools.product(enumerate(partitions), enumerate(HARDNESS)):
        scale, similarity = turns[(i + j + k) % len(turns)]
        strength = {None: 0.0, "hard_negatives": 5.0, "in_batch_negatives": 9.0, "all_negatives": 5.0 + 4 * (i % 2)}[hardness]
        yield mnrl_spec(
            scale,
            similarity=similarity,
            directions=directions,
            partition_mode=mode,
            hardness_mode=hardness,
            hardness_strength=strength,
        )


def mnrl():
    family = Family("mnrl", *PACKAGES)
    for k in COLUMNS:
        family.group(f"{k} negatives", columns(k), list(mnrl_specs(k)))
    make = functools.partial(losses.MultipleNegativesRankingLoss, Embeddings("embedding"))
    refused = [
        *({"partition_mode": "per_direction", "directions": d} for d in SUBSETS if d not in PER_DIRECTION),
        {"directions": []},
        {"directions": ["doc_to_query"]},
        {"directions": ["query_to_doc", "doc_to_token"]},
        {"partition_mode": "mean"},
        {"hardness_mode": "positives", "hardness_strength": 5.0},
        {"hardness_mode": "hard_negatives", "hardness_strength": -1.0},
        {"scale": 0.0},
        {"scale": -20.0},
    ]
    for options in refused:
        family.reject(options, lambda: make(**options))
    family.reject({"columns": 1}, lambda: make()([{"embedding": torch.ones(3, 4)}], None))
    return family


# GIST

MARGINS = [("absolute", 0.0), ("absolute", 0.1), ("absolute", -0.1), ("relative", 0.05), ("relative", 0.3)]
GUIDED_COLUMNS = [0, 1, 2]  # more than one by the cached loss alone


def guided(k):
    """The guide finds the first pair nearly the same and the second opposed, so that thresholds are above and below everything else."""

    def draw(d):
        n, dim, guide_dim = 4 if k == 0 else 3, DIM, 6
        anchors, guide_anchors = d.rows(n, dim), d.rows(n, guide_dim)
        likeness = torch.tensor([1.0, -0.3, 0.7, 0.4])[:n, None]
        noise = torch.tensor([0.1, 0.3, 0.4, 0.4])[:n, None]
        inputs = {"anchors": anchors, "positives": d.near(anchors, 0.5)}
        inputs |= {"guide_anchors": guide_anchors, "guide_positives": on_grid(likeness * guide_anchors + d.rows(n, guide_dim, scale=1.0) * noise)}
        if k:
            inputs["negatives"] = torch.stack([d.near(anchors, 0.7) for _ in range(k)])
            inputs["guide_negatives"] = torch.stack([d.near(guide_anchors, 0.4) for _ in range(k)])
        return inputs

    return draw


def mixed_masks(inputs):
    """Whether each kind of candidate has some that are masked and some that are not, in every case, and none near its threshold."""
    anchors, positives = inputs["guide_anchors"], inputs["guide_positives"]
    own = cosines(anchors, positives).diagonal()[:, None]
    if not (own.max() > 0.92 and own.min() < -0.2):
        return False
    n = len(anchors)
    others = ~torch.eye(n, dtype=bool)
    blocks = [cosines(anchors, x)[others].view(n, -1) for x in (anchors, positives)] + [cosines(positives, positives)[others].view(n, -1)]
    blocks += [cosines(anchors, x) for x in inputs.get("guide_negatives", [])]
    for strategy, margin in MARGINS:
        ceiling = own - (own.abs() if strategy == "relative" else 1) * margin
        if not clear(ceiling - 1) or not all(clear(g - ceiling) and (g > ceiling).any() and (g < ceiling).any() for g in blocks):
            return False
    return True


def gist_loss(name, options):
    def loss(anchors, positives, guide_anchors, guide_positives, log_temperature, negatives=(), guide_negatives=()):
        temperature = log_temperature.exp()
        make = getattr(losses, name)
        module = make(Embeddings("embedding"), Embeddings("guide"), temperature=Learnable(temperature), **options)
        reps, guides = (anchors, positives, *negatives), (guide_anchors, guide_positives, *guide_negatives)
        if name == "GISTEmbedLoss":
            value = module([{"embedding": x, "guide": g} for x, g in zip(reps, guides)], None)
        else:
            value = module.calculate_loss([[x] for x in reps], [[g] for g in guides])
        return value, None, largest_score("cos", 1 / temperature, *reps)

    return loss


def gist_specs(k):
    temperatures = itertools.cycle([0.1, 0.05, 0.01])
    flags = itertools.product([True, False], repeat=2)
    for (contrast_anchors, contrast_positives), (strategy, margin) in itertools.product(flags, MARGINS):
        if k == 2 and contrast_anchors != contrast_positives:
            continue
        temperature, name = next(temperatures), "GISTEmbedLoss" if k < 2 else "CachedGISTEmbedLoss"
        o = {"margin_strategy": strategy, "margin": margin, "contrast_anchors": contrast_anchors, "contrast_positives": contrast_positives}
        yield {
            "name": describe({"temperature": temperature, **o}),
            "options": {"loss": name, "temperature": temperature, **o},
            "loss": gist_loss(name, o),
            "parameters": {"log_temperature": LN(temperature)},
            "reference": functools.partial(naive.gist, **o),
        }


def gist():
    family = Family("gist", *PACKAGES)
    for k in GUIDED_COLUMNS:
        family.group(f"{k} negatives", guided(k), list(gist_specs(k)), mixed_masks)
    make = functools.partial(losses.GISTEmbedLoss, Embeddings("embedding"), Embeddings("guide"))
    family.reject({"margin_strategy": "quotient"}, lambda: make(margin_strategy="quotient"))
    feature = {"embedding": torch.ones(3, 4), "guide": torch.ones(3, 6)}
    family.reject({"loss": "GISTEmbedLoss", "columns": 4}, lambda: make()([feature] * 4, None))
    return family


def symmetric_specs():
    """The deprecated class of its own; negatives compete for the queries, whatever its documentation says, and not for the documents."""
    warnings.simplefilter("ignore", DeprecationWarning)
    o = {"directions": ["query_to_doc", "doc_to_query"], "partition_mode": "per_direction", "hardness_mode": None, "hardness_strength": 0.0}
    for scale, similarity in itertools.product([20.0, 5.0], ["cos", "dot"]):
        yield {
            "name": f"MultipleNegativesSymmetricRankingLoss, scale {scale}, {similarity}",
            "options": {"loss": "MultipleNegativesSymmetricRankingLoss", "scale": scale, "similarity": similarity},
            "loss": mnrl_loss(losses.MultipleNegativesSymmetricRankingLoss, similarity),
            "parameters": {"log_temperature": -LN(scale)},
            "reference": functools.partial(naive.mnrl, similarity=similarity, **o),
        }
