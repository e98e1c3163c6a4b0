"""Adversaries that choose negatives: how hard is each sampled item to be for the recommender?"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.adversaries.ball import direction


class OwnScores(nnx.Module):
    """No adversary with parameters: a negative is as hard as the recommender itself scores it.

    The closed form of the inner maximum over distributions q of `sum q loss + temperature * entropy(q)` for a loss
    that is linear in the scores; also known as self-adversarial sampling (Sun et al., ICLR 2019, equation 5).
    """

    def __call__(
        self, users: Float[Array, "B D"], negatives: Float[Array, "B K D"], scores: Float[Array, "B K"]
    ) -> Float[Array, "B K"]:
        """Return the scores."""
        return scores


class Hardness(nnx.Module):
    """Learns the hardness of a negative from both rows: the cosine of two linear projections, times a learned scale.

    Args:
        dim: D, the size of the rows.
        hidden: size of the projections.
        rngs: source of the initial values.

    Source: the hardness network of AdvInfoNCE, Zhang et al., NeurIPS 2023, section 3.3 (its "MLP" variant, which
    generalises to pairs that were never sampled).
    """

    def __init__(self, dim: int, *, hidden: int = 32, rngs: nnx.Rngs):
        self.read_user = nnx.Linear(dim, hidden, rngs=rngs)
        self.read_item = nnx.Linear(dim, hidden, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(
        self, users: Float[Array, "B D"], negatives: Float[Array, "B K D"], scores: Float[Array, "B K"]
    ) -> Float[Array, "B K"]:
        """Return logits of hardness; the recommender's `scores` are not read."""
        unit = users.shape[-1] ** 0.5
        flat = direction(negatives.reshape(-1, negatives.shape[-1])) * unit
        items = direction(jnp.tanh(self.read_item(flat))).reshape(*negatives.shape[:2], -1)
        mine = direction(jnp.tanh(self.read_user(direction(users) * unit)))
        return self.scale[...] * jax.numpy.sum(mine[:, None] * items, axis=-1)
