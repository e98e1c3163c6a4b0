"""The ball that no adversary leaves: its radius is relative to the length of the row under attack."""

import jax.numpy as jnp
from jaxtyping import Array, Float

_TINY = 1e-12


def length(rows: Float[Array, "*any D"]) -> Float[Array, "*any 1"]:
    """Euclidean length of each row; its gradient is finite at 0, where that of a plain square root is not."""
    return jnp.sqrt(jnp.sum(rows**2, axis=-1, keepdims=True) + _TINY)


def direction(rows: Float[Array, "*any D"]) -> Float[Array, "*any D"]:
    """Each row scaled to length 1; a row of zeros stays zero."""
    return rows / length(rows)


def project(
    moved: Float[Array, "*any D"], rows: Float[Array, "*any D"], radius: Float[Array, ""] | float
) -> Float[Array, "*any D"]:
    """The points nearest to `moved` that lie within `radius * |row|` of `rows`."""
    step = moved - rows
    return rows + step * jnp.minimum(1.0, radius * length(rows) / length(step))
