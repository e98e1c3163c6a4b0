"""Matrix factorisation: a free vector for every user and every item."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.recommenders.bias import item_rows, user_rows
from gan_rec.recommenders.score import dot


class MatrixFactorization(nnx.Module):
    """Scores are inner products of id embeddings (Koren, Bell, Volinsky, Computer 2009).

    Args:
        n_users: U.
        n_items: I.
        dim: D, the embedding size.
        bias: whether items have a bias. It is one more entry of their rows, and all user rows end with a 1.
        multiple: tables get rows that are not used, up to a multiple of this, so that devices can share them evenly.
        rngs: source of the initial values, N(0, 1 / D): a random score has a standard deviation of 1 / sqrt(D).
    """

    reads_history = False
    tables = {"user_embedding": "users", "item_embedding": "items", "item_bias": "items"}

    def __init__(
        self, n_users: int, n_items: int, dim: int = 64, *, bias: bool = False, multiple: int = 1, rngs: nnx.Rngs
    ):
        def table(rows: Float[Array, "n D"]) -> nnx.Param:
            return nnx.Param(jnp.pad(rows, ((0, -rows.shape[0] % multiple), (0, 0))))

        def embedding(n: int) -> nnx.Param:
            return table(jax.random.normal(rngs.params(), (n, dim)) * dim**-0.5)

        self.n_users, self.n_items = n_users, n_items
        self.user_embedding = embedding(n_users)
        self.item_embedding = embedding(n_items)
        self.item_bias = table(jnp.zeros((n_items, 1))) if bias else None

    def users(
        self, ids: Int[Array, "*n"] | None, history: Float[Array, "B I"] | None = None, key: PRNGKeyArray | None = None
    ) -> Float[Array, "_ D"]:
        """User representations `[B, D]`, or of all users `[U, D]`. `history` and `key` are not used."""
        rows = self.user_embedding[: self.n_users] if ids is None else self.user_embedding[ids]
        return user_rows(rows, self.item_bias)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations of `ids`, or of the whole catalogue `[I, D]`."""
        rows = item_rows(self.item_embedding[...], self.item_bias, ids)
        return rows[: self.n_items] if ids is None else rows

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores `[B, I]` or `[B, K]`, see `gan_rec.recommenders.score.dot`."""
        return dot(users, items)
