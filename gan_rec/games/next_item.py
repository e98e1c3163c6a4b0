"""The embedding game over sequences: at every position the next item is to be found, on clean and on moved rows."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.sampling import Positives, draw_items, shuffle
from gan_rec.games import embedding
from gan_rec.games.batches import WINDOW, Positions
from gan_rec.games.embedding import EmbeddingGame
from gan_rec.games.rows import PAIRWISE_ROWS, RowLoss

_NONE = -1e9  # the score of a negative that is the target itself


class NextItemLoss(RowLoss):
    """A `RowLoss` on `Positions`, given rows `[N, D]` of states and `[I, D]` or `[N + K, D]` of items.

    Args:
        inputs: the first rows are embeddings of the sequences' items, from which the recommender makes the states.
        options: see `RowLoss`.
    """

    def __init__(self, *options, inputs: bool = False):
        super().__init__(*options)
        self.inputs = inputs

    def __call__(self, users: Float[Array, "N D"], items: Float[Array, "M D"]) -> Float[Array, ""]:
        """The loss."""
        if self.name == "softmax" and self.batch.candidates is None:
            return losses.softmax_of_next(self.states(users), items, self.batch.targets, self.batch.weights)
        return self._mean(self.by_row(users, items))

    def states(self, rows: Float[Array, "N D"]) -> Float[Array, "N D"]:
        """The representation of each position."""
        return encode(self.recommender, rows, self.batch, self.batch.key) if self.inputs else rows

    def scores(self, users, items) -> Float[Array, "N _"]:
        """Scores of the catalogue, or of the target and the sampled items."""
        n, states = self.batch.targets.shape[0], self.states(users)
        if self.batch.items is None:
            return self.recommender.score(states, items)
        sampled = self.recommender.score(states, items[n:])
        sampled = jnp.where(self.batch.items[None, n:] == self.batch.targets[:, None], _NONE, sampled)
        return jnp.concatenate([self.recommender.score(states, items[:n, None]), sampled], axis=1)

    def candidates(self, scores: Float[Array, "N n"]) -> Float[Array, "N n"]:
        """1 where an item can be what is to be found."""
        if self.batch.items is not None or self.batch.candidates is None:
            return jnp.ones_like(scores)
        return jnp.broadcast_to(self.batch.candidates, scores.shape)

    def by_row(self, users, items) -> Float[Array, " N"]:
        """The loss of each position."""
        scores = self.scores(users, items)
        if self.name != "softmax":
            return PAIRWISE_ROWS[self.name](scores[:, 0], scores[:, 1:])
        normaliser = jax.nn.logsumexp(jnp.where(self.candidates(scores) > 0, scores, _NONE), axis=1)
        return normaliser - jnp.take_along_axis(scores, self.batch.targets[:, None], axis=1)[:, 0]

    def worst_case(self, users, items, radius) -> Float[Array, ""]:
        """The loss with the weights of positions that raise it most; see the function."""
        return losses.worst_case(self.by_row(users, items), self.batch.weights, radius)

    def named(self, name) -> "NextItemLoss":
        """Another loss on the same batch."""
        return type(self)(self.recommender, self.batch, name, self.clean, inputs=self.inputs)

    def _mean(self, rows: Float[Array, " N"]) -> Float[Array, ""]:
        weights = self.batch.weights
        return jnp.sum(weights * rows) / jnp.maximum(jnp.sum(weights), 1.0)


def encode(recommender, rows: Float[Array, "N D"], batch: Positions, key: PRNGKeyArray | None) -> Float[Array, "N D"]:
    """The representation of each position, from embeddings of the items there."""
    inputs, users, places = (batch.in_rows(x) for x in (rows, batch.users, batch.places))
    return recommender.encode(inputs, users, places, key).reshape(rows.shape[0], -1)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=embedding.DATA_FIELDS,
    meta_fields=[*embedding.META_FIELDS, "attacked"],
)
@dataclass(frozen=True)
class NextItem(EmbeddingGame):
    """The embedding game of a recommender that reads order: a batch is positions, and user rows are their states.

    Sequences of users, in an order drawn anew in every epoch, stand one after the other, and a batch is a stretch of
    it. So no position is padding; a user whose sequence a row of the batch cuts is two users there. The softmax is over
    the whole catalogue. The other losses have K sampled items, which all positions of the batch share.

    Args:
        attacked: what user rows are: "states", or "inputs", the embeddings of the sequences' items, from which the
            recommender makes its states.

    Source: training at all positions is that of SASRec (Kang and McAuley, ICDM 2018, section III-E).
    """

    attacked: str = "states"

    @property
    def of_users(self) -> bool:
        """A batch is positions."""
        return False

    @property
    def needs_named_rows_only(self) -> bool:
        """Inputs are rows of the items' table too."""
        return False

    def size(self, positives: Positives) -> tuple[int, Int[Array, ""]]:
        """The most positions that an epoch can have (fixed by shapes), and the number it has."""
        return positives.users.shape[0], positives.n_pairs - positives.n_active

    def order(self, positives: Positives, batch_size: int, key: PRNGKeyArray) -> Int[Array, " capacity"]:
        """The places of an epoch: users in a random order, each with all places that something follows."""
        numbers = shuffle(key, positives.active.shape[0], positives.n_active)
        return positives.order.with_next(positives.active[numbers], positives.n_active)

    def some_rows(self, positives: Positives, n: int, key: PRNGKeyArray) -> Int[Array, " B"]:
        """The places of a batch that belongs to no epoch: a stretch of all users' sequences."""
        return (jax.random.randint(key, (), 0, positives.n_pairs) + jnp.arange(n)) % positives.n_pairs

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Positions:
        """The batch of places, as `order` gives them."""
        order, sample_key, drop_key = positives.order, *jax.random.split(key)
        window = min(WINDOW, rows.shape[0])
        places = jnp.pad(rows, (0, -rows.shape[0] % window), constant_values=-1)
        users = order.owners(places)
        weights = order.has_next(places).astype(jnp.float32)
        inputs, targets = (order.items.at[places + step].get(mode="clip") for step in (0, 1))
        items = None
        if self.loss != "softmax":
            items = jnp.concatenate([targets, draw_items(positives, (self.negatives,), sample_key, self.sampling)])
        profile = None
        if self.profiles:
            profile = positives.history(jnp.maximum(users, 0)).at[jnp.arange(users.shape[0]), targets].set(0.0)
        return Positions(users, places, inputs, targets, weights, items, drop_key, profile, positives.candidates)

    def representations(self, recommender, batch: Positions, key: PRNGKeyArray | None):
        """Rows of positions `[N, D]` and of items, `[I, D]` or `[N + K, D]`; without a key nothing is dropped."""
        rows = recommender.embed(batch.inputs)
        items = recommender.items(batch.items)
        return (rows if self.attacked == "inputs" else encode(recommender, rows, batch, key)), items

    def loss_of(self, recommender, batch: Positions, rows=None, name=None) -> NextItemLoss:
        """The data loss as a function of rows of positions and items, which is what an adversary attacks."""
        return NextItemLoss(recommender, batch, name or self.loss, rows, inputs=self.attacked == "inputs")

    def scores_with_parameters(self, recommender) -> bool:
        """Whether states are made of the rows under attack."""
        return self.attacked == "inputs" or super().scores_with_parameters(recommender)
