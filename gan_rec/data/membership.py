"""Which items each user has, on the device: a bit for every user and item, or sorted lists where that is too much."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from gan_rec.random import bernoulli, bernoulli_bytes

LARGEST_BITMAP = 2**29  # bytes; above, three to four times slower lists are kept


@partial(jax.tree_util.register_dataclass, data_fields=["bits"], meta_fields=["n_items"])
@dataclass(frozen=True)
class Bitmap:
    """A bit for every user and item."""

    bits: UInt8[Array, "U bytes"]  # bit j of byte b of row u: user u has item 8 b + j
    n_items: int

    @property
    def n_users(self) -> int:
        """U."""
        return self.bits.shape[0]

    def history(self, users: Int[Array, " B"]) -> Float[Array, "B I"]:
        """1 where the user has the item, else 0."""
        return _spread(self.bits[users])[:, : self.n_items].astype(jnp.float32)

    def within(self, users: Int[Array, " B"], start: Int[Array, ""] | int, size: int) -> Float[Array, "B size"]:
        """The history of `size` items (at most I) from `start` on; 0 past the end of the catalogue.

        Both are multiples of 8; I counts as one.
        """
        first, width = start // 8, size // 8
        # A slice that would reach past the end begins earlier: what it has too much is turned to its end.
        begin = jnp.minimum(first, self.bits.shape[1] - width)
        own = jax.vmap(lambda user: jax.lax.dynamic_slice(self.bits, (user, begin), (1, width))[0])(users)
        bits = _spread(jnp.roll(own, begin - first, axis=1)).astype(jnp.float32)
        return jnp.where(start + jnp.arange(size) < self.n_items, bits, 0.0)

    def thin(self, users: Int[Array, " B"], key: PRNGKeyArray, chance: float) -> tuple["Bitmap", "Bitmap"]:
        """What is left of the histories if each item stays with this `chance`, and what is not, of B users."""
        rows = self.bits[users]
        stays = bernoulli_bytes(key, chance, rows.shape)
        return Bitmap(rows & stays, self.n_items), Bitmap(rows & ~stays, self.n_items)

    def hide(self, users: Int[Array, " B"], scores: Float[Array, "B I"]) -> Float[Array, "B I"]:
        """Scores, -inf where the user has the item."""
        return jnp.where(self.history(users) > 0, -jnp.inf, scores)

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it."""
        return (self.bits[users, items // 8] >> (items % 8).astype(jnp.uint8)) & 1 == 1


@partial(jax.tree_util.register_dataclass, data_fields=["starts", "items"], meta_fields=["n_items", "longest"])
@dataclass(frozen=True)
class SortedLists:
    """The items of each user in ascending order, one list after the other."""

    starts: Int[Array, " U+1"]
    items: Int[Array, " capacity"]
    n_items: int
    longest: int  # no list is longer; a power of two, so that few programs are compiled

    @property
    def n_users(self) -> int:
        """U."""
        return self.starts.shape[0] - 1

    def history(self, users: Int[Array, " B"]) -> Float[Array, "B I"]:
        """1 where the user has the item, else 0."""
        return jnp.zeros((users.shape[0], self.n_items)).at[self._cells(users)].set(1.0, mode="drop")

    def within(self, users: Int[Array, " B"], start: Int[Array, ""] | int, size: int) -> Float[Array, "B size"]:
        """The history of `size` items from `start` on; 0 past the end of the catalogue."""
        return _scattered(self._cells(users)[1], start, size, self.n_items)

    def thin(self, users: Int[Array, " B"], key: PRNGKeyArray, chance: float) -> tuple["Lists", "Lists"]:
        """What is left of the histories if each item stays with this `chance`, and what is not, of B users."""
        return _thinned(self._cells(users)[1], key, chance, self.n_items)

    def hide(self, users: Int[Array, " B"], scores: Float[Array, "B I"]) -> Float[Array, "B I"]:
        """Scores, -inf where the user has the item."""
        return scores.at[self._cells(users)].set(-jnp.inf, mode="drop")

    def _cells(self, users: Int[Array, " B"]) -> tuple[Int[Array, "B 1"], Int[Array, "B longest"]]:
        """Rows and columns of what the users have; past the end of a list the column is out of bounds."""
        places = self.starts[users][:, None] + jnp.arange(self.longest)
        own = places < self.starts[users + 1][:, None]
        columns = jnp.where(own, self.items.at[places].get(mode="clip"), self.n_items)
        return jnp.arange(users.shape[0])[:, None], columns

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it, by bisection."""
        low, end = self.starts[users], self.starts[users + 1]

        def halve(_, bounds):
            low, high = bounds
            middle = (low + high) // 2
            right = (low < high) & (self.items.at[middle].get(mode="clip") < items)
            return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

        low, _ = jax.lax.fori_loop(0, self.longest.bit_length(), halve, (low, end))
        return (low < end) & (self.items.at[low].get(mode="clip") == items)


@partial(jax.tree_util.register_dataclass, data_fields=["items"], meta_fields=["n_items"])
@dataclass(frozen=True)
class Lists:
    """A part of the histories of some users, as `thin` makes it."""

    items: Int[Array, "U longest"]  # n_items where there is none
    n_items: int

    def within(self, users: Int[Array, " B"], start: Int[Array, ""] | int, size: int) -> Float[Array, "B size"]:
        """The history of `size` items from `start` on; 0 past the end of the catalogue."""
        return _scattered(self.items[users], start, size, self.n_items)

    def thin(self, users: Int[Array, " B"], key: PRNGKeyArray, chance: float) -> tuple["Lists", "Lists"]:
        """What is left of the histories if each item stays with this `chance`, and what is not, of B users."""
        return _thinned(self.items[users], key, chance, self.n_items)


def _scattered(columns: Int[Array, "B longest"], start, size: int, n_items: int) -> Float[Array, "B size"]:
    inside = (columns >= start) & (columns < jnp.minimum(start + size, n_items))
    rows = jnp.arange(columns.shape[0])[:, None]
    return jnp.zeros((columns.shape[0], size)).at[rows, jnp.where(inside, columns - start, size)].set(1.0, mode="drop")


def _thinned(columns: Int[Array, "B longest"], key: PRNGKeyArray, chance: float, n_items: int) -> tuple[Lists, Lists]:
    stays = bernoulli(key, chance, columns.shape) > 0
    return Lists(jnp.where(stays, columns, n_items), n_items), Lists(jnp.where(stays, n_items, columns), n_items)


@partial(jax.tree_util.register_dataclass, data_fields=["first", "second"], meta_fields=[])
@dataclass(frozen=True)
class Either:
    """What is in one of two, of the same users and items."""

    first: "Membership"
    second: "Membership"

    @property
    def n_items(self) -> int:
        """I."""
        return self.first.n_items

    @property
    def n_users(self) -> int:
        """U."""
        return self.first.n_users

    def history(self, users: Int[Array, " B"]) -> Float[Array, "B I"]:
        """1 where the user has the item, else 0."""
        return jnp.maximum(self.first.history(users), self.second.history(users))

    def hide(self, users: Int[Array, " B"], scores: Float[Array, "B I"]) -> Float[Array, "B I"]:
        """Scores, -inf where the user has the item."""
        return self.second.hide(users, self.first.hide(users, scores))

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it."""
        return self.first.contains(users, items) | self.second.contains(users, items)


Membership = Bitmap | SortedLists | Either


def _spread(rows: UInt8[Array, "B bytes"]) -> UInt8[Array, "B items"]:
    """A number for each bit."""
    return ((rows[:, :, None] >> jnp.arange(8, dtype=jnp.uint8)) & 1).reshape(rows.shape[0], -1)


def no_bits(n_users: int, n_items: int) -> UInt8[np.ndarray, "U bytes"]:
    """The bits of a `Bitmap` without a pair, on the host."""
    return np.zeros((n_users, -(-n_items // 8)), np.uint8)


def set_bits(bits: UInt8[np.ndarray, "U bytes"], users: Int[np.ndarray, " N"], items: Int[np.ndarray, " N"]) -> None:
    """Put N pairs into it, of which any may stand more than once."""
    np.bitwise_or.at(bits, (users, items // 8), (1 << (items % 8)).astype(np.uint8))


def membership(
    users: Int[np.ndarray, " N"],
    items: Int[np.ndarray, " N"],
    n_users: int,
    n_items: int,
    capacity: int,
    *,
    largest: int | None = None,
) -> Bitmap | SortedLists:
    """Put N pairs on the device: as a bitmap, or where that would be too large as lists.

    Args:
        users, items: the pairs.
        n_users, n_items: U and I.
        capacity: at least N; on it the shapes of lists depend.
        largest: bytes of a bitmap (default: LARGEST_BITMAP).
    """
    if n_users * -(-n_items // 8) <= (LARGEST_BITMAP if largest is None else largest):
        bits = no_bits(n_users, n_items)
        set_bits(bits, users, items)
        return Bitmap(jnp.asarray(bits), n_items)
    counts = np.bincount(users, minlength=n_users)
    ordered = np.pad(items[np.lexsort((items, users))], (0, max(capacity, 1) - len(items)))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    longest = 1 << int(max(counts.max(initial=0), 1) - 1).bit_length()
    return SortedLists(jnp.asarray(starts), jnp.asarray(ordered), n_items, longest)
