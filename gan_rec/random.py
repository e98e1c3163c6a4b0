"""Random masks that cost little."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8


def bernoulli(key: PRNGKeyArray, probability: float, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """A float mask with `probability` (rounded to 1/65536) of ones.

    Two entries share one 32-bit draw, which halves the price: on a CPU the generator, not the arithmetic, is what
    masks the size of a batch of histories pay for.
    """
    threshold = round(probability * 2**16)
    return (jax.random.bits(key, shape, jnp.uint16).astype(jnp.int32) < threshold).astype(jnp.float32)


def bernoulli_bytes(key: PRNGKeyArray, probability: float, shape: tuple[int, int]) -> UInt8[Array, "*shape"]:
    """Bytes whose every bit is 1 with `probability` (rounded to 1/65536), at the price of as many entries of a mask.

    Bit by bit, from the last binary digit of the probability to the first: a digit of 1 lets in half of what was out,
    one of 0 half of what was in.
    """
    threshold = round(probability * 2**16)
    if threshold >= 2**16:
        return jnp.full(shape, 255, jnp.uint8)
    words = (shape[0], -(-shape[1] // 4))

    def toss(mask, own):  # in a loop, for a compiler would hold the coins of all digits at once
        key, digit = own
        coins = jax.random.bits(key, words, jnp.uint32)
        return jnp.where(digit, coins | mask, coins & mask), None

    digits = jnp.asarray([threshold >> place & 1 for place in range(16)], bool)
    mask, _ = jax.lax.scan(toss, jnp.zeros(words, jnp.uint32), (jax.random.split(key, 16), digits))
    return jax.lax.bitcast_convert_type(mask, jnp.uint8).reshape(shape[0], -1)[:, : shape[1]]
