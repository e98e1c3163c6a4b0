"""What lists are like, whatever they hit: how much of the catalogue, how popular, how alike, and for whom.

Lists are item indices `[S, n, K]`; entries where `shown` is False are no recommendations. `counts` says how many users
had each item in training, `[I]`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_array

Items, Shown = Int[np.ndarray, "S n K"], Bool[np.ndarray, "S n K"]


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
    lengths = np.sqrt(np.maximum(np.asarray(known.sum(axis=0)).ravel(), 1))
    columns = csr_array(known.T.multiply(1 / lengths[:, None]))  # [I, U], each of length 1
    result = np.zeros(items.shape[:2])
    for seed, user in np.ndindex(*result.shape):
        own = columns[items[seed, user][shown[seed, user]]]
        pairs = own.shape[0] * (own.shape[0] - 1)
        # The sum of the cosines of all pairs is |sum of rows|^2 without each row with itself.
        total, alone = np.sum(own.sum(axis=0) ** 2), float(own.multiply(own).sum())
        result[seed, user] = 1 - (total - alone) / pairs if pairs else 0.0
    return result


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
