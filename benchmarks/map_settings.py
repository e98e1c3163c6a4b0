"""The settings of map.py: which data, what is held out, and which recommender is to rank it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gan_rec
from gan_rec.data import Dataset, Interactions, Split

ML, LFM, FILMS = "cfgan-ml100k", "lfm2k", "filmtrust"
_AUTOENCODER = {"recommender": "autoencoder", "dim": 64, "learning_rate": 1e-2, "weight_decay": 1.0, "average": 0.9}
MF = {"recommender": "mf", "loss": "bpr", "dim": 64, "batch_size": 2048, "learning_rate": 1e-2, "weight_decay": 0.5}
_LIGHTGCN = {
    "recommender": "lightgcn", "dim": 64, "learning_rate": 8e-3, "weight_decay": 0.8, "average": 0.75, "epochs": 100,
}  # fmt: skip
_TOWER = {"recommender": "two-tower", "units": 128, "learning_rate": 2e-3, "weight_decay": 3.0, "average": 0.9}


@dataclass(frozen=True)
class Setting:
    """Where an adversary is to help.

    Args:
        note: what it is, in a line.
        splits: seeds -> a split of each, with its own train, validation and test part.
        options: of the recommender.
        seeds: training seeds of every split.
        unit: what gains are paired by and intervals are over: "split" or "seed".
    """

    note: str
    splits: Callable[[Iterable[int]], Iterator[Split]]
    options: dict[str, Any] = field(default_factory=lambda: _AUTOENCODER)
    seeds: int = 1
    unit: str = "split"


def whole(name: str, **options) -> Dataset:
    """A data set in one part. Of CFGAN's split the train part alone, so that its test part stays unread."""
    data = gan_rec.load(name, **options)
    if "all" in data.parts:
        return data
    parts = [data.parts["train"]] if name == ML else list(data.parts.values())
    pairs = parts[0]
    for part in parts[1:]:
        pairs = pairs.concat(part)
    first = np.unique(pairs.users * np.int64(pairs.n_items) + pairs.items, return_index=True)[1]
    return dataclasses.replace(data, parts={"all": pairs.select(np.sort(first))}, default_split=None)


def random_splits(name: str, known: float = 0.8, change: Callable[[Split, int], Split] = lambda split, seed: split):
    """Splits of which a part of every user's interactions is known (a fifth of it for validation), the rest test."""

    def make(seeds: Iterable[int]) -> Iterator[Split]:
        data = whole(name)
        for seed in seeds:
            yield change(gan_rec.split(data, "random", test_fraction=1 - known, valid_fraction=0.2, seed=seed), seed)

    return make


def with_misclicks(split: Split, seed: int, part: float = 0.2) -> Split:
    """A fifth as many pairs again in train, of every user at random among what the user has in no part."""
    train, rng = split.train, np.random.default_rng(seed)
    free = np.ones((train.n_users, train.n_items), bool)
    for pairs in (train, split.valid, split.open_test()):  # else a misclick would hide what is to be found
        free[pairs.users, pairs.items] = False
    wanted = np.round(part * np.bincount(train.users, minlength=train.n_users)).astype(int)
    places = np.argsort(np.argsort(np.where(free, rng.random(free.shape), 2.0), axis=1), axis=1)
    users, items = np.nonzero((places < wanted[:, None]) & free)
    plain = dataclasses.replace(train, ratings=None, times=None)
    clicks = dataclasses.replace(plain, users=users.astype(np.int32), items=items.astype(np.int32))
    return dataclasses.replace(split, train=plain.concat(clicks))


def tail_only(split: Split, seed: int, part: float = 0.8) -> Split:
    """Only the least popular items are to be found, in validation and test; what validation had of others is train.

    Popularity is that in train and validation. All items are ranked all the same.
    """
    known = split.train_and_valid()
    order = np.argsort(np.bincount(known.items, minlength=known.n_items), kind="stable")
    tail = np.zeros(known.n_items, bool)
    tail[order[: round(part * known.n_items)]] = True

    def of(pairs: Interactions, which: np.ndarray) -> Interactions:
        return pairs.select(which[pairs.items])

    train, test = split.train.concat(of(split.valid, ~tail)), of(split.open_test(), tail)
    return dataclasses.replace(split, train=train, valid=of(split.valid, tail), _test=test)


def cold_splits(seeds: Iterable[int]) -> Iterator[Split]:
    """A tenth of the items is test with all that they have, a tenth of the rest validation; only they are ranked."""
    data = gan_rec.load("ml-100k", positive_from=4, item_text=True)
    for seed in seeds:
        yield gan_rec.split(data, "cold-items", seed=seed)


def unbiased(seeds: Iterable[int]) -> Iterator[Split]:
    """Coat's own split: what users chose is known, what was shown to them at random is test."""
    yield gan_rec.split(gan_rec.load("coat-unbiased"))


def made_up(seeds: Iterable[int]) -> Iterator[Split]:
    """For a test of the benchmark."""
    data = gan_rec.load("synthetic")
    for seed in seeds:
        yield gan_rec.split(data, "random", seed=seed)


# What says most comes first: the map can be stopped, and drawn, at any time.
SETTINGS = {
    "user side": Setting("ML-100K, autoencoder over users' histories", random_splits(ML)),
    "item side": Setting(
        "ML-100K, autoencoder over items' histories", random_splits(ML), _AUTOENCODER | {"side": "item"}
    ),
    "unbiased": Setting(
        "Coat, tested on items shown at random; 71 test pairs stand in train and 31 in validation, and are masked",
        unbiased, seeds=10, unit="seed",
    ),
    "10% known": Setting("ML-100K, a tenth of every user's interactions is known", random_splits(ML, 0.1)),
    "cold items": Setting("ML-100K (ratings from 4), items nobody had, two-tower over texts", cold_splits, _TOWER),
    "misclicks": Setting(
        "ML-100K, a fifth as many random pairs added to train; all of them misses, since what is held out is none",
        random_splits(ML, change=with_misclicks)
    ),
    "tail items": Setting(
        "ML-100K, only the 80% least popular items count as found", random_splits(ML, change=tail_only)
    ),
    "FilmTrust": Setting("FilmTrust (films)", random_splits(FILMS)),
    "LightGCN": Setting("ML-100K, LightGCN", random_splits(ML), _LIGHTGCN),
    "mf": Setting("ML-100K, matrix factorisation with BPR", random_splits(ML), MF),
    "25% known": Setting("ML-100K, a quarter is known", random_splits(ML, 0.25)),
    "50% known": Setting("ML-100K, half is known", random_splits(ML, 0.5)),
    "Last.fm": Setting("Last.fm 2K (listeners and artists)", random_splits(LFM)),
}  # fmt: skip
SMOKE = {"made up": Setting("a made-up world", made_up, _AUTOENCODER | {"dim": 8})}
