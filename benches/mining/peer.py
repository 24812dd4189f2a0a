"""sentence-transformers' losses on a batch that comes by standard input; a line with a loss's name is answered by value and milliseconds."""

import array
import sys
import time

import torch
from sentence_transformers.sentence_transformer.losses.batch_all_triplet import BatchAllTripletLoss
from sentence_transformers.sentence_transformer.losses.batch_hard_soft_margin_triplet import BatchHardSoftMarginTripletLoss
from sentence_transformers.sentence_transformer.losses.batch_hard_triplet import BatchHardTripletLoss
from sentence_transformers.sentence_transformer.losses.batch_semi_hard_triplet import BatchSemiHardTripletLoss

torch.set_num_threads(2)
n, dim, margin = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
numbers = array.array("f", sys.stdin.buffer.read(4 * n * dim))
embeddings = torch.tensor(numbers).reshape(n, dim).requires_grad_()
labels = torch.tensor(array.array("I", sys.stdin.buffer.read(4 * n)), dtype=torch.int64)
losses = {
    "batch-all": BatchAllTripletLoss(model=None, margin=margin),
    "batch-hard": BatchHardTripletLoss(model=None, margin=margin),
    "batch-hard, soft": BatchHardSoftMarginTripletLoss(model=None),
    "batch-semi-hard": BatchSemiHardTripletLoss(model=None, margin=margin),
}
print("ready", flush=True)
for line in sys.stdin.buffer:
    loss = losses[line.decode().strip()]
    start = time.perf_counter()
    value = loss.compute_loss_from_embeddings([embeddings], labels)
    (gradient,) = torch.autograd.grad(value, embeddings)
    milliseconds = 1e3 * (time.perf_counter() - start)
    print(value.item(), gradient.norm().item(), milliseconds, flush=True)
