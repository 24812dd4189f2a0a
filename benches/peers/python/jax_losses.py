"""The losses as a JAX user writes them, each compiled as one program."""

import jax
import jax.numpy as jnp
import numpy as np

from case import COSINE_MARGIN, TEMPERATURE, TRIPLET_MARGIN

jax.config.update("jax_enable_x64", True)  # for the f64 cases; f32 inputs stay f32


def norms(rows):
    return jnp.sqrt(jnp.sum(rows * rows, axis=-1, keepdims=True))


def normalised(rows):
    return rows / norms(rows)


def cross_entropy(scores):
    """Mean over rows, the positive on the diagonal."""
    return jnp.mean(jax.nn.logsumexp(scores, axis=1) - jnp.diagonal(scores))


def cosine_embedding(labels):
    def loss(x, y):
        cosine = jnp.sum(x * y, axis=1) / (norms(x) * norms(y))[:, 0]
        return jnp.mean(jnp.where(labels > 0, 1 - cosine, jax.nn.relu(cosine - COSINE_MARGIN)))

    return loss


def triplet_margin(_):
    def loss(anchor, positive, negative):
        gap = norms(anchor - positive) - norms(anchor - negative)
        return jnp.mean(jax.nn.relu(gap + TRIPLET_MARGIN))

    return loss


def scaled(queries):
    """n·D divisions by the temperature, where the scores would take n·n."""
    return normalised(queries) / TEMPERATURE


def scores(queries, documents):
    return scaled(queries) @ normalised(documents).T


def own_scores(queries, negatives):
    return jnp.einsum("nd,nkd->nk", scaled(queries), normalised(negatives))


def info_nce(_):
    return lambda queries, documents: cross_entropy(scores(queries, documents))


def info_nce_symmetric(_):
    def loss(queries, documents):
        s = scores(queries, documents)
        return (cross_entropy(s) + cross_entropy(s.T)) / 2

    return loss


def info_nce_own_negatives(_):
    def loss(queries, documents, negatives):
        positive = jnp.sum(scaled(queries) * normalised(documents), axis=1, keepdims=True)
        both = jnp.concatenate([positive, own_scores(queries, negatives)], axis=1)
        return jnp.mean(jax.nn.logsumexp(both, axis=1) - both[:, 0])

    return loss


def info_nce_own_and_in_batch(_):
    def loss(queries, documents, negatives):
        both = [scores(queries, documents), own_scores(queries, negatives)]
        return cross_entropy(jnp.concatenate(both, axis=1))

    return loss


def open(_, case, arrays, labels):
    """The step of `case`, and how a gradient becomes a numpy array."""
    jax.clear_caches()
    inputs = [jax.device_put(array) for array in arrays]
    loss = globals()[case.loss](jnp.asarray(labels))
    every = tuple(range(len(inputs)))
    program = jax.jit(jax.value_and_grad(loss, argnums=every) if case.backward else loss)

    def step():
        result = jax.block_until_ready(program(*inputs))
        return result if case.backward else (result, ())

    return step, np.asarray
