"""The embedding game: an adversary moves user and item representations, the recommender must still rank well."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.adversaries.ball import project
from gan_rec.data.sampling import Positives, sample_negatives
from gan_rec.random import bernoulli


class Batch(NamedTuple):
    """B users with what is to be found for them: a set of targets, or a list with the positive item first."""

    users: Int[Array, " B"]
    history: Float[Array, "B I"] | None  # what the recommender may see; None if it reads no history
    targets: Float[Array, "B I"] | None  # softmax: 1 where an item is to be found
    items: Int[Array, "B list"] | None  # pairwise losses: the observed item, then K sampled ones


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["alpha", "epsilon"],
    meta_fields=["loss", "hide", "negatives", "reads_history"],
)
@dataclass(frozen=True)
class EmbeddingGame:
    """Recommender: min alpha L(u, v) + (1 - alpha) L(u', v'). Adversary: max L(u', v') over what it makes of u and v.

    u and v are user and item representations, u' and v' the adversary's, at most `epsilon` times the row's length
    away; their offset is a constant for the recommender, as in APR (He et al., SIGIR 2018, equation 5).

    Args:
        alpha: weight of the data loss, in [0, 1]. At 1 the adversary neither plays nor costs anything: the twin.
        epsilon: radius of the ball, relative to the length of the row under attack.
        loss: "softmax" (a batch is users), "bpr" or "sampled-softmax" (a batch is pairs).
        hide: softmax only: chance that an item of the history is hidden from the recommender and so a target.
            A recommender that reads no history has all of it as targets.
        negatives: K, items sampled for each pair; not used by softmax.
        reads_history: whether the recommender is given histories.
    """

    alpha: float | Float[Array, ""] = 0.5
    epsilon: float | Float[Array, ""] = 0.1
    loss: str = "softmax"
    hide: float = 0.2
    negatives: int = 1
    reads_history: bool = True

    metrics = ("data_loss", "adversarial_loss")

    def size(self, positives: Positives) -> tuple[int, Int[Array, ""]]:
        """The most rows that an epoch can have (fixed by shapes) and the number it has: of users, or of pairs."""
        if self.loss == "softmax":
            return positives.active.shape[0], positives.n_active
        return positives.users.shape[0], positives.n_pairs

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Batch:
        """The batch of `rows`, numbers below `size`."""
        if self.loss == "softmax":
            return self._draw_users(positives, positives.active[rows], key)
        return self._draw_pairs(positives, positives.users[rows], positives.items[rows], key)

    def _draw_users(self, positives, users, key) -> Batch:
        history = positives.history(users)
        if not self.reads_history:
            return Batch(users, history=None, targets=history, items=None)
        targets = history * bernoulli(key, self.hide, history.shape)
        return Batch(users, history=history - targets, targets=targets, items=None)

    def _draw_pairs(self, positives, users, items, key) -> Batch:
        history = None
        if self.reads_history:
            history = positives.history(users).at[jnp.arange(users.shape[0]), items].set(0.0)
        sampled = sample_negatives(positives, users, self.negatives, key)
        return Batch(users, history, targets=None, items=jnp.concatenate([items[:, None], sampled], axis=1))

    def representations(self, recommender, batch: Batch, key: PRNGKeyArray | None):
        """User rows `[B, D]` and item rows `[I, D]` (softmax) or `[B, 1 + K, D]`; without a key nothing is dropped."""
        return recommender.users(batch.users, batch.history, key), recommender.items(batch.items)

    def loss_of(self, recommender, batch: Batch):
        """The data loss as a function of user and item rows, which is what an adversary attacks."""

        def loss(users, items):
            scores = recommender.score(users, items)
            if self.loss == "softmax":
                candidates = 1.0 - batch.history if self.reads_history else jnp.ones_like(scores)
                return losses.softmax(scores, batch.targets, candidates)
            pairwise = {"bpr": losses.bpr, "sampled-softmax": losses.sampled_softmax}[self.loss]
            return pairwise(scores[:, 0], scores[:, 1:])

        return loss

    def attack(self, adversary, loss, users, items, key: PRNGKeyArray):
        """The adversary's rows, brought back into the ball wherever it left it.

        A class that says `bounded = True` of itself is taken at its word, which makes an epoch of `mf` a quarter
        shorter; what inherits from it is not.
        """
        moved = adversary(loss, users, items, key, self.epsilon)
        if vars(type(adversary)).get("bounded", False):
            return moved
        return tuple(project(m, rows, self.epsilon) for m, rows in zip(moved, (users, items), strict=True))

    def recommender_loss(self, recommender, adversary, batch: Batch, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts."""
        tower_key, attack_key = jax.random.split(key)
        loss = self.loss_of(recommender, batch)
        users, items = self.representations(recommender, batch, tower_key)

        def adversarial_loss():
            constants = jax.lax.stop_gradient((users, items))
            moved = self.attack(jax.lax.stop_gradient(adversary), loss, *constants, attack_key)
            offsets = jax.lax.stop_gradient(jax.tree.map(jnp.subtract, moved, constants))
            return loss(users + offsets[0], items + offsets[1])

        data = loss(users, items)
        adversarial = jax.lax.cond(self.plays, adversarial_loss, lambda: jnp.zeros(()))
        joint = self.alpha * data + (1 - self.alpha) * adversarial
        return joint, {"data_loss": data, "adversarial_loss": adversarial}

    def adversary_loss(self, adversary, recommender, batch: Batch, key: PRNGKeyArray):
        """Minus the recommender's loss on adversarial rows, to be minimised over the adversary."""
        tower_key, attack_key = jax.random.split(key)
        rows = jax.lax.stop_gradient(self.representations(recommender, batch, tower_key))
        loss = self.loss_of(recommender, batch)
        return -loss(*self.attack(adversary, loss, *rows, attack_key))

    @property
    def plays(self):
        """Whether the adversary takes part."""
        return self.alpha < 1
