"""Ranking metrics per user, in NumPy. K is a rank cut-off; a user's relevant items are the user's held-out ones."""

import re

import numpy as np
from jaxtyping import Bool, Float, Int

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError

METRICS = ("P", "R", "NDCG", "MRR", "HR", "MAP")


def relevance(items: Int[np.ndarray, "S n K"], truth: Interactions, users: Int[np.ndarray, " n"]):
    """Whether each ranked item is relevant, bool `[S, n, K]`, and how many items are relevant to each user `[n]`."""
    size = np.int64(truth.n_items)
    relevant = np.unique(truth.users * size + truth.items)  # int64: U * I may not fit 32 bits
    ranked = users[:, None] * size + items
    position = np.minimum(np.searchsorted(relevant, ranked), len(relevant) - 1)
    counts = np.bincount(relevant // size, minlength=truth.n_users)
    return relevant[position] == ranked, counts[users]


def per_user(
    hits: Bool[np.ndarray, "S n K"], n_relevant: Int[np.ndarray, " n"], ks: tuple[int, ...]
) -> dict[str, Float[np.ndarray, "S n"]]:
    """Every metric of `METRICS` at every cut-off, for every seed and user. All lie in [0, 1].

    * P@k: hits in the first k, divided by k (even where fewer items are relevant).
    * R@k: hits in the first k, divided by the number of relevant items.
    * NDCG@k: gain 1 / log2(rank + 1) of each hit, divided by that of min(k, relevant) hits at the top.
    * MRR@k: 1 / rank of the first hit in the first k, else 0.
    * HR@k: 1 if there is a hit in the first k, else 0.
    * MAP@k: the mean of P@rank over the hits in the first k, the sum divided by min(k, relevant).

    Definitions as in CFGAN's evaluation (Chae et al., CIKM 2018); MAP as in Järvelin and Kekäläinen's cut-off form.
    """
    ranks = np.arange(1, hits.shape[-1] + 1)
    cumulative = np.cumsum(hits, axis=-1)
    scores = {}
    for k in ks:
        first, best = hits[..., :k], np.minimum(n_relevant, k)
        found = cumulative[..., k - 1]
        any_hit = found > 0
        scores[f"P@{k}"] = found / k
        scores[f"R@{k}"] = found / n_relevant
        scores[f"NDCG@{k}"] = ndcg(first, n_relevant)
        scores[f"MRR@{k}"] = np.where(any_hit, 1 / (np.argmax(first, axis=-1) + 1), 0.0)
        scores[f"HR@{k}"] = any_hit.astype(float)
        scores[f"MAP@{k}"] = (first * cumulative[..., :k] / ranks[:k]).sum(-1) / best
    return scores


def ndcg(hits: Bool[np.ndarray, "S n K"], n_relevant: Int[np.ndarray, " n"]) -> Float[np.ndarray, "S n"]:
    """NDCG@K, see `per_user`; NaN for users to whom no item is relevant."""
    discount = 1 / np.log2(np.arange(1, hits.shape[-1] + 1) + 1)
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])
    return (hits * discount).sum(-1) / ideal[np.minimum(n_relevant, hits.shape[-1])]


def coverage(
    items: Int[np.ndarray, "S n K"], shown: Bool[np.ndarray, "S n K"], n_items: int
) -> Float[np.ndarray, " S"]:
    """The part of the catalogue that stands in at least one user's list, for each seed."""
    return np.array([len(np.unique(i[s])) / n_items for i, s in zip(items, shown, strict=True)])


def parse(name: str, allowed: tuple[str, ...] = METRICS) -> tuple[str, int]:
    """Split a metric's name, "NDCG@20" -> ("NDCG", 20).

    Args:
        name: of a metric.
        allowed: those to choose from; see also `gan_rec.evaluation.evaluate.METRICS`, all that an evaluation has.

    Raises:
        UserError: the name is none of `allowed` with a cut-off of at least 1.
    """
    match = re.fullmatch(rf"({'|'.join(allowed)})@([1-9]\d*)", name)
    if match is None:
        raise UserError(
            f"unknown metric {name!r}; allowed: {', '.join(m + '@k' for m in allowed)}, for example NDCG@20"
        )
    return match[1], int(match[2])
