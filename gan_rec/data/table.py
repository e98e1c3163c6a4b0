"""The usable rows of one file: users, items, ratings and times, with a report of every row left out."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from gan_rec.data.text import count
from gan_rec.errors import UserError

Problem = tuple[str, np.ndarray]  # what is wrong, [rows] where


@dataclass(frozen=True)
class Table:
    """The usable rows of one file."""

    file: str
    frame: pd.DataFrame  # user, item, and rating, time, part where there are such columns
    lines: np.ndarray  # [rows] where each stands in the file, from 1
    unit: str = "line"  # what `lines` counts: lines of a text, rows of a table
    notes: list[str] = field(default_factory=list)
    sha256: str = ""
    is_text: bool = False  # ids have no type of their own
    is_list: bool = False  # times are places in lists

    def select(self, rows: np.ndarray) -> "Table":
        """Some of the rows, without the notes."""
        return replace(self, frame=self.frame[rows].reset_index(drop=True), lines=self.lines[rows], notes=[])

    def first(self, rows: np.ndarray) -> str:
        """Where the first row of a mask stands: "line 17"."""
        return f"{self.unit} {self.lines[np.argmax(rows)]}"


def clean(table: Table, problems: list[Problem]) -> Table:
    """Leave out, and count, rows with these problems, without user or item, or with a rating or time of no use.

    Raises:
        UserError: no row is left.
    """
    frame = {role: table.frame[role] for role in table.frame}
    problems = list(problems)
    for role in ("user", "item"):
        problems.append((f"no {role}", (frame[role].isna() | (frame[role] == "")).to_numpy(bool)))
    for role, convert in (("rating", _ratings), ("time", _times)):
        if role in frame:
            frame[role], bad = convert(frame[role])
            problems.append((f"a {role} that is no number{' or ISO date' if role == 'time' else ''}", bad))
    bad, notes = np.zeros(len(table.lines), bool), list(table.notes)
    for what, rows in problems:
        rows = rows & ~bad
        if rows.any():
            n = count(int(rows.sum()), "row")
            notes.append(f"{table.file}: {n} with {what} (first: {table.first(rows)}) skipped")
        bad |= rows
    if bad.all():
        why = _why(table, problems)
        raise UserError(
            f"{table.file} has no usable row: 'user item [rating [timestamp]]' is expected, or columns that are named "
            f"(--user-column, --item-column){why}"
        )
    frame = {role: column[~bad].reset_index(drop=True) for role, column in frame.items()}
    frame = {role: _ids(column) if role in ("user", "item") else column for role, column in frame.items()}
    return replace(table, frame=pd.DataFrame(frame), lines=table.lines[~bad], notes=notes)


def _why(table: Table, problems: list[Problem]) -> str:
    if not len(table.lines):
        return ""
    what = next(what for what, rows in problems if rows[0])
    return f"; {table.unit} {table.lines[0]} has {what}"


def _ids(column: pd.Series) -> pd.Series:
    """Ids as they are; whole numbers as int64, also where missing ones had made floats of them."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = getattr(column.dtype, "kind", "O")
    if kind == "u" and column.max() > np.iinfo(np.int64).max:
        return column.astype(object)
    if kind in "iu" or (kind == "f" and (column % 1 == 0).all() and column.abs().max() < 2**53):
        return column.astype(np.int64)
    return column


def _numbers(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """[rows] integers as they are, else float64; and which of them are not finite."""
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except TypeError:  # neither text nor numbers: lists, for example
        numbers = pd.Series(np.nan, index=column.index)
    # Nanoseconds would not survive as floats.
    numbers = numbers if numbers.dtype == np.int64 else numbers.astype(np.float64)
    return numbers, ~np.isfinite(numbers.to_numpy())


def _ratings(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Numbers, and which of them are none or too large for single precision."""
    numbers, bad = _numbers(column)
    return numbers, bad | (np.abs(numbers.to_numpy(np.float64)) > np.finfo(np.float32).max)


def _times(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Numbers as they are, or dates such as 2024-05-31 12:00 in seconds since 1970: what more of the rows are."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        numbers, no_number = _numbers(column)
        if not no_number.any():
            return numbers, no_number
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    no_date = dates.isna().to_numpy()
    if not pd.api.types.is_datetime64_any_dtype(column) and no_number.sum() <= no_date.sum():
        return numbers, no_number
    return (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), no_date
