"""Rated pairs: what a user thought of an item, and what the same user had liked before."""

import sys
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from gan_rec.data.interactions import Dataset, Interactions, Split
from gan_rec.data.samples import STEP
from gan_rec.errors import UserError

ALL_RATINGS = -sys.float_info.max  # as `positive_from`: every row stays, those that are not liked too


class PairBatch(NamedTuple):
    """B rated pairs; a part of what `gan_rec.games.batches.Batch` has, and labels."""

    users: Int[Array, " B"]
    items: Int[Array, " B"]
    history: Float[Array, "B I"]  # 1 for items that the user had liked before
    earlier: Float[Array, "B 2"]  # likes and ratings of the user before; 0 where nobody knows what was before
    shares: Float[Array, "B 3"]  # 1 / pairs of the user, 1 / pairs of the item, 1 / all pairs
    labels: Float[Array, " B"]
    weights: Float[Array, " B"]  # 1: the label is known
    turn: Int[Array, ""] | int = 0
    offsets: Any = None
    profile: None = None

    def at_width(self, compute) -> Any:
        """`compute(batch)`: pairs have one width."""
        return compute(self)


@dataclass(frozen=True)
class RatedPairs:
    """N rated pairs of U users and I items."""

    users: Int[np.ndarray, " N"]
    items: Int[np.ndarray, " N"]
    history: UInt8[np.ndarray, "N bytes"]  # bit j of byte b: the user had liked item 8 b + j before
    earlier: Int[
        np.ndarray, "N 2"
    ]  # the user's likes and ratings before; 0 where parts do not follow each other in time
    labels: Int[np.ndarray, " N"]  # 1: liked
    n_users: int
    n_items: int

    of_tokens = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def groups(self) -> Int[np.ndarray, " N"]:
        """Whose each of them is."""
        return self.users

    def concat(self, other: "RatedPairs") -> "RatedPairs":
        """These, then the others."""
        arrays = [f.name for f in fields(self) if f.name not in ("n_users", "n_items")]
        return replace(self, **{n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in arrays})

    def on_device(self, capacity: int | None = None) -> "RatedSamples":
        """Put them on the device, padded to `capacity` rows (default: as many as there are) or some more."""
        more = -(-(len(self) if capacity is None else capacity) // STEP) * STEP - len(self)
        of_user, of_item = (
            1.0 / np.maximum(np.bincount(ids, minlength=n), 1)[ids]
            for ids, n in ((self.users, self.n_users), (self.items, self.n_items))
        )
        shares = np.stack([of_user, of_item, np.full(len(self), 1.0 / max(len(self), 1))], axis=1)
        return RatedSamples(
            *(jnp.asarray(np.pad(ids, (0, more)), jnp.int32) for ids in (self.users, self.items)),
            jnp.asarray(np.pad(self.history, ((0, more), (0, 0)))),
            jnp.asarray(np.pad(self.earlier, ((0, more), (0, 0))), jnp.float32),
            jnp.asarray(np.pad(shares, ((0, more), (0, 0))), jnp.float32),
            jnp.asarray(np.pad(self.labels, (0, more)), jnp.float32),
            jnp.asarray(len(self), jnp.int32),
            self.n_items,
        )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["users", "items", "history", "earlier", "shares", "labels", "n"],
    meta_fields=["n_items"],
)
@dataclass(frozen=True)
class RatedSamples:
    """The same on the device, padded to a capacity: a bigger part runs in the same program."""

    users: Int[Array, " capacity"]
    items: Int[Array, " capacity"]
    history: UInt8[Array, "capacity bytes"]
    earlier: Float[Array, "capacity 2"]
    shares: Float[Array, "capacity 3"]
    labels: Float[Array, " capacity"]
    n: Int[Array, ""]
    n_items: int

    of_tokens = False

    def chunks(self) -> Int[Array, "chunks 128"]:
        """All rows, some at a time."""
        return jnp.arange(self.labels.shape[0]).reshape(-1, STEP)

    def batch(self, rows: Int[Array, " B"], weights: Float[Array, " B"] | None = None) -> PairBatch:
        """Some of them, as a game and a recommender take them."""
        bits = (self.history[rows][:, :, None] >> jnp.arange(8, dtype=jnp.uint8)) & 1
        history = bits.reshape(rows.shape[0], -1)[:, : self.n_items].astype(jnp.float32)
        weights = jnp.ones(rows.shape[0]) if weights is None else weights
        return PairBatch(
            self.users[rows],
            self.items[rows],
            history,
            self.earlier[rows],
            self.shares[rows],
            self.labels[rows],
            weights,
        )


def rated_parts(
    split: Split, dataset: Dataset, liked_from: float
) -> tuple[tuple[RatedPairs, RatedPairs, RatedPairs], tuple[str, ...]]:
    """Train, validation and test pairs of a split with labels and histories, and notes.

    Where parts follow each other in time, a history is all that the user had liked earlier, in whatever part: that is
    known when the pair is to be told. In any other split, or without times, it is what the user likes in train, but for
    the pair itself.

    Args:
        split: of a data set that was loaded with ALL_RATINGS.
        dataset: the same data set.
        liked_from: ratings from this value on are liked.

    Raises:
        UserError: the data has no ratings, or all or none of them are liked.
    """
    parts = (split.train, split.valid, split.open_test())
    if any(part.ratings is None for part in parts):
        raise UserError(f"{dataset.name} has no ratings, so there is nothing to tell of a pair")
    labels = [(part.ratings >= liked_from).astype(np.int32) for part in parts]
    for name, own in zip(("training", "validation", "test"), labels, strict=True):
        if len(np.unique(own)) < 2:
            raise UserError(
                f"the {name} part of {dataset.name} has {'only' if own.any() else 'no'} ratings from {liked_from:g} "
                "on: choose another positive_from"
            )
    in_time = _in_time(parts)
    histories, earlier = (_liked_earlier if in_time else _liked_in_train)(parts, labels)
    what = "all that was liked earlier, in whatever part" if in_time else "what is liked in train"
    note = f"{np.concatenate(labels).mean():.1%} of the ratings are likes; a history is {what}"
    sizes = split.train.n_users, split.train.n_items
    made = zip(parts, histories, earlier, labels, strict=True)
    return tuple(RatedPairs(part.users, part.items, h, e, own, *sizes) for part, h, e, own in made), (note,)


def _in_time(parts: tuple[Interactions, ...]) -> bool:
    """Whether no pair of a part is younger than one of the next part."""
    if any(part.times is None for part in parts):
        return False
    return all(a.times.max() <= b.times.min() for a, b in zip(parts, parts[1:], strict=False))


def _liked_earlier(parts: tuple[Interactions, ...], labels: list[np.ndarray]) -> tuple[list, list]:
    """Histories, and likes and ratings before, of every part."""
    users, items, times, liked = (
        np.concatenate(each)
        for each in ([p.users for p in parts], [p.items for p in parts], [p.times for p in parts], labels)
    )
    bits, counts = np.zeros((len(users), -(-parts[0].n_items // 8)), np.uint8), np.zeros((len(users), 2), np.int64)
    # Among pairs of one time those that the files name first are the earlier ones.
    order = np.lexsort((times, users))
    starts = np.flatnonzero(np.diff(users[order], prepend=-1))
    for own in np.split(order, starts[1:]):
        so_far = np.zeros(bits.shape[1], np.uint8)
        counts[own] = np.stack([np.cumsum(liked[own]) - liked[own], np.arange(len(own))], axis=1)
        for row in own:
            bits[row] = so_far
            if liked[row]:
                so_far[items[row] // 8] |= np.uint8(1 << (items[row] % 8))
    ends = np.cumsum([len(p) for p in parts])[:-1]
    return np.split(bits, ends), np.split(counts, ends)


def _liked_in_train(parts: tuple[Interactions, ...], labels: list[np.ndarray]) -> tuple[list, list]:
    """The same where nothing is known of before: a rating's own label would be in a count that leaves it out."""
    train, liked = parts[0], labels[0] == 1
    table = np.zeros((train.n_users, -(-train.n_items // 8)), np.uint8)
    users, items = train.users[liked], train.items[liked]
    np.bitwise_or.at(table, (users, items // 8), (1 << (items % 8)).astype(np.uint8))
    found = [table[part.users] for part in parts]
    found[0][np.arange(len(train)), train.items // 8] &= ~(1 << (train.items % 8)).astype(np.uint8)
    return found, [np.zeros((len(part), 2), np.int64) for part in parts]
