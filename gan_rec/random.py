"""Random masks that cost little."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def bernoulli(key: PRNGKeyArray, probability: float, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """A float mask with `probability` (rounded to 1/65536) of ones.

    Two entries share one 32-bit draw, which halves the price: on a CPU the generator, not the arithmetic, is what
    masks the size of a batch of histories pay for.
    """
    threshold = round(probability * 2**16)
    return (jax.random.bits(key, shape, jnp.uint16).astype(jnp.int32) < threshold).astype(jnp.float32)
