"""What an attack moved: which items entered or left a user's list, and whose row it was."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.robustness.damage import Moved


class Moves(NamedTuple):
    """The m items that are in a user's list before or after, best before first. Scores rise by the sum of three."""

    items: Int[np.ndarray, " m"]
    ranks: Int[np.ndarray, "2 m"]  # before and after, from 1, among what the user does not have
    scores: Float[np.ndarray, "2 m"]
    by_user: Float[np.ndarray, " m"]  # what the user's moved row alone does to the score
    by_item: Float[np.ndarray, " m"]  # what the item's moved row alone does
    item_steps: Float[np.ndarray, " m"]  # length of the item row's move over that of the row
    user_step: float  # the same of the user's row


def moves(clean: Moved, moved: Moved, known: Positives, user: int, k: int) -> Moves:
    """Compare a user's best k items on clean and on moved rows.

    Args:
        clean, moved: recommenders of one seed.
        known: what is not recommended, and what can be.
        user: index.
        k: list length.
    """
    users = np.asarray(clean.user_rows[user]), np.asarray(moved.user_rows[user])
    items = np.asarray(clean.item_rows[...]), np.asarray(moved.item_rows[...])
    scores = np.stack([_score(clean, user, rows) for user, rows in zip(users, items, strict=True)])
    hidden = np.asarray(known.history(jnp.array([user])))[0] > 0
    if known.candidates is not None:
        hidden |= np.asarray(known.candidates) == 0
    order = np.argsort(np.where(hidden, np.inf, -scores), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1) + 1
    shown = np.flatnonzero(~hidden & (ranks <= k).any(axis=0))
    shown = shown[np.argsort(ranks[0, shown])]
    return Moves(
        shown,
        ranks[:, shown],
        scores[:, shown],
        (_score(clean, users[1], items[0]) - scores[0])[shown],
        (_score(clean, users[0], items[1]) - scores[0])[shown],
        _step(*items)[shown],
        float(_step(*users)),
    )


def _score(recommender: Moved, user: Float[np.ndarray, " D"], items: Float[np.ndarray, "I D"]) -> np.ndarray:
    return np.asarray(recommender.score(jnp.asarray(user[None]), jnp.asarray(items)))[0]


def _step(before: Float[np.ndarray, "*any D"], after: Float[np.ndarray, "*any D"]) -> Float[np.ndarray, "*any"]:
    lengths = np.linalg.norm(before, axis=-1)
    return np.linalg.norm(after - before, axis=-1) / np.where(lengths > 0, lengths, 1.0)
