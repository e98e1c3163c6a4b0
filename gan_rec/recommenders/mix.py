"""Several recommenders whose scores are added, each by what a user's scores vary: one recommender again."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.recommenders.score import dot

_LEAST_SPREAD = 1e-12  # of a user who has no history all weights may be equal


class Mix(nnx.Module):
    """The weighted sum of each user's z-scores by several recommenders, as an inner product.

    A z-score is a score minus the mean of the user's scores, over their standard deviation, both over the items that
    are not in the history. The mean moves all of a user's items alike, so it is left out; all is multiplied by the
    first recommender's deviation, which moves no item either and leaves scores the size that its loss knows. So user
    rows are those of the parts, each times its weight and that quotient, side by side, and item rows those of the
    parts: whatever moves rows can move these.

    Args:
        parts: recommenders whose score is the inner product; they may read histories or know users by their ids.
        weights: of each part.
    """

    reads_history = True

    def __init__(self, parts: Sequence[nnx.Module], weights: Float[Array, "*any parts"]):
        self.parts, self.weights = nnx.List(parts), nnx.Param(weights)

    def users(
        self, ids: Int[Array, " B"], history: Float[Array, "B I"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "B D"]:
        """User rows, D being the sum of the parts' sizes."""
        rows = [part.users(ids, history, key) for part in self.parts]
        return jnp.hstack([factor * own for factor, own in zip(self._factors(rows, history), rows, strict=True)])

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item rows of `ids`, or of the whole catalogue `[I, D]`."""
        return jnp.concatenate([part.items(ids) for part in self.parts], axis=-1)

    score = staticmethod(dot)

    def held(self, user: Int[Array, ""], history: Float[Array, " I"]) -> "WeightedSum":
        """The same with the factors that a user's parts have for one history, whatever history it then reads.

        So each part's say in a score is that part's own: linear where the part is, without what an item's absence does
        to the spread of all others.
        """
        ids, history = user[None], history[None]
        factors = self._factors([part.users(ids, history) for part in self.parts], history)
        return WeightedSum(self.parts, jnp.stack([factor[0, 0] for factor in factors]))

    def _factors(self, rows: Sequence[Float[Array, "B _"]], history: Float[Array, "B I"]) -> list[Float[Array, "B 1"]]:
        spreads = [_spread(dot(own, part.items()), history) for own, part in zip(rows, self.parts, strict=True)]
        return [weight * spreads[0] / spread for weight, spread in zip(self.weights[...], spreads, strict=True)]

    def scores_of_parts(self, ids: Int[Array, " B"], history: Float[Array, "B I"]) -> Float[Array, "parts B I"]:
        """Each part's scores over their standard deviation: z-scores but for the mean."""
        scores = [dot(part.users(ids, history), part.items()) for part in self.parts]
        return jnp.stack([own / _spread(own, history) for own in scores])


class WeightedSum(nnx.Module):
    """The sum of several recommenders' scores, each times a factor of its own, as an inner product.

    Args:
        parts: recommenders whose score is the inner product.
        factors: of each part.
    """

    reads_history = True

    def __init__(self, parts: Sequence[nnx.Module], factors: Float[Array, " parts"]):
        self.parts, self.factors = nnx.List(parts), nnx.Param(factors)

    def users(self, ids: Int[Array, " B"], history: Float[Array, "B I"], key=None) -> Float[Array, "B D"]:
        """User rows, those of the parts side by side."""
        rows = [part.users(ids, history, key) for part in self.parts]
        return jnp.hstack([factor * own for factor, own in zip(self.factors[...], rows, strict=True)])

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item rows of `ids`, or of the whole catalogue `[I, D]`."""
        return jnp.concatenate([part.items(ids) for part in self.parts], axis=-1)

    score = staticmethod(dot)


def _spread(scores: Float[Array, "B I"], history: Float[Array, "B I"]) -> Float[Array, "B 1"]:
    """Standard deviation of each user's scores over the items that are not in the history."""
    deviations = jnp.std(scores, axis=1, keepdims=True, where=history == 0)
    return jnp.maximum(deviations, _LEAST_SPREAD)
