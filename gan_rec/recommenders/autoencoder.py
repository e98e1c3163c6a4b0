"""An autoencoder over the user's history, seen as two towers that any embedding adversary can attack."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.chunks import Histories
from gan_rec.recommenders.history import bag
from gan_rec.recommenders.score import dot


class Autoencoder(nnx.Module):
    """User tower: bag of the history's item embeddings -> tanh layer. Item tower: another embedding of each item.

    The user representation is tanh(x E + b), x the history scaled to length 1 with dropout on its entries; the score
    is its inner product with the item's output embedding. It needs no user ids, so it serves users it never saw.
    Source: the denoising autoencoder with multinomial likelihood of Liang et al., WWW 2018, section 2.2, without
    output biases: the hidden bias b already gives the output layer a constant to build popularity from.

    Args:
        n_users: U, not used: histories stand for users.
        n_items: I.
        dim: D, units of the hidden layer and so the embedding size of both towers.
        dropout: chance that an entry of the history is left out while training.
        rngs: source of the initial values.
    """

    reads_history = True

    def __init__(self, n_users: int, n_items: int, dim: int = 256, *, dropout: float = 0.5, rngs: nnx.Rngs):
        glorot = jax.nn.initializers.glorot_normal()
        self.input_embedding = nnx.Param(glorot(rngs.params(), (n_items, dim)))
        self.hidden_bias = nnx.Param(jnp.zeros(dim))
        self.item_embedding = nnx.Param(glorot(rngs.params(), (n_items, dim)))
        self.dropout = dropout

    def users(self, ids: Int[Array, " B"], history: Histories, key: PRNGKeyArray | None = None) -> Float[Array, "B D"]:
        """User representations `[B, D]` from 0/1 histories; entries are dropped only if a `key` is given."""
        return jnp.tanh(bag(history, self.dropout, key) @ self.input_embedding[...] + self.hidden_bias[...])

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations of `ids`, or of the whole catalogue `[I, D]`."""
        return self.item_embedding[...] if ids is None else self.item_embedding[ids]

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores `[B, I]` or `[B, K]`, see `gan_rec.recommenders.score.dot`."""
        return dot(users, items)
