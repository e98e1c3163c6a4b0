"""What an attack on training data has achieved: which places its targets have in real users' rankings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.evaluation.ranking import MEMORY
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of


def target_ranks(
    recommenders,
    seen: Positives,
    users: Int[np.ndarray, " n"],
    targets: Int[np.ndarray, " T"],
    *,
    side: str = "user",
    memory: int = MEMORY,
) -> Int[np.ndarray, "S n T"]:
    """The rank of every target among the items that a user does not have, from 1; 0 where the user has the target.

    Ranks are those of `gan_rec.evaluation.ranking.top_items`: ties go to the lowest index.

    Args:
        recommenders: weights with a leading axis of S.
        seen: who has what; also the histories, or the graph, that recommenders read.
        users: n of them.
        targets: T items.
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.
        memory: MiB of scores at a time.

    Raises:
        FloatingPointError: a score is not a number.
    """
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]
    chunk = max(1, min(len(users), memory * 2**20 // (4 * n_seeds * seen.n_items)))
    padded = np.pad(users, (0, -len(users) % chunk), mode="edge").reshape(-1, chunk)
    ranks, sound = _ranks(recommenders, seen, jnp.asarray(padded), jnp.asarray(targets), side)
    if not np.all(sound):
        raise FloatingPointError("a recommender scored an item with NaN")
    return np.asarray(ranks).reshape(n_seeds, -1, len(targets))[:, : len(users)]


@partial(jax.jit, static_argnames="side")
def _ranks(recommenders, seen: Positives, chunks: Int[Array, "chunks n"], targets: Int[Array, " T"], side: str):
    recommenders = jax.vmap(lambda recommender: on_graph(recommender, seen))(recommenders)
    index = jnp.arange(seen.n_items)

    def rank(recommender, users):
        recommender = flip(recommender, seen, side)
        history = known_of(recommender, seen, users)
        scores = recommender.score(recommender.users(users, history), recommender.items())
        hidden = seen.known.hide(users, scores)

        def of_target(target):
            own = hidden[:, target][:, None]
            before = (hidden > own) | ((hidden == own) & (index < target))
            return jnp.where(jnp.isfinite(own[:, 0]), 1 + jnp.sum(before, axis=1), 0)

        return jax.lax.map(of_target, targets).T, ~jnp.any(jnp.isnan(scores))

    ranks, sound = jax.lax.map(lambda users: jax.vmap(rank, in_axes=(0, None))(recommenders, users), chunks)
    return jnp.moveaxis(ranks, 1, 0), sound


def hit_ratio(ranks: Int[np.ndarray, "S n T"], k: int = 10) -> Float[np.ndarray, " S"]:
    """Of the users who do not have a target, the share who are shown it in the first k; the mean over targets."""
    return _mean_over_targets((ranks > 0) & (ranks <= k), ranks)


def mean_rank(ranks: Int[np.ndarray, "S n T"]) -> Float[np.ndarray, " S"]:
    """The mean rank of a target over users who do not have it; the mean over targets."""
    return _mean_over_targets(ranks, ranks)


def _mean_over_targets(values: np.ndarray, ranks: Int[np.ndarray, "S n T"]) -> Float[np.ndarray, " S"]:
    """Targets that all users have do not count."""
    without = (ranks > 0).sum(axis=1)
    sums = np.where(ranks > 0, values, 0).sum(axis=1)
    means = np.divide(sums, without, out=np.full(sums.shape, np.nan), where=without > 0)
    return np.nanmean(means, axis=1) if (without > 0).any(axis=1).all() else np.full(len(ranks), np.nan)
