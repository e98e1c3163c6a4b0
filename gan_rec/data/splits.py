"""Train, validation and test parts: seeded, and vectorised over users."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gan_rec.data.domains import one_of_each
from gan_rec.data.interactions import Dataset, Interactions, Split
from gan_rec.data.people import is_of_people, link_numbers
from gan_rec.data.streamed import StreamedDataset, refuse_streamed, split_streamed
from gan_rec.data.text import count
from gan_rec.errors import UserError

METHODS = ("random", "leave-one-out", "leave-five-out", "temporal", "cold-items", "links", "fixed")
_FRACTION = {"cold-items": 0.1}  # of the items; of the other methods 0.2 of the interactions


@dataclass(frozen=True)
class _Fractions:
    test: float
    valid: float
    one_each: bool = False  # of every user and domain one pair is validation


def split(
    dataset: Dataset | StreamedDataset,
    method: str | None = None,
    *,
    test_fraction: float | None = None,
    valid_fraction: float | None = None,
    seed: int = 0,
) -> Split:
    """Cut a data set into train, validation and test.

    Args:
        dataset: what `gan_rec.load` returns.
        method: "random" (a part of every user's interactions), "leave-one-out" (the last of every user is test, the
            one before it validation), "leave-five-out" (of users with 8 interactions or more the last five are test, of
            those with 13 or more the five before them validation), "temporal" (the last part of all is test, the last
            part of the rest validation), "cold-items" (some items are test with all that they have, others validation;
            only these are then ranked, and for nobody is any of them in train), "links" (of people: a part of all
            links, both directions of each in one part) or "fixed" (as the data set brings it; without a validation
            part, `valid_fraction` of every user's train interactions, or if that is None one of every user in every
            domain of a data set that has domains). None: fixed if it brings one, else what its
            source uses, else random.
        test_fraction: part of the interactions that is test, of cold-items part of the items. None: 0.2, of cold-items
            0.1.
        valid_fraction: part of what is left that is validation. None: the same.
        seed: of the random choices. The same seed gives the same split everywhere.

    Raises:
        UserError: the method is unknown or does not fit the data, a fraction lies outside (0, 1), the seed is
            negative, or a part would be empty.
    """
    if isinstance(dataset, StreamedDataset):
        test_fraction, valid_fraction = (0.2 if f is None else f for f in (test_fraction, valid_fraction))
        _check_numbers(seed, test_fraction=test_fraction, valid_fraction=valid_fraction)
        return split_streamed(dataset, method, test_fraction, valid_fraction, seed)
    brings = "train" in dataset.parts
    method = method or ("fixed" if brings else dataset.default_split or "random")
    if method not in METHODS:
        raise UserError(f"unknown split {method!r}; allowed: {', '.join(METHODS)}")
    if brings and method != "fixed":
        raise UserError(f"{dataset.name} brings its own split; allowed: fixed, got {method}")
    if not brings and method == "fixed":
        raise UserError(f"{dataset.name} brings no split of its own; allowed: {', '.join(METHODS[:-1])}, got fixed")
    one_each = valid_fraction is None and bool(dataset.side_information and dataset.side_information.item_domains)
    usual = _FRACTION.get(method, 0.2)
    test_fraction, valid_fraction = (usual if f is None else f for f in (test_fraction, valid_fraction))
    _check_numbers(seed, test_fraction=test_fraction, valid_fraction=valid_fraction)
    rng, notes = np.random.default_rng(seed), []
    fractions = _Fractions(test_fraction, valid_fraction, one_each)
    cut = _CUTS[method]
    return _whole(dataset, method, cut(dataset, fractions, rng, notes), notes)


def folds(dataset: Dataset, k: int = 5, seed: int = 0, *, valid_fraction: float | None = None) -> Iterator[Split]:
    """Cut a data set for a cross-validation: every user's interactions into K parts, each of which is test once.

    The parts of a user differ by one interaction at most, and so do the test parts of all folds, whose trainings thus
    share their compiled programs. A user with a single interaction keeps it for training in every fold.

    Args:
        dataset: what `gan_rec.load` returns.
        k: K, the number of folds.
        seed: of the random choices. The same seed gives the same folds everywhere.
        valid_fraction: part of each user's interactions outside of the test part that is validation. None: 0.2.

    Returns:
        A split for each fold.

    Raises:
        UserError: the data set brings its own split, K is not 2 to the number of interactions that can be tested, or
            as `split`.
    """
    refuse_streamed(dataset, "a cross-validation")
    if "train" in dataset.parts:
        raise UserError(f"{dataset.name} brings its own split, so it cannot be cut into folds")
    valid_fraction = 0.2 if valid_fraction is None else valid_fraction
    _check_numbers(seed, valid_fraction=valid_fraction)
    whole, rng = dataset.parts["all"], np.random.default_rng(seed)
    alone = np.bincount(whole.users, minlength=whole.n_users)[whole.users] == 1
    n = int(np.sum(~alone))
    if not isinstance(k, int) or not 2 <= k <= n:
        raise UserError(
            f"folds must be 2 to {n} (the interactions of {dataset.name}, but for users' only ones), got {k}"
        )
    # Users in random order and each one's interactions too, dealt out by turns.
    order = np.lexsort((rng.random(len(whole)), rng.permutation(whole.n_users)[whole.users], alone))
    fold = np.full(len(whole), -1)
    fold[order[:n]] = np.arange(n) % k
    notes = [f"{count(int(alone.sum()), 'user')} with a single interaction, never tested"] if alone.any() else []

    def cut(number: int) -> Split:
        rest = whole.select(fold != number)
        is_valid = _part_of_each_user(rest, valid_fraction, np.random.default_rng([seed, number]))
        parts = rest.select(~is_valid), rest.select(is_valid), whole.select(fold == number)
        return _whole(dataset, f"fold {number + 1} of {k}", parts, notes)

    return map(cut, range(k))


def _check_numbers(seed: int, **fractions: float) -> None:
    for name, value in fractions.items():
        if not (isinstance(value, int | float) and 0 < value < 1):
            raise UserError(f"{name} must lie between 0 and 1, got {value}")
    if seed < 0:
        raise UserError(f"the seed of a split must be 0 or more, got {seed}")


def _whole(dataset: Dataset, method: str, parts: tuple[Interactions, ...], notes: list[str]) -> Split:
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if len(part) == 0:
            raise UserError(f"the {method} split of {dataset.name} leaves no {name} interaction: there are too few")
    return Split(dataset.name, method, *parts, tuple(notes), dataset.item_texts, dataset.side_information)


def _random(dataset: Dataset, fractions: _Fractions, rng, notes):
    whole = dataset.parts["all"]
    is_test = _part_of_each_user(whole, fractions.test, rng)
    rest = whole.select(~is_test)
    is_valid = _part_of_each_user(rest, fractions.valid, rng)
    return rest.select(~is_valid), rest.select(is_valid), whole.select(is_test)


def _fixed(dataset: Dataset, fractions: _Fractions, rng, notes):
    train, test = dataset.parts["train"], dataset.parts["test"]
    if "valid" in dataset.parts:
        return train, dataset.parts["valid"], test
    if fractions.one_each:
        is_valid = one_of_each(train, dataset.side_information.item_domains, rng)
        notes.append("no validation part: a random train interaction of every user in every domain becomes it")
        return train.select(~is_valid), train.select(is_valid), test
    is_valid = _part_of_each_user(train, fractions.valid, rng)
    notes.append(f"no validation part: {fractions.valid:.0%} of every user's train interactions become it")
    return train.select(~is_valid), train.select(is_valid), test


def _leave_one_out(dataset: Dataset, fractions: _Fractions, rng, notes):
    # Users with one interaction keep it for training, those with two have no validation item.
    return _leave_last(dataset, 1, 1, rng, notes)


def _leave_five_out(dataset: Dataset, fractions: _Fractions, rng, notes):
    if dataset.parts["all"].times is None:
        raise UserError(f"a leave-five-out split needs the order of interactions, but {dataset.name} has no times")
    return _leave_last(dataset, 5, 3, rng, notes)


def _leave_last(dataset: Dataset, n: int, least: int, rng, notes: list[str]):
    """The last n of every user as test, the n before as validation, of those who keep at least so many for training."""
    whole = dataset.parts["all"]
    if whole.times is None:
        notes.append("no timestamps: the last two interactions of a user are random ones")
    from_end = _places(whole.users, whole.times, rng, from_end=True)
    counts = np.bincount(whole.users, minlength=whole.n_users)[whole.users]
    is_test = (from_end < n) & (counts >= n + least)
    is_valid = (from_end >= n) & (from_end < 2 * n) & (counts >= 2 * n + least)
    return whole.select(~is_test & ~is_valid), whole.select(is_valid), whole.select(is_test)


def _temporal(dataset: Dataset, fractions: _Fractions, rng, notes):
    whole = dataset.parts["all"]
    if whole.times is None:
        raise UserError(f"a temporal split needs timestamps, but {dataset.name} has none")
    if dataset.times_are_places:
        raise UserError(
            f"a temporal split needs timestamps, but {dataset.name} has only the order of each user's items; allowed: "
            + ", ".join(method for method in METHODS if method not in ("temporal", "links", "fixed"))
        )
    order = np.argsort(whole.times, kind="stable")
    first_test = math.floor(len(whole) * (1 - fractions.test) + 0.5)
    first_valid = math.floor(first_test * (1 - fractions.valid) + 0.5)
    parts = np.split(order, [first_valid, first_test])
    return tuple(whole.select(np.sort(rows)) for rows in parts)


def _cold_items(dataset: Dataset, fractions: _Fractions, rng, notes):
    whole = dataset.parts["all"]
    n_test = math.floor(whole.n_items * fractions.test + 0.5)
    n_valid = math.floor((whole.n_items - n_test) * fractions.valid + 0.5)
    place = rng.permutation(whole.n_items)
    test, valid = place < n_test, (place >= n_test) & (place < n_test + n_valid)
    notes.append(f"{n_test} cold items are ranked in test, {n_valid} others in validation")
    return tuple(replace(whole.select(p[whole.items]), candidates=p) for p in (~test & ~valid, valid, test))


def _links(dataset: Dataset, fractions: _Fractions, rng, notes):
    whole = dataset.parts["all"]
    if not is_of_people(whole):
        raise UserError(
            f"a split by links needs items that are users, but those of {dataset.name} are not (people=True, --people)"
        )
    # Pairs of somebody with himself are no links, and stay in train.
    links = np.unique(link_numbers(whole)[whole.users != whole.items])
    links = rng.permutation(links)
    n_test = math.floor(len(links) * fractions.test + 0.5)
    n_valid = math.floor((len(links) - n_test) * fractions.valid + 0.5)
    test, valid = (np.isin(link_numbers(whole), own) for own in (links[:n_test], links[n_test : n_test + n_valid]))
    return whole.select(~test & ~valid), whole.select(valid), whole.select(test)


_CUTS = {
    "random": _random, "leave-one-out": _leave_one_out, "leave-five-out": _leave_five_out, "temporal": _temporal,
    "cold-items": _cold_items, "links": _links, "fixed": _fixed,
}  # fmt: skip


def _part_of_each_user(pairs: Interactions, fraction: float, rng) -> np.ndarray:
    """A mask with `fraction` of every user's pairs, rounded to the nearest number; one pair at least is left."""
    counts = np.bincount(pairs.users, minlength=pairs.n_users)
    wanted = np.minimum(np.floor(counts * fraction + 0.5).astype(int), np.maximum(counts - 1, 0))
    return _places(pairs.users, None, rng) < wanted[pairs.users]


def _places(users: np.ndarray, keys: np.ndarray | None, rng, *, from_end: bool = False) -> np.ndarray:
    """The place, from 0, of each row among its user's: in the order of `keys` (ties by row), random without keys."""
    keys = rng.random(len(users)) if keys is None else keys
    order = np.lexsort((np.arange(len(users)), keys, users))
    counts = np.bincount(users)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places = np.empty(len(users), np.int64)
    places[order] = np.arange(len(users)) - first[users[order]]
    return counts[users] - 1 - places if from_end else places
