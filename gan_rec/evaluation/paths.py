"""Paths: the next k items of a user as a sequence, and how well they hang together."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation, evaluate_lists

_USERS = 512  # at a time


def greedy_paths(policies, seen: Positives, users: Int[np.ndarray, " n"], k: int) -> Int[np.ndarray, "S n K"]:
    """The path of unseen items that each of S `gan_rec.recommenders.path_policy` finds best, step by step."""

    def best(policy, history, allowed):
        offer = policy.offer(history, allowed)
        return jnp.take_along_axis(offer.items, policy.walk(offer, k), axis=1)

    return _of_users(policies, seen, users, k, best)


def repeated_paths(recommenders, seen: Positives, users: Int[np.ndarray, " n"], k: int) -> Int[np.ndarray, "S n K"]:
    """Paths of S recommenders of the next item: at each step the best one, which then counts as the user's last."""

    def best(recommender, history, allowed):
        rows = jnp.arange(history.shape[0])

        def step(carry, _):
            history, allowed = carry
            scores = recommender.score(recommender.users(None, history), recommender.items())
            items = jnp.argmax(jnp.where(allowed > 0, scores, -jnp.inf), axis=1).astype(history.dtype)
            history = jnp.concatenate([history[:, 1:], items[:, None]], axis=1)
            return (history, allowed.at[rows, items].set(0.0)), items

        return jax.lax.scan(step, (history, allowed), length=k)[1].T

    return _of_users(recommenders, seen, users, k, best)


def _of_users(models, seen: Positives, users, k: int, best) -> Int[np.ndarray, "S n K"]:
    chunks = jnp.asarray(np.pad(users, (0, -len(users) % _USERS), mode="edge").reshape(-1, _USERS))

    def of_one(model):
        def of_some(users):
            return best(model, seen.order.last(users, model.length), 1.0 - seen.history(users))

        return jax.lax.map(of_some, chunks)

    found = jax.jit(lambda models: jax.lax.map(of_one, models))(models)
    return np.asarray(found).reshape(found.shape[0], -1, k)[:, : len(users)]


def evaluate_paths(
    paths: Int[np.ndarray, "S n K"],
    users: Int[np.ndarray, " n"],
    truth: Interactions,
    *,
    last: Int[np.ndarray, " n"] | None = None,
    similarity: csr_array | None = None,
) -> Evaluation:
    """Recall of the true next items by paths, and if a similarity is given their coherence.

    Args:
        paths: items, in order.
        users: whose, ascending; all users of `truth` are among them.
        truth: what they had next.
        last: the last item that each had before.
        similarity: `[I, I]`, how well an item (column) follows another (row); "coherence" is its mean over the steps of
            a path, the first of which begins at the last item.

    Raises:
        UserError: one of `last` and `similarity` is missing.
    """
    k = paths.shape[2]
    order = np.broadcast_to(-np.arange(k, dtype=np.float32), paths.shape)
    found = evaluate_lists(users, paths, order, truth, (k,))
    if (last is None) != (similarity is None):
        raise UserError("coherence needs the last items and a similarity")
    if last is None:
        return found
    own = np.isin(users, truth.users)
    found.per_user["coherence"] = coherence(paths[:, own], last[own], similarity)
    return found


def coherence(
    paths: Int[np.ndarray, "S n K"], last: Int[np.ndarray, " n"], similarity: csr_array
) -> Float[np.ndarray, "S n"]:
    """The mean similarity of each step of a path, see `evaluate_paths`."""
    before = np.concatenate([np.broadcast_to(last[None, :, None], (*paths.shape[:2], 1)), paths[..., :-1]], axis=2)
    steps = np.asarray(similarity[before.reshape(-1), paths.reshape(-1)])
    return steps.reshape(paths.shape).mean(axis=2)
