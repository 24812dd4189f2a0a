# Rewrites the golden values beside this script: pip install -r requirements.txt && python generate.py
"""Values and gradients of the losses that have names in the field, by the libraries that name them or, where none does, by PyTorch's operations,
in float64 and by PyTorch's own autograd.

Of each file `inputs` holds arrays by name, and each case says which it uses. `parameters` are differentiated too: `log_temperature` is log τ
(the scale is 1/τ), `log_scale` is log 1/τ, so that its gradient has the other sign. `negatives` are columns `[K, n, dim]`, as are their gradients.
`rows` are the terms of which the value is the mean, where a loss has such; null for a row that has none. `largest_score` is the largest |s|/τ
(with what is added to it): roundings of scores, and so errors of values and of the gradients by parameters, are of that size times ε.
`rejected` holds what a library refuses, in its words. What a library computes is compared here with the formulas below (`naive.py`).

Below, z = s/τ; s is the cosine (each norm at least 1e-12, in GIST 1e-8, which ordinary rows never meet) or the inner product as it is; LSE is
log Σ exp, sg a constant to the gradient. Queries q_i, positives p_i, columns of negatives N_c; documents d are p, N_1, …, N_K one after the other, so
that the positive of query i is document i.

mnrl.json: MultipleNegativesRankingLoss of sentence-transformers.
    ℓ_i = log Z_i − z(q_i, p_i). By directions, Z_i sums exp of
        query_to_doc    z(q_i, d_j) for all n(1 + K) documents: negatives of other queries compete too
        query_to_query  z(q_i, q_j), j ≠ i
        doc_to_query    z(q_j, p_i) for all j: of the positives alone. j = i is not left out: jointly the own pair is in Z_i twice
        doc_to_doc      z(d, p_i) for all documents but those of query i, p_i and its own negatives both: n·(1 + K) − (1 + K) of them
    joint: Z_i is the sum over all directions. per_direction: log Z_i is the mean of the directions' log Z_i, the positive's score is subtracted
    once: the mean of cross entropies, not their sum. Only directions whose candidates include the own pair allow it, so query_to_query and doc_to_doc
    are rejected. One direction alone is the same in both modes. The value is the mean over queries; there are no weights.
    Hardness: s/τ + α·sg[s], so α·s is not divided by τ, has no gradient by embeddings nor by τ; on scores of query_to_doc alone, never of the other
    directions; s is the loss's own similarity, with inner products not the cosine that the documentation speaks of.
        in_batch_negatives  all documents of other queries, their negatives included; not the own negatives
        hard_negatives      own negatives alone; without columns of negatives it does nothing, and says nothing
        all_negatives       all documents but p_i
    A single pair without negatives is accepted, and its loss is 0 whatever the embeddings.
    Duplicates are not masked: only self (query_to_query) and the own documents (doc_to_doc), by position.
    A learnable scale is not foreseen: with query_to_query or doc_to_doc its gradient would be −∞·0 = NaN. Here masked scores are left alone.

gist.json: GISTEmbedLoss, and for two columns of negatives CachedGISTEmbedLoss (the same loss), of sentence-transformers. g: cosines of the guide.
    ℓ_i = LSE of z(a_i, p_j); z(a_i, a_j) if contrast_anchors; z(p_i, p_j) if contrast_positives; z(a_i, N_cj), all j; minus z(a_i, p_i).
    Left out: candidates whose guide cosine (of the same two rows: for p_i, p_j the positives') is > ceiling_i; equal stays. One ceiling per query:
        absolute  g(a_i, p_i) − margin        relative  g(a_i, p_i) − |g(a_i, p_i)|·margin
    so that a negative positive lowers the relative ceiling, which g·(1 − margin) would raise. Only p_i is exempt; own negatives are not.
    Self is not masked as such: g(x, x) = 1 exceeds the ceiling, unless that is 1 or more (margin < 0, or by rounding when the guide finds a_i = p_i):
    then z(a_i, a_i) = 1/τ and z(p_i, p_i) = 1/τ compete, as in the cases of margin −0.1, whose first pair the guide finds nearly the same.

symmetric.json: MultipleNegativesSymmetricRankingLoss is mnrl with query_to_doc and doc_to_query per_direction:
    ½ (LSE_j z(q_i, d_j) + LSE_j z(q_j, p_i)) − z(q_i, p_i). Its documentation says that negatives are
    ignored: they compete for the queries, not for the documents.
    CLIP: mean over i of ½ (CE over rows + CE over columns) of exp(log_scale)·cos, the same without negatives. The clamp log_scale ≤ log 100 acts on
    the parameter between steps, not on the gradient.
    Jina (Günther et al. 2023): the sum of both directions, not their mean: twice the above, negatives in the forward direction alone.
    GTE (Li et al. 2023, as sentence-transformers reads it): Z = q2d + q2q + d2q + d2d, self left out of q2q and d2d,
    the own pair in q2d and d2q, hence twice: mnrl of all directions, joint. Checked here: CLIP = MultipleNegativesSymmetricRankingLoss, Jina =
    2·that, GTE = mnrl.

supcon.json: SupConLoss of pytorch-metric-learning. P(i): rows of i's label without i, N(i): rows of other labels.
    ℓ_i = 1/|P(i)| Σ_{p ∈ P(i)} (LSE_{P(i) ∪ N(i)} z − z_ip). No factor τ/τ_base (Khosla et al. 2020's code has it). 1/|P| is 1/(|P| + 2e-308).
    Without positives ℓ_i = 0. AvgNonZeroReducer, the default, averages over rows with ℓ_i > 0: rows without positives are left out, but so is
    any row whose loss is exactly 0 (one positive and no negatives, or underflow). MeanReducer divides by all rows.
    All labels the same or all different: value 0, gradient 0, although with one label ℓ_i is above 0.
    With ref_emb, candidates are the references, self is not left out, and both get gradients. Distances are negated: −‖x − y‖² with power = 2.

ntxent.json: NTXentLoss of pytorch-metric-learning. For each pair (i, p) of one label: ℓ_ip = −log(e^{z_ip}/(e^{z_ip} + Σ_{N(i)} e^z) + 2e-308):
    the other positives leave the denominator. MeanReducer, the default, averages over pairs, so that members of large classes weigh more;
    PerAnchorReducer averages over a row's pairs and then over all rows, those without positives counting 0.
    Pairs without any negative have loss 0 and count. Two views, by labels 0…n−1 twice: SimCLR's loss, mean over 2n rows, self left out; checked to be
    SelfSupervisedLoss. At most one positive and at most one negative pair in the whole batch: value 0, whatever they are.
    In float32 probabilities below 1e-38 get no gradient; these cases are far from that.

dcl.json: Yeh et al. 2022, eq. 6, without the weighting of eq. 7. Can be negative.
    query_document: ℓ_i = LSE_{d ≠ p_i} z(q_i, d) − z(q_i, p_i) over all n(1 + K) documents but p_i.
    two_views: ℓ = LSE over all 2n rows but the row itself and its other view, minus the score of the other view; the mean over 2n rows (the paper
    sums). one_view: the mean over the n rows of the first view alone, as the authors' code does in one call.
    labels: ℓ_ip = LSE_{N(i)} z − z_ip, the mean over pairs, or over a row's pairs and then over the rows that have any.

siglip.json: Zhai et al. 2023. ℓ_i = −Σ_j log σ(y_ij·(t·s_ij + b)), y = 1 for the own document and −1 for all others, divided by the number of
    queries, not of pairs. open_clip: t = exp(log_scale), initially 10, b = −10. temperature: t = 1/τ. With `offset` the own document of query i is
    i + offset of more documents than queries: all others are negatives, which is what open_clip's ring over devices adds up to.

simcse.json: Gao et al. 2021. Unsupervised: mnrl with the other dropout view as positive. Supervised: negatives compete for all queries;
    `hard_negative_weight` is added to the score of the own one, after the division by τ (so it is the logarithm of the paper's α).

smoothing.json: F.cross_entropy(label_smoothing = ε): (1 − ε)·(LSE − z_t) + ε/C Σ_j (LSE − z_j), C candidates, the positive among them: its share is
    1 − ε + ε/C. PyTorch counts masked candidates too, and is infinite; here C counts those that are left (ids: not the positive, and of the
    query's id).

multi_positive.json: R(i) relevant documents. supcon: ℓ_i = 1/|R| Σ_{p ∈ R} (LSE_all z − z_ip). per_pair: 1/|R| Σ_p (LSE_{p} ∪ not R z − z_ip).
    The value is the mean over queries with |R| > 0. Own negatives `[K, n, dim]` compete for their own query alone.
"""

import metric_learning_losses
import sentence_transformers_losses
import torch_losses

if __name__ == "__main__":
    sentence_transformers_losses.mnrl().write()
    sentence_transformers_losses.gist().write()
    metric_learning_losses.supcon().write()
    metric_learning_losses.ntxent().write()
    torch_losses.symmetric().write()
    torch_losses.dcl().write()
    torch_losses.siglip().write()
    torch_losses.simcse().write()
    torch_losses.smoothing().write()
    torch_losses.multi_positive().write()
