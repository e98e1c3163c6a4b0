"""The domain game: a critic tells which domain has said what is known of a user, and shall not be able to."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.sampling import Positives, draw_items
from gan_rec.games.joint import Joint, penalty, weight
from gan_rec.recommenders.graph import on_graph


class DomainPairs(NamedTuple):
    """B known pairs with K sampled items that they share."""

    users: Int[Array, " B"]
    items: Int[Array, " B"]
    others: Int[Array, " K"]
    graph: Positives


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["alpha", "weight"],
    meta_fields=["negatives", "sampling", "reads_history", "reads_graph"],
)
@dataclass(frozen=True)
class DomainGame(Joint):
    """Recommender: min alpha L - (1 - alpha) C. Critic: min C, its cross-entropy of the domain of shared rows.

    L is the softmax of a pair's score among those of the sampled items of its domain. C is over what each domain says
    of the batch's users. The critic's gradient goes through a reversal to the recommender, so that with
    `moves="simultaneous"` both players move from one backward pass; its weight against L, the lambda of the source, is
    (1 - alpha) / alpha.

    Args:
        alpha: weight of the data loss, in [0, 1]. At 1 the critic does not play: the twin.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        negatives: K, of all domains together.
        sampling: how they are drawn, see `gan_rec.data.sampling.sample_negatives`.
        reads_history, reads_graph: what the recommender is given: the graph of the training pairs.

    Source: Ganin et al., JMLR 2016, equations 9 and 13 to 18.
    """

    alpha: float | Float[Array, "..."] = 0.5
    weight: float | Float[Array, "..."] | None = None
    negatives: int = 512
    sampling: str = "uniform"
    reads_history: bool = False
    reads_graph: bool = True

    gives_both_gradients = True

    @property
    def of_users(self) -> bool:
        """A batch is pairs."""
        return False

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> DomainPairs:
        """The batch of `rows`, numbers below `size`."""
        others = draw_items(positives, (self.negatives,), key, self.sampling)
        return DomainPairs(positives.users[rows], positives.items[rows], others, positives)

    def data_loss(self, placed, batch: DomainPairs) -> Float[Array, ""]:
        """Mean over the pairs whose item somebody else had too."""
        scores, others, known = placed.without(batch.users, batch.items, batch.others)
        domains = jnp.asarray(placed.recommender.domains.values)
        rival = domains[batch.items][:, None] == domains[batch.others]
        rival &= batch.items[:, None] != batch.others
        listed = jnp.concatenate([scores[:, None], jnp.where(rival, others, -jnp.inf)], axis=1)
        losses = jax.nn.logsumexp(listed, axis=1) - scores
        return jnp.sum(losses * known) / jnp.maximum(jnp.sum(known), 1.0)

    def recommender_loss(self, recommender, adversary, batch: DomainPairs, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts; its gradient by the critic is that of C."""
        placed, alpha = on_graph(recommender, batch.graph), weight(self)
        data = self.data_loss(placed, batch)

        def critical():
            rows = reverse(placed.shared(batch.users), 1 - alpha)
            found = cross_entropy(adversary, rows, placed.active(batch.users))
            return found, -jax.lax.stop_gradient(found)

        link, second = jax.lax.cond(self.plays, critical, lambda: (jnp.zeros(()), jnp.zeros(())))
        value = jnp.where(self.plays, alpha * data + (1 - alpha) * second, data)
        total = value + link - jax.lax.stop_gradient(link) + penalty(recommender, batch, key)
        return total, {"data_loss": data, "adversarial_loss": second}

    def adversary_loss(self, adversary, recommender, batch: DomainPairs, key: PRNGKeyArray):
        """The critic's cross-entropy, to be minimised over the critic."""
        placed = on_graph(jax.lax.stop_gradient(recommender), batch.graph)
        return cross_entropy(adversary, placed.shared(batch.users), placed.active(batch.users))


def cross_entropy(critic, rows: Float[Array, "domains B D"], active: Float[Array, "domains B"]) -> Float[Array, ""]:
    """The critic's mean cross-entropy, in nats, of telling the first domain from the others; at chance ln 2 of two."""
    told = optax.sigmoid_binary_cross_entropy(critic(rows), is_first(active))
    return jnp.sum(told * active) / jnp.maximum(jnp.sum(active), 1.0)


def is_first(active: Float[Array, "domains B"]) -> Float[Array, "domains B"]:
    """1 for rows of the first domain."""
    return jnp.zeros_like(active).at[0].set(1.0)


@jax.custom_vjp
def reverse(x: Float[Array, "..."], weight: Float[Array, ""] | float) -> Float[Array, "..."]:
    """`x`, whose gradient comes back with the other sign, times `weight` (Ganin et al., JMLR 2016, equation 17)."""
    return x


def _forward(x, weight):
    return x, weight


def _backward(weight, gradient):
    return -weight * gradient, jnp.zeros_like(jnp.asarray(weight, gradient.dtype))


reverse.defvjp(_forward, _backward)
