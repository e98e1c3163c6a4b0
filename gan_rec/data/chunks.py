"""Rows of 0 and 1 over the catalogue, a chunk of it at a time: no array of a batch and all items is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.membership import Bitmap, Lists, SortedLists


@partial(jax.tree_util.register_dataclass, data_fields=["known", "users"], meta_fields=["most"])
@dataclass(frozen=True)
class ChunkedRows:
    """Which items B users have, in C chunks of `size` items.

    Args:
        known: which items all users have, or those of the batch.
        users: whose rows of it these are.
        most: items of a chunk, rounded up to 8. Chunks are as even as they can be.
    """

    known: Bitmap | SortedLists | Lists
    users: Int[Array, " B"]
    most: int

    @property
    def n(self) -> int:
        """C."""
        return -(-self.known.n_items // (-(-self.most // 8) * 8))

    @property
    def size(self) -> int:
        """Items of a chunk; the last one is filled up."""
        return -(-self.known.n_items // (8 * self.n)) * 8

    def chunk(self, number: Int[Array, ""]) -> Float[Array, "B size"]:
        """A part of the rows; 0 past the end of the catalogue."""
        return self.known.within(self.users, number * self.size, self.size)

    def thin(self, key: PRNGKeyArray, chance: float) -> tuple["ChunkedRows", "ChunkedRows"]:
        """What is left of the rows if each item stays with this `chance`, and what is not.

        Both are kept as memberships are: a bit for each of the batch's users and all items, or 4 bytes for each pair.
        """
        numbers = jnp.arange(self.users.shape[0])
        left, rest = (ChunkedRows(part, numbers, self.most) for part in self.known.thin(self.users, key, chance))
        return left, rest

    def each(self, function: Callable, *tables: Float[Array, "I *D"]) -> Any:
        """What `function(number, *parts of tables [size, *D])` says of each chunk: a leading axis of C.

        Tables are filled up with 0. Backward, a chunk is computed once more rather than kept.
        """
        again = _again(function)
        return jax.lax.map(lambda chunk: again(*chunk), self._cut(tables))

    def __matmul__(self, table: Float[Array, "I D"]) -> Float[Array, "B D"]:
        """The sum of each row's items."""
        part = _again(lambda number, rows: self.chunk(number) @ rows)
        begin = jnp.zeros((self.users.shape[0], table.shape[1]))
        return jax.lax.scan(lambda total, chunk: (total + part(*chunk), None), begin, self._cut((table,)))[0]

    def sums(self) -> Float[Array, "B 1"]:
        """How many items each row has."""
        return self @ jnp.ones((self.known.n_items, 1))

    def _cut(self, tables: tuple) -> tuple:
        missing = self.n * self.size - self.known.n_items

        def cut(table):
            filled = jnp.pad(table, [(0, missing), *[(0, 0)] * (table.ndim - 1)])
            return filled.reshape(self.n, self.size, *table.shape[1:])

        return jnp.arange(self.n), *map(cut, tables)


Histories = Float[Array, "B I"] | ChunkedRows  # 1 where a user has an item, else 0


def _again(function: Callable) -> Callable:
    # Nothing that a loop computes can be merged with what the other loop does: the barrier against it is not needed.
    return jax.checkpoint(function, prevent_cse=False)
