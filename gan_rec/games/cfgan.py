"""CFGAN: the recommender makes whole purchase vectors, a critic tells them from real ones."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.sampling import Positives
from gan_rec.games.batches import Batch
from gan_rec.games.joint import Joint, joint
from gan_rec.random import bernoulli


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["alpha", "weight", "zero_weight", "penalty"],
    meta_fields=["zero_ratio", "mask_ratio", "critic_loss", "reads_history"],
)
@dataclass(frozen=True)
class CFGAN(Joint):
    """Recommender: purchase vectors that the critic takes for real ones. Critic: min of its loss on both kinds.

    The vector of a user is the sigmoid of all scores, masked by the real one: a critic that saw the rest of it would
    only look for values between 0 and 1. Two cures for the recommender that gives everything a 1, which the mask
    allows: zero-reconstruction (some unobserved items are drawn to 0) and partial masking (some unobserved items are
    left in the vector that the critic sees).

    Args:
        alpha: weight of the recommender's own data loss, the squared error on observed and drawn unobserved items;
            the rest is the game's. 0 is the paper's; at 1 the adversary does not play: the twin.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        zero_weight: of the squared error on unobserved items, in either loss.
        penalty: of the critic's gradient (wasserstein only).
        zero_ratio: part of the unobserved items that is drawn to 0 (zero-reconstruction; 0 is none).
        mask_ratio: part of the unobserved items that the critic sees (partial masking; 0 is none).
        critic_loss: "minimax" (the paper's), "non-saturating", "hinge" or "wasserstein".
        reads_history: whether the recommender is given histories.

    The item variant is this game on transposed pairs, see the setting `side`.
    Source: Chae et al., CIKM 2018, equations 5 and 6, and section 4.3 for the two cures together.
    """

    alpha: float | Float[Array, ""] = 0.0
    weight: float | Float[Array, ""] | None = None
    zero_weight: float | Float[Array, ""] = 0.03
    penalty: float | Float[Array, ""] = 10.0
    zero_ratio: float = 0.7
    mask_ratio: float = 0.1
    critic_loss: str = "wasserstein"
    reads_history: bool = True

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Batch:
        """The batch of `rows`, numbers below `size`: nothing is hidden, the vector itself is to be made again."""
        users = positives.active[rows]
        history = positives.history(users)
        return Batch(users, history if self.reads_history else None, targets=history, items=None)

    def vectors(self, recommender, batch: Batch, key: PRNGKeyArray | None) -> Float[Array, "B I"]:
        """Purchase vectors before the mask, in (0, 1)."""
        users = recommender.users(batch.users, batch.history, key)
        return jax.nn.sigmoid(recommender.score(users, recommender.items()))

    def masked(self, vectors, real, key: PRNGKeyArray) -> Float[Array, "B I"]:
        """What the critic sees of made vectors: observed entries, and some of the others."""
        return vectors * jnp.maximum(real, bernoulli(key, self.mask_ratio, real.shape))

    def zero_error(self, vectors, real, key: PRNGKeyArray) -> Float[Array, ""]:
        """Zero-reconstruction: squared values of drawn unobserved items, summed, averaged over rows."""
        drawn = (1.0 - real) * bernoulli(key, self.zero_ratio, real.shape)
        return jnp.mean(jnp.sum(drawn * vectors**2, axis=1))

    def recommender_loss(self, recommender, adversary, batch: Batch, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts."""
        tower_key, mask_key, zero_key = jax.random.split(key, 3)
        real = batch.targets
        vectors = self.vectors(recommender, batch, tower_key)
        zeros = self.zero_weight * self.zero_error(vectors, real, zero_key)

        def adversarial():
            verdict = jax.lax.stop_gradient(adversary)(self.masked(vectors, real, mask_key), real)
            return jnp.mean(losses.fooling(verdict, self.critic_loss)) + zeros

        data = jnp.mean(jnp.sum(real * (1.0 - vectors) ** 2, axis=1)) + zeros
        return joint(self, data, adversarial)

    def adversary_loss(self, adversary, recommender, batch: Batch, key: PRNGKeyArray):
        """The critic's loss, to be minimised over the adversary."""
        tower_key, mask_key, mix_key = jax.random.split(key, 3)
        real = batch.targets
        vectors = self.vectors(jax.lax.stop_gradient(recommender), batch, tower_key)
        fake = self.masked(vectors, real, mask_key)
        on_real = losses.critic_on_real(adversary(real, real), self.critic_loss)
        loss = jnp.mean(on_real + losses.critic_on_fake(adversary(fake, real), self.critic_loss))
        if self.critic_loss != "wasserstein":
            return loss
        return loss + self.penalty * _gradient_penalty(adversary, real, fake, mix_key)


def _gradient_penalty(critic, real: Float[Array, "B I"], fake: Float[Array, "B I"], key) -> Float[Array, ""]:
    """Mean of (|gradient| - 1)^2 at random points between real and fake (Gulrajani et al., NeurIPS 2017, eq. 3)."""
    mix = jax.random.uniform(key, (real.shape[0], 1))
    gradients = jax.grad(lambda x: jnp.sum(critic(x, real)))(mix * real + (1 - mix) * fake)
    lengths = jnp.sqrt(jnp.sum(gradients**2, axis=1) + 1e-12)
    return jnp.mean((lengths - 1) ** 2)
