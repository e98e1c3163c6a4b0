"""A model of three parts, trained apart and mixed by what validation says of them."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives, to_device
from gan_rec.evaluation import metrics
from gan_rec.recommenders.baselines import EDLAE
from gan_rec.recommenders.baselines.tables import cells
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.mix import Mix
from gan_rec.train.fit import Fit, Kept, Store, Training

_TENTHS = 10  # the grid of weights
_CHUNK_BYTES = 64 * 2**20  # of the parts' scores at a time


class Weights(NamedTuple):
    """Of the parts, the same for all of S seeds."""

    weights: Float[Array, "S parts"]
    score: Float[Array, " S"]  # the validation metric that they reach


@dataclass(frozen=True)
class MixedTraining:
    """The training of a `Mix` of a network over users, the same over items, and EDLAE.

    Each network is a `Training` of its own, twin or against its own adversary, which chooses its own epochs. With what
    they are then, trained on train alone, the weights of the three are chosen: those of a grid of tenths that sum to 1
    and reach the most on validation, in the mean over seeds, since one seed's best point is mostly chance. The refit
    keeps the weights.

    Args:
        user_side: ranks items for users.
        item_side: ranks users for items; see `gan_rec.recommenders.flipped.by_bayes`.
        linear: the closed form.
    """

    user_side: Training
    item_side: Training
    linear: EDLAE

    @property
    def store(self) -> Store | None:
        """Where checkpoints go; the weights' too."""
        return self.user_side.store

    def debugged(self) -> "MixedTraining":
        """The same with `debug_nans` of both networks."""
        return replace(self, user_side=self.user_side.debugged(), item_side=self.item_side.debugged())

    def fit(self, train: Interactions, valid: Interactions) -> Fit:
        """Train, choose and refit; see `gan_rec.train.fit.Training.fit`.

        What is kept beside the recommender (adversary, alpha, epoch) is that of the user side.

        Raises:
            UserError: as `Training.fit`, or there are too many items for EDLAE, or users and items for a table.
        """
        cells("mix", train)  # first, since the data may be refused
        linear = self.linear.fit(train)
        return self._join(self.user_side.fit(train, valid), self.item_side.fit(train, valid), linear, train, valid)

    def restore(self, train: Interactions, valid: Interactions) -> Fit:
        """What an earlier `fit` on these parts left in the store; the closed form is computed again.

        Raises:
            UserError: it is not there or damaged.
        """
        sides = (side.restore(train, valid) for side in (self.user_side, self.item_side))
        return self._join(*sides, self.linear.fit(train), train, valid)

    def _join(self, users: Fit, items: Fit, linear, train: Interactions, valid: Interactions) -> Fit:
        equal = jnp.full((len(self.user_side.seeds), 3), 1 / 3)
        mix = _mix(users.selected, items.selected, linear, train, equal)
        chosen = self._weights(mix, train, valid)
        selected = users.selected._replace(recommender=Mix(mix.parts, chosen.weights), score=chosen.score)
        if not self.user_side.budget.refit:
            return Fit(selected, selected)
        both = train.concat(valid)
        mix = _mix(users.final, items.final, self.linear.fit(both), both, chosen.weights)
        return Fit(selected, users.final._replace(recommender=mix))

    def _weights(self, mix: Mix, train: Interactions, valid: Interactions) -> Weights:
        like = Weights(mix.weights[...], jnp.zeros(len(mix.weights[...])))
        kept = None if self.store is None else self.store.restore("weights", like)
        if kept is None:
            kept = choose_weights(mix, train, valid, self.user_side.budget.select_on)
            if self.store is not None and jax.process_index() == 0:
                self.store.save("weights", 0, kept)
        return kept


def _mix(users: Kept, items: Kept, linear, pairs: Interactions, weights: Float[Array, "S parts"]) -> Mix:
    """The recommenders of S seeds, when `pairs` may be known."""
    known, n_seeds = to_device(pairs), len(weights)
    flipped = jax.vmap(lambda one: flip(one, known, "bayes"))(items.recommender)
    linear = jax.tree.map(lambda x: jnp.broadcast_to(x, (n_seeds, *x.shape)), linear)
    return Mix((users.recommender, flipped, linear), weights)


def choose_weights(mix: Mix, train: Interactions, valid: Interactions, metric: str) -> Weights:
    """The weights on a grid with which S mixes rank the validation part best in the mean; of equal ones the most even.

    Args:
        mix: S recommenders, trained on `train` alone.
        train: what is known.
        valid: held-out pairs.
        metric: for example "NDCG@20".
    """
    n_parts = len(mix.parts)
    n_seeds = len(mix.weights[...])
    grid = np.array([w for w in product(range(_TENTHS + 1), repeat=n_parts) if sum(w) == _TENTHS], np.float32) / _TENTHS
    users, k = np.unique(valid.users), metrics.parse(metric)[1]
    chunk = max(1, min(len(users), _CHUNK_BYTES // (4 * n_seeds * n_parts * train.n_items)))
    chunks = np.pad(users, (0, -len(users) % chunk), mode="edge").reshape(-1, chunk)
    found = _rank_grid(mix, to_device(train), jnp.asarray(chunks), jnp.asarray(grid), k)
    items, shown = (np.asarray(x).reshape(len(grid) * n_seeds, -1, k)[:, : len(users)] for x in found)
    hits, n_relevant = metrics.relevance(items, valid, users)
    scores = metrics.per_user(hits & shown, n_relevant, (k,))[metric].mean(axis=1).reshape(len(grid), n_seeds)
    means, uneven = scores.mean(axis=1), np.square(grid).sum(axis=1)
    best = np.lexsort((uneven, -means.round(12)))[0]
    return Weights(jnp.tile(grid[best], (n_seeds, 1)), jnp.asarray(scores[best], jnp.float32))


@partial(jax.jit, static_argnames="k")
def _rank_grid(mix: Mix, seen: Positives, chunks: Int[Array, "chunks n"], grid: Float[Array, "G parts"], k: int):
    """The K best items by each row of weights and seed for each user, `[G, S, chunks, n, K]`, and whether unseen."""

    def rank_chunk(users):
        history = seen.history(users)
        parts = jax.vmap(lambda one: one.scores_of_parts(users, history))(mix)

        def rank(weights):
            scores = jnp.einsum("p,spni->sni", weights, parts)
            return jax.lax.top_k(jnp.where(history > 0, -jnp.inf, scores), k)

        return jax.lax.map(rank, grid)

    scores, items = jax.lax.map(rank_chunk, chunks)  # [chunks, G, S, n, K]
    return jnp.moveaxis(items, 0, 2), jnp.moveaxis(jnp.isfinite(scores), 0, 2)
