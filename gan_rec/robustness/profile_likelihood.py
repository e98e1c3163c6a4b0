"""What a trained model says of a profile: how likely its items are, each part given the rest, and if it is real."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import to_device

_PARTS = 5  # of a profile, each of which is left out once
_CHUNK = 256  # users at a time
_RIDGE = 0.1  # of the row of a user whom the model does not know, relative to the mean square of item rows' directions


def unlikelihood(recommender: nnx.Module, known: Interactions, seed: int = 0) -> Float[np.ndarray, " U"]:
    """How unlikely a recommender finds each profile: high where it ranks items low that were left out.

    Each part of a profile is left out once; of its items counts the place from 0, the best of those that are not
    known, to 1. The recommender need not know the users: it reads what is left of the histories. One that knows users
    by their ids alone gets a row for each that fits its item rows, by ridge regression on all items.

    Args:
        recommender: of one seed, that scores items for users, with its rows of users and items.
        known: of any users and the items that it knows.
        seed: of the parts.

    Returns:
        The mean place of left-out items; 1/2 for a user with fewer than two.
    """
    known = known.at_hand
    rng, places = np.random.default_rng(seed), np.zeros(known.n_users)
    part = rng.permutation(len(known.users)) % _PARTS
    for own in range(_PARTS):
        places += _places_of_part(recommender, known, part == own)
    lengths = np.bincount(known.users, minlength=known.n_users)
    return np.where(lengths > 1, places / np.maximum(lengths, 1), 0.5)


def _places_of_part(recommender, known: Interactions, out: np.ndarray) -> np.ndarray:
    """Summed places of each user's pairs that are left out."""
    # Padded to one capacity, all parts share a program.
    left, right = (to_device(known.select(rows), capacity=len(known)) for rows in (~out, out))
    n = known.n_users
    users = np.pad(np.arange(n), (0, -n % _CHUNK), mode="edge").reshape(-1, _CHUNK)
    return np.concatenate([np.asarray(_summed_places(recommender, left, right, jnp.asarray(u))) for u in users])[:n]


@jax.jit
def _summed_places(recommender, left, right, users: Int[Array, " B"]) -> Float[Array, " B"]:
    history, wanted = left.history(users), right.history(users)
    items = recommender.items()
    rows = recommender.users(users, history) if recommender.reads_history else _rows(history, items)
    scores = jnp.where(history > 0, -jnp.inf, recommender.score(rows, items))
    place = (
        jnp.argsort(jnp.argsort(-scores, axis=1), axis=1) / jnp.maximum(jnp.sum(history == 0, axis=1) - 1, 1)[:, None]
    )
    return jnp.sum(place * wanted, axis=1)


def _rows(history: Float[Array, "B I"], items: Float[Array, "I D"]) -> Float[Array, "B D"]:
    gram = items.T @ items
    ridge = _RIDGE * jnp.trace(gram) / len(gram) * jnp.eye(len(gram))
    return jnp.linalg.solve(gram + ridge, items.T @ history.T).T


def falsity(critic: nnx.Module, known: Interactions) -> Float[np.ndarray, " U"]:
    """Minus the logit by which the critic of purchase vectors takes each profile for a real one, given itself.

    Args:
        critic: a `gan_rec.adversaries.critics.VectorCritic` of one seed, over the items of `known`.
        known: of any users.
    """
    known = to_device(known.at_hand)
    n = known.n_users
    users = np.pad(np.arange(n), (0, -n % _CHUNK), mode="edge").reshape(-1, _CHUNK)
    return -np.concatenate([np.asarray(_verdict(critic, known, jnp.asarray(u))) for u in users])[:n]


@jax.jit
def _verdict(critic, known, users):
    vectors = known.history(users)
    return critic(vectors, vectors)
