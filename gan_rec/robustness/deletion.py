"""Faithfulness of explanations: how fast a recommendation falls when the history loses what is said to carry it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.robustness.explanations import scores

SHARES = tuple(n / 10 for n in range(11))  # of the history that is taken out

_USERS = 8  # at a time


class Curves(NamedTuple):
    """How an item stands after each share of the history is gone."""

    score: Float[np.ndarray, "n T"]  # standard deviations above the mean of the items that the user does not have
    rank: Int[np.ndarray, "n T"]  # among these, from 1


def places(attributions: Float[np.ndarray, " I"], history: Float[np.ndarray, " I"]) -> Int[np.ndarray, " I"]:
    """When each item of a history is taken out, from 0: the largest attribution first; I for items that are not in it.

    Of equal ones the lower index goes first.
    """
    found = np.full(len(history), len(history), np.int32)
    own = np.flatnonzero(history)
    found[own[np.argsort(-attributions[own], kind="stable")]] = np.arange(len(own))
    return found


def deletion_curves(
    recommender: nnx.Module,
    known: Positives,
    users: Int[np.ndarray, " n"],
    items: Int[np.ndarray, " n"],
    order: Int[np.ndarray, "n I"],
    shares: tuple[float, ...] = SHARES,
) -> Curves:
    """Take items out of histories and see how recommended items then stand.

    The items that a recommendation competes with stay those that the user did not have before; what is taken out does
    not come back as one of them.

    Args:
        recommender: of one seed, that reads histories or a graph.
        known: who has what.
        users: n users.
        items: a recommended item of each.
        order: the place of each item in the order of taking out, see `places`.
        shares: T parts of the history that are gone, rounded to whole items.
    """
    arrays = (jnp.asarray(x) for x in (users, items, order, np.asarray(shares, np.float32)))
    score, rank = _curves(recommender, known, *arrays)
    return Curves(np.asarray(score), np.asarray(rank))


@jax.jit
def _curves(
    recommender,
    known: Positives,
    users: Int[Array, " n"],
    items: Int[Array, " n"],
    order: Int[Array, "n I"],
    shares: Float[Array, " T"],
):
    def of_user(user, item, places):
        history = known.history(user[None])[0]
        gone = jnp.round(shares * jnp.sum(history))
        left = history * (places >= gone[:, None])
        unseen = (history == 0) & (True if known.candidates is None else known.candidates > 0)
        found = scores(recommender, known, user, left)
        own = found[:, item]
        mean = jnp.mean(found, axis=1, where=unseen)
        deviation = jnp.maximum(jnp.std(found, axis=1, where=unseen), 1e-12)
        return (own - mean) / deviation, 1 + jnp.sum((found > own[:, None]) & unseen, axis=1)

    return jax.lax.map(lambda each: of_user(*each), (users, items, order), batch_size=_USERS)


def gain(rank: Int[np.ndarray, "*n T"]) -> Float[np.ndarray, "*n T"]:
    """What a place in a list is worth, 1 / log2(1 + rank), as in DCG: 1 at the top."""
    return 1 / np.log2(1 + rank)


def area(curve: Float[np.ndarray, "*n T"], shares: tuple[float, ...] = SHARES) -> Float[np.ndarray, "*n"]:
    """Area under deletion curves by trapezoids, over the length of the axis; the smaller, the more faithful."""
    widths = np.diff(shares)
    middles = (curve[..., 1:] + curve[..., :-1]) / 2
    return middles @ widths / (shares[-1] - shares[0])


def relative(score: Float[np.ndarray, "*n T"]) -> Float[np.ndarray, "*n T"]:
    """Scores as parts of what they are before anything is taken out; 0 where that is not above the mean."""
    start = score[..., :1]
    return np.where(start > 0, score / np.where(start > 0, start, 1.0), 0.0)


def random_orders(histories: Float[np.ndarray, "n I"], draws: int, seed: int = 0) -> Int[np.ndarray, "draws n I"]:
    """Orders drawn uniformly, for each of n histories."""
    rng = np.random.default_rng(seed)
    return np.stack([[places(rng.random(len(h)), h) for h in histories] for _ in range(draws)])
