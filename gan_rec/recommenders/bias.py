"""Biases of items as one more entry of the rows: an adversary that moves rows then moves them too."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int


def user_rows(rows: Float[Array, "n D"], bias: nnx.Param | None) -> Float[Array, "n _"]:
    """Rows of users, with a 1 at the end if items have a bias."""
    return rows if bias is None else jnp.concatenate([rows, jnp.ones((rows.shape[0], 1))], axis=1)


def item_rows(
    table: Float[Array, "I D"], bias: nnx.Param | None, ids: Int[Array, "*any"] | None
) -> Float[Array, "*any _"]:
    """Rows of `ids`, or of all items, with their bias (a parameter `[I, 1]`) at the end if they have one."""
    if bias is not None:
        table = jnp.concatenate([table, bias[...]], axis=1)
    return table if ids is None else table[ids]
