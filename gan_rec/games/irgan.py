"""IRGAN: a policy over items against a critic of pairs; either of them can be the recommender."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.sampling import Positives
from gan_rec.games import batches
from gan_rec.games.batches import Batch
from gan_rec.games.joint import Joint, joint

_NO_CANDIDATE = -1e9  # finite, so that 0 * log p is 0
CRITIC_LOSSES = ("minimax", "non-saturating", "hinge")  # ids are discrete: there is nothing to take a penalty on


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["alpha", "weight", "temperature", "positive_share"],
    meta_fields=["ranker", "critic_loss", "samples", "hide", "reads_history"],
)
@dataclass(frozen=True)
class IRGAN(Joint):
    """Generator: a policy p(item | user), rewarded for items that the discriminator takes for observed ones.

    Discriminator: min of the critic's loss over observed items and items drawn from the policy. Generator: REINFORCE,
    -mean of (reward - baseline) log p over drawn items, the baseline of a sample being the mean of the user's others.

    Args:
        alpha: weight of the recommender's own data loss (softmax over the catalogue); the rest is the game's. 0 is
            the paper's; at 1 the adversary does not play: the twin.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        temperature: of the policy's softmax.
        positive_share: part of the policy's samples that is drawn from the user's observed items instead and weighed
            by p / proposal, so that the observed ones are seen at all (the paper's code has .2).
        ranker: who the recommender is, "generator" or "discriminator". The adversary is the other.
        critic_loss: "minimax" (the reward is log(1 + exp(D)), as in the paper), "non-saturating" or "hinge".
        samples: K, items drawn for each user.
        hide: chance that an item of the history is hidden from a recommender that reads it, and to be found.
        reads_history: whether the recommender is given histories.

    Source: Wang et al., SIGIR 2017, equations 2 to 5 and 9.
    """

    alpha: float | Float[Array, ""] = 0.0
    weight: float | Float[Array, ""] | None = None
    temperature: float | Float[Array, ""] = 1.0
    positive_share: float | Float[Array, ""] = 0.2
    ranker: str = "generator"
    critic_loss: str = "minimax"
    samples: int = 32
    hide: float = 0.2
    reads_history: bool = False

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Batch:
        """The batch of `rows`, numbers below `size`."""
        users = positives.active[rows]
        return batches.draw_users(
            positives, users, key, reads_history=self.reads_history, hide=self.hide, profile=False
        )

    def scores(self, player, batch: Batch, key: PRNGKeyArray | None) -> Float[Array, "B I"]:
        """A player's scores of the catalogue; what the recommender sees of the history is no candidate."""
        history = batch.history if player.reads_history else None
        scores = player.score(player.users(batch.users, history, key), player.items())
        return scores if batch.history is None else jnp.where(batch.history > 0, _NO_CANDIDATE, scores)

    def sample(self, scores: Float[Array, "B I"], targets: Float[Array, "B I"], key: PRNGKeyArray):
        """K items for each user from the proposal, and p / proposal for each; both constants.

        Proposal: (1 - positive_share) p + positive_share, spread evenly over what is to be found.
        """
        policy = jax.nn.softmax(jax.lax.stop_gradient(scores) / self.temperature, axis=1)
        n = jnp.sum(targets, axis=1, keepdims=True)
        share = jnp.where(n > 0, self.positive_share, 0.0)
        proposal = (1 - share) * policy + share * targets / jnp.maximum(n, 1.0)
        items = draw_items(proposal, self.samples, key)
        weights = jnp.take_along_axis(policy / jnp.maximum(proposal, 1e-30), items, axis=1)
        return items, weights

    def policy_loss(self, scores, verdicts, targets, key: PRNGKeyArray) -> Float[Array, ""]:
        """REINFORCE: its gradient estimates that of the policy's expected `losses.fooling` of the verdicts `[B, I]`."""
        items, weights = self.sample(scores, targets, key)
        verdicts = jnp.take_along_axis(jax.lax.stop_gradient(verdicts), items, axis=1)
        rewards = -losses.fooling(verdicts, self.critic_loss)
        others = jnp.maximum(self.samples - 1, 1)
        baseline = (jnp.sum(weights * rewards, axis=1, keepdims=True) - weights * rewards) / others
        log_policy = jnp.take_along_axis(jax.nn.log_softmax(scores / self.temperature, axis=1), items, axis=1)
        # The weight stands before the baseline too: only under the policy itself has it no part in the mean gradient.
        surrogate = -jnp.mean(weights * (rewards - baseline) * log_policy)
        # Its value means nothing, so what is reported is the loss whose gradient it has.
        return surrogate + jax.lax.stop_gradient(-jnp.mean(weights * rewards) - surrogate)

    def verdict_loss(self, verdicts, policy_scores, targets, key: PRNGKeyArray) -> Float[Array, ""]:
        """The critic's loss on observed items and as many drawn from the policy, averaged over users."""
        n = jnp.sum(targets, axis=1)
        policy = jax.nn.softmax(jax.lax.stop_gradient(policy_scores) / self.temperature, axis=1)
        fakes = draw_items(policy, self.samples, key)
        on_fakes = losses.critic_on_fake(jnp.take_along_axis(verdicts, fakes, axis=1), self.critic_loss)
        on_real = jnp.sum(targets * losses.critic_on_real(verdicts, self.critic_loss), axis=1) / jnp.maximum(n, 1.0)
        # A user's terms weigh with the root of the number of observed items, as in `losses.softmax`.
        weights = jnp.sqrt(n)
        return jnp.sum(weights * (on_real + jnp.mean(on_fakes, axis=1))) / jnp.maximum(jnp.sum(weights), 1.0)

    def recommender_loss(self, recommender, adversary, batch: Batch, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts."""
        tower_key, sample_key = jax.random.split(key)
        scores = self.scores(recommender, batch, tower_key)
        candidates = jnp.ones_like(scores) if batch.history is None else 1.0 - batch.history

        def adversarial():
            other = self.scores(jax.lax.stop_gradient(adversary), batch, None)
            loss = self.policy_loss if self.ranker == "generator" else self.verdict_loss
            return loss(scores, other, batch.targets, sample_key)

        return joint(self, losses.softmax(scores, batch.targets, candidates), adversarial)

    def adversary_loss(self, adversary, recommender, batch: Batch, key: PRNGKeyArray):
        """The other player's loss, to be minimised over the adversary."""
        own = self.scores(adversary, batch, None)
        other = self.scores(jax.lax.stop_gradient(recommender), batch, None)
        loss = self.verdict_loss if self.ranker == "generator" else self.policy_loss
        return loss(own, other, batch.targets, key)


def draw_items(probabilities: Float[Array, "B I"], k: int, key: PRNGKeyArray) -> Int[Array, "B K"]:
    """K items for each user, with replacement.

    By inversion, with one random number for each item: Gumbel noise, as in `jax.random.categorical`, takes I of them.
    """
    cumulative = jnp.cumsum(probabilities, axis=1)
    points = jax.random.uniform(key, (probabilities.shape[0], k)) * cumulative[:, -1:]
    items = jax.vmap(partial(jnp.searchsorted, side="right"))(cumulative, points)
    return jnp.minimum(items, probabilities.shape[1] - 1)
