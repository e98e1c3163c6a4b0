"""Who interacted with what: pairs in contiguous indices, with the original ids beside them."""

import hashlib
import html
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from gan_rec.data.side import SideInformation


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Interactions:
    """N positive pairs of U users and I items. Users or items without a pair may be among them."""

    users: np.ndarray  # [N] int32 indices into user_ids
    items: np.ndarray  # [N] int32 indices into item_ids
    user_ids: np.ndarray  # [U] as in the data
    item_ids: np.ndarray  # [I]
    ratings: np.ndarray | None = None  # [N] float32
    times: np.ndarray | None = None  # [N] int64, or float64 where there are fractions; in the data's own unit
    candidates: np.ndarray | None = None  # [I] bool, the items that can be chosen or ranked here; None: all of them

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} pairs, {self.n_users:,} users, {self.n_items:,} items)"

    @property
    def at_hand(self) -> "Interactions":
        """These: all of them are in memory, unlike those of `gan_rec.data.streamed`."""
        return self

    def of_users(self, indices: np.ndarray) -> "Interactions":
        """Interactions in which those of these users are; where all are in memory, all."""
        return self

    def item_counts(self) -> np.ndarray:
        """How many pairs each item has, `[I]`."""
        return np.bincount(self.items, minlength=self.n_items)

    def select(self, rows: np.ndarray) -> "Interactions":
        """The pairs of a boolean mask or of indices; all ids stay."""
        chosen = {name: None if column is None else column[rows] for name, column in self._columns().items()}
        return replace(self, **chosen)

    def concat(self, other: "Interactions") -> "Interactions":
        """The pairs of both, among the candidates of either; ratings and times only if both have them.

        Raises:
            ValueError: they do not have the same ids.
        """
        for name in ("user_ids", "item_ids"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(f"only interactions with the same {name} can be joined")
        theirs = other._columns()
        joined = {
            name: None if column is None or theirs[name] is None else np.concatenate([column, theirs[name]])
            for name, column in self._columns().items()
        }
        either = None if self.candidates is None or other.candidates is None else self.candidates | other.candidates
        return replace(self, **joined, candidates=either)

    def transposed(self) -> "Interactions":
        """Users and items in each other's place; candidates are items, and so there are none of them here."""
        return replace(
            self, users=self.items, items=self.users, user_ids=self.item_ids, item_ids=self.user_ids, candidates=None
        )

    def sha256(self) -> str:
        """Digest of the ids, of the pairs, whatever their order, and of the candidates if not all items are."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            digest.update("\n".join(map(str, ids.tolist())).encode() + b"\0")
        order = np.lexsort((self.items, self.users))
        digest.update(np.stack([self.users[order], self.items[order]]).astype("<i4").tobytes())
        if self.candidates is not None:
            digest.update(self.candidates.tobytes())
        return digest.hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """A row for each pair with original ids: `user, item` and, where known, `rating` and `time`."""
        columns = {"user": self.user_ids[self.users], "item": self.item_ids[self.items]}
        extra = {"rating": self.ratings, "time": self.times}
        return pd.DataFrame(columns | {name: column for name, column in extra.items() if column is not None})

    def _columns(self) -> dict[str, np.ndarray | None]:
        return {name: getattr(self, name) for name in ("users", "items", "ratings", "times")}

    def _repr_html_(self) -> str:
        density = len(self) / (self.n_users * self.n_items)
        cells = {"interactions": f"{len(self):,}", "users": f"{self.n_users:,}", "items": f"{self.n_items:,}"}
        return pd.DataFrame([cells | {"density": f"{density:.2%}"}]).to_html(index=False)


@dataclass(frozen=True)
class Dataset:
    """Interactions as they were read: all in one part, or in the parts of a split that came with them."""

    name: str
    parts: dict[str, Interactions]  # "all", or "train", "test" and perhaps "valid"; all have the same ids
    notes: tuple[str, ...]  # what was guessed, skipped or looks wrong, a line each
    terms: str | None  # terms of use
    sha256: str  # of the file read, or of the digests of its files
    default_split: str | None = None  # what the data set's source uses
    times_are_places: bool = False  # times order the pairs of one user, and cannot be compared between users
    item_texts: tuple[str, ...] | None = None  # a text for each of the I items, "" where there is none
    side_information: SideInformation | None = None

    @property
    def n_users(self) -> int:
        """U, over all parts."""
        return self._any.n_users

    @property
    def n_items(self) -> int:
        """I, over all parts."""
        return self._any.n_items

    @property
    def _any(self) -> Interactions:
        return next(iter(self.parts.values()))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(part):,}" for name, part in self.parts.items())
        return f"Dataset({self.name!r}: {self.n_users:,} users, {self.n_items:,} items; {parts})"

    def _repr_html_(self) -> str:
        table = pd.DataFrame({name: {"interactions": len(part)} for name, part in self.parts.items()}).T.to_html()
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        about = f"<b>{html.escape(self.name)}</b>: {self.n_users:,} users, {self.n_items:,} items"
        return about + table + (f"<ul>{notes}</ul>" if notes else "")


@dataclass(frozen=True)
class Split:
    """Train, validation and test parts. Test is out of reach but for `open_test`, which only evaluation calls."""

    name: str
    method: str
    train: Interactions
    valid: Interactions
    _test: Interactions = field(repr=False)
    notes: tuple[str, ...] = ()
    item_texts: tuple[str, ...] | None = field(default=None, repr=False)
    side_information: SideInformation | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        """Digest of all three parts, and of the items' texts and the side information where there are some."""
        digest = hashlib.sha256("".join(p.sha256() for p in (self.train, self.valid, self._test)).encode())
        if self.item_texts is not None:
            digest.update("".join(f"{text}\0" for text in self.item_texts).encode())
        if self.side_information:
            digest.update(self.side_information.sha256.encode())
        return digest.hexdigest()

    @property
    def candidates(self) -> np.ndarray | None:
        """The items that the test part ranks, `[I]` bool; None: all. It says nothing of who had them."""
        return self._test.candidates

    def open_test(self) -> Interactions:
        """The test part: to be read once, at the end."""
        return self._test

    def train_and_valid(self) -> Interactions:
        """What is known when the test begins."""
        return self.train.concat(self.valid)

    def _repr_html_(self) -> str:
        sizes = {"train": len(self.train), "validation": len(self.valid), "test": len(self._test)}
        table = pd.DataFrame([{name: f"{n:,}" for name, n in sizes.items()}]).to_html(index=False)
        return f"<b>{html.escape(self.name)}</b>, {self.method} split{table}"
