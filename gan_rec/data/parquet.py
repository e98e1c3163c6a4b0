"""A folder of Parquet files, which is read a row group at a time and never held as a whole."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gan_rec.data.columns import Columns, assign
from gan_rec.errors import UserError

_PART = re.compile(r"(train|valid|validation|dev|test)[-_.]", re.IGNORECASE)


@dataclass(frozen=True)
class RowGroup:
    """Rows of a file that lie together."""

    file: Path
    number: int
    rows: int


@dataclass(frozen=True)
class ParquetFolder:
    """All row groups of all files, and which columns of theirs matter.

    Args:
        groups: in the order of the files' names.
        names: of the columns of users and items, and of ratings if there is a bound.
        positive_from: ratings from this value on are positive; None: every row is.
        bounds: of users and of items the least and the largest id, if they are whole numbers and all files say so.
        sha256: digest of the files' names, sizes and footers.
        notes: what was guessed, a line each.
    """

    groups: tuple[RowGroup, ...]
    names: tuple[str, ...]
    positive_from: float | None
    bounds: tuple[tuple[int, int] | None, tuple[int, int] | None]
    sha256: str
    notes: tuple[str, ...]

    def read(self, group: RowGroup) -> tuple[pa.Array, pa.Array]:
        """Users and items of the positive rows that have both, each as int64 or as text.

        Raises:
            UserError: the file is damaged, or an id is a whole number that int64 does not have.
        """
        try:
            with pq.ParquetFile(group.file) as file:
                table = file.read_row_group(group.number, columns=list(self.names), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(group.file, error) from error
        columns = [_plain(table[name], name, group.file) for name in self.names]
        usable = [pc.is_valid(column) for column in columns if column.null_count]
        # An empty text is no id, as in a file that is read as a whole.
        usable += [pc.not_equal(column, "") for column in columns[:2] if not pa.types.is_integer(column.type)]
        if self.positive_from is not None:
            usable.append(pc.greater_equal(columns[2], self.positive_from))
        if usable:
            keep = reduce(pc.and_kleene, usable)
            columns = [column.filter(keep) for column in columns]
        return tuple(columns[:2])

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(group.rows for group in self.groups)

    @property
    def largest(self) -> int:
        """Rows of the largest group."""
        return max(group.rows for group in self.groups)


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder, by name; [] if it is none."""
    # Unlike Path.is_dir, answers also for names that no folder can have.
    return sorted(folder.glob("*.parquet")) if os.path.isdir(folder) else []


def open_folder(folder: Path, columns: Columns, positive_from: float | None = None) -> ParquetFolder:
    """Read the footers of all Parquet files of a folder.

    Raises:
        UserError: a file is damaged, lacks a column or holds it in another type, ids are neither whole numbers nor
            text, or there is no row.
    """
    files = parquet_files(folder)
    _check_parts(folder, files)
    read = [(file, _footer(file)) for file in files]
    # Of a file without a row the types of columns say nothing.
    files, footers = zip(*([each for each in read if each[1].num_rows] or read), strict=True)
    names, notes = _names(files[0], footers[0], columns, positive_from)
    for file, footer in zip(files, footers, strict=True):
        _check_types(file, footer, names, like=footers[0], first=files[0])
    groups = tuple(
        RowGroup(file, number, footer.row_group(number).num_rows)
        for file, footer in zip(files, footers, strict=True)
        for number in range(footer.num_row_groups)
        if footer.row_group(number).num_rows
    )
    if not groups:
        raise UserError(f"the Parquet files in {folder} have no row")
    bounds = tuple(_bounds(footers, name) for name in names[:2])
    others = sorted(each.name for each in folder.iterdir() if each.suffix != ".parquet" and each.name[0] not in "._")
    if others:
        notes.append(f"not read: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}")
    return ParquetFolder(groups, names, positive_from, bounds, _digest(files, footers), tuple(notes))


def _check_parts(folder: Path, files: list[Path]) -> None:
    """Raise UserError if files are named as several parts of a fixed split are: they would be stirred together."""
    named = {found[1].lower(): file.name for file in files if (found := _PART.match(file.name))}
    if len(named) > 1:
        raise UserError(
            f"{folder} has files of several parts ({', '.join(sorted(named.values()))}), and streamed interactions are "
            "split by the loader; give a folder of one part, or a fixed split as train.parquet and test.parquet"
        )


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UserError:
    return UserError(f"cannot read {file} as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}")


def _names(file: Path, footer: pq.FileMetaData, columns: Columns, positive_from: float | None):
    header = footer.schema.to_arrow_schema().names
    roles, notes = assign(header, columns, file.name)
    if positive_from is not None and "rating" not in roles:
        raise UserError(f"positive_from {positive_from:g} needs ratings, but {file.name} has no column of them")
    wanted = ("user", "item") if positive_from is None else ("user", "item", "rating")
    return tuple(header[roles[role]] for role in wanted), notes


def _check_types(file: Path, footer: pq.FileMetaData, names: tuple[str, ...], *, like, first: Path) -> None:
    schema, usual = footer.schema.to_arrow_schema(), like.schema.to_arrow_schema()
    for place, name in enumerate(names):
        if schema.names.count(name) > 1:
            raise UserError(f"{file} has {schema.names.count(name)} columns named {name!r}")
        if name not in schema.names:
            raise UserError(f"{file} has no column {name!r}, which {first.name} has; it has {', '.join(schema.names)}")
        kind, wanted = _kind(schema.field(name).type), "number" if place == 2 else "whole number or text"
        if kind is None or (place < 2 and kind == "number") or (place == 2 and kind == "text"):
            raise UserError(f"{file}: column {name!r} is {schema.field(name).type}, it must be {wanted}")
        if kind != _kind(usual.field(name).type):
            raise UserError(
                f"{file}: column {name!r} is {schema.field(name).type}, in {first.name} {usual.field(name).type}"
            )


def _kind(given: pa.DataType) -> str | None:
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_integer(given):
        return "whole number"
    if pa.types.is_floating(given):
        return "number"
    return "text" if pa.types.is_string(given) or pa.types.is_large_string(given) else None


def _plain(column: pa.ChunkedArray, name: str, file: Path) -> pa.Array:
    """In one piece, without a dictionary, whole numbers as int64."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{file}: column {name!r} has whole numbers from 2**63 on; allowed: smaller ones, or text"
            ) from error
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _bounds(footers: list[pq.FileMetaData], name: str) -> tuple[int, int] | None:
    found = []
    for footer in footers:
        # The schema's names are those of leaves, of which one within a struct may have the same.
        place = next(n for n in range(footer.num_columns) if footer.schema.column(n).path == name)
        for number in range(footer.num_row_groups):
            statistics = footer.row_group(number).column(place).statistics
            if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, int):
                return None
            found += [statistics.min, statistics.max]
    return min(found), max(found)


def _digest(files: list[Path], footers: list[pq.FileMetaData]) -> str:
    digest = hashlib.sha256()
    for file, footer in zip(files, footers, strict=True):
        digest.update(f"{file.name} {file.stat().st_size} {footer.to_dict()}\0".encode())
    return digest.hexdigest()
