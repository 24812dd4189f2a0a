"""PyTorch's and JAX's answers to the cases of the accuracy table: reads them from standard input, writes losses and gradients to standard output.

PyTorch is asked through its own loss functions where it has one, with its defaults but for `eps=0` in the triplet loss, which would otherwise be
another loss; JAX, which has none, by the formulas that its users write.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

jax.config.update("jax_enable_x64", True)
SMOOTHING = 0.1


def torch_rows(loss, what, form, temperature, parts):
    if loss in ("match", "no_match"):
        label = torch.full((len(parts[0]),), 1.0 if loss == "match" else -1.0, dtype=parts[0].dtype)
        return F.cosine_embedding_loss(*parts, label, margin=-0.5, reduction="none")
    if loss == "triplet":
        if form == "soft":
            distance = torch_distance(what)
            return F.softplus(1.0 + distance(parts[0], parts[1]) - distance(parts[0], parts[2]))
        if what in ("squared", "cosine"):
            return F.triplet_margin_with_distance_loss(
                *parts, distance_function=torch_distance(what), margin=1.0, swap=form == "swap", reduction="none")
        return F.triplet_margin_loss(*parts, margin=1.0, p=float(what), eps=0.0, swap=form == "swap", reduction="none")
    if what == "cosine":
        parts = [F.normalize(part, dim=-1) for part in parts]
    queries, documents = parts[:2]
    target = torch.arange(len(queries))
    if form == "given":
        own = [(queries * part).sum(-1, keepdim=True) for part in parts[1:4]]
        scores, target = torch.cat([*own, queries @ parts[4].T], dim=1) / temperature, 0 * target
    else:
        scores = queries @ documents.T / temperature
    if form == "symmetric":
        return (F.cross_entropy(scores, target, reduction="none") + F.cross_entropy(scores.T, target, reduction="none")) / 2
    if form == "decoupled":
        others = scores.masked_fill(torch.eye(*scores.shape, dtype=torch.bool), float("-inf"))
        return torch.logsumexp(others, dim=1) - scores.diagonal()
    return F.cross_entropy(scores, target, reduction="none", label_smoothing=SMOOTHING if form == "smoothed" else 0.0)


def torch_distance(what):
    if what == "squared":
        return lambda x, y: ((x - y) ** 2).sum(-1)
    if what == "cosine":
        return lambda x, y: 1 - F.cosine_similarity(x, y)
    return lambda x, y: F.pairwise_distance(x, y, p=float(what), eps=0.0)


def jax_rows(loss, what, form, temperature, parts):
    if loss in ("match", "no_match"):
        cosine = jax_cosine(*parts)
        return 1 - cosine if loss == "match" else jnp.maximum(0, cosine + 0.5)
    if loss == "triplet":
        distance = jax_distance(what)
        near, far = distance(parts[0], parts[1]), distance(parts[0], parts[2])
        if form == "swap":
            far = jnp.minimum(far, distance(parts[1], parts[2]))
        return jax.nn.softplus(1 + near - far) if form == "soft" else jnp.maximum(0, 1 + near - far)
    if what == "cosine":
        parts = [part / jnp.linalg.norm(part, axis=-1, keepdims=True) for part in parts]
    queries, documents = parts[:2]
    if form == "given":
        own = [(queries * part).sum(-1, keepdims=True) for part in parts[1:4]]
        return -jax.nn.log_softmax(jnp.concatenate([*own, queries @ parts[4].T], axis=1) / temperature)[:, 0]
    scores = queries @ documents.T / temperature
    target = jnp.arange(len(queries))
    if form == "decoupled":
        others = scores.at[target, target].set(-jnp.inf)
        return jax.nn.logsumexp(others, axis=1) - scores[target, target]
    logs = jax.nn.log_softmax(scores)
    rows = -logs[target, target]
    if form == "symmetric":
        return (rows - jax.nn.log_softmax(scores.T)[target, target]) / 2
    return (1 - SMOOTHING) * rows - SMOOTHING * logs.mean(1) if form == "smoothed" else rows


def jax_cosine(x, y):
    return (x * y).sum(-1) / (jnp.linalg.norm(x, axis=-1) * jnp.linalg.norm(y, axis=-1))


def jax_distance(what):
    if what == "squared":
        return lambda x, y: ((x - y) ** 2).sum(-1)
    if what == "cosine":
        return lambda x, y: 1 - jax_cosine(x, y)
    return lambda x, y: jnp.linalg.norm(x - y, ord=float(what), axis=-1)


def answer_torch(options, arrays, repeat):
    parts = [torch.tensor(array, requires_grad=repeat == 1) for array in arrays]
    given = repeated(parts, repeat, options, lambda part: part.expand(repeat, -1))
    rows = torch_rows(*options, given)
    if repeat > 1:
        return [rows.mean()]
    rows.sum().backward()
    return [rows.detach(), rows.mean().detach(), *(part.grad for part in parts)]


def answer_jax(options, arrays, repeat):
    parts = [jnp.asarray(array) for array in arrays]
    if repeat > 1:
        given = repeated(parts, repeat, options, lambda part: jnp.broadcast_to(part, (repeat, part.shape[1])))
        return [jax_rows(*options, given).mean()]
    rows = jax_rows(*options, parts)
    gradient = jax.grad(lambda parts: jax_rows(*options, parts).sum())(parts)
    return [rows, rows.mean(), *gradient]


def repeated(parts, repeat, options, expand):
    """The pool, the fifth part of InfoNCE, stays."""
    return parts if repeat == 1 else [expand(part) if at < 4 else part for at, part in enumerate(parts)]


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline().decode().split():
        number, loss, what, form, temperature, repeat, *shapes = line
        arrays = []
        for shape in shapes:
            rows, dim = map(int, shape.split("x"))
            numbers = np.frombuffer(source.read(8 * rows * dim), dtype="<f8").reshape(rows, dim)
            arrays.append(numbers.astype(np.float32 if number == "f32" else np.float64))
        options = (loss, what, form, float(temperature))
        for answer in (answer_torch, answer_jax):
            for part in answer(options, arrays, int(repeat)):
                sink.write(np.asarray(part).astype("<f8").tobytes())


if __name__ == "__main__":
    main()
