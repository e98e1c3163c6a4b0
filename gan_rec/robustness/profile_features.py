"""What a profile looks like beside the others: numbers that tell made profiles from those of people."""

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

FEATURES = {
    "items": "log of the number of items",
    "length deviation": "distance of the number of items from the mean, relative to the summed squares of it",
    "popularity": "mean share of users that an item of the profile has",
    "rare items": "share of the items that are among the least popular, which hold a fifth of all interactions",
    "RDMA": "deviation from agreement, for each item over the number of its users, averaged over the profile",
    "WDA": "the same, summed over the profile",
    "WDMA": "the same over the squared number of users, averaged over the profile",
    "popularity entropy": "entropy of the items over ten classes of popularity, in nats",
    "neighbours": "mean cosine with the 20 most similar users",
    "common items": "share of the items that a neighbour has too, averaged over the 20 most similar users",
    "coherence": "mean correlation of two items of the profile over users",
    "tied items": "mean cosine of the three pairs of items of the profile that are most often together",
}
NEIGHBOURS = 20
_CLASSES = 10  # of popularity
_TAIL = 0.2  # of the interactions
_SHRINKAGE = 5.0  # users added to the denominator of the cosine of two items, so that few of them do not make a tie
_TIES = 3
_CHUNK = 512
_DENSE = 8192  # items; beyond, no matrix of items by items is held


def profile_features(profiles: csr_array) -> Float[np.ndarray, "U F"]:
    """The features of `FEATURES`, in their order, of every user; zeros where a user has no item.

    Ratings are not there: where a published feature has the deviation of a rating from the item's mean, here stands
    that of a 1 from the share of users who have the item, so 1 - share.

    Sources: RDMA, the similarity with neighbours: Chirita, Nejdl, Zamfir, WIDM 2005, sections 3.1 and 3.2; WDA, WDMA,
    the deviation of the length: Burke, Mobasher, Williams, Bhaumik, KDD 2006, section 3.1.

    Args:
        profiles: `[U, I]` of 0 and 1.
    """
    lengths, counts = np.diff(profiles.indptr), np.asarray(profiles.sum(axis=0)).reshape(-1)
    n = np.maximum(lengths, 1)
    share = counts / max(profiles.shape[0], 1)
    inverse = 1.0 / np.maximum(counts, 1)
    degree = profiles @ ((1 - share) * inverse)
    similar, common = _neighbours(profiles, lengths)
    columns = [
        np.log(n),
        _length_deviation(lengths),
        (profiles @ share) / n,
        (profiles @ _in_tail(counts)) / n,
        degree / n,
        degree,
        (profiles @ ((1 - share) * inverse**2)) / n,
        _entropy(profiles, counts, n),
        similar,
        common,
        _coherence(profiles, counts, lengths),
        _ties(profiles, counts),
    ]
    return np.where(lengths[:, None] > 0, np.stack(columns, axis=1), 0.0)


def _length_deviation(lengths: np.ndarray) -> np.ndarray:
    far = lengths - lengths.mean()
    return np.abs(far) / max(float(np.sum(far**2)), 1e-12)


def _in_tail(counts: np.ndarray) -> np.ndarray:
    """1 for the least popular items that hold together at most a fifth of the interactions."""
    order = np.argsort(counts, kind="stable")
    found = np.zeros(len(counts))
    found[order[np.cumsum(counts[order]) <= _TAIL * counts.sum()]] = 1
    return found


def _entropy(profiles: csr_array, counts: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Of each profile over classes of popularity that hold as many interactions each."""
    order = np.argsort(counts, kind="stable")
    middle = np.cumsum(counts[order]) - counts[order] / 2
    classes = np.zeros(len(counts), int)
    classes[order] = np.minimum(_CLASSES * middle / max(counts.sum(), 1), _CLASSES - 1).astype(int)
    shares = (profiles @ np.eye(_CLASSES)[classes]) / n[:, None]
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)


def _neighbours(profiles: csr_array, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine with the nearest users, and the mean share of the own items that these have."""
    n_users = profiles.shape[0]
    k = min(NEIGHBOURS, n_users - 1)
    similar, common = np.zeros(n_users), np.zeros(n_users)
    roots, transposed = np.sqrt(np.maximum(lengths, 1)), profiles.T.tocsr()
    for first in range(0, n_users if k else 0, _CHUNK):
        own = np.arange(first, min(first + _CHUNK, n_users))
        overlap = (profiles[own] @ transposed).toarray()
        cosines = overlap / (roots[own][:, None] * roots)
        cosines[np.arange(len(own)), own] = -1.0
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        similar[own] = np.take_along_axis(cosines, best, axis=1).mean(axis=1)
        common[own] = np.take_along_axis(overlap, best, axis=1).mean(axis=1) / np.maximum(lengths[own], 1)
    return similar, common


def _coherence(profiles: csr_array, counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean correlation over the pairs of items of each profile, where an item of nobody or everybody has none.

    With weights 1 / s_i, s_i^2 = n_i (U - n_i), the correlations of a profile's items sum up to U times the squared
    length of what the users have of its weights, minus the square of its sum of n_i / s_i: no table of items is needed.
    """
    n_users = profiles.shape[0]
    spread = np.sqrt(counts * (n_users - counts))
    inverse = np.divide(1.0, spread, out=np.zeros(len(counts)), where=spread > 0)
    weighted, transposed = profiles.multiply(inverse[None, :]).tocsr(), profiles.T.tocsr()
    squares = np.zeros(n_users)
    for first in range(0, n_users, _CHUNK):
        own = (weighted[first : first + _CHUNK] @ transposed).toarray()
        squares[first : first + _CHUNK] = np.sum(own**2, axis=1)
    whole = n_users * squares - (profiles @ (counts * inverse)) ** 2
    return (whole - profiles @ (spread > 0)) / np.maximum(lengths * (lengths - 1), 1)


def _ties(profiles: csr_array, counts: np.ndarray) -> np.ndarray:
    """Mean of the largest shrunk cosines of two items of each profile; 0 where there is one item."""
    roots = np.sqrt(counts).astype(np.float32)

    def cosines(together, items):
        found = together / (np.outer(roots[items], roots[items]) + np.float32(_SHRINKAGE))
        np.fill_diagonal(found, 0.0)
        return found

    n_items, tied = profiles.shape[1], np.zeros(profiles.shape[0])
    profiles = profiles.astype(np.float32)
    whole = cosines((profiles.T @ profiles).toarray(), np.arange(n_items)) if n_items <= _DENSE else None
    by_item = profiles.tocsc()
    for user in range(len(tied)):
        items = profiles.indices[profiles.indptr[user] : profiles.indptr[user + 1]]
        n = len(items)
        if n < 2:
            continue
        if whole is None:
            own = by_item[:, items]
            near = cosines((own.T @ own).toarray(), items)
        else:
            near = whole[items[:, None], items]
        best = min(2 * _TIES, n * (n - 1))  # each pair stands there twice
        tied[user] = np.partition(near.reshape(-1), n * n - best)[-best:].mean(dtype=float)
    return tied
