"""What both kinds of language model share: a stack of equal layers, and how token states become one vector."""

import copy
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

_FAR = -1e9  # the score of a place that must not be attended to; finite, so that rows of padding alone stay finite
POOLING = ("mean", "last")


class Stack(nnx.Module):
    """Equal layers, kept as one whose weights have a leading axis: they compile once, however many there are.

    Args:
        make: key -> layer, called as `layer(states, *context) -> states`.
        depth: L, how many.
        norm: what comes after the last of them, if anything.
        rngs: source of the initial values.
    """

    def __init__(
        self, make: Callable[[PRNGKeyArray], nnx.Module], depth: int, norm: nnx.Module | None = None, *, rngs: nnx.Rngs
    ):
        self.layers = jax.vmap(make)(jax.random.split(rngs.params(), depth))
        self.norm = norm

    def __call__(self, states: Float[Array, "B T D"], *context) -> Float[Array, "B T D"]:
        """States after all layers."""
        states = jax.lax.scan(lambda states, layer: (layer(states, *context), None), states, self.layers)[0]
        return states if self.norm is None else self.norm(states)

    def lower(self, n: int) -> "Stack":
        """The first n layers, as a stack of their own."""
        return self._of(slice(n), None)

    def upper(self, n: int) -> "Stack":
        """The layers after the first n and what follows them, as a stack of their own."""
        return self._of(slice(n, None), self.norm)

    def _of(self, which: slice, norm: nnx.Module | None) -> "Stack":
        other = copy.copy(self)
        other.layers, other.norm = jax.tree.map(lambda x: x[which], self.layers), norm
        return other

    @property
    def depth(self) -> int:
        """L."""
        return jax.tree.leaves(self.layers)[0].shape[0]


def attend(
    queries: Float[Array, "B T H d"],
    keys: Float[Array, "B T H d"],
    values: Float[Array, "B T H d"],
    allowed: Float[Array, "B #T T"],
) -> Float[Array, "B T D"]:
    """Scaled dot-product attention of H heads over the allowed places (Vaswani et al., NeurIPS 2017, equation 1)."""
    # Heads before places: on a CPU products over the inner two axes are several times faster.
    queries, keys, values = (x.swapaxes(1, 2) for x in (queries, keys, values))
    scores = jnp.einsum("bhqd,bhkd->bhqk", queries, keys) * queries.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(allowed[:, None] > 0, scores, _FAR), axis=-1)
    mixed = jnp.einsum("bhqk,bhkd->bhqd", weights, values).swapaxes(1, 2)
    return mixed.reshape(*mixed.shape[:2], -1)


def pool(states: Float[Array, "B T D"], mask: Float[Array, "B T"], how: str) -> Float[Array, "B D"]:
    """One vector for each text: the mean over its tokens, or the state of its last token. Padding has no part in it.

    A text without tokens has zeros.
    """
    tokens: Float[Array, "B 1"] = jnp.sum(mask, axis=1, keepdims=True)
    if how == "mean":
        return jnp.sum(states * mask[..., None], axis=1) / jnp.maximum(tokens, 1.0)
    last: Int[Array, "B 1"] = jnp.maximum(tokens.astype(jnp.int32) - 1, 0)
    return jnp.take_along_axis(states, last[..., None], axis=1)[:, 0] * (tokens > 0)
