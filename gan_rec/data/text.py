"""Text files of interactions: which separator, is there a header, one pair a line or a list a line."""

import csv
import io
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gan_rec.errors import UserError

_SEPARATORS = ("\t", "::", ";", ",", " ")
_MOST_COLUMNS_WITHOUT_HEADER = 4  # user item rating timestamp


@dataclass(frozen=True)
class RawTable:
    """Cells as text, before anybody says which column is what."""

    cells: pd.DataFrame  # columns 0, 1, ...; text, or missing where a line ends early
    lines: np.ndarray  # [rows] number of each row's line in the file, from 1
    header: list[str] | None
    empty_lines: np.ndarray  # numbers of the lines without anything
    overlong: np.ndarray  # [rows] whether the line has more fields than there are columns
    is_list: bool = False  # each line is a user followed by items


def parse_text(text: str, name: str, *, has_header: bool | None = None) -> RawTable:
    """Find out the form of `text` and cut it into cells.

    Args:
        text: the whole file.
        name: of the file, for messages.
        has_header: whether the first line is a header; None finds out.

    Raises:
        UserError: there is nothing in the file, or the lines hold one field only.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    full = np.array([bool(line.strip()) for line in lines], bool)
    if not full.any():
        raise UserError(f"{name} is empty: a line 'user item [rating [timestamp]]' for each interaction is expected")
    separator = _separator([line for line in lines[:200] if line.strip()])
    if separator is None:
        first = int(np.argmax(full))
        raise UserError(
            f"{name}: line {first + 1} ({lines[first][:40]!r}) has one field only; 'user item [rating [timestamp]]' is "
            "expected, separated by commas, tabs, semicolons, '::' or spaces"
        )
    numbers = np.flatnonzero(full)
    kept = [lines[i] for i in numbers] if not full.all() else lines
    widths = _widths(kept, separator)
    if has_header is None:
        has_header = _looks_like_header(kept[:50], separator)
    header = _fields(kept[0], separator) if has_header else None
    body = kept[1:] if has_header else kept
    rows, widths = (numbers[1:], widths[1:]) if has_header else (numbers, widths)
    is_list = not has_header and _is_list(widths)
    columns = len(header) if has_header else int(widths.max()) if is_list else _usual_width(widths)
    cells = _cut(body, separator, max(columns, int(widths.max(initial=0))))
    return RawTable(
        cells=cells,
        lines=rows + 1,
        header=header,
        empty_lines=np.flatnonzero(~full) + 1,
        overlong=widths > columns,
        is_list=is_list,
    )


def _separator(sample: list[str]) -> str | None:
    """The first of the separators that most lines have; a header alone decides where nothing else does."""
    for separator in _SEPARATORS:
        present = sum(separator in line.strip() for line in sample)
        if present > len(sample) / 2:
            return separator
    return None


def _fields(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if separator == ",":
        return [field.strip() for field in next(csv.reader([line], skipinitialspace=True))]
    return [field.strip() for field in line.split(separator)]


def _widths(lines: list[str], separator: str) -> np.ndarray:
    """Fields in each line; a separator at its end does not begin one."""
    if separator == " ":
        return np.array([len(line.split()) for line in lines])
    if separator == "," and any('"' in line for line in lines):
        return np.array([len(_fields(line, separator)) for line in lines])
    return np.array([line.rstrip().removesuffix(separator).count(separator) + 1 for line in lines])


def _cut(lines: list[str], separator: str, columns: int) -> pd.DataFrame:
    if not lines:
        return pd.DataFrame({i: pd.Series(dtype=str) for i in range(columns)})
    text = "\n".join(lines)
    if separator == "::":
        text, separator = text.replace("\t", " ").replace("::", "\t"), "\t"
    quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    # One column more than there are takes the nothing behind a trailing separator.
    cells = pd.read_csv(
        io.StringIO(text),
        sep=r"\s+" if separator == " " else separator,
        header=None,
        names=range(columns + 1),
        index_col=False,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        quoting=quoting,
    )
    return cells.iloc[:, :columns]


def _usual_width(widths: np.ndarray) -> int:
    """The width that most lines have, among those a table can have."""
    counts = Counter(w for w in widths.tolist() if 2 <= w <= _MOST_COLUMNS_WITHOUT_HEADER)
    return counts.most_common(1)[0][0] if counts else 2


def _is_list(widths: np.ndarray) -> bool:
    """Lines of many widths are lists; a few odd ones among equal lines are mistakes."""
    usual = _usual_width(widths)
    return np.mean(widths == usual) < 0.9


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _looks_like_header(lines: list[str], separator: str) -> bool:
    """Known column names; or words above columns that otherwise hold numbers."""
    from gan_rec.data.columns import role_of

    first = _fields(lines[0], separator)
    if {"user", "item"} <= {role_of(name) for name in first}:
        return True
    if len(lines) < 2 or any(_is_number(field) for field in first):
        return False
    below = [_fields(line, separator) for line in lines[1:]]
    below = [fields for fields in below if len(fields) == len(first)]
    return any(below) and any(all(_is_number(fields[i]) for fields in below) for i in range(len(first)))
