"""Positive pairs on the device: one bit for every user and item, and negatives drawn around them."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

if TYPE_CHECKING:
    from gan_rec.data.interactions import Interactions


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["bitmap", "users", "items", "n_pairs", "active", "n_active", "candidates"],
    meta_fields=["n_items"],
)
@dataclass(frozen=True)
class Positives:
    """What a game draws its batches from.

    Shapes depend on `capacity` alone, so that a bigger set of pairs (train + validation) runs in the same program.
    """

    bitmap: UInt8[Array, "U bytes"]  # bit j of byte b of row u: user u has item 8 b + j
    users: Int[Array, " capacity"]  # the pairs; those past n_pairs are padding
    items: Int[Array, " capacity"]
    n_pairs: Int[Array, ""]
    active: Int[Array, " U"]  # users with a pair; those past n_active are padding
    n_active: Int[Array, ""]
    n_items: int
    candidates: Float[Array, " I"] | None = None  # 1 for items that can be had at all; None: all of them

    def history(self, users: Int[Array, " B"]) -> Float[Array, "B I"]:
        """1 where the user has the item, else 0."""
        bits = (self.bitmap[users][:, :, None] >> jnp.arange(8, dtype=jnp.uint8)) & 1
        return bits.reshape(users.shape[0], -1)[:, : self.n_items].astype(jnp.float32)

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it."""
        return (self.bitmap[users, items // 8] >> (items % 8).astype(jnp.uint8)) & 1 == 1


def to_device(interactions: "Interactions", capacity: int | None = None) -> Positives:
    """Put pairs on the device, padded to `capacity` pairs (default: as many as there are)."""
    users, items = interactions.users, interactions.items
    bitmap = np.zeros((interactions.n_users, -(-interactions.n_items // 8)), np.uint8)
    np.bitwise_or.at(bitmap, (users, items // 8), (1 << (items % 8)).astype(np.uint8))
    padding = (0, (len(users) if capacity is None else capacity) - len(users))
    active = np.unique(users)
    return Positives(
        bitmap=jnp.asarray(bitmap),
        users=jnp.asarray(np.pad(users, padding)),
        items=jnp.asarray(np.pad(items, padding)),
        n_pairs=jnp.asarray(len(users), jnp.int32),
        active=jnp.asarray(np.pad(active, (0, interactions.n_users - len(active))).astype(np.int32)),
        n_active=jnp.asarray(len(active), jnp.int32),
        n_items=interactions.n_items,
        candidates=None if interactions.candidates is None else jnp.asarray(interactions.candidates, jnp.float32),
    )


def sample_negatives(
    positives: Positives, users: Int[Array, " B"], k: int, key: PRNGKeyArray, tries: int = 4
) -> Int[Array, "B K"]:
    """K items for each user, drawn uniformly from the candidates that the user does not have.

    Each is the first of `tries` candidates that is no positive. Where all of them are positives the last one is
    returned all the same: with 10% of the catalogue rated that happens once in 10,000 draws.
    """
    shape = (users.shape[0], k, tries)
    if positives.candidates is None:
        candidates = jax.random.randint(key, shape, 0, positives.n_items)
    else:
        numbers = jnp.cumsum(positives.candidates)  # the first item of number n is the n-th candidate
        drawn = jax.random.randint(key, shape, 0, numbers[-1].astype(jnp.int32))
        candidates = jnp.searchsorted(numbers, drawn.astype(numbers.dtype), side="right")
    negative = ~positives.contains(jnp.broadcast_to(users[:, None, None], candidates.shape), candidates)
    first = jnp.where(jnp.any(negative, axis=-1), jnp.argmax(negative, axis=-1), tries - 1)
    return jnp.take_along_axis(candidates, first[:, :, None], axis=-1)[:, :, 0]


def shuffle(key: PRNGKeyArray, capacity: int, size: Int[Array, ""]) -> Int[Array, " capacity"]:
    """A random order of 0 .. size - 1, followed by the numbers from `size` to `capacity` - 1."""
    numbers = jnp.arange(capacity)
    # Truncated to 31 bits, the keys of real rows stay below that of the padding.
    keys = jax.random.bits(key, (capacity,), jnp.uint32) >> 1
    return jnp.argsort(jnp.where(numbers < size, keys, jnp.uint32(2**32 - 1)))
