"""What a recommender sees of a history."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.chunks import ChunkedRows, Histories
from gan_rec.data.sampling import Positives
from gan_rec.random import bernoulli


def known_of(recommender, known: Positives, users: Int[Array, " B"]) -> Array | None:
    """What a recommender reads of these users: 0/1 histories, the last items in order, or nothing."""
    if getattr(recommender, "reads_order", False):
        return None if known.order is None else known.order.last(users, recommender.length)
    return known.history(users) if getattr(recommender, "reads_history", True) else None


def bag(history: Histories, dropout: float, key: PRNGKeyArray | None) -> "Float[Array, 'B I'] | Scaled":
    """A 0/1 history scaled to length 1; entries are dropped, and the others grow by as much, only if a key is given.

    What it returns can be multiplied with a table of `[I, D]`.
    """
    if isinstance(history, ChunkedRows):
        kept = history if key is None else history.thin(key, 1 - dropout)[0]
        return Scaled(kept, jnp.maximum(jnp.sqrt(history.sums()), 1.0) * (1.0 if key is None else 1 - dropout))
    entries = history / jnp.maximum(jnp.sqrt(jnp.sum(history, axis=1, keepdims=True)), 1.0)
    return entries if key is None else entries * bernoulli(key, 1 - dropout, entries.shape) / (1 - dropout)


@dataclass(frozen=True)
class Scaled:
    """Rows over the catalogue that are never there at once, each over a number."""

    rows: ChunkedRows
    over: Float[Array, "B 1"]

    def __matmul__(self, table: Float[Array, "I D"]) -> Float[Array, "B D"]:
        return (self.rows @ table) / self.over
