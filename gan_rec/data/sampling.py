"""Positive pairs on the device, and negatives drawn around them."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from gan_rec.data.bloom import BloomFilter
from gan_rec.data.membership import Membership, membership
from gan_rec.data.sequences import Sequences, in_order

if TYPE_CHECKING:
    from gan_rec.data.interactions import Interactions


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["known", "users", "items", "n_pairs", "active", "n_active", "candidates", "order"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Positives:
    """What a game draws its batches from.

    Shapes depend on `capacity` alone, so that a bigger set of pairs (train + validation) runs in the same program.
    """

    known: Membership | BloomFilter  # which items each user has
    users: Int[Array, " capacity"]  # the pairs; those past n_pairs are padding
    items: Int[Array, " capacity"]
    n_pairs: Int[Array, ""]
    active: Int[Array, " U"]  # users with a pair; those past n_active are padding
    n_active: Int[Array, ""]
    candidates: Float[Array, " I"] | None = None  # 1 for items that can be had at all; None: all of them
    order: Sequences | None = None  # of each user's items; None where no times are known

    @property
    def n_users(self) -> int:
        """U."""
        return self.known.n_users

    @property
    def n_items(self) -> int:
        """I."""
        return self.known.n_items

    def history(self, users: Int[Array, " B"]) -> Float[Array, "B I"]:
        """1 where the user has the item, else 0."""
        return self.known.history(users)

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it."""
        return self.known.contains(users, items)


def to_device(interactions: "Interactions", capacity: int | None = None) -> Positives:
    """Put pairs on the device, padded to `capacity` pairs (default: as many as there are); of streamed ones some.

    Of these it is the pairs of evaluated users.
    """
    interactions = interactions.at_hand
    users, items = interactions.users, interactions.items
    capacity = len(users) if capacity is None else capacity
    padding = (0, capacity - len(users))
    active = np.unique(users)
    return Positives(
        known=membership(users, items, interactions.n_users, interactions.n_items, capacity),
        users=jnp.asarray(np.pad(users, padding)),
        items=jnp.asarray(np.pad(items, padding)),
        n_pairs=jnp.asarray(len(users), jnp.int32),
        active=jnp.asarray(np.pad(active, (0, interactions.n_users - len(active))).astype(np.int32)),
        n_active=jnp.asarray(len(active), jnp.int32),
        candidates=None if interactions.candidates is None else jnp.asarray(interactions.candidates, jnp.float32),
        order=in_order(interactions, capacity),
    )


def sample_negatives(
    positives: Positives,
    users: Int[Array, " B"],
    k: int,
    key: PRNGKeyArray,
    tries: int = 4,
    sampling: str = "uniform",
) -> Int[Array, "B K"]:
    """K items for each user, of those that the user does not have.

    Each is the first of `tries` candidates that is no positive. Where all of them are positives the last one is
    returned all the same: with 10% of the catalogue rated that happens once in 10,000 uniform draws.

    Args:
        positives: who has what.
        users: for whom.
        k: K.
        key: of the draw.
        tries: candidates for each.
        sampling: "uniform": every item that can be had is as likely. "popularity": as often as it is had, and so more
            of the candidates are positives.
    """
    shape = (users.shape[0], k, tries)
    candidates = draw_items(positives, shape, key, sampling)
    negative = ~positives.contains(jnp.broadcast_to(users[:, None, None], candidates.shape), candidates)
    first = jnp.where(jnp.any(negative, axis=-1), jnp.argmax(negative, axis=-1), tries - 1)
    return jnp.take_along_axis(candidates, first[:, :, None], axis=-1)[:, :, 0]


def draw_items(
    positives: Positives, shape: tuple[int, ...], key: PRNGKeyArray, sampling: str = "uniform"
) -> Int[Array, "..."]:
    """Items that can be had, "uniform" or by "popularity", see `sample_negatives`."""
    return _by_popularity(positives, shape, key) if sampling == "popularity" else _evenly(positives, shape, key)


def _evenly(positives: Positives, shape: tuple[int, ...], key: PRNGKeyArray) -> Int[Array, "..."]:
    if positives.candidates is None:
        return jax.random.randint(key, shape, 0, positives.n_items)
    numbers = jnp.cumsum(positives.candidates)  # the first item of number n is the n-th candidate
    drawn = jax.random.randint(key, shape, 0, numbers[-1].astype(jnp.int32))
    return jnp.searchsorted(numbers, drawn.astype(numbers.dtype), side="right")


def _by_popularity(positives: Positives, shape: tuple[int, ...], key: PRNGKeyArray) -> Int[Array, "..."]:
    return positives.items[jax.random.randint(key, shape, 0, positives.n_pairs)]


def shuffle(key: PRNGKeyArray, capacity: int, size: Int[Array, ""]) -> Int[Array, " capacity"]:
    """A random order of 0 .. size - 1, followed by the numbers from `size` to `capacity` - 1."""
    numbers = jnp.arange(capacity)
    # Truncated to 31 bits, the keys of real rows stay below that of the padding.
    keys = jax.random.bits(key, (capacity,), jnp.uint32) >> 1
    return _argsort(jnp.where(numbers < size, keys, jnp.uint32(2**32 - 1)))


def _argsort(keys: UInt32[Array, " n"]) -> Int[Array, " n"]:
    """`jnp.argsort`, which XLA's CPU backend takes five times as long for: plain numbers it sorts without a call."""
    with jax.enable_x64(True):
        pairs = jax.lax.shift_left(keys.astype(jnp.uint64), jnp.uint64(32)) | jax.lax.iota(jnp.uint64, keys.shape[0])
        # The number that a key has stands below it.
        return jax.lax.sort(pairs).astype(jnp.int32)
