"""A recommender that was trained with users and items in each other's place, put the right way round."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.recommenders.baselines.tables import Factors


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


def flip(recommender: nnx.Module, known: Positives, side: str = "item") -> nnx.Module:
    """Put a recommender the right way round.

    Args:
        recommender: as it was trained.
        known: the pairs that may be known, with users as users.
        side: "user": it is that already. "item": it ranks by the scores that it gives users for items, see `Flipped`.
            "bayes": by what they say of items for users, see `by_bayes`.
    """
    if side == "user":
        return recommender
    history = known.history(jnp.arange(known.n_users)).T
    if side == "bayes":
        return by_bayes(recommender, history)
    return Flipped(recommender, history if recommender.reads_history else None)


def by_bayes(recommender: nnx.Module, item_history: Float[Array, "I U"]) -> Factors:
    """Rank items for users with a softmax over users, which was learned on transposed pairs: by Bayes' rule.

    log p(item | user) = log p(user | item) + log p(item) + constant of the user. p(user | item) is the softmax of the
    inner products over the users who do not have the item yet, as in training; p(item) goes by the number of those who
    do, plus a half.

    Args:
        recommender: trained on the transposed pairs; its score is the inner product.
        item_history: 1 where an item was had by a user; of the pairs that may be known.

    Returns:
        Item rows (what the recommender makes of the items' histories, and log p(item) minus the log-normaliser) and
        user rows (its catalogue, and a 1).
    """
    history = item_history if recommender.reads_history else None
    items, users = recommender.users(jnp.arange(len(item_history)), history), recommender.items()
    others = jnp.where(item_history > 0, -jnp.inf, items @ users.T)
    log_normaliser = jax.nn.logsumexp(others, axis=1)
    # An item that everybody has is ranked for nobody: any number will do.
    log_normaliser = jnp.where(jnp.isfinite(log_normaliser), log_normaliser, 0.0)
    log_prior = jnp.log(jnp.sum(item_history, axis=1) + 0.5)
    ones = jnp.ones((len(users), 1))
    return Factors(jnp.hstack([users, ones]), jnp.hstack([items, (log_prior - log_normaliser)[:, None]]))
