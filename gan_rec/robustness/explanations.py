"""What carried a recommendation: how much of a score each item of the user's history accounts for.

Attributions are in units of the score. An explanation is of one user's score of one item by one recommender.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.errors import UserError
from gan_rec.recommenders.mix import Mix

METHODS = ("leave-one-out", "integrated-gradients", "similarity")
TARGETS = ("score", "margin")
_CHUNK = 32  # histories that are scored at a time
_CHUNK_GRAPHS = 4


class Asked(NamedTuple):
    """Whose score of what is to be explained."""

    user: Int[Array, ""]
    history: Float[Array, " I"]  # 0/1
    weights: Float[Array, " I"]  # of all items' scores in what is explained


def ask(known: Positives, user: int, item: int, of: str = "margin") -> Asked:
    """The question why a user is recommended an item.

    Args:
        known: who has what.
        user, item: indices.
        of: "score": that of the item alone. "margin": the score minus the mean of all items that the user does not have
            (of the candidates, where there are some), which is what a rank depends on: a history that raises all scores
            alike explains no recommendation.
    """
    history = known.history(jnp.asarray([user]))[0]
    weights = jnp.zeros_like(history).at[item].set(1.0)
    if of == "margin":
        unseen = (1.0 - history) * (1.0 if known.candidates is None else known.candidates)
        weights = weights - unseen / jnp.maximum(jnp.sum(unseen), 1.0)
    return Asked(jnp.asarray(user), history, weights)


def reads_history(recommender: nnx.Module) -> bool:
    """Whether an item can be taken out of a history without training anew."""
    return getattr(recommender, "reads_graph", False) or getattr(recommender, "reads_history", True)


def methods_of(recommender: nnx.Module) -> tuple[str, ...]:
    """The methods that can explain a recommender; the first is the default."""
    return METHODS if reads_history(recommender) else ("similarity",)


def scores(
    recommender: nnx.Module, known: Positives, user: Int[Array, ""], histories: Float[Array, "n I"]
) -> Float[Array, "n I"]:
    """All items' scores for a user, if the history were another; of a graph all else stays.

    Args:
        recommender: of one seed; it reads histories or a graph.
        known: who has what, where there is a graph.
        user: who, for parts of a recommender that know users by ids.
        histories: n of them; entries between 0 and 1 are parts of an item.
    """
    if getattr(recommender, "reads_graph", False):
        matrix = known.history(jnp.arange(known.n_users))

        def on_graph(history):
            rows = recommender.on(known, matrix=matrix.at[user].set(history))
            return rows.score(rows.users(user[None]), rows.items())[0]

        return jax.lax.map(on_graph, histories)
    ids = jnp.broadcast_to(user, histories.shape[:1])
    return recommender.score(recommender.users(ids, histories), recommender.items())


def _explained(
    recommender: nnx.Module, known: Positives, asked: Asked, histories: Float[Array, "n I"]
) -> Float[Array, " n"]:
    """`scores @ asked.weights`, by way of one row in the place of all items': scores are linear in item rows."""
    if getattr(recommender, "reads_graph", False):
        return scores(recommender, known, asked.user, histories) @ asked.weights
    row = asked.weights @ recommender.items()
    ids = jnp.broadcast_to(asked.user, histories.shape[:1])
    return recommender.score(recommender.users(ids, histories), row[None])[:, 0]


def hold(recommender: nnx.Module, asked: Asked) -> nnx.Module:
    """The recommender whose scores are explained: of a mix that with the factors of this user's whole history."""
    return recommender.held(asked.user, asked.history) if isinstance(recommender, Mix) else recommender


@jax.jit
def values(
    recommender: nnx.Module, known: Positives, asked: Asked, histories: Float[Array, "n I"]
) -> Float[Array, " n"]:
    """What is explained, for each of n histories in the place of the user's own."""
    return _explained(hold(recommender, asked), known, asked, histories)


def leave_one_out(recommender: nnx.Module, known: Positives, asked: Asked) -> Float[np.ndarray, " I"]:
    """By how much the score falls when an item is taken out of the history, for each of its items; 0 for others.

    Exact: each history without an item is scored. Of linear recommenders it is the weight from one item to the other.
    """
    places = np.flatnonzero(np.asarray(asked.history))
    size = max(_CHUNK, 1 << max(len(places) - 1, 0).bit_length())  # few sizes, so that few programs are compiled
    padded = np.pad(places, (0, size - len(places)), constant_values=len(asked.history))
    falls = np.asarray(_falls(recommender, known, asked, jnp.asarray(padded)))
    found = np.zeros(len(asked.history), np.float32)
    found[places] = falls[: len(places)]
    return found


@jax.jit
def _falls(recommender, known: Positives, asked: Asked, places: Int[Array, " n"]) -> Float[Array, " n"]:
    held = hold(recommender, asked)
    chunk = _CHUNK_GRAPHS if getattr(recommender, "reads_graph", False) else _CHUNK

    def without(some):
        rows = jnp.arange(len(some))
        histories = jnp.tile(asked.history, (len(some), 1)).at[rows, some].set(0.0, mode="drop")
        return _explained(held, known, asked, histories)

    whole = _explained(held, known, asked, asked.history[None])[0]
    return whole - jax.lax.map(without, places.reshape(-1, chunk)).reshape(-1)


@partial(jax.jit, static_argnames="steps")
def integrated_gradients(
    recommender: nnx.Module, known: Positives, asked: Asked, steps: int = 64
) -> Float[Array, " I"]:
    """Gradients of the score with respect to the 0/1 history, integrated from an empty history to the user's own.

    They sum to the score minus that of the empty history (completeness), but for the error of the integration.

    Args:
        recommender: of one seed.
        known: who has what.
        asked: the question.
        steps: of the integration by midpoints.

    Source: Sundararajan, Taly, Yan, ICML 2017, equation 1. The path is t^2 times the history: recommenders scale
    histories to length 1, so that along the plain path a score begins like a square root, with an infinite slope.
    """
    held = hold(recommender, asked)

    def value(history):
        return _explained(held, known, asked, history[None])[0]

    def slope(t):
        return 2 * t * jax.grad(value)(t**2 * asked.history)

    slopes = jax.lax.map(slope, (jnp.arange(steps) + 0.5) / steps)
    return asked.history * jnp.mean(slopes, axis=0)


class Similar(NamedTuple):
    """What `similarity` finds."""

    attributions: Float[np.ndarray, " I"]
    agreement: float  # cosine of the user's row with what it would be by the history alone


def similarity(
    users: Float[np.ndarray, "U D"], items: Float[np.ndarray, "I D"], asked: Asked, known: Positives | None = None
) -> Similar:
    """How much of a score each item of the history accounts for, where the user is known by an id and has a free row.

    The row that alternating least squares would give the user, all else fixed, is a sum over the history; so is its
    inner product with an item (Hu, Koren, Volinsky, ICDM 2008, section 5). It is scaled to be as near to the real row
    as it can be. The ridge is the mean eigenvalue of the history's second moments.

    Args:
        users, items: rows whose inner products are the scores.
        asked: the question.
        known: not used; so that all methods are called alike.
    """
    history = np.asarray(asked.history) > 0
    user, target = users[int(asked.user)], np.asarray(asked.weights) @ items
    own = items[history]
    products = own @ own.T
    ridge = max(float(np.trace(products)) / own.shape[1], 1e-12)
    # [D, n], a column for each item: (V'V + r)^-1 V' is V' (VV' + r)^-1, whose system has the size of the history.
    solved = np.linalg.solve(products + ridge * np.eye(len(products)), own).T
    row = solved.sum(axis=1)
    length = float(row @ row)
    scale = float(row @ user) / length if length > 0 else 0.0
    found = np.zeros(len(history), np.float32)
    found[history] = scale * (target @ solved)
    sizes = float(np.linalg.norm(user) * length**0.5)
    return Similar(found, float(row @ user) / sizes if sizes > 0 else 0.0)


def attributions(recommender: nnx.Module, known: Positives, asked: Asked, method: str) -> Float[np.ndarray, " I"]:
    """What each item of the history accounts for; 0 for all others.

    Args:
        recommender: of one seed, put the right way round (`gan_rec.recommenders.flipped.flip`).
        known: who has what.
        asked: the question.
        method: one of `methods_of(recommender)`.

    Raises:
        UserError: the method is unknown or cannot explain this recommender.
    """
    check_method(recommender, method)
    if method == "leave-one-out":
        return leave_one_out(recommender, known, asked)
    if method == "integrated-gradients":
        return np.asarray(integrated_gradients(recommender, known, asked))
    return similarity(*rows(recommender, known, asked), asked).attributions


def rows(recommender: nnx.Module, known: Positives, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Rows of users, of whom only the one in question has its own, and of all items."""
    if getattr(recommender, "reads_graph", False):
        recommender = recommender.on(known)
    held = hold(recommender, asked)
    history = asked.history[None] if getattr(held, "reads_history", True) else None
    own = np.asarray(held.users(asked.user[None], history))
    users = np.zeros((int(asked.user) + 1, own.shape[1]), np.float32)
    users[-1] = own[0]
    return users, np.asarray(held.items())


def check_method(recommender: nnx.Module, method: str, name: str = "a recommender that knows users by their ids"):
    """Raise UserError unless a method is known and can explain a recommender, which has this `name`."""
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}")
    if method not in methods_of(recommender):
        raise UserError(
            f"method {method!r} takes items out of a history, which {name} does not read: it would have to be trained "
            f"anew; allowed: {', '.join(methods_of(recommender))}"
        )
