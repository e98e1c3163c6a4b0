"""What lists are like, whatever they hit: how much of the catalogue, how popular, how alike, and for whom.

Lists are item indices `[S, n, K]`; entries where `shown` is False are no recommendations. `counts` says how many users
had each item in training, `[I]`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.evaluation.metrics import ndcg

PER_MODEL = ("Gini",)
OF_GROUPS = ("NDCG-least-active", "NDCG-most-active")
OF_COUNTS = ("NDCG-tail", "novelty", "popularity", "diversity")  # which need items that users had in training
PER_USER = (*OF_GROUPS, *OF_COUNTS)

Items, Shown = Int[np.ndarray, "S n K"], Bool[np.ndarray, "S n K"]
_CELLS = 2**24  # of the matrix of lists and users, at a time


def beyond_accuracy(
    items: Items, shown: Shown, users: Int[np.ndarray, " n"], truth: Interactions, hits: Shown, known: csr_array
) -> tuple[dict[str, Float[np.ndarray, "S n"]], dict[str, Float[np.ndarray, " S"]]]:
    """Metrics of lists beside the accuracy for all users, named as in `PER_USER` and `PER_MODEL` with "@K" behind.

    * NDCG-least-active@K, NDCG-most-active@K: NDCG@K of the third of the n users with the fewest and with the most
      training interactions (as equal as ties allow), NaN for the others.
    * NDCG-tail@K: NDCG@K with only the least popular 80% of the catalogue as hits, NaN for users who have no held-out
      item among them.
    * novelty@K, popularity@K, diversity@K, Gini@K: see the functions of these names.

    Cold items, which nobody had in training, are all of one popularity and as far from each other as can be: where only
    these are ranked, what is read from `known` items would say nothing and is left out, and Gini is over them.

    Args:
        items, shown: the lists.
        users: whose they are, as indices.
        truth: held-out pairs.
        hits: which entries are held-out pairs.
        known: `[U, I]`, 1 where a user had an item in training.
    """
    k = items.shape[2]
    relevant = np.bincount(truth.users, minlength=truth.n_users)[users]
    active = groups(np.asarray(known.sum(axis=1)).ravel()[users])
    accuracy = ndcg(hits & shown, relevant)
    per_user = {
        name: np.where(active == group, accuracy, np.nan) for name, group in zip(OF_GROUPS, (0, 2), strict=True)
    }
    exposed = exposure(items, shown, truth.n_items)
    per_model = {"Gini": gini(exposed if truth.candidates is None else exposed[:, truth.candidates])}
    if truth.candidates is None:
        counts = np.asarray(known.sum(axis=0)).ravel().astype(np.int64)
        tail = head_and_tail(counts)
        in_tail = np.bincount(truth.users[tail[truth.items]], minlength=truth.n_users)[users]
        per_user["NDCG-tail"] = ndcg(hits & shown & tail[items], in_tail)
        per_user["novelty"] = novelty(items, shown, counts, truth.n_users)
        per_user["popularity"] = popularity(items, shown, counts)
        per_user["diversity"] = diversity(items, shown, known)
    return tuple({f"{name}@{k}": values for name, values in found.items()} for found in (per_user, per_model))


def exposure(items: Items, shown: Shown, n_items: int) -> Int[np.ndarray, "S I"]:
    """In how many lists each item stands."""
    return np.stack([np.bincount(i[s], minlength=n_items) for i, s in zip(items, shown, strict=True)])


def gini(exposed: Int[np.ndarray, "S I"]) -> Float[np.ndarray, " S"]:
    """Gini coefficient of the exposure of items: 0 if all stand in equally many lists, (I - 1) / I if one has it all.

    As in Fleder and Hosanagar (Management Science 2009), over the whole catalogue.
    """
    ordered = np.sort(exposed, axis=1)
    n = ordered.shape[1]
    places = 2 * np.arange(1, n + 1) - n - 1
    return (ordered @ places) / (n * np.maximum(ordered.sum(axis=1), 1))


def novelty(items: Items, shown: Shown, counts: Int[np.ndarray, " I"], n_users: int) -> Float[np.ndarray, "S n"]:
    """Mean self-information of the items of each list, in bits (Zhou et al., PNAS 2010): -log2 of the part that has it.

    An item that nobody had counts as one that one user had.
    """
    return _mean(-np.log2(np.maximum(counts, 1) / n_users)[items], shown)


def popularity(items: Items, shown: Shown, counts: Int[np.ndarray, " I"]) -> Float[np.ndarray, "S n"]:
    """Mean number of users who had the items of each list (Yin et al., VLDB 2012)."""
    return _mean(counts[items].astype(float), shown)


def diversity(items: Items, shown: Shown, known: csr_array) -> Float[np.ndarray, "S n"]:
    """Mean distance of the pairs of each list (Ziegler et al., WWW 2005), 1 - cosine of the items' users.

    Args:
        items, shown: the lists.
        known: `[U, I]`, 1 where a user had an item; items of no user are at distance 1 from all.
    """
    had = np.asarray(known.sum(axis=0)).ravel()
    columns = csr_array(known.T.multiply(1 / np.sqrt(np.maximum(had, 1))[:, None]))  # [I, U], each of length 1 or 0
    flat, there = items.reshape(-1, items.shape[2]), shown.reshape(-1, items.shape[2])
    total, chunk = np.zeros(len(flat)), max(1, _CELLS // known.shape[0])
    for start in range(0, len(flat), chunk):
        which, place = np.nonzero(there[start : start + chunk])
        size = min(chunk, len(flat) - start), known.shape[1]
        lists = csr_array((np.ones(len(which)), (which, flat[start + which, place])), shape=size)
        sums = lists @ columns
        total[start : start + chunk] = sums.multiply(sums).sum(axis=1)
    # The sum of the cosines of all pairs is |sum of rows|^2 without each row with itself.
    alone, length = np.sum(there & (had > 0)[flat], axis=1), there.sum(axis=1)
    pairs = length * (length - 1)
    return np.where(pairs > 0, 1 - (total - alone) / np.maximum(pairs, 1), 0.0).reshape(items.shape[:2])


def groups(values: Shaped[np.ndarray, " n"], parts: int = 3) -> Int[np.ndarray, " n"]:
    """Of each value the number of its group, from 0: as equal as ties allow, in the order of the values.

    For users by the number of their training interactions: 0 are the least active ones.
    """
    edges = np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf")
    return np.searchsorted(edges, values, side="left")


def head_and_tail(counts: Int[np.ndarray, " I"], tail: float = 0.8) -> Bool[np.ndarray, " I"]:
    """Which items are of the tail: the least popular `tail` of the catalogue."""
    found = np.zeros(len(counts), bool)
    found[np.argsort(counts, kind="stable")[: round(tail * len(counts))]] = True
    return found


def _mean(values: Float[np.ndarray, "S n K"], shown: Shown) -> Float[np.ndarray, "S n"]:
    return np.sum(values * shown, axis=2) / np.maximum(shown.sum(axis=2), 1)
