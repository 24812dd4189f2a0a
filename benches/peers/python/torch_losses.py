"""The losses as a PyTorch user writes them: eager, or compiled as one graph."""

import os

import torch
import torch.nn.functional as F
from torch._inductor import config as inductor

from case import COSINE_MARGIN, TEMPERATURE, TRIPLET_MARGIN

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
inductor.cpp.threads = torch.get_num_threads()
if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
    inductor.cpp.simdlen = 256


def cosine_embedding(labels):
    return lambda x, y: F.cosine_embedding_loss(x, y, labels, margin=COSINE_MARGIN)


def triplet_margin(_):
    return lambda anchor, positive, negative: F.triplet_margin_loss(
        anchor, positive, negative, margin=TRIPLET_MARGIN
    )


def scaled(queries):
    """n·D divisions by the temperature, where the scores would take n·n."""
    return F.normalize(queries, dim=1) / TEMPERATURE


def scores(queries, documents):
    return scaled(queries) @ F.normalize(documents, dim=1).T


def own_scores(queries, negatives):
    return torch.einsum("nd,nkd->nk", scaled(queries), F.normalize(negatives, dim=2))


def info_nce(labels):
    targets = torch.arange(len(labels))
    return lambda queries, documents: F.cross_entropy(scores(queries, documents), targets)


def info_nce_symmetric(labels):
    targets = torch.arange(len(labels))

    def loss(queries, documents):
        s = scores(queries, documents)
        return (F.cross_entropy(s, targets) + F.cross_entropy(s.T, targets)) / 2

    return loss


def info_nce_own_negatives(labels):
    targets = torch.zeros(len(labels), dtype=torch.long)

    def loss(queries, documents, negatives):
        positive = own_scores(queries, documents[:, None])
        return F.cross_entropy(torch.cat([positive, own_scores(queries, negatives)], dim=1), targets)

    return loss


def info_nce_own_and_in_batch(labels):
    targets = torch.arange(len(labels))

    def loss(queries, documents, negatives):
        both = [scores(queries, documents), own_scores(queries, negatives)]
        return F.cross_entropy(torch.cat(both, dim=1), targets)

    return loss


def open(engine, case, arrays, labels):
    """The step of `case`, and how a gradient becomes a numpy array."""
    inputs = [torch.from_numpy(array).requires_grad_(case.backward) for array in arrays]
    loss = globals()[case.loss](torch.from_numpy(labels))
    if engine == "compile":
        torch._dynamo.reset()
        loss = torch.compile(loss, dynamic=False, fullgraph=True)

    def step():
        if case.backward:
            value = loss(*inputs)
            return value.item(), torch.autograd.grad(value, inputs)
        with torch.no_grad():
            return loss(*inputs).item(), ()

    return step, torch.Tensor.numpy
