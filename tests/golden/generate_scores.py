# Rewrites scores.json beside this script: pip install -r requirements_scores.txt && python generate_scores.py
"""Values and gradients of the losses over scores, computed in float64 by PyTorch's autograd from the losses of PyTorch, sentence-transformers and
pytorch-metric-learning, and for the M3 recipe from its formulas. `tests/golden_scores.rs` compares with them.

Numbers are multiples of a power of two, so that they are the same in f32. Maxima are clear of ties.
"""

import itertools
import json
import pathlib

import sentence_transformers
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss
from sentence_transformers.util import maxsim

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

GRID = 1024
CLEAR = 1e-2  # between the best and the second best token


class Draw:
    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)

    def rows(self, *shape, scale=1.0):
        x = torch.randn(shape, generator=self.rng) * scale
        return ((x * GRID).round() / GRID).requires_grad_()

    def weights(self, n):
        return ((0.25 + 2 * torch.rand(n, generator=self.rng)) * GRID).round() / GRID

    def flags(self, *shape, share=0.3):
        return torch.rand(shape, generator=self.rng) < share

    def below(self, bound, *shape):
        return torch.randint(bound, shape, generator=self.rng)


def case(kind, options, inputs, value, gradient):
    grads = torch.autograd.grad(value, list(gradient.values()))
    plain = lambda x: x.tolist() if isinstance(x, torch.Tensor) else x
    return {
        "kind": kind,
        "options": options,
        "inputs": {key: plain(x) for key, x in inputs.items() if x is not None},
        "value": value.item(),
        "gradient": {key: g.tolist() for key, g in zip(gradient, grads)},
    }


def softmax_cases():
    """torch.nn.functional.cross_entropy, row by row over the candidates that are not left out."""
    flags = [False, True]
    for seed, (masked, weighted, smoothing, t) in enumerate(itertools.product(flags, flags, [0.0, 0.2], [1.0, 0.05])):
        draw = Draw(seed)
        n, m = 4, 3 + seed % 4
        scores, targets = draw.rows(n, m, scale=2.0 if t == 1 else 0.3), draw.below(m, n)
        mask = draw.flags(n, m) if masked else torch.zeros(n, m, dtype=torch.bool)
        log_t = torch.tensor(t).log().requires_grad_()
        rows = []
        for i in range(n):
            kept = [j for j in range(m) if not mask[i, j] or j == targets[i]]
            at = torch.tensor(kept.index(targets[i]))
            rows.append(F.cross_entropy(scores[i, kept] / log_t.exp(), at, label_smoothing=smoothing))
        rows = torch.stack(rows)
        weights = draw.weights(n) if weighted else torch.ones(n)
        value = (rows * weights).sum() / weights.sum()
        options = {"temperature": t, "smoothing": smoothing}
        inputs = {
            "scores": scores,
            "targets": targets,
            "left_out": mask if masked else None,
            "weights": weights if weighted else None,
        }
        yield case("softmax", options, inputs, value, {"scores": scores, "log_temperature": log_t})


def several_positives_cases():
    """pytorch-metric-learning on dot products with the unit vectors: those are the scores themselves."""
    for seed, (form, t) in enumerate(itertools.product(["sup_con", "nt_xent"], [1.0, 0.5, 0.1])):
        draw = Draw(100 + seed)
        n, m = 5, 7
        scores = draw.rows(n, m, scale=t * 2)
        labels, ref_labels = torch.arange(n) % 3, torch.tensor([0, 1, 2, 0, 1, 0, 2])
        distance = DotProductSimilarity(normalize_embeddings=False)
        loss = {"sup_con": SupConLoss, "nt_xent": NTXentLoss}[form]
        loss = loss(temperature=t, distance=distance, reducer=MeanReducer())
        value = loss(scores, labels, ref_emb=torch.eye(m), ref_labels=ref_labels)
        lists = [[j for j in range(m) if ref_labels[j] == label] for label in labels]
        offsets = [0, *itertools.accumulate(len(x) for x in lists)]
        # The mean over pairs is the mean over rows with the number of their positives as weights.
        weights = torch.tensor([float(len(x)) for x in lists]) if form == "nt_xent" else None
        inputs = {"scores": scores, "offsets": offsets, "indices": sum(lists, []), "weights": weights}
        yield case(form, {"temperature": t}, inputs, value, {"scores": scores})


def as_embeddings(columns):
    """Embeddings whose pairwise dot products are the columns."""
    return [torch.ones(len(columns), 1), *(columns[:, k : k + 1] for k in range(columns.shape[1]))]


def distillation_cases():
    for seed, (s, t) in enumerate([(1.0, None), (2.0, None), (0.5, None), (2.0, 0.5), (0.3, 1.5)]):
        draw = Draw(200 + seed)
        n, m = 4, 2 + seed
        student, teacher = draw.rows(n, m, scale=2.0), draw.rows(n, m, scale=2.0).detach()
        loss = DistillKLDivLoss(None, student_temperature=s, teacher_temperature=t or s)
        value = loss.compute_loss_from_embeddings(as_embeddings(student), teacher)
        options = {"student_temperature": s, "teacher_temperature": t or s}
        yield case("distillation", options, {"student": student, "teacher": teacher}, value, {"student": student})


def margin_mse_cases():
    for seed, (k, margins) in enumerate(itertools.product([1, 3], [False, True])):
        draw = Draw(300 + seed)
        n = 5
        student, teacher = draw.rows(n, 1 + k), draw.rows(n, 1 + k).detach()
        labels = teacher[:, :1] - teacher[:, 1:] if margins else teacher
        value = MarginMSELoss(None, similarity_fct=lambda x, y: (x * y).sum(-1)).compute_loss_from_embeddings(as_embeddings(student), labels)
        yield case("margin_mse", {"margins": margins}, {"student": student, "teacher": labels}, value, {"student": student})


def padded(tokens, offsets, mask):
    """Texts as a batch [texts, longest, dim] with its attention mask."""
    length = max(b - a for a, b in zip(offsets, offsets[1:]))
    batch, attention = [], []
    for a, b in zip(offsets, offsets[1:]):
        batch.append(F.pad(tokens[a:b], (0, 0, 0, length - (b - a))))
        attention.append(F.pad(mask[a:b], (0, length - (b - a))))
    return torch.stack(batch), torch.stack(attention)


def max_sim(queries, documents, mean):
    """None if a maximum is not clear of ties."""
    (q, q_mask), (d, d_mask) = padded(*queries), padded(*documents)
    scores = torch.einsum("qin,pjn->qpij", q, d).masked_fill(~d_mask[None, :, None, :], -torch.inf)
    best = scores.topk(2, -1).values
    gaps = (best[..., 0] - best[..., 1])[q_mask[:, None, :].expand(best.shape[:-1])]
    if gaps.min() < CLEAR:
        return None
    result = (best[..., 0] * q_mask[:, None, :]).sum(-1)
    if mean:
        result = result / q_mask.sum(-1)[:, None]
    library = maxsim(q.detach().float(), d.detach().float(), q_mask, d_mask, length_normalize=mean)
    assert (library - result).abs().max() < 1e-5, "sentence-transformers has another MaxSim"
    return result


def texts(draw, lengths, dim):
    offsets = [0, *itertools.accumulate(lengths)]
    mask = ~draw.flags(offsets[-1], share=0.2)
    mask[offsets[:-1]] = True
    return draw.rows(offsets[-1], dim), offsets, mask


def max_sim_cases():
    for index, mean in enumerate([True, False]):
        for seed in itertools.count(1000 * index):
            draw = Draw(seed)
            queries, documents = texts(draw, [2, 4, 3], 3), texts(draw, [4, 3, 5, 2], 3)
            scores = max_sim(queries, documents, mean)
            if scores is not None:
                break
        upstream = draw.rows(*scores.shape).detach()
        inputs = {"upstream": upstream, "scores": scores.detach()}
        for name, (tokens, offsets, mask) in [("queries", queries), ("documents", documents)]:
            inputs |= {name: tokens, f"{name}_offsets": offsets, f"{name}_mask": mask}
        gradient = {"queries": queries[0], "documents": documents[0]}
        yield case("max_sim", {"mean": mean}, inputs, (scores * upstream).sum(), gradient)


def sparse(draw, rows, vocabulary):
    present = draw.flags(rows, vocabulary, share=0.5)
    return draw.rows(rows, vocabulary), present


def csr(dense, present):
    rows = [[j for j in range(present.shape[1]) if present[i, j]] for i in range(len(present))]
    return [0, *itertools.accumulate(len(x) for x in rows)], sum(rows, [])


def m3_loss(heads, targets, t, distil):
    """FlagEmbedding's EncoderOnlyEmbedderM3Model.forward, from the scores on."""
    dense, lexical, multi = (s / t for s in heads)
    inter = dense + 0.3 * lexical + multi
    ce = lambda s: F.cross_entropy(s, targets)
    loss = (ce(dense) + ce(inter) + 0.1 * ce(lexical) + ce(multi)) / 4
    if not distil:
        return loss
    teacher = torch.softmax(inter.detach(), -1)
    kd = lambda s: -torch.mean(torch.sum(torch.log_softmax(s, -1) * teacher, -1))
    return (loss + (kd(dense) + 0.1 * kd(lexical) + kd(multi)) / 3) / 2


def m3_cases():
    for index, (t, distil) in enumerate(itertools.product([1.0, 0.2], [True, False])):
        for seed in itertools.count(5000 + 1000 * index):
            draw = Draw(seed)
            n, m, dim, vocabulary = 2, 4, 3, 6
            dense = [draw.rows(n, dim), draw.rows(m, dim)]
            lexical = [sparse(draw, n, vocabulary), sparse(draw, m, vocabulary)]
            queries, documents = texts(draw, [2, 3], 3), texts(draw, [3, 2, 4, 2], 3)
            multi = max_sim(queries, documents, True)
            if multi is not None:
                break
        words = [x * present for x, present in lexical]
        scores = [dense[0] @ dense[1].T, words[0] @ words[1].T, multi]
        value = m3_loss(scores, torch.tensor([0, 2]), t, distil)  # groups of two, the first the positive
        inputs = {"q_dense": dense[0], "d_dense": dense[1], "targets": [0, 2]}
        for name, (x, present) in [("q", lexical[0]), ("d", lexical[1])]:
            indptr, indices = csr(x, present)
            inputs |= {f"{name}_indptr": indptr, f"{name}_indices": indices, f"{name}_values": x[present]}
        for name, (tokens, offsets, mask) in [("q", queries), ("d", documents)]:
            inputs |= {f"{name}_tokens": tokens, f"{name}_offsets": offsets, f"{name}_mask": mask}
        gradient = {"q_dense": dense[0], "d_dense": dense[1], "q_sparse": lexical[0][0], "d_sparse": lexical[1][0]}
        gradient |= {"q_tokens": queries[0], "d_tokens": documents[0]}
        found = case("m3", {"temperature": t, "distil": distil}, inputs, value, gradient)
        for name, (_, present) in [("q_sparse", lexical[0]), ("d_sparse", lexical[1])]:
            found["gradient"][name] = torch.tensor(found["gradient"][name])[present].tolist()
        yield found


if __name__ == "__main__":
    builds = [softmax_cases, several_positives_cases, distillation_cases, margin_mse_cases, max_sim_cases, m3_cases]
    cases = [c for build in builds for c in build()]
    lines = ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in cases)
    versions = f'"torch":"{torch.__version__}","sentence_transformers":"{sentence_transformers.__version__}"'
    path = pathlib.Path(__file__).parent / "scores.json"
    path.write_text(f'{{{versions},"cases":[\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size // 1000} kB")
