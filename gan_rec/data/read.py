"""Files to tables of interactions: users, items, ratings and times, with a report of every line left out."""

import gzip
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.data.columns import Columns, assign
from gan_rec.data.text import RawTable, parse_text
from gan_rec.errors import UserError

_BY_PLACE = ("user", "item", "rating", "time")


@dataclass
class Table:
    """The usable rows of one file."""

    file: str
    frame: pd.DataFrame  # user, item, and rating, time, part where there are such columns
    lines: np.ndarray  # [rows] where each stands in the file, from 1
    notes: list[str] = field(default_factory=list)
    sha256: str = ""

    def select(self, rows: np.ndarray) -> "Table":
        """Some of the rows."""
        return Table(self.file, self.frame[rows].reset_index(drop=True), self.lines[rows], self.notes, self.sha256)


def read_table(path: Path, columns: Columns | None = None) -> Table:
    """Read a CSV, TSV, space- or `::`-separated, `.inter` or Parquet file, gzipped or not.

    Args:
        path: the file.
        columns: names of columns, for files with a header of their own.

    Raises:
        UserError: the file is missing, empty, not readable, lacks a column, or has no usable row.
    """
    columns = columns or Columns()
    content = _content(path)
    if content[:4] == b"PAR1":
        table = _from_frame(_parquet(path), columns, path.name)
    else:
        has_header = True if columns.given() else None
        table = _from_text(parse_text(_decode(content, path), path.name, has_header=has_header), columns, path.name)
    table.sha256 = hashlib.sha256(content).hexdigest()
    return table


def table_of_frame(frame: pd.DataFrame, columns: Columns | None = None) -> Table:
    """A table from a data frame, its columns named as in a file with a header."""
    table = _from_frame(frame.reset_index(drop=True), columns or Columns(), "data frame")
    table.sha256 = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    return table


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _decode(content: bytes, path: Path) -> str:
    if b"\0" in content[:100_000]:
        raise UserError(f"{path} is neither text nor Parquet; allowed: CSV, TSV, space-separated, .inter, Parquet")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds
        raise UserError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from error


def _from_text(raw: RawTable, columns: Columns, file: str) -> Table:
    notes = []
    if len(raw.empty_lines):
        notes.append(f"{file}: {_count(len(raw.empty_lines), 'empty line')} (first: line {raw.empty_lines[0]}) skipped")
    if raw.is_list:
        notes.append(f"{file}: read as lists, a user and any number of items on a line")
        return _from_lists(raw, file, notes)
    if raw.header is None:
        roles = {role: place for place, role in enumerate(_BY_PLACE[: raw.cells.shape[1]])}
    else:
        roles, more = assign(raw.header, columns, file)
        notes += more
    frame = pd.DataFrame({role: _cell(raw.cells, place) for role, place in roles.items()})
    return _clean(frame, raw.lines, raw.overlong, file, notes)


def _cell(cells: pd.DataFrame, place: int) -> pd.Series:
    column = cells[place] if place in cells else pd.Series(pd.NA, index=cells.index, dtype="str")
    return column.str.strip().replace("", pd.NA)


def _from_lists(raw: RawTable, file: str, notes: list[str]) -> Table:
    users = raw.cells[0].to_numpy()
    cells = raw.cells.drop(columns=0)
    stacked = cells.where(cells != "").stack().dropna()  # cells are empty or missing where shorter lists end
    rows = stacked.index.get_level_values(0).to_numpy()
    items = stacked.to_numpy()
    # A list's order is its order in time, where the source has one at all.
    place = stacked.index.get_level_values(1).to_numpy().astype(np.int64)
    frame = pd.DataFrame({"user": users[rows], "item": items, "time": place})
    return _clean(frame, raw.lines[rows], np.zeros(len(frame), bool), file, notes)


def _from_frame(frame: pd.DataFrame, columns: Columns, file: str) -> Table:
    roles, notes = assign([str(name) for name in frame.columns], columns, file)
    chosen = pd.DataFrame({role: frame.iloc[:, place] for role, place in roles.items()})
    return _clean(chosen, np.arange(1, len(frame) + 1), np.zeros(len(frame), bool), file, notes)


def _clean(frame: pd.DataFrame, lines: np.ndarray, overlong: np.ndarray, file: str, notes: list[str]) -> Table:
    """Leave out rows without user or item, or with ratings or times that are no numbers, and count them."""
    problems = [("too many fields", overlong)]
    for role in ("user", "item"):
        problems.append((f"no {role}", frame[role].isna().to_numpy()))
    for role, convert in (("rating", _numbers), ("time", _times)):
        if role in frame:
            frame[role], bad = convert(frame[role])
            problems.append((f"a {role} that is no number", bad))
    bad = np.zeros(len(frame), bool)
    for what, rows in problems:
        new = rows & ~bad
        if new.any():
            where = f"(first: line {lines[np.argmax(new)]})"
            notes.append(f"{file}: {_count(int(new.sum()), 'row')} with {what} {where} skipped")
        bad |= rows
    if bad.all():
        first = f"; line {lines[0]} has {problems_at(problems, 0)}" if len(lines) else ""
        raise UserError(f"{file} has no usable row: 'user item [rating [timestamp]]' is expected{first}")
    return Table(file, frame[~bad].reset_index(drop=True), lines[~bad], notes)


def problems_at(problems: list[tuple[str, np.ndarray]], row: int) -> str:
    """The first problem of a row."""
    return next(what for what, rows in problems if rows[row])


def _numbers(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    return numbers, ~np.isfinite(numbers.to_numpy())


def _times(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Seconds; dates such as 2024-05-31 12:00 become seconds since 1970."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        numbers, bad = _numbers(column)
        if not bad.all() or not len(bad):
            return numbers, bad
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    seconds = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return seconds, dates.isna().to_numpy()


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
