"""What recommenders that read the order of a history share: item embeddings, and a user who is their last position."""

import abc

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.errors import UserError
from gan_rec.random import bernoulli
from gan_rec.recommenders.score import dot

_POSITIONS = 2**14  # of users, whose states are in memory at a time where nothing is trained


class Sequential(nnx.Module):
    """A recommender of the next item. Embeddings of items are input and, in the score, output alike.

    What derives from it says how rows of inputs become states, one for each position, in `states`.

    Args:
        n_items: I.
        dim: D.
        length: T, how many of a user's last items are read.
        dropout: chance that training drops an entry of an embedding or of a layer's output.
        rngs: source of the initial values.
    """

    reads_history = False
    reads_order = True

    def __init__(self, n_items: int, dim: int, length: int, dropout: float, rngs: nnx.Rngs):
        self.item_embedding = nnx.Param(jax.random.normal(rngs.params(), (n_items, dim)) * dim**-0.5)
        self.length, self.dropout = length, dropout

    @abc.abstractmethod
    def states(
        self, inputs: Float[Array, "R L D"], users: Int[Array, "R L"], places: Int[Array, "R L"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "R L D"]:  # fmt: skip
        """A state for each position, which depends on it and on those of the same user at earlier places of its row.

        Args:
            inputs: embeddings of items.
            users: a number for each position, the same for those of one user.
            places: where the position stands among its user's.
            key: of dropout; None: nothing is dropped.
        """

    def embed(self, ids: Int[Array, "*any"]) -> Float[Array, "*any D"]:
        """Embeddings of items as inputs; 0 of an id past the catalogue."""
        return self.item_embedding[...].at[ids].get(mode="fill", fill_value=0.0)

    def encode(
        self, inputs: Float[Array, "R L D"], users: Int[Array, "R L"], places: Int[Array, "R L"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "R L D"]:  # fmt: skip
        """The representation of each position, see `states`; the score of what comes next is its product with items."""
        return self.states(inputs * inputs.shape[-1] ** 0.5, users, places, key)

    def users(
        self, ids: Int[Array, " B"] | None, history: Int[Array, "B T"] | None, key: PRNGKeyArray | None = None
    ) -> Float[Array, "B D"]:
        """The representation of the last position of histories `gan_rec.data.sequences.Sequences.last`.

        Raises:
            UserError: there are no histories in the order of time.
        """
        if history is None:
            raise UserError(
                f"recommender {type(self).__name__} reads items in the order of time, which is not given here"
            )
        if key is not None:
            return self._last(history, key)
        several = max(1, _POSITIONS // history.shape[1])
        if history.shape[0] <= several:
            return self._last(history, None)
        return jax.lax.map(lambda one: self._last(one[None], None)[0], history, batch_size=several)

    def _last(self, history: Int[Array, "B T"], key: PRNGKeyArray | None) -> Float[Array, "B D"]:
        there = history < self.item_embedding.shape[0]
        places = jnp.maximum(jnp.cumsum(there, axis=1) - 1, 0)  # counted from the first item
        return self.encode(self.embed(history), there.astype(jnp.int32), places, key)[:, -1]

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations of `ids`, or of the whole catalogue `[I, D]`."""
        return self.item_embedding[...] if ids is None else self.item_embedding[ids]

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores `[B, I]` or `[B, K]`, see `gan_rec.recommenders.score.dot`."""
        return dot(users, items)

    def drop(self, x: Float[Array, "*any"], key: PRNGKeyArray | None) -> Float[Array, "*any"]:
        """Dropout, only if a `key` is given."""
        if key is None or not self.dropout:
            return x
        return x * bernoulli(key, 1 - self.dropout, x.shape) / (1 - self.dropout)
