"""A loss as a function of user and item rows: what an adversary in embedding space attacks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gan_rec import losses
from gan_rec.games.batches import Batch, Positions
from gan_rec.recommenders.graph import on_graph

PAIRWISE = {"bpr": losses.bpr, "sampled-softmax": losses.sampled_softmax, "bce": losses.bce}
PAIRWISE_ROWS = {"bpr": losses.bpr_rows, "sampled-softmax": losses.sampled_softmax_rows, "bce": losses.bce_rows}
LOSSES = ("softmax", *PAIRWISE)


class RowLoss:
    """The recommender's loss on a batch, given rows `[B, D]` of users and `[I, D]` or `[B, 1 + K, D]` of items.

    Args:
        recommender: for its score.
        batch: what is to be found.
        name: one of LOSSES, or a function of positive and negative scores.
        clean: the rows before an attack, which `divergence` compares with.
        shared: the rows are whole tables, `[U, D]` or, of a recommender over histories, `[B, D]`, and `[I, D]`, from
            which a list loss takes its own.
        features: item rows are features, which the recommender has yet to `read`.
    """

    known_gradient = None  # at the clean rows, where the game has computed it already

    def __init__(
        self, recommender, batch: Batch | Positions, name, clean: tuple | None = None, *, shared: bool = False,
        features: bool = False,
    ):  # fmt: skip
        self.recommender, self.batch, self.name, self.clean = recommender, batch, name, clean
        self.shared, self.features = shared, features

    def __call__(self, users: Float[Array, "*n D"], items: Float[Array, "*any E"]) -> Float[Array, ""]:
        """The loss."""
        scores = self.scores(users, items)
        if self.name == "softmax":
            return losses.softmax(scores, self.batch.targets, self.candidates(scores))
        pairwise = self.name if callable(self.name) else PAIRWISE[self.name]
        return pairwise(scores[:, 0], scores[:, 1:])

    def scores(self, users, items) -> Float[Array, "B n"]:
        """Scores of the catalogue, or of each list."""
        batch = self.batch
        if self.shared and batch.items is not None:
            items = items[batch.items]
        if self.features:
            items = self.recommender.read(items, batch.items)
        if self.shared and batch.history is None:
            users = users[batch.users]
        return self.recommender.score(users, items)

    def candidates(self, scores: Float[Array, "B n"]) -> Float[Array, "B n"]:
        """1 where an item can be what is to be found."""
        batch = self.batch
        if batch.items is not None:
            return jnp.ones_like(scores)
        # An item that is cold is no negative: nobody could choose it, and a text must not be marked down for that.
        allowed = (
            jnp.ones_like(scores) if batch.candidates is None else jnp.broadcast_to(batch.candidates, scores.shape)
        )
        return allowed if batch.history is None else allowed * (1.0 - batch.history)

    def by_row(self, users, items) -> Float[Array, " B"]:
        """The loss of each user or pair of the batch."""
        scores = self.scores(users, items)
        if self.name == "softmax":
            return losses.softmax_rows(scores, self.batch.targets, self.candidates(scores))
        return PAIRWISE_ROWS[self.name](scores[:, 0], scores[:, 1:])

    def by_user(self, users: Float[Array, "U D"], items: Float[Array, "I E"]) -> Float[Array, " U"]:
        """The loss of each user of whole tables, of pairs the sum."""
        rows = self.by_row(users, items)
        if self.name == "softmax":
            return rows
        return jax.ops.segment_sum(rows, self.batch.users, users.shape[0])

    def worst_case(self, users, items, radius) -> Float[Array, ""]:
        """The loss with the weights of users (of pairs, in losses over pairs) that raise it most; see the function."""
        rows = self.by_row(users, items)
        of_users = self.name == "softmax"
        weights = losses.softmax_weights(self.batch.targets) if of_users else jnp.ones_like(rows)
        return losses.worst_case(rows, weights, radius)

    def named(self, name) -> "RowLoss":
        """Another loss on the same batch."""
        how = {"shared": self.shared, "features": self.features}
        return type(self)(self.recommender, self.batch, name, self.clean, **how)

    def divergence(self, users, items) -> Float[Array, ""]:
        """How far the score distributions are from the clean ones, see `losses.divergence`."""
        clean, moved = self.scores(*self.clean), self.scores(users, items)
        return losses.divergence(jax.lax.stop_gradient(clean), moved, self.candidates(moved))

    @property
    def catalogue(self) -> Float[Array, "I D"]:
        """All item rows, clean."""
        recommender = self.recommender if self.batch.whole is None else self.batch.whole
        return jax.lax.stop_gradient(on_graph(recommender, self.batch.graph).items())

    @property
    def history(self) -> Float[Array, "B I"]:
        """What the adversary may see of the users' histories."""
        return self.batch.profile


@jax.custom_vjp
def with_gradient(value, tree, gradient):
    """`value`, whose gradient with respect to `tree` is said to be `gradient`.

    So a gradient that was computed on the way (an attack needs that of the clean rows) is not computed again.
    """
    return value


def _forward(value, tree, gradient):
    return value, gradient


def _backward(gradient, cotangent):
    scaled = jax.tree.map(lambda g: cotangent * g, gradient)
    return jnp.zeros_like(cotangent), scaled, jax.tree.map(jnp.zeros_like, gradient)


with_gradient.defvjp(_forward, _backward)
