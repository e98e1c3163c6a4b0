"""Users as items: whom to follow."""

from dataclasses import replace

import numpy as np

from gan_rec.data.interactions import Dataset, Interactions
from gan_rec.errors import UserError

_NOTE = "everybody stands beside himself among the pairs of train, so that nobody is recommended to himself"


def as_people(dataset: Dataset) -> Dataset:
    """The same pairs with one list of ids for users and items, and of everybody with himself.

    These pairs are known, and so left out of every ranking and of all that is drawn as negative; as targets in training
    they draw what somebody is as a user and as an item together.

    Raises:
        UserError: no id is a user's and an item's.
    """
    first = next(iter(dataset.parts.values()))
    users, items = first.user_ids, first.item_ids
    if users.dtype != items.dtype or not np.isin(users, items).any():
        raise UserError(f"{dataset.name}: items are to be users, but none of the ids is a user's and an item's")
    both = np.intersect1d(users.astype(str), items.astype(str)).size
    note = f"{_NOTE} ({both:,} of {len(users):,} users and {len(items):,} items have an id in common)"
    ids = np.union1d(users, items) if users.dtype == np.int64 else _in_order(users, items)
    place = {own: index for index, own in enumerate(ids.tolist())}
    to_user, to_item = (np.array([place[own] for own in old.tolist()], np.int32) for old in (users, items))
    parts = {
        name: replace(part, users=to_user[part.users], items=to_item[part.items], user_ids=ids, item_ids=ids)
        for name, part in dataset.parts.items()
    }
    known = "all" if "all" in parts else "train"
    parts = {name: _with_selves(part) if name == known else part for name, part in parts.items()}
    return replace(dataset, parts=parts, notes=(*dataset.notes, note))


def is_of_people(pairs: Interactions) -> bool:
    """Whether items are users."""
    return pairs.n_users == pairs.n_items and np.array_equal(pairs.user_ids, pairs.item_ids)


def link_numbers(pairs: Interactions) -> np.ndarray:
    """For each pair of people a number that both directions of a link share, and nothing else does, `[N]`."""
    low, high = np.minimum(pairs.users, pairs.items), np.maximum(pairs.users, pairs.items)
    return low.astype(np.int64) * pairs.n_items + high


def _with_selves(pairs: Interactions) -> Interactions:
    apart = pairs.users != pairs.items
    everybody = np.arange(pairs.n_users, dtype=np.int32)
    users, items = (np.concatenate([ends[apart], everybody]) for ends in (pairs.users, pairs.items))
    return replace(pairs, users=users, items=items, ratings=None, times=None)


def _in_order(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.array(list(dict.fromkeys([*users.tolist(), *items.tolist()])), object)
