"""Fake profiles of implicit feedback, which promote target items: drawn by rule, and put into the training data.

Attack kinds as in Mobasher et al., ACM TOIT 2007, for implicit feedback: without ratings a profile is a set of items,
the targets and fillers.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gan_rec.data.interactions import Interactions, Split
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import matrix

_POPULAR = 0.05  # of the items: from these a bandwagon profile takes half of its fillers


def fake_profiles(
    kind: str,
    known: Interactions,
    n: int,
    targets: Int[np.ndarray, " T"],
    rng: np.random.Generator,
    size: int | None = None,
) -> Bool[np.ndarray, "n I"]:
    """Profiles that hold all targets and fillers of a kind.

    * random: every other item is as likely.
    * average: in proportion to popularity, so that for a given number of fillers the expected share of every item is
      that among real users.
    * bandwagon: half of the fillers from the most popular items, the rest at random.
    * segment: from the items that are most similar to the targets (cosine of who has them): twice as many as needed.

    Args:
        kind: one of `KINDS`.
        known: what real users have.
        n: how many profiles.
        targets: indices of the items to be promoted.
        rng: of the random choices.
        size: items of each profile, with the targets; None: as many as some real user has, drawn for each profile.
            A profile always has room for all targets.

    Raises:
        UserError: the kind is unknown, or the numbers are not possible ones.
    """
    if kind not in KINDS:
        raise UserError(f"unknown attack {kind!r}; allowed: {', '.join(KINDS)}")
    check_request(known, n, targets, size)
    sizes = profile_sizes(known, n, len(targets), rng, size)
    profiles = np.zeros((n, known.n_items), bool)
    fillers = KINDS[kind](known, targets)
    for profile, own in zip(profiles, sizes, strict=True):
        profile[fillers(own - len(targets), rng)] = True
    profiles[:, targets] = True
    return profiles


def check_request(known: Interactions, n: int, targets: Int[np.ndarray, " T"], size: int | None) -> None:
    """Raise UserError unless n profiles of such a size, with these targets, can be made."""
    if n < 1:
        raise UserError(f"the number of fake profiles must be at least 1, got {n}")
    if (
        not len(targets)
        or len(np.unique(targets)) != len(targets)
        or np.any((targets < 0) | (targets >= known.n_items))
    ):
        raise UserError(f"targets must be different items from 0 to {known.n_items - 1}, got {targets.tolist()}")
    if size is not None and not len(targets) <= size <= len(_others(known, targets)) + len(targets):
        most = len(_others(known, targets)) + len(targets)
        raise UserError(f"a fake profile's size must be {len(targets)} (the targets) to {most} (all items), got {size}")


def profile_sizes(
    known: Interactions, n: int, n_targets: int, rng: np.random.Generator, size: int | None = None
) -> Int[np.ndarray, " n"]:
    """How many items each of n profiles has: `size`, or as real users have, but at least the targets."""
    if size is not None:
        return np.full(n, size)
    counts = np.bincount(known.users, minlength=known.n_users)
    most = known.n_items if known.candidates is None else int(known.candidates.sum())
    return rng.choice(counts[counts > 0], n).clip(n_targets, most)


def unpopular_targets(known: Interactions, n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """N items, drawn from the less popular half of those that somebody has.

    Raises:
        UserError: there are not so many.
    """
    counts = known.item_counts()
    had = np.flatnonzero(counts)
    unpopular = had[counts[had] <= np.median(counts[had])]
    if not 1 <= n <= len(unpopular):
        raise UserError(f"targets must be 1 to {len(unpopular)} (the unpopular items), got {n}")
    return np.sort(rng.choice(unpopular, n, replace=False))


def number_of_fakes(known: Interactions, budget: float) -> int:
    """How many fake users a budget buys: a part of the real users with interactions, at least 1.

    Raises:
        UserError: the budget is not between 0 and 1.
    """
    if not 0 < budget <= 1:
        raise UserError(f"a budget is a part of the users, above 0 and at most 1, got {budget}")
    return max(1, round(budget * len(np.unique(known.users))))


def with_profiles(split: Split, profiles: Bool[np.ndarray, "n I"]) -> Split:
    """The split with fake users after the real ones. Their profiles are in train alone.

    Validation and test get no pair: whoever is measured on them is real. Train loses ratings and times, of which fakes
    have none.
    """
    users, items = np.nonzero(profiles)
    ids = np.concatenate([split.train.user_ids, _new_ids(split.train.user_ids, len(profiles))])
    train = replace(
        split.train,
        users=np.concatenate([split.train.users, (users + split.train.n_users).astype(np.int32)]),
        items=np.concatenate([split.train.items, items.astype(np.int32)]),
        ratings=None,
        times=None,
    )
    parts = (replace(part, user_ids=ids) for part in (train, split.valid, split.open_test()))
    return Split(split.name, split.method, *parts, split.notes, split.item_texts, split.side_information)


def similarity_to(known: Interactions, targets: Int[np.ndarray, " T"]) -> Float[np.ndarray, " I"]:
    """Cosine of every item's users with those of the targets, summed over these."""
    rows = matrix(known)
    counts = np.asarray(rows.sum(axis=0)).clip(1)
    shared = (rows.T @ rows[:, targets]).toarray()
    return (shared / np.sqrt(counts[:, None] * counts[targets])).sum(axis=1)


def systematic(weights: Float[np.ndarray, " I"], n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """N different numbers, each drawn with a probability of exactly n * weight / sum, or 1 where that is above 1.

    Source: Madow, Annals of Mathematical Statistics 1949, on a random order.
    """
    chance = inclusion(weights, n)
    order = rng.permutation(np.flatnonzero(chance))
    upper = np.cumsum(chance[order])
    upper *= n / upper[-1] if n else 0.0  # rounding shall not cost one
    return order[np.searchsorted(upper, rng.random() + np.arange(n), side="right").clip(0, len(order) - 1)]


def inclusion(weights: Float[np.ndarray, " I"], n: int) -> Float[np.ndarray, " I"]:
    """Probabilities in proportion to weights that sum up to n; what would be above 1 is 1."""
    if n >= np.count_nonzero(weights):
        return (weights > 0).astype(float)
    certain = np.zeros(len(weights), bool)
    while True:
        free = np.where(certain, 0.0, weights)
        chance = np.where(certain, 1.0, (n - certain.sum()) * free / free.sum())
        if not np.any(chance > 1 + 1e-9):
            return chance
        certain |= chance > 1


Fillers = Callable[[int, np.random.Generator], Int[np.ndarray, " n"]]


def fillers_allowed(known: Interactions, targets: Int[np.ndarray, " T"]) -> Bool[np.ndarray, " I"]:
    """Which items can be fillers: all that can be chosen but the targets."""
    allowed = np.ones(known.n_items, bool) if known.candidates is None else known.candidates.copy()
    allowed[targets] = False
    return allowed


def _others(known: Interactions, targets: Int[np.ndarray, " T"]) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(fillers_allowed(known, targets))


def _random(known: Interactions, targets: Int[np.ndarray, " T"]) -> Fillers:
    others = _others(known, targets)
    return lambda n, rng: rng.choice(others, min(n, len(others)), replace=False)


def _average(known: Interactions, targets: Int[np.ndarray, " T"]) -> Fillers:
    weights = known.item_counts().astype(float)
    weights = np.where(fillers_allowed(known, targets), weights, 0.0)
    return lambda n, rng: systematic(weights, min(n, np.count_nonzero(weights)), rng)


def _bandwagon(known: Interactions, targets: Int[np.ndarray, " T"]) -> Fillers:
    others = _others(known, targets)
    ranked = others[np.argsort(-known.item_counts()[others], kind="stable")]

    def draw(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        n = min(n, len(ranked))
        half = -(-n // 2)
        popular = rng.choice(ranked[: max(half, round(_POPULAR * known.n_items))], half, replace=False)
        return np.concatenate([popular, rng.choice(np.setdiff1d(others, popular), n - half, replace=False)])

    return draw


def _segment(known: Interactions, targets: Int[np.ndarray, " T"]) -> Fillers:
    others, similarity = _others(known, targets), similarity_to(known, targets)

    def draw(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        shuffled = rng.permutation(others)  # among equals none is before the others
        nearest = shuffled[np.argsort(-similarity[shuffled], kind="stable")][: 2 * n]
        return rng.choice(nearest, min(n, len(nearest)), replace=False)

    return draw


KINDS: dict[str, Callable[[Interactions, Int[np.ndarray, " T"]], Fillers]] = {
    "random": _random,
    "average": _average,
    "bandwagon": _bandwagon,
    "segment": _segment,
}


def _new_ids(ids: np.ndarray, n: int) -> np.ndarray:
    """N ids of the same type that are none of these."""
    if np.issubdtype(ids.dtype, np.integer):
        return (np.arange(n) + (int(ids.max()) + 1 if len(ids) else 0)).astype(ids.dtype)
    taken, name = set(map(str, ids.tolist())), "fake"
    while any(f"{name}-{number}" in taken for number in range(n)):
        name += "_"
    made = [f"{name}-{number}" for number in range(n)]
    return np.array(made, object if ids.dtype == object else None)
