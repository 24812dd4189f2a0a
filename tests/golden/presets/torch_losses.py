"""The losses that no library here has, in PyTorch's operations."""

import itertools

import torch
import torch.nn.functional as F

import sentence_transformers_losses as st
from common import LN, SIMILARITIES, Family, describe, largest_score, mean_rows


def pairs(n, dim, k=0, noise=0.5, key="negatives", extra=0):
    """Queries, positives that resemble them (and `extra` more documents after these), k columns of negatives."""

    def draw(d):
        queries = d.rows(n, dim)
        positives = d.near(queries, noise)
        inputs = {"queries": queries, "positives": torch.cat([positives, d.rows(extra, dim)]) if extra else positives}
        if k:
            inputs[key] = torch.stack([d.near(queries, 0.7) for _ in range(k)])
        return inputs

    return draw


def spec(loss, temperature, **options):
    return {
        "name": describe({"temperature": temperature, **options}),
        "options": {"temperature": temperature, **options},
        "loss": loss,
        "parameters": {"log_temperature": LN(temperature)},
    }


def own(queries):
    return torch.arange(len(queries))


# Symmetric


def clip_loss(queries, positives, log_scale):
    """The logits and the mean of both cross entropies, as in CLIP's paper."""
    logits = log_scale.exp() * F.normalize(queries, dim=-1) @ F.normalize(positives, dim=-1).T
    targets = own(queries)
    rows = (F.cross_entropy(logits, targets, reduction="none") + F.cross_entropy(logits.T, targets, reduction="none")) / 2
    return mean_rows(rows, largest_score("cos", log_scale.exp(), queries, positives))


def jina_loss(queries, positives, log_temperature, negatives=()):
    """The sum of both directions, negatives in the first alone."""
    q, d = (SIMILARITIES["cos"](queries, x) / log_temperature.exp() for x in (torch.cat([positives, *negatives]), positives))
    targets = own(queries)
    rows = F.cross_entropy(q, targets, reduction="none") + F.cross_entropy(d.T, targets, reduction="none")
    return mean_rows(rows, largest_score("cos", 1 / log_temperature.exp(), queries, positives, *negatives))


def gte_loss(queries, positives, log_temperature):
    """One softmax over four blocks of scores; the own pair is in two of them."""
    q, d = F.normalize(queries, dim=-1), F.normalize(positives, dim=-1)
    self = torch.eye(len(q), dtype=bool)
    qd, qq, dq, dd = (x @ y.T / log_temperature.exp() for x, y in ((q, d), (q, q), (d, q), (d, d)))
    logits = torch.cat([qd, qq.masked_fill(self, -torch.inf), dq, dd.masked_fill(self, -torch.inf)], 1)
    rows = F.cross_entropy(logits, own(queries), reduction="none")
    return mean_rows(rows, largest_score("cos", 1 / log_temperature.exp(), queries, positives))


def clip_spec(scale):
    return {
        "name": f"CLIP, scale {scale:.4g}",
        "options": {"loss": "CLIP", "scale": scale},
        "loss": clip_loss,
        "parameters": {"log_scale": LN(scale)},
    }


def named(name, made):
    return {**made, "name": f"{name}, {made['name']}", "options": {"loss": name, **made["options"]}}


def equal(family, one, other, factor=1):
    """That two cases over the same inputs are the same loss, up to a factor."""
    found = {c["name"]: c for c in family.cases}
    for key in ("queries", "positives"):
        a, b = (torch.tensor(found[name]["gradient"][key]) for name in (one, other))
        assert torch.allclose(a, factor * b, rtol=1e-11, atol=1e-13), (one, other)
    assert abs(found[one]["value"] - factor * found[other]["value"]) < 1e-12


def symmetric():
    family = Family("symmetric", *st.PACKAGES)
    directions = ["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]
    rest = {"similarity": "cos", "partition_mode": "joint", "hardness_mode": None, "hardness_strength": 0.0}
    gte = [named("GTE", spec(gte_loss, t)) for t in (0.05, 0.2)]
    gte += [named("MultipleNegativesRankingLoss", st.mnrl_spec(scale, directions=directions, **rest)) for scale in (20.0, 5.0)]
    jina = [named("Jina", spec(jina_loss, t)) for t in (0.05, 0.2)]
    clip = [clip_spec(scale) for scale in (20.0, 5.0, 1 / 0.07, 100.0)]
    plain_pairs = [*st.symmetric_specs(), *clip, *jina, *gte]
    family.group("pairs", pairs(4, 4), plain_pairs)
    for scale, t in ((20, 0.05), (5, 0.2)):
        class_ = f"pairs: MultipleNegativesSymmetricRankingLoss, scale {scale:.1f}, cos"
        equal(family, f"pairs: CLIP, scale {scale}", class_)
        equal(family, f"pairs: Jina, temperature {t}", class_, factor=2)
        joint = next(c["name"] for c in family.cases if c["name"].startswith(f"pairs: MultipleNegativesRankingLoss, cos, scale {scale},"))
        equal(family, f"pairs: GTE, temperature {t}", joint)
    for k in (1, 2):
        family.group(f"{k} negatives", pairs(3, 4, k), [*st.symmetric_specs(), *jina])
    return family


# Decoupled


def decoupled(similarity):
    """A query's own positive leaves the denominator; all other documents, of all columns, stay."""

    def loss(queries, positives, log_temperature, negatives=()):
        z = SIMILARITIES[similarity](queries, torch.cat([positives, *negatives])) / log_temperature.exp()
        mask = torch.eye(*z.shape, dtype=bool)
        rows = z.masked_fill(mask, -torch.inf).logsumexp(1) - z.diagonal()
        return mean_rows(rows, largest_score(similarity, 1 / log_temperature.exp(), queries, positives, *negatives))

    return loss


def decoupled_views(views):
    """Of each row of a view: its other view is the positive, all rows of both views but these two are the negatives."""

    def loss(queries, positives, log_temperature):
        z = SIMILARITIES["cos"](x := torch.cat([queries, positives]), x) / log_temperature.exp()
        n = len(queries)
        rows = z.masked_fill(torch.eye(n, dtype=bool).repeat(2, 2), -torch.inf).logsumexp(1) - z.roll(n, 1).diagonal()
        return mean_rows(rows[: n * views], largest_score("cos", 1 / log_temperature.exp(), queries, positives))

    return loss


def decoupled_labels(average):
    """Of each pair of one label: −s plus log Σ exp over the rows of other labels. Averaged over pairs, or over those of a row and then over rows."""

    def loss(embeddings, labels, log_temperature):
        z = SIMILARITIES["cos"](embeddings, embeddings) / log_temperature.exp()
        same = torch.tensor(labels)[:, None] == torch.tensor(labels)
        others = z.masked_fill(same, -torch.inf).logsumexp(1)
        losses, positive = others[:, None] - z, same & ~torch.eye(len(z), dtype=bool)
        scale = largest_score("cos", 1 / log_temperature.exp(), embeddings)
        if average == "pairs":
            return losses[positive].mean(), None, scale
        rows = [l[p].mean() if p.any() else None for l, p in zip(losses, positive)]
        return torch.stack([r for r in rows if r is not None]).mean(), [r if r is None else r.item() for r in rows], scale

    return loss


def dcl():
    family = Family("dcl")
    temperatures, similarities = [0.1, 0.5], ["cos", "dot"]
    for k in (0, 1):
        specs = [spec(decoupled(s), t, form="query_document", similarity=s) for s, t in itertools.product(similarities, temperatures)]
        if not k:
            specs += [spec(decoupled_views(2), t, form="two_views") for t in temperatures]
            specs += [spec(decoupled_views(1), t, form="one_view") for t in temperatures]
        family.group(f"{k} negatives", pairs(4, 4, k), specs)
    labels = [0, 1, 0, 1, 0, 2]
    labelled = [spec(decoupled_labels(a), t, form="labels", average=a) for a, t in itertools.product(["pairs", "rows"], temperatures)]
    family.group("labels", lambda d: {"embeddings": d.near(d.rows(3, 4)[labels], 0.4), "labels": labels}, labelled)
    return family


# Sigmoid


def sigmoid_loss(convention, similarity, offset):
    """Every query with every document is a problem of its own; the sum is divided by the number of queries."""

    def loss(queries, positives, bias, log_temperature=None, log_scale=None):
        s = SIMILARITIES[similarity](queries, positives)
        scale = log_scale.exp() if convention == "open_clip" else 1 / log_temperature.exp()
        y = -torch.ones_like(s)
        y[own(queries), own(queries) + offset] = 1
        rows = -F.logsigmoid(y * (scale * s + bias)).sum(1)
        return mean_rows(rows, largest_score(similarity, scale, queries, positives) + abs(bias.item()))

    return loss


def siglip_spec(convention, similarity, scale, bias, offset=0):
    parameters = {"log_scale": LN(scale)} if convention == "open_clip" else {"log_temperature": -LN(scale)}
    o = {"convention": convention, "similarity": similarity, "scale": scale, "bias": bias, "offset": offset}
    made = {"name": describe(o), "options": o, "loss": sigmoid_loss(convention, similarity, offset)}
    return {**made, "parameters": {**parameters, "bias": bias}}


def siglip():
    family = Family("siglip")
    values = itertools.product([("open_clip", 10.0), ("temperature", 3.0)], ["cos", "dot"], [-10.0, -2.0, 0.5])
    family.group("pairs", pairs(4, 4), [siglip_spec(convention, s, scale, b) for (convention, scale), s, b in values])
    more = [siglip_spec("temperature", s, 10.0, b, offset) for s, b, offset in [("cos", -10.0, 0), ("cos", -1.0, 2), ("dot", -10.0, 2), ("dot", -1.0, 0)]]
    family.group("more documents", pairs(3, 4, extra=3), more)
    return family


# SimCSE


def simcse_loss(weight):
    """Unsupervised: two views of a batch. Supervised: entailments as positives, contradictions as negatives of all, with a weight for the own."""

    def loss(queries, positives, log_temperature, negatives=()):
        documents = [positives, *negatives]
        logits = [F.cosine_similarity(queries[:, None], d[None], dim=-1) / log_temperature.exp() for d in documents]
        logits[1:] = [z + weight * torch.eye(len(z)) for z in logits[1:]]
        rows = F.cross_entropy(torch.cat(logits, 1), own(queries), reduction="none")
        return mean_rows(rows, largest_score("cos", 1 / log_temperature.exp(), queries, *documents) + weight)

    return loss


def simcse():
    family = Family("simcse")
    family.group("unsupervised", pairs(5, 4, noise=0.3), [spec(simcse_loss(0.0), t) for t in (0.05, 0.2)])
    supervised = [spec(simcse_loss(w), t, hard_negative_weight=w) for t, w in itertools.product([0.05, 0.2], [0.0, 0.75])]
    family.group("supervised", pairs(4, 4, 1), supervised)
    return family


# Label smoothing


def smoothing_loss(similarity, label_smoothing):
    """PyTorch's cross entropy over the candidates that the ids leave: over masked ones it would smooth as well, and be infinite."""

    def loss(queries, positives, log_temperature, query_ids=None, document_ids=None, negatives=()):
        documents = torch.cat([positives, *negatives])
        z = SIMILARITIES[similarity](queries, documents) / log_temperature.exp()
        kept = torch.ones(z.shape, dtype=bool)
        if query_ids is not None:
            kept = torch.tensor(query_ids)[:, None] != torch.tensor(document_ids)
        kept = kept | torch.eye(*z.shape, dtype=bool)
        target = lambda i: kept[i, :i].sum()
        rows = [F.cross_entropy(z[i][kept[i]], target(i), label_smoothing=label_smoothing) for i in range(len(z))]
        if kept.all():
            whole = F.cross_entropy(z, own(queries), label_smoothing=label_smoothing)
            assert torch.isclose(whole, torch.stack(rows).mean(), rtol=1e-14)
        else:
            masked = F.cross_entropy(z.masked_fill(~kept, -torch.inf), own(queries), label_smoothing=label_smoothing)
            assert masked.isinf()
        return mean_rows(torch.stack(rows), largest_score(similarity, 1 / log_temperature.exp(), queries, documents))

    return loss


def smoothing():
    family = Family("smoothing")
    values = [*itertools.product(["cos"], [0.05, 0.5], [0.1, 1.0]), ("dot", 0.5, 0.3)]
    specs = [spec(smoothing_loss(s, e), t, similarity=s, label_smoothing=e) for s, t, e in values]
    for k in (0, 1):
        family.group(f"{k} negatives", pairs(4, 4, k), specs)
    ids = {"query_ids": [7, 8, 7, 9], "document_ids": [7, 8, 7, 9, 1, 7, 8, 2]}
    family.group("masked by ids", lambda d: {**pairs(4, 4, 1)(d), **ids}, specs)
    return family


# Several positives per query


def several_loss(form, similarity):
    """Of each relevant document p: log Σ exp over all documents ('supcon'), or over p and the irrelevant ones ('per_pair'), − s(q, p).

    A query's loss is the mean over its p, the value the mean over the queries that have any. Own negatives compete for their query alone.
    """

    def loss(queries, documents, relevant, log_temperature, negatives=None):
        temperature = log_temperature.exp()
        z = SIMILARITIES[similarity](queries, documents) / temperature
        rows = []
        for i, positives in enumerate(relevant):
            further = z.new_zeros(0) if negatives is None else SIMILARITIES[similarity](queries[i : i + 1], negatives[:, i])[0] / temperature
            irrelevant = torch.cat([z[i, [j for j in range(len(documents)) if j not in positives]], further])
            shared = z[i, positives] if form == "supcon" else z.new_zeros(0)
            terms = [F.cross_entropy(torch.cat([z[i, [p]], s, irrelevant]), torch.tensor(0)) for p, s in without_itself(positives, shared)]
            rows.append(torch.stack(terms).mean() if terms else None)
        value = torch.stack([r for r in rows if r is not None]).mean()
        return value, [r if r is None else r.item() for r in rows], largest_score(similarity, 1 / temperature, queries, documents, negatives)

    return loss


def without_itself(positives, scores):
    """Each positive with the scores of the others."""
    for at, p in enumerate(positives):
        yield p, torch.cat([scores[:at], scores[at + 1 :]])


RELEVANT = {
    "some without positives": (7, [[0, 3], [], [5], [1, 2, 6], []]),
    "documents that several queries share": (5, [[0, 1], [1, 2, 3], [3], [0, 4]]),
    "one relevant to all, all relevant to one": (4, [[2], [0, 1, 2, 3], [2, 0]]),
}


def ragged(m, relevant, k=0):
    def draw(d):
        n = len(relevant)
        documents = d.rows(m, 4)
        # A query resembles the first document that is relevant to it.
        queries = torch.cat([d.near(documents[r[:1]], 0.5) if r else d.rows(1, 4) for r in relevant])
        inputs = {"queries": queries, "documents": documents, "relevant": relevant}
        return inputs | ({"negatives": d.rows(k, n, 4)} if k else {})

    return draw


def multi_positive():
    family = Family("multi_positive")
    values = itertools.product(["supcon", "per_pair"], [("cos", 0.05), ("cos", 0.5), ("dot", 0.5)])
    specs = [spec(several_loss(f, s), t, form=f, similarity=s) for f, (s, t) in values]
    for key, shape in RELEVANT.items():
        family.group(key, ragged(*shape), specs)
    key = "some without positives"
    family.group(f"{key}, own negatives", ragged(*RELEVANT[key], k=2), specs)
    return family
