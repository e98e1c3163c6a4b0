"""Recommendations as a table with original ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gan_rec.data import Interactions
from gan_rec.data.sampling import to_device
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
) -> pd.DataFrame:
    """The best K items for each user that are not known of them.

    Args:
        recommender: one, with a leading axis of 1.
        known: pairs that are left out, and histories.
        users: original user ids; None for all.
        k: list length.
        side: how the recommender was trained, see `gan_rec.recommenders.flipped.flip`.
        candidates: `[I]` bool, the items to be ranked; None: all.
        memory: MiB of scores that are held at a time.

    Returns:
        A row for each recommendation, in the given order of users: `user, rank, item, score`, with original ids.

    Raises:
        UserError: an unknown user, `k` outside the catalogue, or memory below 1.
    """
    if memory < 1:
        raise UserError(f"memory must be at least 1 MiB, got {memory}")
    check_cutoffs((k,), known.n_items, candidates)
    indices = np.arange(known.n_users) if users is None else _indices(users, known.user_ids)
    seen = to_device(known.of_users(indices))
    ranked = top_items(recommender, seen, indices, k, side=side, candidates=candidates, memory=memory)
    items, scores = (x[0] for x in ranked)
    frame = pd.DataFrame(
        {
            "user": np.repeat(known.user_ids[indices], k),
            "rank": np.tile(np.arange(1, k + 1), len(indices)),
            "item": known.item_ids[items.reshape(-1)],
            "score": scores.reshape(-1),
        }
    )
    # A user who has seen nearly all of the catalogue gets a shorter list, not seen items.
    return frame[np.isfinite(frame["score"])].reset_index(drop=True)


def _indices(users: Sequence[Any], user_ids: np.ndarray) -> np.ndarray:
    # Ids come as text from a command line; they are compared as text where the types differ.
    if len(users) == 0:
        raise UserError("no user is given; at least one id is needed")
    users = list(dict.fromkeys(users))
    position = {user: i for i, user in enumerate(user_ids.tolist())}
    as_text = {str(user): i for user, i in position.items()}
    found = [position.get(user, as_text.get(str(user))) for user in users]
    unknown = [str(user) for user, index in zip(users, found, strict=True) if index is None]
    if unknown:
        raise UserError(
            f"unknown user {', '.join(unknown[:5])}; the data has {len(user_ids)} users, for example "
            f"{', '.join(str(u) for u in user_ids[:3])}"
        )
    return np.array(found, np.int64)
