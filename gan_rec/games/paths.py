"""The path game: a policy proposes a user's next items as a sequence, a critic tells them from what the user had."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.sampling import Positives
from gan_rec.games.joint import Joint, joint


class Paths(NamedTuple):
    """B users, each cut at a random place of their sequence."""

    history: Int[Array, "B T"]  # the last items before the cut; I where there is none
    future: Int[Array, "B K"]  # the next ones; I past the last one
    allowed: Float[Array, "B I"]  # 1 where an item is not among all those before the cut


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["alpha", "weight", "discount", "entropy"],
    meta_fields=["k", "read", "samples"],
)
@dataclass(frozen=True)
class PathGame(Joint):
    """Policy: the likelihood of what came next, and paths that the critic takes for real. Critic: tell them apart.

    The data loss is the cross-entropy of a softmax, before a random step of the real path, with those of its items that
    are still to come: a path is to find the user's next k items, given those that it has. The adversarial loss has the
    gradient of REINFORCE: every step of a drawn path is made more likely by how much what the critic says of it and of
    the rest of the path is above what it says, at the same step, of the user's other drawn paths.

    Args:
        alpha: weight of the data loss; at 1 the critic does not play: the twin.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        discount: of what the critic says of later steps.
        entropy: bonus for the entropy of the policy's steps, in nats.
        k: K, items of a path.
        read: T, how many items before the cut are read.
        samples: paths drawn for each user, at least 2.

    Source: SeqGAN (Yu et al., AAAI 2017, section 3), whose rollouts of unfinished sequences a critic of single steps
    does not need; the baseline is the leave-one-out mean of Kool et al., DeepRLStructPred 2019, section 3.
    """

    alpha: float | Float[Array, ""] = 0.5
    weight: float | Float[Array, ""] | None = None
    discount: float | Float[Array, ""] = 0.9
    entropy: float | Float[Array, ""] = 0.0
    k: int = 5
    read: int = 20
    samples: int = 4

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Paths:
        """The batch of `rows`, numbers of active users."""
        order, users = positives.order, positives.active[rows]
        start, end = order.starts[users], order.starts[users + 1]
        # As often as it can be, all of the k next items are there.
        most = jnp.maximum(end - start - self.k, 1)
        cut = start + 1 + jnp.floor(jax.random.uniform(key, users.shape) * most).astype(jnp.int32)
        before, after = cut[:, None] - self.read + jnp.arange(self.read), cut[:, None] + jnp.arange(self.k)
        history = jnp.where(before >= start[:, None], order.items.at[before].get(mode="clip"), order.n_items)
        future = jnp.where(after < end[:, None], order.items.at[after].get(mode="clip"), order.n_items)
        # All that the user has but what is still to come.
        own, numbers = positives.history(users), jnp.arange(users.shape[0])[:, None]
        return Paths(history, future, (1.0 - own).at[numbers, future].set(1.0, mode="drop"))

    def recommender_loss(self, recommender, adversary, batch: Paths, key: PRNGKeyArray):
        """Joint loss to be minimised over the policy, and its parts."""
        data_key, path_key = jax.random.split(key)
        data = self.data_loss(recommender, batch, data_key)
        return joint(self, data, lambda: self.adversarial_loss(recommender, adversary, batch, path_key))

    def data_loss(
        self, policy, batch: Paths, key: PRNGKeyArray | None, steps: Int[Array, " B"] | None = None
    ) -> Float[Array, ""]:
        """Cross-entropy of the items still to come before a step of each real path, one drawn with the `key` or given.

        Without a key nothing is dropped.
        """
        there = (batch.future < batch.allowed.shape[1]).astype(jnp.float32)
        if steps is None:
            steps = jnp.floor(jax.random.uniform(key, there.shape[:1]) * jnp.sum(there, axis=1)).astype(jnp.int32)
        states = policy.states(batch.history, batch.future, key)
        states = jnp.take_along_axis(states, steps[:, None, None], axis=1)[:, 0]
        scores = policy.encoder.score(states, policy.encoder.items())
        found = jnp.take_along_axis(scores, jnp.minimum(batch.future, scores.shape[1] - 1), axis=1)
        to_come = there * (jnp.arange(self.k) >= steps[:, None])
        n = jnp.sum(to_come, axis=1)
        rows = jax.nn.logsumexp(scores, axis=1) - jnp.sum(found * to_come, axis=1) / jnp.maximum(n, 1.0)
        return jnp.sum(jnp.where(n > 0, rows, 0.0)) / jnp.maximum(jnp.sum(n > 0), 1)

    def adversarial_loss(self, policy, critic, batch: Paths, key: PRNGKeyArray) -> Float[Array, ""]:
        """Minus the log-odds that drawn paths are real, with the gradient of REINFORCE."""
        offer = policy.offer(batch.history, batch.allowed)
        history, offer = jax.tree.map(lambda x: jnp.repeat(x, self.samples, axis=0), (batch.history, offer))
        places = policy.walk(jax.lax.stop_gradient(offer), self.k, key)
        verdicts = jax.lax.stop_gradient(critic(history, jnp.take_along_axis(offer.items, places, axis=1)))
        log_chances = policy.log_chances(offer, places)
        chosen = jnp.take_along_axis(log_chances, places[:, :, None], axis=2)[:, :, 0]
        entropy = -jnp.mean(jnp.sum(jnp.exp(log_chances) * log_chances, axis=2))
        gain = jnp.mean(jnp.sum(self._advantages(verdicts) * chosen, axis=1)) + self.entropy * entropy
        # Its value is what the critic says; of the gain only the gradient counts.
        return jax.lax.stop_gradient(gain - jnp.mean(verdicts)) - gain

    def adversary_loss(self, adversary, recommender, batch: Paths, key: PRNGKeyArray):
        """The critic's cross-entropy on steps of real and of drawn paths, to be minimised over the critic."""
        policy, path_key = jax.lax.stop_gradient(recommender), jax.random.split(key)[1]
        offer = policy.offer(batch.history, batch.allowed)
        made = jnp.take_along_axis(offer.items, policy.walk(offer, self.k, path_key), axis=1)
        there = (batch.future < batch.allowed.shape[1]).astype(jnp.float32)
        on_real = losses.critic_on_real(adversary(batch.history, batch.future), "minimax")
        on_made = losses.critic_on_fake(adversary(batch.history, made), "minimax")
        return jnp.sum(there * (on_real + on_made)) / jnp.maximum(jnp.sum(there), 1.0)

    def _advantages(self, verdicts: Float[Array, "B K"]) -> Float[Array, "B K"]:
        """Discounted sums of what is said of a step and of the later ones, minus their mean over the other paths."""

        def add(later, now):
            total = now + self.discount * later
            return total, total

        returns = jax.lax.scan(add, jnp.zeros(verdicts.shape[0]), verdicts.T, reverse=True)[1].T
        of_user = returns.reshape(-1, self.samples, self.k)
        others = (jnp.sum(of_user, axis=1, keepdims=True) - of_user) / (self.samples - 1)
        return (of_user - others).reshape(verdicts.shape)
