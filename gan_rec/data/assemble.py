"""From tables to a data set: contiguous indices, duplicates, positives, what one part knows and another does not."""

import hashlib

import numpy as np
import pandas as pd

from gan_rec.data.interactions import Dataset, Interactions
from gan_rec.data.read import Table, _count
from gan_rec.errors import UserError


def assemble(
    tables: dict[str, Table], name: str, *, positive_from: float | None = None, min_user: int = 1, min_item: int = 1
) -> Dataset:
    """Make a data set of the tables of its parts.

    Args:
        tables: "all", or "train", "test" and perhaps "valid".
        name: of the data set.
        positive_from: ratings from this value on are positive.
        min_user, min_item: users and items with fewer pairs are left out, again and again until none is left.

    Raises:
        UserError: an option does not fit the data, or fewer than two users or items are left.
    """
    notes = [note for table in tables.values() for note in table.notes]
    digest = "".join(table.sha256 for table in tables.values())
    everything = tables
    tables = {part: _deduplicate(_positive(table, positive_from, notes), notes) for part, table in tables.items()}
    if min_user > 1 or min_item > 1:
        if "all" not in tables:
            raise UserError("min_user and min_item cannot be used with a fixed split: it would no longer be that split")
        everything = tables = {"all": _core(tables["all"], min_user, min_item, notes)}
    asked = f"positive_from {positive_from}, min_user {min_user}, min_item {min_item}"
    for role in ("user", "item"):
        n = pd.concat([table.frame[role] for table in tables.values()]).nunique()
        if n < 2:
            left = "no interaction is left" if n == 0 else f"only one {role} is left"
            raise UserError(f"{name}: {left} after filtering ({asked}); at least 2 users and 2 items are needed")
    # The catalogue is all that the files name: items that nobody rated high enough must be ranked like the others.
    users, items = (_Index.of(everything, role) for role in ("user", "item"))
    parts = {
        part: Interactions(
            users=users.codes(table.frame["user"]), items=items.codes(table.frame["item"]),
            user_ids=users.ids, item_ids=items.ids,
            ratings=_column(table, "rating", np.float32), times=_column(table, "time", np.float64),
        )
        for part, table in tables.items()
    }  # fmt: skip
    for part in tables:
        if part not in ("all", "train"):
            notes += _unseen(part, parts, tables[part])
    return Dataset(name, parts, tuple(notes), terms=None, sha256=hashlib.sha256(digest.encode()).hexdigest())


def _positive(table: Table, positive_from: float | None, notes: list[str]) -> Table:
    if positive_from is None:
        return table
    if "rating" not in table.frame:
        raise UserError(f"positive_from {positive_from} needs ratings, but {table.file} has no column of ratings")
    positive = table.frame["rating"].to_numpy() >= positive_from
    dropped = int((~positive).sum())
    if dropped:
        notes.append(f"{table.file}: {_count(dropped, 'row')} with a rating below {positive_from:g} left out")
    return table.select(positive)


def _deduplicate(table: Table, notes: list[str]) -> Table:
    duplicate = table.frame.duplicated(["user", "item"]).to_numpy()
    if not duplicate.any():
        return table
    first = table.lines[np.argmax(duplicate)]
    n = _count(int(duplicate.sum()), "duplicate")
    notes.append(f"{table.file}: {n} of a user and item (first: line {first}) skipped, the first of each is kept")
    return table.select(~duplicate)


def _core(table: Table, min_user: int, min_item: int, notes: list[str]) -> Table:
    before = len(table.frame)
    while True:
        counts = {role: table.frame.groupby(role)[role].transform("size").to_numpy() for role in ("user", "item")}
        enough = (counts["user"] >= min_user) & (counts["item"] >= min_item)
        if enough.all():
            break
        table = table.select(enough)
    if before > len(table.frame):
        lost = _count(before - len(table.frame), "row")
        notes.append(
            f"{table.file}: {lost} of users with < {min_user} or items with < {min_item} interactions left out"
        )
    return table


class _Index:
    """Contiguous indices for original ids: whole numbers in their order, all else by first appearance."""

    def __init__(self, raw: np.ndarray):
        self._raw = pd.Index(raw)
        self.ids = _restore_integers(raw)
        if self.ids.dtype.kind == "i":
            order = np.argsort(self.ids)
            self._raw, self.ids = self._raw[order], self.ids[order]

    @classmethod
    def of(cls, tables: dict[str, Table], role: str) -> "_Index":
        """The ids that stand in any of the tables."""
        return cls(pd.concat([table.frame[role] for table in tables.values()]).unique())

    def codes(self, column: pd.Series) -> np.ndarray:
        """The index of each id of a column."""
        return self._raw.get_indexer(column).astype(np.int32)


def _restore_integers(ids: np.ndarray) -> np.ndarray:
    """Text as integers if all of it reads the same afterwards: "7" does, "007" and "u-7" do not."""
    ids = pd.Series(ids)
    if pd.api.types.is_integer_dtype(ids.dtype):
        return ids.to_numpy(np.int64)
    if all(isinstance(i, str) for i in ids) and ids.str.fullmatch(r"0|-?[1-9]\d{0,17}").all():
        return ids.astype(np.int64).to_numpy()
    return ids.to_numpy(object)


def _column(table: Table, role: str, dtype) -> np.ndarray | None:
    return table.frame[role].to_numpy(dtype) if role in table.frame else None


def _unseen(part: str, parts: dict[str, Interactions], table: Table) -> list[str]:
    """What this part has that train does not, and what it has in common with train."""
    train, other, notes = parts["train"], parts[part], []
    for role in ("users", "items"):
        known = np.isin(getattr(other, role), getattr(train, role))
        if not known.all():
            ids = len(np.unique(getattr(other, role)[~known]))
            line = table.lines[np.argmin(known)]
            notes.append(
                f"{table.file}: {_count(ids, role[:-1])} not in train, in {_count(int((~known).sum()), 'row')} "
                f"(first: line {line}); kept"
            )
    size = np.int64(train.n_items)
    both = np.isin(other.users * size + other.items, train.users * size + train.items)
    if both.any():
        line = table.lines[np.argmax(both)]
        notes.append(
            f"{table.file}: {_count(int(both.sum()), 'pair')} also in train (first: line {line}); kept, but items of "
            "train are left out of the ranking, so they cannot be found"
        )
    return notes
