"""From tables to a data set: contiguous indices, duplicates, positives, what one part knows and another does not."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from gan_rec.data.interactions import Dataset, Interactions
from gan_rec.data.table import Table
from gan_rec.data.text import count
from gan_rec.errors import UserError


def assemble(
    tables: dict[str, Table], name: str, *, positive_from: float | None = None, min_user: int = 1, min_item: int = 1
) -> Dataset:
    """Make a data set of the tables of its parts.

    The catalogue is all that the files name: an item that nobody rated high enough must be ranked like the others.

    Args:
        tables: "all", or "train", "test" and perhaps "valid".
        name: of the data set.
        positive_from: ratings from this value on are positive.
        min_user, min_item: users and items with fewer pairs are left out, again and again until none is left.

    Raises:
        UserError: an option does not fit the data, or fewer than two users or items are left.
    """
    notes = [note for table in tables.values() for note in table.notes]
    parts = {part: _deduplicate(rows, notes) for part, rows in _encode(tables).items()}
    if positive_from is not None:
        parts = {part: _positive(rows, positive_from, notes) for part, rows in parts.items()}
    if min_user > 1 or min_item > 1:
        if "all" not in parts:
            raise UserError("min_user and min_item cannot be used with a fixed split: it would no longer be that split")
        parts = {"all": _core(parts["all"], min_user, min_item, notes)}
    n_rows = sum(len(table.lines) for table in tables.values())
    _require_two(parts, name, f"{count(n_rows, 'row')} read", _asked(positive_from, min_user, min_item))
    notes += _compare(parts)
    return Dataset(
        name, {part: rows.pairs for part, rows in parts.items()}, tuple(notes), terms=None, sha256=_digest(tables),
        times_are_places=any(table.is_list for table in tables.values()),
    )  # fmt: skip


@dataclass(frozen=True)
class _Part:
    table: Table
    pairs: Interactions
    rows: np.ndarray  # [pairs] which row of the table each of them is

    def select(self, mask: np.ndarray) -> "_Part":
        return replace(self, pairs=self.pairs.select(mask), rows=self.rows[mask])

    def first(self, mask: np.ndarray) -> str:
        """Where the first pair of a mask stands: "line 17"."""
        return f"{self.table.unit} {self.table.lines[self.rows[np.argmax(mask)]]}"

    def keys(self) -> np.ndarray:
        """[pairs] one number for each user and item."""
        return self.pairs.users * np.int64(self.pairs.n_items) + self.pairs.items


def _encode(tables: dict[str, Table]) -> dict[str, _Part]:
    users, user_ids = _index([table.frame["user"] for table in tables.values()], tables)
    items, item_ids = _index([table.frame["item"] for table in tables.values()], tables)
    return {
        part: _Part(
            table,
            Interactions(u, i, user_ids, item_ids, _ratings(table.frame), _times(table.frame)),
            np.arange(len(table.lines)),
        )
        for (part, table), u, i in zip(tables.items(), users, items, strict=True)
    }


def _index(columns: list[pd.Series], tables: dict[str, Table]) -> tuple[list[np.ndarray], np.ndarray]:
    """Contiguous indices for original ids: whole numbers in their order, all else by first appearance."""
    is_text = any(table.is_text for table in tables.values())
    if is_text:  # a part that is Parquet must speak of the same ids
        columns = [column.astype(str) for column in columns]
    codes, ids = pd.factorize(pd.concat(columns, ignore_index=True))
    ids = _whole_numbers(ids) if is_text else ids
    ids = np.asarray(ids, np.int64 if pd.api.types.is_integer_dtype(ids) else object)
    if ids.dtype == np.int64:
        order = np.argsort(ids)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        codes, ids = rank[codes], ids[order]
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return np.split(codes.astype(np.int32), ends), ids


def _whole_numbers(ids: pd.Index) -> pd.Index:
    """Text as integers if all of it reads the same afterwards: "7" does, "007" and "u-7" do not."""
    return ids.astype(np.int64) if ids.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all() else ids


def _ratings(frame: pd.DataFrame) -> np.ndarray | None:
    return frame["rating"].to_numpy(np.float32) if "rating" in frame else None


def _times(frame: pd.DataFrame) -> np.ndarray | None:
    if "time" not in frame:
        return None
    times = frame["time"].to_numpy()
    exact = times.dtype.kind == "f" and (times % 1 == 0).all() and np.abs(times).max(initial=0) < 2**53
    return times.astype(np.int64) if exact else times


def _deduplicate(part: _Part, notes: list[str]) -> _Part:
    again = pd.Series(part.keys()).duplicated().to_numpy()
    if not again.any():
        return part
    n = count(int(again.sum()), "duplicate")
    notes.append(
        f"{part.table.file}: {n} of a user and item (first: {part.first(again)}) skipped, the first of each is kept"
    )
    return part.select(~again)


def _positive(part: _Part, positive_from: float, notes: list[str]) -> _Part:
    if part.pairs.ratings is None:
        raise UserError(f"positive_from {positive_from} needs ratings, but {part.table.file} has no column of ratings")
    below = part.table.frame["rating"].to_numpy()[part.rows] < positive_from
    if below.any():
        lost = count(int(below.sum()), "row")
        notes.append(f"{part.table.file}: {lost} with a rating below {positive_from:g} left out")
    return part.select(~below)


def _core(part: _Part, min_user: int, min_item: int, notes: list[str]) -> _Part:
    before = len(part.pairs)
    while True:
        users, items = part.pairs.users, part.pairs.items
        few = (np.bincount(users)[users] < min_user) | (np.bincount(items)[items] < min_item)
        if not few.any():
            break
        part = part.select(~few)
    users, codes_u = np.unique(part.pairs.users, return_inverse=True)
    items, codes_i = np.unique(part.pairs.items, return_inverse=True)
    if lost := before - len(part.pairs):
        notes.append(
            f"{part.table.file}: {count(lost, 'row')} of users with < {min_user} or items with < {min_item} "
            f"interactions left out; {count(len(users), 'user')} and {count(len(items), 'item')} are left"
        )
    pairs = replace(
        part.pairs, users=codes_u.astype(np.int32), items=codes_i.astype(np.int32),
        user_ids=part.pairs.user_ids[users], item_ids=part.pairs.item_ids[items],
    )  # fmt: skip
    return replace(part, pairs=pairs)


def _asked(positive_from: float | None, min_user: int, min_item: int) -> list[str]:
    asked = [] if positive_from is None else [f"positive_from {positive_from:g}"]
    least = {"min_user": min_user, "min_item": min_item}
    return asked + [f"{name} {value}" for name, value in least.items() if value > 1]


def _require_two(parts: dict[str, _Part], name: str, read: str, asked: list[str]) -> None:
    filtered = f" after filtering ({', '.join([read, *asked])})" if asked else ""
    for role in ("user", "item"):
        n = len(np.unique(np.concatenate([getattr(part.pairs, f"{role}s") for part in parts.values()])))
        if n < 2:
            left = "no interaction is left" if n == 0 else f"only one {role} is left"
            raise UserError(f"{name}: {left}{filtered}; at least 2 users and 2 items are needed")


def _compare(parts: dict[str, _Part]) -> list[str]:
    """What validation and test have that train does not, and what they have in common with what is masked."""
    notes = []
    for name in ("valid", "test"):
        if name in parts:
            notes += _unseen(parts[name], parts["train"])
            notes += _shared(parts[name], parts["train"], "train")
    if "valid" in parts:
        notes += _shared(parts["test"], parts["valid"], "valid")
    return notes


def _unseen(part: _Part, train: _Part) -> list[str]:
    notes = []
    for role in ("user", "item"):
        codes = getattr(part.pairs, f"{role}s")
        new = ~np.isin(codes, getattr(train.pairs, f"{role}s"))
        if new.any():
            ids, rows = count(len(np.unique(codes[new])), role), count(int(new.sum()), "row")
            notes.append(f"{part.table.file}: {ids} not in train, in {rows} (first: {part.first(new)}); kept")
    return notes


def _shared(part: _Part, masked: _Part, name: str) -> list[str]:
    both = np.isin(part.keys(), masked.keys())
    if not both.any():
        return []
    pairs = count(int(both.sum()), "pair")
    return [
        f"{part.table.file}: {pairs} also in {name} (first: {part.first(both)}); kept, but items of {name} are left "
        "out of the ranking, so they cannot be found"
    ]


def _digest(tables: dict[str, Table]) -> str:
    """Of the file read, or of the digests of several."""
    digests = list(dict.fromkeys(table.sha256 for table in tables.values()))
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
