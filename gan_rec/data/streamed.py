"""Interactions that outgrow memory: surveyed once, cut by a hash of each pair, and read a buffer at a time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64

from gan_rec.data.columns import Columns
from gan_rec.data.ids import Ids, Tally
from gan_rec.data.interactions import Interactions, Split
from gan_rec.data.parquet import ParquetFolder, open_folder
from gan_rec.data.text import count
from gan_rec.errors import UserError

if TYPE_CHECKING:
    from gan_rec.data.bloom import BitmapBuilder, BloomBuilder, BloomFilter
    from gan_rec.data.membership import Bitmap

EVALUATED_USERS = 10_000  # at the most have validation and test interactions
TRAIN, VALID, TEST = 0, 1, 2
_PAIR_BYTES = 8

Pairs = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]


@dataclass(frozen=True, eq=False)
class StreamedDataset:
    """Interactions in a folder of Parquet files, of which only ids and their numbers are in memory.

    Args:
        name: of the folder.
        folder: its files.
        users, items: all ids.
        buffer: MiB of pairs that are held at a time while a model is trained.
        notes: what was guessed or left out, a line each.
        terms, item_texts, default_split: as of `gan_rec.data.Dataset`, here always None.
    """

    name: str
    folder: ParquetFolder
    users: Ids
    items: Ids
    buffer: int
    notes: tuple[str, ...]
    terms: None = None
    item_texts: None = None
    default_split: None = None

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.items)

    @property
    def n_pairs(self) -> int:
        """N, of all files."""
        return int(self.users.counts.sum())

    @property
    def sha256(self) -> str:
        """Digest of the files' names, sizes and footers."""
        return self.folder.sha256

    @property
    def groups_in_buffer(self) -> int:
        """G, the row groups whose pairs are shuffled together."""
        return self.buffer * 2**20 // (_PAIR_BYTES * self.folder.largest)

    def read(self, number: int) -> Pairs:
        """The pairs of a row group, as indices."""
        users, items = self.folder.read(self.folder.groups[number])
        return self.users.indices(users), self.items.indices(items)

    def scan(self) -> Iterator[Pairs]:
        """The pairs of all row groups, one group after the other."""
        return map(self.read, range(len(self.folder.groups)))

    def __repr__(self) -> str:
        return f"StreamedDataset({self.name!r}: {self.n_users:,} users, {self.n_items:,} items, {self.n_pairs:,} pairs)"


def open_streamed(folder: Path, columns: Columns, *, positive_from: float | None, buffer: int) -> StreamedDataset:
    """Count the ids of all files of a folder, which are read once for that.

    Args:
        folder: with files `*.parquet` that have the same columns.
        columns: names of columns, where they are not understood.
        positive_from: ratings from this value on are positive; None: every row is.
        buffer: MiB, see `StreamedDataset`.

    Raises:
        UserError: as `gan_rec.data.parquet.open_folder`; a row group is larger than the buffer, or there are not two
            users and two items.
    """
    files = open_folder(folder, columns, positive_from)
    needed = -(-files.largest * _PAIR_BYTES // 2**20)
    if buffer < needed:
        raise UserError(
            f"buffer {buffer} (MiB) is too small for {folder}: its largest row group has {files.largest:,} rows, which "
            f"need {needed}; give at least that, or write smaller row groups"
        )
    users, items = (Tally(bounds) for bounds in files.bounds)
    for group in files.groups:
        for tally, column in zip((users, items), files.read(group), strict=True):
            tally.add(column)
    users, items = users.ids(), items.ids()
    if min(len(users), len(items)) < 2:
        bound = "" if positive_from is None else f" with a rating of {positive_from:g} or more"
        has = f"{len(users)} users and {len(items)} items in {count(files.rows, 'row')}{bound}"
        raise UserError(f"{folder} has {has}; at least 2 of each are needed")
    found, notes = StreamedDataset(folder.name, files, users, items, buffer, ()), list(files.notes)
    if left_out := files.rows - found.n_pairs:
        why = "" if positive_from is None else f", or with a rating below {positive_from:g},"
        notes.append(f"{count(left_out, 'row')} without a user or an item{why} left out")
    notes.append(
        f"streamed: {found.n_pairs:,} interactions in {count(len(files.groups), 'row group')}, {buffer} MiB of them "
        "at a time; repeated rows are not looked for"
    )
    return replace(found, notes=tuple(notes))


def refuse_streamed(data: Any, what: str) -> None:
    """Raise UserError if a data set, or the train part of a split, is streamed where `what` needs all of it at hand."""
    if isinstance(data, StreamedDataset | StreamedInteractions):
        raise needs_all_at_hand(what)


def needs_all_at_hand(what: str) -> UserError:
    """That `what` is not possible with streamed interactions."""
    return UserError(
        f"{what} is not possible with streamed interactions; where they fit into memory, one Parquet file is read as a "
        "whole"
    )


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Which pairs are not for training: for some users, a part of theirs that a hash of each pair decides.

    Args:
        chosen: the users, `[U]` bool.
        valid, test: the parts of their pairs, as shares of all of them.
        seed: of the hash.
    """

    chosen: Bool[np.ndarray, " U"]
    valid: float
    test: float
    seed: int

    def parts(self, users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, " n"]:
        """TRAIN, VALID or TEST of each pair; the same for each time that it stands in the data."""
        found, own = np.zeros(len(users), np.uint8), np.flatnonzero(self.chosen[users])
        place = hashes(users[own], items[own], self.seed) / 2.0**64
        found[own] = np.select([place < self.test, place < self.test + self.valid], [TEST, VALID], TRAIN)
        return found


@dataclass(frozen=True, eq=False)
class StreamedInteractions:
    """The train part of streamed data: read a buffer at a time; only the pairs of evaluated users are at hand.

    Args:
        dataset: where they come from.
        held_out: which of its pairs are not among these.
        at_hand: pairs of the users who are evaluated, of the parts that are `kept`, with all ids.
        kept: TRAIN, and with VALID also validation pairs.
        rows: in how many rows of TRAIN, and of VALID, each item stands, `[2, I]`.
        digest: of all of them.
    """

    dataset: StreamedDataset
    held_out: HeldOut
    at_hand: Interactions
    kept: tuple[int, ...]
    rows: Int[np.ndarray, "2 I"]
    digest: str
    candidates: None = None

    def __len__(self) -> int:
        return int(self.item_counts().sum())

    def __repr__(self) -> str:
        return f"StreamedInteractions({len(self):,} pairs, {self.n_users:,} users, {self.n_items:,} items)"

    @property
    def n_users(self) -> int:
        """U."""
        return self.dataset.n_users

    @property
    def n_items(self) -> int:
        """I."""
        return self.dataset.n_items

    @property
    def user_ids(self) -> np.ndarray:
        """`[U]`, as in the data."""
        return self.dataset.users.values

    @property
    def item_ids(self) -> np.ndarray:
        """`[I]`."""
        return self.dataset.items.values

    @property
    def n_groups(self) -> int:
        """Row groups of all files."""
        return len(self.dataset.folder.groups)

    def sha256(self) -> str:
        """Digest of the ids and of the pairs, whatever their order."""
        return self.digest

    def item_counts(self) -> Int[np.ndarray, " I"]:
        """In how many of these rows each item stands."""
        return self.rows[list(self.kept)].sum(axis=0, dtype=np.int64)

    def concat(self, other: Interactions) -> "StreamedInteractions":
        """These and the validation part."""
        kept = (TRAIN, VALID)
        joined = hashlib.sha256(f"{self.digest} {other.sha256()}".encode()).hexdigest()
        return replace(self, at_hand=self.at_hand.concat(other), kept=kept, digest=joined)

    def read(self, number: int) -> Pairs:
        """The pairs of a row group that are among these."""
        return self._own(*self.dataset.read(number))

    def scan(self) -> Iterator[Pairs]:
        """The pairs of all row groups, one group after the other."""
        return map(self.read, range(self.n_groups))

    def of_users(self, indices: Int[np.ndarray, " n"]) -> Interactions:
        """In memory, the pairs of these users, with all ids; the files are read for them."""
        asked = np.zeros(self.n_users, bool)
        asked[indices] = True
        if not np.any(asked & ~self.held_out.chosen):
            return self.at_hand.select(asked[self.at_hand.users])
        found = [tuple(ids[asked[users]] for ids in (users, items)) for users, items in self.scan()]
        users, items = (np.concatenate(ids) for ids in zip(*found, strict=True))
        return replace(self.at_hand, users=users, items=items)

    @cached_property
    def known(self) -> "Bitmap | BloomFilter":
        """Which items each user has, on the device; the files are read for it.

        Exact where a bit for every user and item is not too much, else a filter that takes some other pairs for known
        ones, see `gan_rec.data.bloom`; where these would be more than half of them, it knows none.
        """
        builder = _builder(len(self), self.dataset)
        for users, items in self.scan() if builder.is_of_use else ():
            builder.add(users, items)
        return builder.membership()

    def _own(self, users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"]) -> Pairs:
        parts = self.held_out.parts(users, items)
        keep = np.isin(parts, self.kept)
        return (users, items) if keep.all() else (users[keep], items[keep])


def split_streamed(dataset: StreamedDataset, method: str | None, test: float, valid: float, seed: int) -> Split:
    """Hold out pairs of some users for validation and test; the files are read once for that.

    Args:
        dataset: streamed.
        method: "random", or None.
        test: the part of an evaluated user's interactions that is test, in expectation.
        valid: the part of the rest that is validation.
        seed: of the choice of users, and of the hash that cuts their interactions.

    Raises:
        UserError: another method, or a part would be empty.
    """
    if method not in (None, "random"):
        raise UserError(f"{dataset.name} is streamed, and is split at random alone; allowed: random, got {method}")
    n = min(EVALUATED_USERS, dataset.n_users)
    chosen = np.zeros(dataset.n_users, bool)
    chosen[np.random.default_rng(seed).choice(dataset.n_users, n, replace=False)] = True
    held_out = HeldOut(chosen, (1 - test) * valid, test, seed)
    parts, digest, rows = _survey(dataset, held_out)
    train = StreamedInteractions(dataset, held_out, parts[TRAIN], (TRAIN,), rows, digest)
    for name, part in zip(("train", "validation", "test"), (train, parts[VALID], parts[TEST]), strict=True):
        if not len(part):
            raise UserError(f"the random split of {dataset.name} leaves no {name} interaction: there are too few")
    notes = (
        f"validation and test are interactions of {n:,} users; of all others every interaction is in train",
        _builder(len(train), dataset).note(),
    )
    return Split(dataset.name, "random", train, parts[VALID], parts[TEST], notes)


def _builder(n_pairs: int, dataset: StreamedDataset) -> "BitmapBuilder | BloomBuilder":
    from gan_rec.data.bloom import make_builder  # needs JAX, which mistakes and --help do not wait for

    return make_builder(n_pairs, dataset.n_users, dataset.n_items)


def _survey(dataset: StreamedDataset, held_out: HeldOut) -> tuple[list[Interactions], str, Int[np.ndarray, "2 I"]]:
    """The pairs of the evaluated users by part, a digest of those for training, and the rows of each item, by part."""
    found, total, n_rows = [[], [], []], np.zeros((), np.uint64), np.zeros((2, dataset.n_items), np.int32)
    for users, items in dataset.scan():
        parts, own = held_out.parts(users, items), held_out.chosen[users]
        train = parts == TRAIN
        # A sum, so that the order of rows and files does not matter.
        total += hashes(users[train], items[train], 0).sum(dtype=np.uint64)
        for part in (TRAIN, VALID):
            np.add.at(n_rows[part], items[parts == part], 1)
        for part in (TRAIN, VALID, TEST):
            rows = own & (parts == part)
            found[part].append((users[rows], items[rows]))
    whole = [_together(dataset, pairs) for pairs in found]
    ids = Interactions(*[np.zeros(0, np.int32)] * 2, dataset.users.values, dataset.items.values).sha256()
    return whole, hashlib.sha256(f"{ids} {n_rows[TRAIN].sum()} {total}".encode()).hexdigest(), n_rows


def _together(dataset: StreamedDataset, found: list[Pairs]) -> Interactions:
    """In memory, each pair once."""
    users, items = (np.concatenate(ids) for ids in zip(*found, strict=True))
    _, first = np.unique(users.astype(np.int64) * dataset.n_items + items, return_index=True)
    return Interactions(users[first], items[first], dataset.users.values, dataset.items.values)


def hashes(users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"], seed: int) -> UInt64[np.ndarray, " n"]:
    """A number for each pair, as good as random (the finaliser of SplitMix64; Steele et al., OOPSLA 2014)."""
    start = _finalise(np.full(1, seed, np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return _finalise(_finalise(users.astype(np.uint64) + start) ^ (items.astype(np.uint64) + np.uint64(1)) * _ODD)


_ODD = np.uint64(0xD1342543DE82EF95)


def _finalise(x: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
