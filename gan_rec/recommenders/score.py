"""The score that embedding recommenders share."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def dot(users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
    """Inner products of user rows with a catalogue, `[I, D]` -> `[B, I]`, or a list each, `[B, K, D]` -> `[B, K]`."""
    return users @ items.T if items.ndim == 2 else jnp.einsum("bd,bkd->bk", users, items)
