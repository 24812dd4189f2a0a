# Rewrites the golden values beside this script: pip install -r requirements.txt && python generate.py
"""Values and gradients of the crate's losses, computed by PyTorch in float64 by its own autograd. `tests/golden.rs` compares with them.

Embeddings and weights are multiples of a power of two, so that they are the same numbers in f32. Every case is drawn, by seed, until hinges,
swaps and maxima are clear of their kinks (where subgradients are conventions), and until a hinge has both active and inactive terms.
"""

import itertools
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

GRID = 1024  # embeddings and weights are multiples of 1/GRID
CLEAR = 1e-3  # distance from every kink
PYTORCH_EPSILON = 1e-6  # of triplet_margin_loss


class Draw:
    """Random rows, all different, on the grid."""

    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)

    def rows(self, *shape, scale=1.0):
        x = on_grid(torch.randn(shape, generator=self.rng) * scale)
        flat = x.reshape(-1, shape[-1])
        assert len(flat.unique(dim=0)) == len(flat)
        return x

    def weights(self, n):
        return on_grid(0.25 + 2 * torch.rand(n, generator=self.rng))

    def permutation(self, n):
        return torch.randperm(n, generator=self.rng)


def on_grid(x):
    return (x * GRID).round() / GRID


def reduce(rows, reduction, weights):
    if weights is not None:
        rows = rows * weights
    total = rows.sum()
    if reduction == "sum":
        return total
    return total / (len(rows) if weights is None else weights.sum())


def case(name, options, inputs, rows, value, **more_leaves):
    """The case as JSON holds it. Inputs that require a gradient are differentiated, and so are further leaves."""
    value.backward()
    differentiable = {key: x for key, x in {**inputs, **more_leaves}.items() if x is not None and x.requires_grad}
    return {
        "name": name,
        "options": options,
        "inputs": {key: None if x is None else x.tolist() for key, x in inputs.items()},
        "value": value.item(),
        "rows": rows.tolist(),
        "gradient": {key: x.grad.tolist() for key, x in differentiable.items()},
    }


def first_acceptable(build, seed):
    """Builds the case from one seed after the other until it is clear of kinks and has all branches in it."""
    return next(c for c in (build(Draw(1000 * seed + attempt)) for attempt in range(1000)) if c is not None)


def clear(excess):
    return bool((excess.abs() > CLEAR).all())


def mixed(flags):
    return bool(flags.any()) and not bool(flags.all())


def check_pairs(options, impossible=()):
    """Every two values of two options meet in some case, but for those that exclude each other."""
    for one, other in itertools.combinations(options[0], 2):
        met = {(o[one], o[other]) for o in options}
        for x, y in itertools.product({o[one] for o in options}, {o[other] for o in options}):
            assert (x, y) in met or (one, x, other, y) in impossible, (one, x, other, y)


def leaves(*tensors):
    return [None if x is None else x.requires_grad_() for x in tensors]


# Cosine embedding


def cosine_embedding(name, margin, reduction, n, dim, weighted=False, scale=1.0):
    def build(draw):
        x = draw.rows(n, dim)
        y = on_grid(x * torch.linspace(-3, 3, n)[draw.permutation(n), None]) + draw.rows(n, dim)
        labels = torch.ones(n).index_fill(0, torch.arange(0, n, 2), -1.0)
        x, y = leaves(x * scale, y * scale)
        apart = (F.cosine_similarity(x, y) - margin)[labels < 0]
        if not (clear(apart) and mixed(apart > 0)):
            return None
        weights = draw.weights(n) if weighted else None
        rows = F.cosine_embedding_loss(x, y, labels, margin=margin, reduction="none")
        value = reduce(rows, reduction, weights) if weighted else F.cosine_embedding_loss(x, y, labels, margin=margin, reduction=reduction)
        # Whether only the loss with PyTorch's epsilon (1e-12 as a C float) has these values, or, to 1e-9, the exact cosine too.
        options = {"margin": margin, "reduction": reduction, "epsilon": scale != 1.0}
        return case(name, options, {"x": x, "y": y, "labels": labels, "weights": weights}, rows, value)

    return build


def cosine_embedding_cases():
    for i, (margin, reduction) in enumerate(itertools.product([-0.5, 0.0, 0.3, 0.9], ["mean", "sum"])):
        yield cosine_embedding(f"margin {margin}, {reduction}", margin, reduction, 5 + i % 3, 3 + i % 7)
    yield cosine_embedding("weighted mean", 0.3, "mean", 6, 5, weighted=True)
    yield cosine_embedding("weighted sum", -0.5, "sum", 5, 4, weighted=True)
    for reduction in ["mean", "sum"]:
        yield cosine_embedding(f"small norms, {reduction}", 0.3, reduction, 6, 4, scale=2.0**-17)


# Triplet margin

DISTANCES = {
    "squared_euclidean": lambda x, y: (x - y).square().sum(-1),
    "cosine": lambda x, y: 1 - F.cosine_similarity(x, y, dim=-1),
}


def triplet_rows(o, a, p, n):
    """PyTorch's own loss where it has one; the soft form by softplus."""
    own = DISTANCES.get(o["distance"])
    if o["soft"]:
        # Beyond its threshold softplus drops e^−threshold: at the default of 20 that is 2e-9.
        return F.softplus(o["margin"] + excess(o, a, p, n), threshold=40)
    if own is None:
        lp = {"p": o["p"], "eps": o["epsilon"]}
        return F.triplet_margin_loss(a, p, n, margin=o["margin"], swap=o["swap"], reduction="none", **lp)
    return F.triplet_margin_with_distance_loss(a, p, n, distance_function=own, margin=o["margin"], swap=o["swap"], reduction="none")


def distance(o):
    lp = lambda x, y: torch.linalg.vector_norm(x - y + o["epsilon"], ord=o["p"], dim=-1)
    return DISTANCES.get(o["distance"], lp)


def excess(o, a, p, n):
    """d⁺ − d⁻"""
    d = distance(o)
    far = torch.minimum(d(a, n), d(p, n)) if o["swap"] else d(a, n)
    return d(a, p) - far


def acceptable_triplets(o, a, p, n, coincident):
    d = distance(o)
    if not clear(o["margin"] + excess(o, a, p, n)):
        return False
    if not o["soft"] and not mixed(o["margin"] + excess(o, a, p, n) > 0):
        return False
    closer = d(p, n) - d(a, n)
    if o["swap"] and not coincident and not (clear(closer) and mixed(closer < 0)):
        return False
    for z in (a - p, a - n, p - n):
        largest = z.abs().topk(2).values
        if o["p"] == math.inf and not clear(largest[..., 0] - largest[..., 1]):
            return False
        if not coincident and not clear(z):
            return False
    return True


def triplet(o, n, dim, k=1, weighted=False, coincident=False):
    spread = {"cosine": 1.0, "squared_euclidean": 0.7}.get(o["distance"], 1.0) * (1 if o["margin"] > 0.5 else 0.6)

    def build(draw):
        anchor = draw.rows(n, dim)
        positive = anchor + draw.rows(n, dim, scale=0.8 * spread)
        if coincident:
            positive[::2] = anchor[::2]
        negatives = anchor[:, None] + draw.rows(n, k, dim, scale=1.6 * spread)
        anchor, positive, negatives = leaves(anchor, positive, negatives)
        a, p = (x[:, None].expand(negatives.shape) for x in (anchor, positive))
        if not acceptable_triplets(o, a, p, negatives, coincident):
            return None
        rows = triplet_rows(o, a, p, negatives).mean(1)
        weights = draw.weights(n) if weighted else None
        inputs = {"anchor": anchor, "positive": positive, "negatives": negatives, "weights": weights}
        options = {**o, "p": "inf" if o["p"] == math.inf else o["p"]}
        name = ", ".join(f"{key} {value}" for key, value in options.items()) + f", {k} negatives" * (k > 1)
        name += ", weighted" * weighted + ", anchor = positive" * coincident
        return case(name, options, inputs, rows, reduce(rows, o["reduction"], weights))

    return build


def triplet_cases():
    def options(margin, distance="lp", p=2, epsilon=0.0, swap=False, soft=False, reduction="mean"):
        return {"margin": margin, "distance": distance, "p": p, "epsilon": epsilon, "swap": swap, "soft": soft, "reduction": reduction}

    reductions = itertools.cycle(["mean", "sum"])
    sizes = itertools.cycle([(4, 3), (3, 4), (4, 5), (3, 6), (5, 3), (3, 9), (7, 3)])
    flags = [False, True]
    lp = []
    for i, (p, swap, epsilon) in enumerate(itertools.product([1, 1.5, 2, 3, math.inf], flags, [0.0, PYTORCH_EPSILON])):
        margin, reduction = [0.5, 1.0, 2.0][i % 3], ["mean", "sum"][(i + i // 2 + i // 4) % 2]
        lp.append(options(margin, p=p, epsilon=epsilon, swap=swap, reduction=reduction))
    check_pairs(lp)
    for o in lp:
        yield triplet(o, *next(sizes))
    for distance_, swap, margin in itertools.product(DISTANCES, flags, [0.5, 1.0, 2.0]):
        if (distance_, margin) == ("cosine", 2.0):
            continue  # cosine distances differ by 2 at most: no such triplet is ever inactive
        yield triplet(options(margin, distance_, swap=swap, reduction=next(reductions)), *next(sizes))
    for distance_, swap, margin in itertools.product(["lp", *DISTANCES], flags, [0.0, 1.0]):
        yield triplet(options(margin, distance_, swap=swap, soft=True, reduction=next(reductions)), *next(sizes))
    several = [("lp", 1), ("lp", 2), ("lp", 3), ("lp", math.inf), ("squared_euclidean", 2), ("cosine", 2)]
    for (distance_, p), swap, soft in itertools.product(several, flags, flags):
        yield triplet(options(0.5, distance_, p, swap=swap, soft=soft, reduction=next(reductions)), 3, 3, k=2)
    for reduction, k in itertools.product(["mean", "sum"], [1, 2]):
        yield triplet(options(1.0, reduction=reduction), 4, 3, k=k, weighted=True)
    for p in [1, 1.5, 2, 3]:
        yield triplet(options(0.5, p=p, epsilon=PYTORCH_EPSILON), 4, 3, coincident=True)


# InfoNCE


def similarities(o, queries, *others):
    prepare = (lambda x: F.normalize(x, dim=-1)) if o["similarity"] == "cosine" else (lambda x: x)
    q = prepare(queries)
    for x in others:
        if x is not None:
            yield torch.einsum("nd,nkd->nk", q, prepare(x)) if x.dim() == 3 else q @ prepare(x).T


def info_nce_rows(o, targets, log_t, queries, documents, negatives, pool):
    """Cross-entropy of each query over its candidates; in the symmetric form the mean with that of its document over all queries."""
    to_documents, *further = (s / log_t.exp() for s in similarities(o, queries, documents, negatives, pool))
    everyone = torch.arange(len(queries))
    if o["in_batch"]:
        rows = F.cross_entropy(torch.cat([to_documents, *further], 1), targets, reduction="none")
    else:
        own = to_documents[everyone, targets][:, None]
        rows = F.cross_entropy(torch.cat([own, *further], 1), torch.zeros_like(targets), reduction="none")
    if o["symmetric"]:
        rows = (rows + F.cross_entropy(to_documents[:, targets].T, everyone, reduction="none")) / 2
    largest = max(s.abs().max().item() for s in (to_documents, *further))
    return rows, largest


def choose_targets(kind, n, draw):
    """How many documents there are, the document of each query, and the same as an option: null for aligned, an offset, or an index."""
    if kind == "index":
        m = n + 1
        index = draw.permutation(m)[:n]
        index[-1] = index[0]
        return m, index, index.tolist()
    extra, offset = {"aligned": (0, 0), "more documents": (2, 0), "offset": (3, 2)}[kind]
    return n + extra, torch.arange(n) + offset, offset or None


def info_nce(o, n, dim, k=2, p=3):
    def build(draw):
        m, targets, option = choose_targets(o["targets"], n, draw)
        scale = 1.0 if o["similarity"] == "cosine" else 0.5
        rows_of = lambda wanted, *shape: draw.rows(*shape, dim, scale=scale) if wanted else None
        tensors = [rows_of(True, n), rows_of(True, m), rows_of(o["own"], n, k), rows_of(o["pool"], p)]
        queries, documents, negatives, pool = leaves(*tensors)
        log_t = torch.tensor(math.log(o["temperature"]), requires_grad=True)
        rows, largest = info_nce_rows(o, targets, log_t, queries, documents, negatives, pool)
        weights = draw.weights(n) if o["reduction"] == "weighted mean" else None
        value = reduce(rows, o["reduction"], weights)
        if value < 0.1:
            return None  # log Σ exp − s has few digits left near 0
        (slope,) = torch.autograd.grad(value, log_t, retain_graph=True)
        if slope.abs() < 0.1 * largest * (n if o["reduction"] == "sum" else 1):
            return None  # nor has the gradient by log τ, a sum of score differences of both signs
        inputs = {"queries": queries, "documents": documents, "negatives": negatives, "pool": pool, "weights": weights}
        name = ", ".join(f"{key} {value}" for key, value in o.items())
        reduction = "sum" if o["reduction"] == "sum" else "mean"
        kept = {key: o[key] for key in ("similarity", "temperature", "in_batch", "symmetric")}
        options = {**kept, "reduction": reduction, "targets": option, "largest_score": largest}
        return case(name, options, inputs, rows, value, log_temperature=log_t)

    return build


SIMILARITIES = ["cosine", "dot"]
TEMPERATURES = [1.0, 0.1, 0.05, 0.01]
REDUCTIONS = ["mean", "sum", "weighted mean"]
TARGETS = ["aligned", "more documents", "offset", "index"]


def info_nce_options():
    keys = ("similarity", "temperature", "in_batch", "own", "pool", "symmetric", "targets", "reduction")
    flags = [False, True]
    # Every source of candidates with every kind of target and both similarities; temperatures and reductions take turns.
    sources = [s for s in itertools.product(flags, repeat=4) if (s[0] or s[1] or s[2]) and (s[0] or not s[3])]
    for i, (source, similarity) in enumerate(itertools.product(sources, SIMILARITIES)):
        for j, targets in enumerate(TARGETS):
            turn = 4 * i + j
            yield dict(zip(keys, (similarity, TEMPERATURES[(i + j) % 4], *source, targets, REDUCTIONS[turn % 3])))
    # Every temperature with every reduction, both similarities and both directions.
    for t, reduction, similarity, symmetric in itertools.product(TEMPERATURES, REDUCTIONS, SIMILARITIES, flags):
        yield dict(zip(keys, (similarity, t, True, False, False, symmetric, "aligned", reduction)))


def info_nce_cases():
    options = [dict(o) for o in dict.fromkeys(tuple(o.items()) for o in info_nce_options())]
    check_pairs(options, {("in_batch", False, "symmetric", True)})
    sizes = itertools.cycle([(3, 3), (4, 3), (3, 4), (2, 5), (3, 3)])
    larger = itertools.cycle([(3, 3), (7, 3), (3, 9), (4, 4), (2, 5)])
    for i, o in enumerate(options):
        plain = not (o["own"] or o["pool"])
        yield info_nce(o, *next(larger if plain else sizes), k=1 + i % 2, p=2 + i % 2)


def write(loss, builds):
    cases = [first_acceptable(build, seed) for seed, build in enumerate(builds)]
    assert len({c["name"] for c in cases}) == len(cases), "names of cases must differ"
    lines = ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in cases)
    path = pathlib.Path(__file__).parent / f"{loss}.json"
    path.write_text(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    write("cosine_embedding", cosine_embedding_cases())
    write("triplet_margin", triplet_cases())
    write("info_nce", info_nce_cases())
