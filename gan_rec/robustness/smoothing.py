"""Certificates by randomised smoothing: for recommenders whose scores may be any function of a user's row."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int
from scipy import stats


class Smoothed(NamedTuple):
    """What noise makes of n users' first items."""

    items: Int[np.ndarray, " n"]  # the first item of the smoothed recommender
    radii: Float[np.ndarray, " n"]  # certified, relative to the row's length; 0 where it abstains


def smoothed_radii(
    recommender: nnx.Module,
    users: Float[Array, "n D"],
    ranked: Bool[Array, "n I"],
    key,
    *,
    sigma: float = 0.25,
    draws: int = 1000,
    confidence: float = 0.999,
) -> Smoothed:
    """Radii within which the first item of the *smoothed* recommender cannot change, each with this confidence.

    It ranks as the recommender does most often when the user's row gets Gaussian noise whose expected length is about
    sigma times that of a typical (the median) row: the same for all rows, since a step that changed the noise as well
    would be certified by nothing. If the first item wins a share p of the draws, no step of the row shorter than the
    noise's deviation in each direction times the normal quantile of p can make another win more often. Half of the
    draws choose the item, the others bound p from below.

    Args:
        recommender: of whom `items` and `score` are asked.
        users: rows.
        ranked: what may be in each user's list.
        key: of the noise.
        sigma: length of the noise relative to the median row.
        draws: of noise, for each user.
        confidence: of each radius.

    Source: Cohen, Rosenfeld, Kolter, ICML 2019, theorem 1 and algorithm CERTIFY, with p_B bounded by 1 - p_A.
    """
    choose, count = jax.random.split(key)
    lengths = np.linalg.norm(users, axis=1)
    spread = float(sigma / users.shape[1] ** 0.5 * np.median(lengths))
    wins = [np.asarray(_wins(recommender, users, ranked, k, spread, draws // 2)) for k in (choose, count)]
    first = wins[0].argmax(axis=1)
    won = np.take_along_axis(wins[1], first[:, None], axis=1)[:, 0]
    least = stats.beta.ppf(1 - confidence, won, draws // 2 - won + 1)  # Clopper and Pearson's bound
    steps = np.where(least > 0.5, spread * stats.norm.ppf(np.maximum(least, 0.5)), 0.0)
    return Smoothed(first, steps / np.maximum(lengths, 1e-12))


@partial(jax.jit, static_argnames=("draws",))
def _wins(recommender, users, ranked, key, spread, draws: int) -> Int[Array, "n I"]:
    """How often each item comes first."""
    items = recommender.items()
    n = len(users)

    def draw(wins, key):
        noised = users + spread * jax.random.normal(key, users.shape)
        scores = jnp.where(ranked, recommender.score(noised, items), -jnp.inf)
        return wins.at[jnp.arange(n), jnp.argmax(scores, axis=1)].add(1), None

    return jax.lax.scan(draw, jnp.zeros((n, items.shape[0]), jnp.int32), jax.random.split(key, draws))[0]
