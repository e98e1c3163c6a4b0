"""Files and directories to tables of interactions."""

import gzip
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gan_rec.data.columns import Columns, assign
from gan_rec.data.table import Table, clean
from gan_rec.data.text import RawTable, parse_text
from gan_rec.errors import UserError

_BY_PLACE = ("user", "item", "rating", "time")
_PARTS = {
    "train": "train", "trainset": "train", "valid": "valid", "validation": "valid", "test": "test", "testset": "test",
}  # fmt: skip
_PART_CODES = {0: "train", 1: "valid", 2: "test"}


def read_interactions(path: Path, columns: Columns | None = None) -> dict[str, Table]:
    """Read a file, or a directory that holds `train.*`, `test.*` and perhaps `valid.*` of a fixed split.

    Args:
        path: of the file or directory.
        columns: names of columns, for files with a header of their own.

    Returns:
        The tables of the parts: "all", or "train", "test" and perhaps "valid".

    Raises:
        UserError: something is missing, empty or not readable, lacks a column, or has no usable row.
    """
    if not path.is_dir():
        table = read_table(path, columns)
        return _by_part(table) if "part" in table.frame else {"all": table}
    files = _part_files(path)
    train = read_table(files.pop("train"), columns)
    # A part with two items for every user looks like a table: train, which is larger, decides for all.
    form = train.is_list if train.is_text else None
    return {"train": train} | {part: read_table(file, columns, is_list=form) for part, file in files.items()}


def read_table(path: Path, columns: Columns | None = None, *, is_list: bool | None = None) -> Table:
    """Read a CSV, TSV, space- or `::`-separated, `.inter` or Parquet file, gzipped or not.

    Args:
        path: the file.
        columns: names of columns, for files with a header of their own.
        is_list: whether a text file holds lists `user item item ...`; None finds out.

    Raises:
        UserError: the file is missing, empty, not readable, lacks a column, or has no usable row.
    """
    columns = columns or Columns()
    content = _content(path)
    unpacked = _unpack(content, path)
    if unpacked[:4] == b"PAR1":
        table = _from_frame(_parquet(unpacked, path), columns, path.name)
    else:
        has_header = True if columns.given() else None
        is_list = False if columns.given() else is_list
        table = _from_text(parse_text(unpacked, path.name, has_header=has_header, is_list=is_list), columns, path.name)
    return replace(table, sha256=hashlib.sha256(content).hexdigest())


def table_of_frame(frame: pd.DataFrame, columns: Columns | None = None) -> Table:
    """A table from a data frame, its columns named as in a file with a header."""
    table = _from_frame(frame.reset_index(drop=True), columns or Columns(), "dataframe")
    hashes = pd.util.hash_pandas_object(table.frame, index=False).to_numpy()
    return replace(table, sha256=hashlib.sha256(hashes.tobytes()).hexdigest())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL, or what UTF-8 cannot say
        raise UserError(f"there is no file {str(path)!r}") from error


def _unpack(content: bytes, path: Path) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot unpack {path}: {error}") from error


def _parquet(content: bytes, path: Path) -> pd.DataFrame:
    try:
        # Not io.BytesIO: Arrow's threads let go of a Python file late, and abort when the interpreter ends before.
        return pd.read_parquet(pa.BufferReader(content))
    except Exception as error:  # pyarrow raises many kinds
        raise UserError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from error


def _from_text(raw: RawTable, columns: Columns, file: str) -> Table:
    if raw.list_places is not None:
        frame = raw.read([0, 1]).set_axis(["user", "item"], axis=1)
        frame["time"] = raw.list_places
        return clean(Table(file, frame, raw.lines, notes=raw.notes, is_text=True, is_list=True), [])
    if raw.header is None:
        roles, guesses = {role: place for place, role in enumerate(_BY_PLACE[: raw.n_columns])}, []
    else:
        roles, guesses = assign(raw.header, columns, file)
    frame = raw.read(sorted(roles.values()), [place for role, place in roles.items() if role in ("rating", "time")])
    frame = pd.DataFrame({role: frame[place] for role, place in roles.items()})
    problems = [
        ("too few fields", raw.widths <= max(roles.values())),
        ("too many fields", raw.widths > raw.n_columns),
    ]
    return clean(Table(file, frame, raw.lines, notes=raw.notes + guesses, is_text=True), problems)


def _from_frame(frame: pd.DataFrame, columns: Columns, file: str) -> Table:
    roles, guesses = assign([str(name) for name in frame.columns], columns, file)
    chosen = pd.DataFrame({role: frame.iloc[:, place] for role, place in roles.items()})
    for role in ("user", "item"):
        if chosen[role].dtype == object and not chosen[role].map(pd.api.types.is_hashable).all():
            raise UserError(f"{file}: column {frame.columns[roles[role]]!r} holds lists, which cannot be {role} ids")
    return clean(Table(file, chosen, np.arange(1, len(frame) + 1), unit="row", notes=guesses), [])


def part_of(file: Path) -> str | None:
    """Which part of a fixed split a file of this name holds: "train", "valid", "test" or None."""
    return _PARTS.get(file.name.split(".")[0].lower())


def _part_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        part = part_of(file)
        if part in found:
            raise UserError(f"{folder} has two {part} files: {found[part].name} and {file.name}")
        if part:
            found[part] = file
    for part in ("train", "test"):
        if part not in found:
            raise UserError(
                f"{folder} has no {part} file; a fixed split is train.*, test.* and perhaps "
                "valid.*, and files in folders within it are not read"
            )
    return {part: found[part] for part in ("train", "valid", "test") if part in found}


def _by_part(table: Table) -> dict[str, Table]:
    """The parts of a split that stand in one file, told apart by a column of 0 (train), 1 (valid) and 2 (test)."""
    codes = pd.to_numeric(table.frame["part"], errors="coerce")
    unknown = ~codes.isin(list(_PART_CODES)).to_numpy()
    if unknown.any():
        given = table.frame["part"][int(np.argmax(unknown))]
        raise UserError(
            f"{table.file}: {table.first(unknown)} has {given!r} in the split column; allowed: 0 (train), 1 (valid), "
            "2 (test)"
        )
    parts = {part: table.select((codes == code).to_numpy()) for code, part in _PART_CODES.items()}
    missing = [part for part in ("train", "test") if not len(parts[part].lines)]
    if missing:
        raise UserError(f"{table.file}: the split column marks no {missing[0]} row; 0 is train, 1 valid, 2 test")
    parts["train"] = replace(parts["train"], notes=table.notes)
    return {part: rows for part, rows in parts.items() if len(rows.lines)}
