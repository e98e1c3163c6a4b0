"""Games over sampled negatives: the adversary says how much each of them weighs in the recommender's loss."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.sampling import Positives
from gan_rec.games import batches
from gan_rec.games.batches import Batch
from gan_rec.games.joint import Joint, joint, penalty
from gan_rec.recommenders.graph import on_graph

_FIELDS = dict(
    data_fields=["alpha", "weight", "temperature", "entropy"],
    meta_fields=["loss", "negatives", "sampling", "reads_history", "reads_graph"],
)


@partial(jax.tree_util.register_dataclass, **_FIELDS)
@dataclass(frozen=True)
class HardNegatives(Joint):
    """Recommender: min alpha L + (1 - alpha) sum_k q_k L_k over K negatives. Adversary: max of the sum over q.

    L_k is the loss of the pair with its k-th negative, L their mean (negatives as they were sampled, uniformly), and
    q = softmax(hardness / temperature) the importance weights. Sampling K items uniformly and weighing them by q is
    importance sampling from the adversary's distribution over the catalogue; unlike with sampled ids a gradient
    reaches the adversary through q itself. An entropy bonus keeps q from one single item, often a false negative.

    Args:
        alpha: weight of the uniform negatives, in [0, 1]. At 1 the adversary does not play: the twin.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        temperature: of q; small means that the hardest negative counts alone.
        entropy: the adversary's bonus for the entropy of q, relative to its largest value log K.
        loss: "bpr" or "bce".
        negatives: K.
        sampling: how they are drawn, see `gan_rec.data.sampling.sample_negatives`.
        reads_history: whether the recommender is given histories.
        reads_graph: whether the recommender is given the graph of the training pairs.

    Sources: adversarial negatives as in IRGAN (Wang et al., SIGIR 2017) and AdvIR (Park and Chang, WWW 2019); the
    importance-weighted softmax in place of REINFORCE follows the self-adversarial sampling of Sun et al., ICLR 2019.
    """

    alpha: float | Float[Array, ""] = 0.5
    weight: float | Float[Array, ""] | None = None
    temperature: float | Float[Array, ""] = 1.0
    entropy: float | Float[Array, ""] = 0.1
    loss: str = "bpr"
    negatives: int = 16
    sampling: str = "uniform"
    reads_history: bool = False
    reads_graph: bool = False

    @property
    def needs_named_rows_only(self) -> bool:
        """Whether of the recommender's tables a batch needs only the rows that it names."""
        return not (self.reads_history or self.reads_graph)

    @property
    def of_users(self) -> bool:
        """A batch is pairs."""
        return False

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Batch:
        """The batch of `rows`, numbers below `size`."""
        options = {"negatives": self.negatives, "sampling": self.sampling, "profile": False}
        batch = batches.draw_pairs(positives, rows, key, reads_history=self.reads_history, **options)
        return batch._replace(graph=positives if self.reads_graph else None)

    def scores(self, recommender, batch: Batch, key: PRNGKeyArray | None):
        """User rows, item rows, and the scores of each list `[B, 1 + K]`."""
        recommender = on_graph(recommender, batch.graph)
        users = recommender.users(batch.users, batch.history, key)
        items = recommender.items(batch.items)
        return users, items, recommender.score(users, items)

    def hardness(self, adversary, users, items, scores) -> Float[Array, "B K"]:
        """The adversary's log weights of the negatives; the recommender is a constant for it."""
        users, items, scores = jax.lax.stop_gradient((users, items, scores))
        return jax.nn.log_softmax(adversary(users, items[:, 1:], scores[:, 1:]) / self.temperature, axis=1)

    def data_loss(self, scores: Float[Array, "B list"]) -> Float[Array, ""]:
        """The loss with uniform negatives."""
        return {"bpr": losses.bpr, "bce": losses.bce}[self.loss](scores[:, 0], scores[:, 1:])

    def adversarial_loss(self, scores: Float[Array, "B list"], log_q: Float[Array, "B K"]) -> Float[Array, ""]:
        """The loss with negatives weighed by q."""
        q = jnp.exp(log_q)
        if self.loss == "bpr":
            return jnp.mean(jnp.sum(q * jax.nn.softplus(scores[:, 1:] - scores[:, :1]), axis=1))
        k = self.negatives
        return jnp.mean(jax.nn.softplus(-scores[:, 0]) + k * jnp.sum(q * jax.nn.softplus(scores[:, 1:]), axis=1)) / (
            1 + k
        )

    def recommender_loss(self, recommender, adversary, batch: Batch, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts."""
        users, items, scores = self.scores(recommender, batch, key)

        def adversarial():
            log_q = self.hardness(jax.lax.stop_gradient(adversary), users, items, scores)
            return self.adversarial_loss(scores, log_q)

        total, parts = joint(self, self.data_loss(scores), adversarial)
        return total + penalty(recommender, batch, key), parts

    def adversary_loss(self, adversary, recommender, batch: Batch, key: PRNGKeyArray):
        """Minus the loss with weighed negatives, minus the bonus for entropy, to be minimised over the adversary."""
        users, items, scores = self.scores(jax.lax.stop_gradient(recommender), batch, key)
        log_q = self.hardness(adversary, users, items, scores)
        entropy = -jnp.mean(jnp.sum(jnp.exp(log_q) * log_q, axis=1)) / jnp.log(float(max(self.negatives, 2)))
        return -self.adversarial_loss(scores, log_q) - self.entropy * entropy


@partial(jax.tree_util.register_dataclass, **_FIELDS)
@dataclass(frozen=True)
class AdvInfoNCE(HardNegatives):
    """InfoNCE in which each negative has a learned hardness: -log exp(s) / (exp(s) + sum_k K q_k exp(s_k)).

    The recommender minimises it over its scores s / temperature, the adversary maximises it over q; at q = 1 / K it is
    InfoNCE, the twin's loss. In the paper the adversary moves once in some epochs and stops after a number of them,
    which keeps KL(uniform || q) small; here it moves with every batch at its own learning rate, and the bonus for
    entropy does that.

    Args:
        temperature: of the recommender's scores, which are cosines where the paper's are; of q it is 1.

    Source: Zhang et al., NeurIPS 2023, equations 7 to 9.
    """

    loss: str = "sampled-softmax"
    temperature: float | Float[Array, ""] = 1.0
    negatives: int = 64

    def hardness(self, adversary, users, items, scores) -> Float[Array, "B K"]:
        """Log q."""
        users, items, scores = jax.lax.stop_gradient((users, items, scores))
        return jax.nn.log_softmax(adversary(users, items[:, 1:], scores[:, 1:]), axis=1)

    def data_loss(self, scores: Float[Array, "B list"]) -> Float[Array, ""]:
        """InfoNCE."""
        scores = scores / self.temperature
        return losses.sampled_softmax(scores[:, 0], scores[:, 1:])

    def adversarial_loss(self, scores: Float[Array, "B list"], log_q: Float[Array, "B K"]) -> Float[Array, ""]:
        """InfoNCE with K q_k of the k-th negative."""
        scores = scores / self.temperature
        return jnp.mean(
            losses.sampled_softmax_rows(scores[:, 0], scores[:, 1:], log_q + jnp.log(float(self.negatives)))
        )
