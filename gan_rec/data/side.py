"""Side information of a data set: features and domains of its items, and links between its users."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from gan_rec.data.read import read_interactions
from gan_rec.data.table import Table
from gan_rec.data.text import count
from gan_rec.errors import UserError

Notes = list[str]


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Domains:
    """Which domain each item is of."""

    names: tuple[str, ...]
    of_items: Int32[np.ndarray, " I"]  # numbers into the names


@dataclass(frozen=True, eq=False)
class SideInformation:
    """What is known of items and users beside who interacted with what; in contiguous indices."""

    item_features: dict[str, Float32[np.ndarray, "I _"]] = field(
        default_factory=dict
    )  # modality -> a row for each item
    user_links: Int32[np.ndarray, "L 2"] | None = None  # from, to; each once, nobody to himself
    item_domains: Domains | None = None  # in a data set of several

    def __bool__(self) -> bool:
        return bool(self.item_features) or self.user_links is not None or self.item_domains is not None

    @property
    def sha256(self) -> str:
        """Digest of all of it."""
        digest = hashlib.sha256()
        for name, rows in self.item_features.items():
            digest.update(f"{name} {rows.shape}\0".encode() + rows.astype("<f4").tobytes())
        if self.user_links is not None:
            digest.update(b"links\0" + self.user_links.astype("<i4").tobytes())
        if self.item_domains is not None:
            digest.update("\0".join(self.item_domains.names).encode() + self.item_domains.of_items.tobytes())
        return digest.hexdigest()


def read_links(path: Path, user_ids: np.ndarray) -> tuple[Int32[np.ndarray, "L 2"], Notes]:
    """Links between users: a file as of interactions, `user user`; what more columns it has is not read.

    Args:
        path: of the file.
        user_ids: U ids as in the interactions; they are compared as text.

    Returns:
        A row for each link, from and to, as indices; and notes on what was left out.

    Raises:
        UserError: the file cannot be read, or none of its links is of two users of the data.
    """
    if path.is_dir():
        raise UserError(f"links must be a file, got the folder {path}")
    table: Table = next(iter(read_interactions(path).values()))
    place = {str(own): index for index, own in enumerate(user_ids.tolist())}
    ends = [table.frame[role].astype(str).map(place) for role in ("user", "item")]
    known = ends[0].notna() & ends[1].notna()
    if not known.any():
        first = ", ".join(str(table.frame[role].iloc[0]) for role in ("user", "item"))
        raise UserError(
            f"{path.name}: none of the links (such as {first}) is of two users of the data, which has {len(user_ids)}, "
            f"for example {', '.join(map(str, user_ids[:3]))}"
        )
    links = np.stack([end[known].to_numpy(np.int32) for end in ends], axis=1)
    apart = links[:, 0] != links[:, 1]
    unique = np.unique(links[apart], axis=0)
    skipped = {
        "of users that the data does not have": int((~known).sum()),
        "of a user to himself": int((~apart).sum()),
        "that stood there before": int(apart.sum()) - len(unique),
    }
    return unique, [f"{path.name}: {count(n, 'link')} {what} skipped" for what, n in skipped.items() if n]


def read_features(
    path: Path, item_ids: np.ndarray, id_column: str | None = None
) -> tuple[Float32[np.ndarray, "I F"], Notes]:
    """Features of the items.

    Args:
        path: `.npy`, a row for each item in the order of `item_ids` (whole numbers ascending, all else as they appear
            first in the data); or CSV or TSV with a header, a row for each item in any order: its id, and numbers.
        item_ids: I ids as in the interactions; they are compared as text.
        id_column: of a CSV file, the column of ids; None: the first whose name says so, else the first.

    Raises:
        UserError: the file cannot be read, has not a row for each item, or a value that is no finite number.
    """
    rows, notes = _of_array(path) if path.suffix == ".npy" else _of_table(path, item_ids, id_column)
    return check_features(rows, item_ids, path.name), notes


def check_features(rows: np.ndarray, item_ids: np.ndarray, name: str) -> Float32[np.ndarray, "I F"]:
    """The same as float32.

    Raises:
        UserError: these are not I rows of finite numbers.
    """
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or not rows.shape[1]:
        raise UserError(f"{name}: features must be rows of numbers, [items, features], got {rows.dtype} {rows.shape}")
    if len(rows) != len(item_ids):
        raise UserError(f"{name} has {count(len(rows), 'row')}, but the data has {count(len(item_ids), 'item')}")
    with np.errstate(over="ignore"):  # what is too large is infinite then
        rows = rows.astype(np.float32)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise UserError(
            f"{name}: {count(int(bad.sum()), 'item')} with a feature that is no finite number (first: {item_ids[first]}"
            f", in row {first})"
        )
    return rows


def named_features(given: str | Path | Sequence | Mapping) -> dict[str, Path | np.ndarray]:
    """Modality -> file or array, of what `gan_rec.load` is given: one file, some, or either by a name.

    Raises:
        UserError: two files would have the same name.
    """
    if isinstance(given, Mapping):
        return {name: each if isinstance(each, np.ndarray) else Path(each).expanduser() for name, each in given.items()}
    files = [Path(file).expanduser() for file in ([given] if isinstance(given, str | Path) else given)]
    named = {file.stem: file for file in files}
    if len(named) < len(files):
        raise UserError(f"item_features: two files have the same name, {', '.join(str(file) for file in files)}")
    return named


def _of_array(path: Path) -> tuple[np.ndarray, Notes]:
    try:
        return np.load(path, allow_pickle=False), []
    except (OSError, ValueError, EOFError) as error:
        why = getattr(error, "strerror", None) or "it is no array of numbers in NumPy's format"
        raise UserError(f"cannot read item features from {path}: {why}") from error


def _of_table(path: Path, item_ids: np.ndarray, id_column: str | None) -> tuple[np.ndarray, Notes]:
    from gan_rec.data.item_text import id_column_of, read_columns

    frame = read_columns(path, "item features")
    ids = frame.pop(id_column_of(path, list(frame), id_column))
    frame = frame.apply(pd.to_numeric, errors="coerce").set_axis(ids)
    if again := int(ids.duplicated().sum()):
        raise UserError(f"{path.name}: {count(again, 'row')} of an item that has one already")
    wanted = [str(item) for item in item_ids.tolist()]
    missing = [item for item in wanted if item not in frame.index]
    if missing:
        raise UserError(
            f"{path.name}: {count(len(missing), 'item')} of the data without a row (first: {missing[0]}); features are "
            "needed of all"
        )
    unknown = len(frame) - len(wanted)
    notes = [f"{path.name}: {count(unknown, 'row')} of items that the data does not have skipped"] if unknown else []
    return frame.loc[wanted].to_numpy(np.float64), notes
