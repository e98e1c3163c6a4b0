"""Which items each user has, on the device: a bit for every user and item, or sorted lists where that is too much."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

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
        bits = (self.bits[users][:, :, None] >> jnp.arange(8, dtype=jnp.uint8)) & 1
        return bits.reshape(users.shape[0], -1)[:, : self.n_items].astype(jnp.float32)

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
        bits = np.zeros((n_users, -(-n_items // 8)), np.uint8)
        np.bitwise_or.at(bits, (users, items // 8), (1 << (items % 8)).astype(np.uint8))
        return Bitmap(jnp.asarray(bits), n_items)
    counts = np.bincount(users, minlength=n_users)
    ordered = np.pad(items[np.lexsort((items, users))], (0, max(capacity, 1) - len(items)))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    longest = 1 << int(max(counts.max(initial=0), 1) - 1).bit_length()
    return SortedLists(jnp.asarray(starts), jnp.asarray(ordered), n_items, longest)
