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
        spreads = [_spread(dot(own, part.items()), history) for own, part in zip(rows, self.parts, strict=True)]
        factors = [weight * spreads[0] / spread for weight, spread in zip(self.weights[...], spreads, strict=True)]
        return jnp.hstack([factor * own for factor, own in zip(factors, rows, strict=True)])

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item rows of `ids`, or of the whole catalogue `[I, D]`."""
        return jnp.concatenate([part.items(ids) for part in self.parts], axis=-1)

    score = staticmethod(dot)

    def scores_of_parts(self, ids: Int[Array, " B"], history: Float[Array, "B I"]) -> Float[Array, "parts B I"]:
        """Each part's scores over their standard deviation: z-scores but for the mean."""
        scores = [dot(part.users(ids, history), part.items()) for part in self.parts]
        return jnp.stack([own / _spread(own, history) for own in scores])


def _spread(scores: Float[Array, "B I"], history: Float[Array, "B I"]) -> Float[Array, "B 1"]:
    """Standard deviation of each user's scores over the items that are not in the history."""
    deviations = jnp.std(scores, axis=1, keepdims=True, where=history == 0)
    return jnp.maximum(deviations, _LEAST_SPREAD)
