"""The softmax loss of users in chunks of the catalogue: a batch's scores of all items are never there at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gan_rec import losses
from gan_rec.games.rows import RowLoss


class ChunkedLoss(RowLoss):
    """A `RowLoss` named "softmax" on a batch of `ChunkedRows`: the same numbers, but for rounding.

    Forward and backward hold `[B, size]` scores, and the backward pass computes them once more: four products of rows
    where the dense loss takes three.
    """

    def __call__(self, users: Float[Array, "B D"], items: Float[Array, "I D"]) -> Float[Array, ""]:
        """The loss."""
        return losses.mean_over_users(*self._weighted(users, items))

    def by_row(self, users, items) -> Float[Array, " B"]:
        """The loss of each user of the batch."""
        return self._weighted(users, items)[0]

    def worst_case(self, users, items, radius) -> Float[Array, ""]:
        """The loss with the weights of users that raise it most; see the function."""
        return losses.worst_case(*self._weighted(users, items), radius)

    def divergence(self, users, items) -> Float[Array, ""]:
        """How far the score distributions are from the clean ones, see `losses.divergence`."""
        own, catalogue = jax.lax.stop_gradient(self.clean)

        def of_chunk(number, candidates, before, after):
            clean = jax.lax.stop_gradient(self.recommender.score(own, before))
            return losses.divergence_of_chunk(clean, self.recommender.score(users, after), candidates)

        return losses.divergence_of_chunks(*self._each(of_chunk, catalogue, items))

    def _weighted(self, users, items) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
        """The loss of each user, and what each weighs."""

        def of_chunk(number, candidates, rows):
            scores = self.recommender.score(users, rows)
            return losses.softmax_of_chunk(scores, self.batch.targets.chunk(number), candidates)

        return losses.softmax_of_chunks(*self._each(of_chunk, items))

    def _each(self, of_chunk, *tables: Float[Array, "I D"]) -> tuple:
        """What `of_chunk(number, candidates, *rows)` says of each chunk."""
        batch = self.batch
        allowed = jnp.ones(tables[0].shape[0]) if batch.candidates is None else batch.candidates

        def with_candidates(number, allowed, *rows):  # past the end of the catalogue nothing is allowed
            allowed = jnp.broadcast_to(allowed, (batch.users.shape[0], *allowed.shape))
            candidates = allowed if batch.history is None else allowed * (1.0 - batch.history.chunk(number))
            return of_chunk(number, candidates, *rows)

        return batch.targets.each(with_candidates, allowed, *tables)
