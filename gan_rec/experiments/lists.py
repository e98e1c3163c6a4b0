"""Recommendations as a table with original ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gan_rec.data import Interactions
from gan_rec.data.sampling import to_device
from gan_rec.data.text import count
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs
from gan_rec.evaluation.ranking import MEMORY, top_items


def lists(
    recommender: Any,
    known: Interactions,
    users: Sequence[Any] | None,
    k: int,
    *,
    side: str = "user",
    candidates: np.ndarray | None = None,
    memory: int = MEMORY,
    knows_strangers: bool = False,
) -> pd.DataFrame:
    """The best K items for each user that are not known of them.

    Of users without a known pair most recommenders know nothing: these get the items that most users have, and their
    scores are how many that are. The frame's `attrs["note"]` says so.

    Args:
        recommender: one, with a leading axis of 1.
        known: pairs that are left out, and histories.
        users: original user ids; None for all.
        k: list length.
        side: how the recommender was trained, see `gan_rec.recommenders.flipped.flip`.
        candidates: `[I]` bool, the items to be ranked; None: all.
        memory: MiB of scores that are held at a time.
        knows_strangers: the recommender does know something of users without a pair, such as links to others.

    Returns:
        A row for each recommendation, in the given order of users: `user, rank, item, score`, with original ids.

    Raises:
        UserError: an unknown user, `k` outside the catalogue, or memory below 1.
    """
    if memory < 1:
        raise UserError(f"memory must be at least 1 MiB, got {memory}")
    check_cutoffs((k,), known.n_items, candidates)
    indices = np.arange(known.n_users) if users is None else indices_of(users, known.user_ids)
    own = known.of_users(indices)
    seen = to_device(own)
    ranked = top_items(recommender, seen, indices, k, side=side, candidates=candidates, memory=memory)
    items, scores = (np.array(x[0]) for x in ranked)
    strangers = np.zeros(len(indices), bool)
    if not knows_strangers:
        strangers = ~np.isin(indices, own.users)
        items[strangers], scores[strangers] = _most_common(known, candidates, k)
    frame = pd.DataFrame(
        {
            "user": np.repeat(known.user_ids[indices], k),
            "rank": np.tile(np.arange(1, k + 1), len(indices)),
            "item": known.item_ids[items.reshape(-1)],
            "score": scores.reshape(-1),
        }
    )
    # A user who has seen nearly all of the catalogue gets a shorter list, not seen items.
    frame = frame[np.isfinite(frame["score"])].reset_index(drop=True)
    if strangers.any():
        frame.attrs["note"] = f"{count(int(strangers.sum()), 'user')} without history: the most common items"
    return frame


def _most_common(known: Interactions, candidates: np.ndarray | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The K items that most users have, and how many."""
    users = known.item_counts().astype(np.float32)
    if candidates is not None:
        users = np.where(candidates, users, -np.inf)
    best = np.argsort(-users, kind="stable")[:k]
    return best, users[best]


def indices_of(wanted: Sequence[Any], ids: np.ndarray, what: str = "user") -> np.ndarray:
    """Where original ids stand among all `ids`, each once.

    Raises:
        UserError: there is no such `what`, or none is given.
    """
    # Ids come as text from a command line; they are compared as text where the types differ.
    if len(wanted) == 0:
        raise UserError(f"no {what} is given; at least one id is needed")
    wanted = list(dict.fromkeys(wanted))
    position = {own: i for i, own in enumerate(ids.tolist())}
    as_text = {str(own): i for own, i in position.items()}
    found = [position.get(own, as_text.get(str(own))) for own in wanted]
    unknown = [str(own) for own, index in zip(wanted, found, strict=True) if index is None]
    if unknown:
        raise UserError(
            f"unknown {what} {', '.join(unknown[:5])}; the data has {len(ids)} {what}s, for example "
            f"{', '.join(str(own) for own in ids[:3])}"
        )
    return np.array(found, np.int64)
