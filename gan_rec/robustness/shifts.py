"""Shifts that nobody made on purpose: histories with gaps and misclicks, new users, and tests without popularity."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.evaluation.beyond import head_and_tail
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of
from gan_rec.recommenders.mix import Mix
from gan_rec.robustness.damage import Moved


def _order(users: np.ndarray, rng) -> np.ndarray:
    """A random place, from 0, of each row among its user's."""
    order = np.lexsort((rng.random(len(users)), users))
    counts = np.bincount(users)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    places = np.empty(len(users), np.int64)
    places[order] = np.arange(len(users)) - first[users[order]]
    return places


def drop(known: Interactions, share: float, seed: int = 0) -> Interactions:
    """Every user forgets a share of the history, rounded to the nearest number; one item at least is left."""
    counts = np.bincount(known.users, minlength=known.n_users)
    left = np.maximum(counts - np.floor(counts * share + 0.5).astype(int), 1)
    return known.select(_order(known.users, np.random.default_rng(seed)) < left[known.users])


def only(known: Interactions, k: int, seed: int = 0) -> Interactions:
    """Of every user's history `k` random items, or all if there are fewer."""
    return known.select(_order(known.users, np.random.default_rng(seed)) < k)


def misclick(known: Interactions, share: float, seed: int = 0) -> Interactions:
    """Every history grows by a share of random items that the user does not have, rounded to the nearest number."""
    rng = np.random.default_rng(seed)
    has = np.zeros((known.n_users, known.n_items), bool)
    has[known.users, known.items] = True
    counts = has.sum(axis=1)
    more = np.minimum(np.floor(counts * share + 0.5).astype(int), known.n_items - counts)
    clicked = [rng.choice(np.flatnonzero(~has[user]), n, replace=False) for user, n in enumerate(more)]
    users = np.repeat(np.arange(known.n_users), more).astype(known.users.dtype)
    items = np.concatenate(clicked).astype(known.items.dtype)
    return known.concat(Interactions(users, items, known.user_ids, known.item_ids, candidates=known.candidates))


def cap(truth: Interactions, most: int, seed: int = 0) -> Interactions:
    """Held-out pairs of which no item has more than `most`, drawn at random: with 1, all items are equally popular."""
    return truth.select(_order(truth.items, np.random.default_rng(seed)) < most)


def tail(truth: Interactions, known: Interactions) -> Interactions:
    """Held-out pairs of the least popular 80% of the catalogue, see `gan_rec.evaluation.beyond.head_and_tail`."""
    return truth.select(head_and_tail(known.item_counts())[truth.items])


def of_users(truth: Interactions, has: Bool[np.ndarray, " U"]) -> Interactions:
    """Held-out pairs of some users."""
    return truth.select(has[truth.users])


def without_ids(recommenders):
    """S recommenders for users that they were not trained on; None where that cannot be.

    Of a mix the parts that know users by ids say nothing: those that read histories remain. Weights of the others have
    still been learned with these users' data; nothing is trained anew.
    """
    if isinstance(recommenders, Mix):
        reads = jnp.array([part.reads_history for part in recommenders.parts], jnp.float32)
        weights = recommenders.weights[...] * reads
        weights = jnp.where(weights.sum(axis=-1, keepdims=True) > 0, weights, reads)
        return Mix(recommenders.parts, weights)
    by_graph = getattr(recommenders, "reads_graph", False)
    reads = getattr(recommenders, "reads_history", True) or getattr(recommenders, "reads_order", False)
    return recommenders if reads and not by_graph else None


@partial(jax.jit, static_argnames="side")
def reading(recommenders, histories: Positives, side: str = "user") -> Moved:
    """S recommenders that read other histories (or graphs) than those whose items are left out of the ranking.

    Args:
        recommenders: weights with a leading axis of S.
        histories: what is read.
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.
    """

    def read(recommender):
        recommender = flip(on_graph(recommender, histories), histories, side)
        ids = jnp.arange(histories.n_users)
        history = known_of(recommender, histories, ids)
        return Moved(recommender, recommender.users(ids, history), recommender.items())

    return jax.vmap(read)(recommenders)
