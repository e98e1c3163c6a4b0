"""Paths from a trained recommender of the next item: a policy over its items, with a critic or without."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int
from scipy.sparse import csr_array, diags_array

from gan_rec.adversaries.path_critic import PathCritic
from gan_rec.data import Interactions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.evaluation.paths import evaluate_paths, greedy_paths
from gan_rec.experiments.fitting import Fitted
from gan_rec.games.paths import PathGame
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.recommenders.path_policy import PathPolicy
from gan_rec.train.epoch import Schedule
from gan_rec.train.fit import Budget, Observer, Training


@dataclass(frozen=True)
class PathTask:
    """Finding the next k items of users; see `gan_rec.train.fit.Task`."""

    k: int = 5

    def on_device(self, part: Interactions, capacity: int | None = None):
        """See `Task`."""
        return to_device(part, capacity)

    def scorer(self, train: Interactions, valid: Interactions, capacity: int, metric: str):
        """See `Task`."""
        known, users = to_device(train, capacity), np.unique(valid.users)

        def score(policies) -> Float[np.ndarray, " S"]:
            paths = greedy_paths(policies, known, users, self.k)
            return evaluate_paths(paths, users, valid).per_seed(metric)

        return score


@dataclass(frozen=True)
class FittedPaths:
    """Policies of S seeds, each begun from a seed of a recommender of the next item."""

    start: Fitted
    game: PathGame
    policies: Any  # weights with a leading axis of S
    epochs: tuple[int, ...]  # chosen on validation
    scores: tuple[float, ...]  # validation recall there


@dataclass(frozen=True, eq=False)
class _Begin:
    """key -> policy that begins with a trained recommender. Compared by identity: weights have no hash."""

    recommender: nnx.Module

    def __call__(self, key) -> PathPolicy:
        return PathPolicy(jax.tree.map(jnp.asarray, self.recommender), rngs=nnx.Rngs(key))


def fit_paths(
    start: Fitted,
    game: PathGame | None = None,
    schedule: Schedule | None = None,
    budget: Budget | None = None,
    observers: tuple[Observer, ...] = (),
) -> FittedPaths:
    """Train a policy over paths, and its critic, from each seed of a recommender that reads order.

    All is learned from the train part and chosen on validation, as the weights are that it begins with.

    Args:
        start: `sasrec` or `gru` as `gan_rec.fit` trained it, on a split that leaves k or more items out.
        game: with alpha 1 there is no critic; None: the default.
        schedule, budget: how and for how long; None: what was chosen on validation of s3rec-beauty.
        observers: are told of every epoch.

    Raises:
        UserError: the recommender does not read order.
    """
    if not getattr(start.weights.selected.recommender, "reads_order", False):
        raise UserError(f"paths begin from sasrec or gru, not from {start.settings.recommender!r}")
    game = PathGame() if game is None else game
    schedule = SCHEDULE if schedule is None else schedule
    budget = replace(BUDGET, select_on=f"R@{game.k}") if budget is None else budget
    split, kept = start.split, []
    for number, seed in enumerate(start.settings.seed_list):
        own = jax.tree.map(lambda x, n=number: x[n], start.weights.selected.recommender)
        critic = partial(_critic, split.train.n_items)
        training = Training(
            game, _Begin(own), critic, schedule, budget, (seed,), PathTask(game.k), observers, prefix="paths-"
        )
        kept.append(training.fit(split.train, split.valid).selected)
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *kept)
    epochs, scores = (tuple(np.asarray(x).tolist()) for x in (together.epoch, together.score))
    return FittedPaths(start, game, together.recommender, epochs, scores)


SCHEDULE = Schedule(batch_size=128, learning_rate=5e-5, weight_decay=0.1, average=0.0, adversary_learning_rate=5e-3)
BUDGET = Budget(epochs=2, patience=2, evaluate_every=1, select_on="R@5", refit=False)


def _critic(n_items: int, key) -> PathCritic:
    return PathCritic(n_items, rngs=nnx.Rngs(key))


def measure_paths(split, policies, paths_of=greedy_paths, on: str = "test", k: int = 5) -> Evaluation:
    """Recall and coherence of S policies' paths, or of those that another function of `gan_rec.evaluation.paths` finds.

    Histories end where the held-out part begins. An item's similarity to the one before is their cosine over the users
    of the train part.

    Args:
        split: of a data set.
        policies: weights with a leading axis of S.
        paths_of: (policies, known pairs, users, k) -> paths.
        on: "test" or "validation".
        k: items of a path.
    """
    known, truth = (split.train, split.valid) if on == "validation" else (split.train_and_valid(), split.open_test())
    device, users = to_device(known), np.unique(truth.users)
    paths = paths_of(policies, device, users, k)
    last = np.asarray(device.order.last(jnp.asarray(users), 1))[:, 0]
    return evaluate_paths(paths, users, truth, last=last, similarity=cosines(split.train))


def true_paths(truth: Interactions, users: Int[np.ndarray, " n"], k: int) -> Int[np.ndarray, "1 n K"]:
    """What the users had next, as paths."""
    return np.asarray(to_device(truth).order.last(jnp.asarray(users), k))[None]


def cosines(pairs: Interactions) -> csr_array:
    """Cosine of items over users, 0 of an item with itself."""
    x = matrix(pairs)
    lengths = diags_array(1 / np.sqrt(np.maximum(pairs.item_counts(), 1)))
    found = csr_array(lengths @ (x.T @ x) @ lengths)
    found.setdiag(0)
    return found
