"""The K largest of long rows, exactly, in little more than the time it takes to find the largest."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_BLOCK = 64


def top_k(scores: Float[Array, "n I"], k: int) -> tuple[Float[Array, "n K"], Int[Array, "n K"]]:
    """As `jax.lax.top_k`: values, largest first, and their places; of equal ones the first. NaN of any sign is first.

    None of the K largest is outside of the K blocks with the largest maxima (nor, among equal ones, any of the first,
    since of equal blocks the first are taken). So only these are sorted, and of all others the maximum is enough.
    """
    blocks = scores.shape[1] // _BLOCK
    if blocks <= 4 * k:
        return tuple(jax.lax.top_k(_nan_first(scores), k))
    n, whole = scores.shape[0], blocks * _BLOCK
    grouped = scores[:, :whole].reshape(n, blocks, _BLOCK)
    # The maximum of numbers and a NaN need not be NaN on a CPU.
    maxima = jnp.max(jnp.where(jnp.isnan(grouped), jnp.inf, grouped), axis=2)
    chosen = jnp.sort(jax.lax.top_k(maxima, k)[1], axis=1)
    places = (chosen[:, :, None] * _BLOCK + jnp.arange(_BLOCK)).reshape(n, -1)
    rest = jnp.broadcast_to(jnp.arange(whole, scores.shape[1]), (n, scores.shape[1] - whole))
    places = jnp.concatenate([places, rest], axis=1)
    values, found = jax.lax.top_k(_nan_first(jnp.take_along_axis(scores, places, axis=1)), k)
    return values, jnp.take_along_axis(places, found, axis=1)


def _nan_first(scores: Float[Array, "n m"]) -> Float[Array, "n m"]:
    # top_k ranks by bits: a NaN with the sign that arithmetic gives it would be the last and go unseen.
    return jnp.where(jnp.isnan(scores), jnp.nan, scores)
