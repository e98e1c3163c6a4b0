"""Two towers over text: items are ranked by what is written about them, and so also those that nobody has had yet."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.chunks import Histories
from gan_rec.recommenders.history import bag
from gan_rec.recommenders.score import dot
from gan_rec.recommenders.text import TextVectors


class TwoTower(nnx.Module):
    """Item tower: text vector -> ReLU layer -> row. User tower: bag of the history's embeddings -> tanh layer.

    The score is the inner product of both rows. An item needs no interaction to be ranked, only a text. The items of a
    history always have interactions, so the user tower may give each an embedding of its own; `reads="text"` puts a
    linear map of their text vectors in its place.

    Args:
        n_users: U, not used: histories stand for users.
        n_items: I.
        dim: D, of the rows of both towers.
        vectors: of the items' texts, `[I, T]`; they are not learned.
        units: of the item tower's hidden layer.
        reads: what the user tower knows of the items in a history: "ids" or "text".
        dropout: chance that an entry of the history is left out while training.
        rngs: source of the initial values.

    Source: two towers over content, as in Covington, Adams, Sargin, RecSys 2016, section 3.2, and Yi et al., RecSys
    2019, section 3; the user tower is that of `gan_rec.recommenders.autoencoder`.
    """

    reads_history = True

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int = 64,
        *,
        vectors: TextVectors,
        units: int = 512,
        reads: str = "ids",
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        n_read = n_items if reads == "ids" else vectors.values.shape[1]
        glorot = jax.nn.initializers.glorot_normal()
        self.input_embedding = nnx.Param(glorot(rngs.params(), (n_read, dim)))
        self.hidden_bias = nnx.Param(jnp.zeros(dim))
        self.enter = nnx.Linear(vectors.values.shape[1], units, rngs=rngs)
        self.leave = nnx.Linear(units, dim, rngs=rngs)
        self.vectors, self.reads, self.dropout = vectors, reads, dropout

    def users(self, ids: Int[Array, " B"], history: Histories, key: PRNGKeyArray | None = None) -> Float[Array, "B D"]:
        """User representations `[B, D]` from 0/1 histories; entries are dropped only if a `key` is given."""
        seen = bag(history, self.dropout, key)
        if self.reads == "text":
            seen = seen @ jnp.asarray(self.vectors.values)
        return jnp.tanh(seen @ self.input_embedding[...] + self.hidden_bias[...])

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations of `ids`, or of the whole catalogue `[I, D]`."""
        # All texts go through the tower before ids are looked up: a batch of pairs names most items more than once.
        rows = self.read(jnp.asarray(self.vectors.values))
        return rows if ids is None else rows[ids]

    def features(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any T"]:
        """The text vectors of `ids`, or of all items."""
        vectors = jnp.asarray(self.vectors.values)
        return vectors if ids is None else vectors[ids]

    def read(self, vectors: Float[Array, "*any T"], ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Representations of `ids`, or of all items, if their texts had these vectors."""
        return self.leave(nnx.relu(self.enter(vectors)))

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores `[B, I]` or `[B, K]`, see `gan_rec.recommenders.score.dot`."""
        return dot(users, items)


class Hybrid(TwoTower):
    """Text and ids: an item's row is what the item tower makes of its text, plus an embedding of its own.

    Embeddings begin at 0 and move only with interactions, so a cold item is ranked by its text alone.

    Args:
        n_users: U, not used.
        n_items: I.
        dim: D.
        options: see `TwoTower`.
        rngs: source of the initial values.

    Source: the sum of a content part and a free offset as in collaborative topic regression (Wang and Blei, KDD 2011,
    equation 4) and VBPR (He and McAuley, AAAI 2016).
    """

    def __init__(self, n_users: int, n_items: int, dim: int = 64, *, rngs: nnx.Rngs, **options):
        super().__init__(n_users, n_items, dim, rngs=rngs, **options)
        self.item_embedding = nnx.Param(jnp.zeros((n_items, dim)))

    def read(self, vectors: Float[Array, "*any T"], ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Representations of `ids`, or of all items, if their texts had these vectors."""
        return super().read(vectors) + (self.item_embedding[...] if ids is None else self.item_embedding[ids])
