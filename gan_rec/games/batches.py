"""How a batch is drawn: users with what is to be found for them, or pairs with sampled negatives."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.chunks import ChunkedRows, Histories
from gan_rec.data.ratings import PairBatch
from gan_rec.data.samples import TextBatch
from gan_rec.data.sampling import Positives, sample_negatives
from gan_rec.random import bernoulli

WINDOW = 64  # positions in a row of a batch, where users stand one after the other


class Batch(NamedTuple):
    """B users with what is to be found for them: a set of targets, or a list with the positive item first."""

    users: Int[Array, " B"]
    history: Histories | None  # what the recommender may see; None if it reads no history
    targets: Histories | None  # users: 1 where an item is to be found
    items: Int[Array, "B list"] | None  # pairs: the observed item, then K sampled ones
    profile: Float[Array, "B I"] | None = None  # the history that the adversary may see
    turn: Int[Array, ""] | int = 0  # of a game that feeds original and adversarial batches in turn: 1 if adversarial
    offsets: Any = None  # what an earlier turn on this batch has left for this one
    candidates: Float[Array, " I"] | None = None  # 1 for items that can be had; None: all of the catalogue
    graph: Positives | None = None  # the pairs known in training; None if the recommender reads no graph
    whole: Any = None  # the recommender with all rows, where the one that plays has those of the batch alone


class Positions(NamedTuple):
    """N positions of sequences in rows of at most 64, each with the item that follows it."""

    users: Int[Array, " N"]
    places: Int[Array, " N"]  # in `Sequences.items`
    inputs: Int[Array, " N"]  # the items there
    targets: Int[Array, " N"]  # the next items
    weights: Float[Array, " N"]  # 1, or 0 where nothing follows
    items: Int[Array, " N+K"] | None  # the targets, then K sampled items that all positions share; None: the catalogue
    key: PRNGKeyArray  # of what is dropped
    profile: Float[Array, "N I"] | None = None  # the history that the adversary may see, without the target
    candidates: Float[Array, " I"] | None = None
    turn: Int[Array, ""] | int = 0
    offsets: Any = None
    history: None = None  # of no order
    graph: None = None
    whole: None = None

    def in_rows(self, x: Array) -> Array:
        """What there is for each position, as rows of positions."""
        return x.reshape(-1, min(WINDOW, self.users.shape[0]), *x.shape[1:])


AnyBatch = Batch | TextBatch | PairBatch | Positions


def draw_users(
    positives: Positives,
    users: Int[Array, " B"],
    key: PRNGKeyArray,
    *,
    reads_history: bool,
    hide: float,
    profile: bool,
    most: int = 0,
) -> Batch:
    """Users; of the history a part (`hide`) is hidden and to be found, or all of it for a model that reads none.

    With at most `most` items at a time there is no profile, and at the same key it is other items that are hidden.
    """
    if most:
        targets, visible = ChunkedRows(positives.known, users, most), None
        if reads_history:
            targets, visible = targets.thin(key, hide)
        return Batch(users, visible, targets=targets, items=None, candidates=positives.candidates)
    history = positives.history(users)
    if not reads_history:
        seen = history if profile else None
        return Batch(users, None, targets=history, items=None, profile=seen, candidates=positives.candidates)
    targets = history * bernoulli(key, hide, history.shape)
    visible = history - targets
    seen = visible if profile else None
    return Batch(users, visible, targets=targets, items=None, profile=seen, candidates=positives.candidates)


def draw_pairs(
    positives: Positives,
    pairs: Int[Array, " B"],
    key: PRNGKeyArray,
    *,
    reads_history: bool,
    negatives: int,
    profile: bool,
    sampling: str = "uniform",
) -> Batch:
    """Observed pairs, each with sampled negatives; the observed item is no part of the history.

    `sampling` is that of `gan_rec.data.sampling.sample_negatives`.
    """
    users, items = positives.users[pairs], positives.items[pairs]
    history = None
    if reads_history or profile:
        history = positives.history(users).at[jnp.arange(users.shape[0]), items].set(0.0)
    sampled = sample_negatives(positives, users, negatives, key, sampling=sampling)
    listed = jnp.concatenate([items[:, None], sampled], axis=1)
    return Batch(users, history if reads_history else None, None, listed, profile=history if profile else None)


def size(positives: Positives, *, of_users: bool) -> tuple[int, Int[Array, ""]]:
    """The most rows that an epoch can have (fixed by shapes) and the number it has: of users, or of pairs."""
    if of_users:
        return positives.active.shape[0], positives.n_active
    return positives.users.shape[0], positives.n_pairs
