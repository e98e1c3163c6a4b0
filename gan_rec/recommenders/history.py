"""What a recommender sees of a history."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.random import bernoulli


def bag(history: Float[Array, "B I"], dropout: float, key: PRNGKeyArray | None) -> Float[Array, "B I"]:
    """A 0/1 history scaled to length 1; entries are dropped, and the others grow by as much, only if a key is given."""
    entries = history / jnp.maximum(jnp.sqrt(jnp.sum(history, axis=1, keepdims=True)), 1.0)
    return entries if key is None else entries * bernoulli(key, 1 - dropout, entries.shape) / (1 - dropout)
