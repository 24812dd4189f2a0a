"""The formulas of `generate.py`'s heading, written out term by term in plain Python: what the libraries computed must equal them.

Values alone: the gradients are those of PyTorch's autograd.
"""

import math


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y))


def cos(x, y):
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


def negative_squared_euclidean(x, y):
    return -math.fsum((a - b) ** 2 for a, b in zip(x, y))


SIMILARITIES = {"cos": cos, "dot": dot, "negative_squared_euclidean": negative_squared_euclidean}


def lse(scores):
    scores = list(scores)
    largest = max(scores)
    return largest + math.log(math.fsum(math.exp(s - largest) for s in scores))


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else 0.0


def mnrl(queries, positives, log_temperature, negatives=(), *, similarity, directions, partition_mode, hardness_mode, hardness_strength):
    s, scale, n = SIMILARITIES[similarity], math.exp(-log_temperature), range(len(queries))
    columns = [positives, *negatives]

    def penalised(i, c, j):
        own, hard = i == j, c > 0
        return {
            None: False,
            "in_batch_negatives": not own,
            "hard_negatives": own and hard,
            "all_negatives": not own or hard,
        }[hardness_mode]

    def row(i):
        to_documents = {
            (c, j): s(queries[i], d) * (scale + hardness_strength * penalised(i, c, j))
            for c, column in enumerate(columns)
            for j, d in enumerate(column)
        }
        groups = {
            "query_to_doc": list(to_documents.values()),
            "query_to_query": [scale * s(queries[i], queries[j]) for j in n if j != i],
            "doc_to_query": [scale * s(queries[j], positives[i]) for j in n],
            "doc_to_doc": [scale * s(column[j], positives[i]) for column in columns for j in n if j != i],
        }
        chosen = [groups[direction] for direction in directions]
        normaliser = lse(sum(chosen, [])) if partition_mode == "joint" else mean(map(lse, chosen))
        return normaliser - to_documents[0, i]

    return mean(map(row, n))


def gist(anchors, positives, guide_anchors, guide_positives, log_temperature, negatives=(), guide_negatives=(), **o):
    tau, n = math.exp(log_temperature), range(len(anchors))
    margin = lambda g: o["margin"] * (abs(g) if o["margin_strategy"] == "relative" else 1)

    def row(i):
        own = cos(guide_anchors[i], guide_positives[i])
        ceiling = own - margin(own)
        kept = lambda x, y: cos(x, y) <= ceiling
        scores = [cos(anchors[i], positives[j]) for j in n if j == i or kept(guide_anchors[i], guide_positives[j])]
        if o["contrast_anchors"]:
            # With itself the cosine is 1: above any ceiling below 1, whatever the rounding.
            scores += [cos(anchors[i], anchors[j]) for j in n if kept(guide_anchors[i], guide_anchors[j])]
        if o["contrast_positives"]:
            scores += [cos(positives[i], positives[j]) for j in n if kept(guide_positives[i], guide_positives[j])]
        for column, guide in zip(negatives, guide_negatives):
            scores += [cos(anchors[i], column[j]) for j in n if kept(guide_anchors[i], guide[j])]
        return lse(x / tau for x in scores) - cos(anchors[i], positives[i]) / tau

    return mean(map(row, n))


def pairs(labels, ref_labels):
    """Positives and negatives of each row. With itself as reference a row is neither."""
    alone = ref_labels is None
    others = labels if alone else ref_labels
    for i, label in enumerate(labels):
        rest = [j for j in range(len(others)) if not (alone and j == i)]
        yield [j for j in rest if others[j] == label], [j for j in rest if others[j] != label]


def supcon(embeddings, labels, ref_emb=None, ref_labels=None, *, temperature, distance, reducer):
    s, others, rows = SIMILARITIES[distance], ref_emb or embeddings, []
    found = list(pairs(labels, ref_labels))
    if not any(p for p, _ in found) or not any(n for _, n in found):
        return 0.0
    for x, (positives, negatives) in zip(embeddings, found):
        z = [s(x, y) / temperature for y in others]
        normaliser = lse(z[j] for j in positives + negatives) if positives else 0.0
        rows.append(mean(normaliser - z[j] for j in positives))
    return mean(r for r in rows if r > 0) if reducer == "AvgNonZeroReducer" else mean(rows)


def nt_xent(embeddings, labels, ref_emb=None, ref_labels=None, *, temperature, distance, reducer):
    s, others, rows = SIMILARITIES[distance], ref_emb or embeddings, []
    for x, (positives, negatives) in zip(embeddings, pairs(labels, ref_labels)):
        z = [s(x, y) / temperature for y in others]
        rows.append([lse([z[j], *(z[k] for k in negatives)]) - z[j] for j in positives])
    return mean(sum(rows, [])) if reducer == "MeanReducer" else mean(map(mean, rows))
