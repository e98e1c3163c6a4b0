"""The order in which users had their items, on the device."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

if TYPE_CHECKING:
    from gan_rec.data.interactions import Interactions


@partial(jax.tree_util.register_dataclass, data_fields=["starts", "items"], meta_fields=["n_items"])
@dataclass(frozen=True)
class Sequences:
    """The items of each user in the order of time, one list after the other; a place is a number in `items`."""

    starts: Int[Array, " U+1"]
    items: Int[Array, " capacity"]  # those past the last start are padding
    n_items: int

    @property
    def n_users(self) -> int:
        """U."""
        return self.starts.shape[0] - 1

    def last(self, users: Int[Array, " B"], most: int) -> Int[Array, "B T"]:
        """The last T = `most` items of each user, the latest at the end; before the first one stands I."""
        places = self.starts[users + 1][:, None] - most + jnp.arange(most)
        own = places >= self.starts[users][:, None]
        return jnp.where(own, self.items.at[places].get(mode="clip"), self.n_items)

    def owners(self, places: Int[Array, " n"]) -> Int[Array, " n"]:
        """Whose places these are."""
        return jnp.searchsorted(self.starts, places, side="right").astype(jnp.int32) - 1

    def has_next(self, places: Int[Array, " n"]) -> Bool[Array, " n"]:
        """Whether the user had something after it."""
        owners = jnp.clip(self.owners(places), 0, self.n_users - 1)
        return (places >= 0) & (places + 1 < self.starts[owners + 1])

    def with_next(self, users: Int[Array, " U"], n: Int[Array, ""]) -> Int[Array, " capacity"]:
        """The places that have a next one, of the first n users, one after the other; then padding."""
        lengths = jnp.maximum(self.starts[users + 1] - self.starts[users] - 1, 0)
        lengths = jnp.where(jnp.arange(users.shape[0]) < n, lengths, 0)
        ends = jnp.cumsum(lengths)
        numbers = jnp.arange(self.items.shape[0])
        turn = jnp.minimum(jnp.searchsorted(ends, numbers, side="right"), users.shape[0] - 1)
        return self.starts[users[turn]] + numbers - (ends[turn] - lengths[turn])


def in_order(interactions: "Interactions", capacity: int) -> Sequences | None:
    """The order of the pairs of all users, padded to `capacity`; None where no times are known.

    Pairs of one time stand as they do in the data.
    """
    if interactions.times is None:
        return None
    by_time = np.lexsort((interactions.times, interactions.users))
    counts = np.bincount(interactions.users, minlength=interactions.n_users)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    items = np.pad(interactions.items[by_time], (0, max(capacity, 1) - len(interactions)))
    return Sequences(jnp.asarray(starts), jnp.asarray(items), interactions.n_items)
