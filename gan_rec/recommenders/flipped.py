"""A recommender that was trained with users and items in each other's place, put the right way round."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives


class Flipped(nnx.Module):
    """Ranks items for users with a recommender that ranks users for items.

    Item rows are what it makes of the items' histories (who had them); user rows are its catalogue.

    Args:
        inner: trained on the transposed pairs.
        item_history: 1 where an item was had by a user, `[I, U]`; of the pairs that may be known. None if `inner`
            reads no history.
    """

    reads_history = False

    def __init__(self, inner: nnx.Module, item_history: Float[Array, "I U"] | None):
        self.inner = inner
        self.item_history = None if item_history is None else nnx.Param(item_history)

    def users(self, ids: Int[Array, " B"], history=None, key=None) -> Float[Array, "B D"]:
        """User representations."""
        return self.inner.items(ids)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations."""
        if self.item_history is None:
            return self.inner.users(ids)
        history = self.item_history[...]
        rows = self.inner.users(jnp.arange(history.shape[0]), history)
        return rows if ids is None else rows[ids]

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores; `inner` must have a symmetric one, such as the inner product."""
        return self.inner.score(users, items)


def flip(recommender: nnx.Module, known: Positives) -> Flipped:
    """Put a recommender the right way round; `known` are the pairs with users as users."""
    history = known.history(jnp.arange(known.bitmap.shape[0])).T if recommender.reads_history else None
    return Flipped(recommender, history)
