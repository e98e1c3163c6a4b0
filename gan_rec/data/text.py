"""Text files cut into cells, with the number of every line: no Python per line, unless there are quotes."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd

from gan_rec.data import sniff
from gan_rec.errors import UserError

_SAMPLE = 1000  # lines that are looked at to find out the form
_NEWLINE, _BLANK = ord("\n"), ord(" ")


@dataclass(frozen=True)
class RawTable:
    """A text file before anybody says which column is what."""

    read: Callable[..., pd.DataFrame]  # places of columns, which of them may be numbers -> cells, "" where none is
    lines: np.ndarray  # [rows] number of each row's line in the file, from 1
    widths: np.ndarray  # [rows] fields in each
    n_columns: int
    header: list[str] | None = None
    list_places: np.ndarray | None = None  # [rows] place of the item in its list, from 1; None: not of lists
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Rows:
    """The lines of a file that hold something."""

    lines: np.ndarray  # [rows] number of each in the file, from 1
    widths: np.ndarray  # [rows]
    empty_lines: np.ndarray  # numbers of the others
    sample: list[list[str]]  # fields of the first rows
    read: Callable[..., pd.DataFrame]  # rows to skip, places of columns, which of them may be numbers -> cells
    fields: Callable[[], list[list[str]]]  # of all rows, for lists


def parse_text(content: bytes, name: str, *, has_header: bool | None = None, is_list: bool | None = None) -> RawTable:
    """Find out the form of a text file and cut it into cells.

    Args:
        content: the whole file.
        name: of the file, for messages.
        has_header: whether the first line is a header; None finds out.
        is_list: whether every line is a user followed by items; None finds out.

    Raises:
        UserError: there is nothing in the file, its lines have one field only, or its quotes do not match.
    """
    text, notes = _decode(content, name)
    rows, separator = _rows(text, name)
    if len(rows.empty_lines):
        n = count(len(rows.empty_lines), "empty line")
        notes.append(f"{name}: {n} (first: line {rows.empty_lines[0]}) skipped")
    if has_header is None:
        has_header = not is_list and sniff.has_header(rows.sample[:50])
    if is_list is None:
        is_list = not has_header and sniff.is_list(rows.widths, rows.sample, separator)
    if is_list:
        return _lists(rows, name, notes)
    header = rows.sample[0] if has_header else None
    body = slice(int(has_header), None)
    return RawTable(
        read=partial(rows.read, int(has_header)), lines=rows.lines[body], widths=rows.widths[body], header=header,
        n_columns=len(header) if has_header else sniff.usual_width(rows.widths), notes=notes,
    )  # fmt: skip


def count(n: int, what: str) -> str:
    """`n` and the word for it: "1 row", "2,000 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _decode(content: bytes, name: str) -> tuple[bytes, list[str]]:
    """The text as UTF-8 with line feeds only."""
    if b"\0" in content:
        raise UserError(f"{name} is neither text nor Parquet; allowed: CSV, TSV, space-separated, .inter, Parquet")
    content, notes = content.removeprefix(b"\xef\xbb\xbf"), []
    try:
        content.decode()
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode()
        notes.append(f"{name}: not UTF-8, read as Latin-1")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content if content.endswith(b"\n") else content + b"\n", notes


def _rows(text: bytes, name: str) -> tuple[_Rows, str]:
    buffer, starts, ends = _lines(text)
    full = buffer[starts] > _BLANK
    for i in np.flatnonzero(~full):  # lines that are empty, or indented
        full[i] = bool(text[starts[i] : ends[i]].strip())
    if not full.any():
        raise _empty(name)
    first = int(np.argmax(full))
    sample = _texts(text, starts, ends, np.flatnonzero(full)[:_SAMPLE])
    separator = sniff.separator_of(sample)
    if separator is None:
        raise UserError(
            f"{name}: line {first + 1} ({sample[0][:40]!r}) has one field only; 'user item [rating [timestamp]]' is "
            "expected, separated by commas, tabs, semicolons, '::' or spaces"
        )
    if separator in ",;" and b'"' in text:
        return _quoted_rows(text, separator, name), separator
    if not full.all():
        lines = text.split(b"\n")
        kept = b"\n".join(lines[i] for i in np.flatnonzero(full)) + b"\n"
        plain = _plain_rows(kept, separator)
    else:
        plain = _plain_rows(text, separator)
    numbers = np.arange(1, len(full) + 1)
    fields = [sniff.split_line(line, separator) for line in sample]
    return _Rows(numbers[full], plain[0], numbers[~full], fields, *plain[1:]), separator


def _empty(name: str) -> UserError:
    return UserError(f"{name} is empty: a line 'user item [rating [timestamp]]' for each interaction is expected")


def _lines(text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes, and where each line starts and ends."""
    buffer = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(buffer == _NEWLINE)
    return buffer, np.concatenate([[0], ends[:-1] + 1]), ends


def _texts(text: bytes, starts: np.ndarray, ends: np.ndarray, which: np.ndarray) -> list[str]:
    return [text[starts[i] : ends[i]].decode() for i in which]


def _plain_rows(text: bytes, separator: str) -> tuple[np.ndarray, Callable, Callable]:
    """Widths, and how to read cells and fields, of text without quotes and empty lines."""

    def fields() -> list[list[str]]:
        return [sniff.split_line(line, separator) for line in text.decode().split("\n")[:-1]]

    body, one_byte = text, separator
    if separator == "::":  # the fast reader knows separators of one byte only
        body, one_byte = text.replace(b"\t", b" ").replace(b"::", b"\t"), "\t"
    return _widths(body, one_byte), partial(_read_plain, body, one_byte), fields


def _widths(text: bytes, separator: str) -> np.ndarray:
    """Fields in each line; a separator behind the last one does not begin another."""
    buffer, starts, ends = _lines(text)
    if separator == " ":
        blank = buffer <= _BLANK
        begins = ~blank
        begins[1:] &= blank[:-1]
        return _per_line(begins, ends)
    widths = _per_line(buffer == ord(separator), ends) + 1
    loose = np.arange(len(ends))  # lines whose end is still a separator or a blank
    while len(loose):
        last = buffer[ends[loose] - 1]
        more = (ends[loose] > starts[loose]) & ((last <= _BLANK) | (last == ord(separator)))
        loose, last = loose[more], last[more]
        ends[loose] -= 1
        widths[loose] -= last == ord(separator)
    return widths


def _per_line(mask: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many bytes of a mask lie in each line."""
    return np.diff(np.searchsorted(np.flatnonzero(mask), ends), prepend=0)


def _read(
    text: bytes, separator: str, quoting: int, skip: int, places: Sequence[int], numbers: Sequence[int] = ()
) -> pd.DataFrame:
    """Cells as text; a column of `numbers` as numbers if all of it are."""
    # A header of our own tells the reader how many columns there are, whatever the width of the first line;
    # with usecols it lets longer lines pass.
    header = separator.join(str(place) for place in range(max(places) + 1)).encode()
    start = text.index(b"\n") + 1 if skip else 0
    cells = pd.read_csv(
        io.BytesIO(b"%s\n%s" % (header, memoryview(text)[start:])),
        sep=r"\s+" if separator == " " else separator,
        usecols=[str(place) for place in places],
        index_col=False,
        dtype={str(place): str for place in places if place not in numbers},
        low_memory=False,
        na_filter=False,
        skip_blank_lines=False,
        skipinitialspace=quoting == csv.QUOTE_MINIMAL,
        quoting=quoting,
    )
    cells.columns = [int(place) for place in cells.columns]
    return cells[list(places)]


def _read_plain(text: bytes, separator: str, skip: int, places: Sequence[int], numbers: Sequence[int] = ()):
    cells = _read(text, separator, csv.QUOTE_NONE, skip, places, numbers)
    if separator != " " and b" " in text:
        for place in set(places) - set(numbers):
            cells[place] = cells[place].str.strip()
    return cells


def _quoted_rows(text: bytes, separator: str, name: str) -> _Rows:
    """Rows of a file with quotes, where a field may hold separators and even line feeds."""

    def rows() -> Iterator[tuple[int, list[str]]]:
        """The number of each row's first line, and its fields."""
        lines = io.StringIO(text.decode(), newline="")
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        line = 1
        try:
            for fields in reader:
                while fields and not fields[-1].strip():
                    fields.pop()
                yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{name}: the quotes in the row at line {line} do not match ({error})") from None

    def read(skip: int, places: Sequence[int], numbers: Sequence[int] = ()) -> pd.DataFrame:
        # All rows are read: a quoted header may take more than one line.
        cells = _read(text, separator, csv.QUOTE_MINIMAL, 0, places, () if skip else numbers)
        return cells[full][skip:].reset_index(drop=True)

    shape = np.array([(line, len(fields)) for line, fields in rows()])
    lines, widths = shape.T
    full = widths > 0
    if not full.any():  # nothing but quotes around nothing
        raise _empty(name)
    filled = (fields for _, fields in rows() if fields)
    sample = [[cell.strip() for cell in fields] for fields in islice(filled, 2 * _SAMPLE)]
    return _Rows(
        lines[full], widths[full], lines[~full], sample, read, lambda: [fields for _, fields in rows() if fields]
    )


def _lists(rows: _Rows, name: str, notes: list[str]) -> RawTable:
    fields = [row[:1] + [cell for cell in row[1:] if cell] for row in rows.fields()]
    lengths = np.array([len(row) - 1 for row in fields])
    users = np.repeat(np.array([row[0] for row in fields], object), lengths)
    items = np.array([item for row in fields for item in row[1:]], object)
    places = np.arange(len(items)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    notes.append(f"{name}: read as lists, a user and any number of items in a line, taken to be in order of time")
    if (lengths == 0).any():
        first = rows.lines[np.argmax(lengths == 0)]
        notes.append(f"{name}: {count(int((lengths == 0).sum()), 'user')} without items (first: line {first})")
    cells = pd.DataFrame({0: pd.Series(users, dtype="str"), 1: pd.Series(items, dtype="str")})
    return RawTable(
        read=lambda wanted: cells[list(wanted)], lines=np.repeat(rows.lines, lengths),
        widths=np.full(len(items), 2), n_columns=2, list_places=places, notes=notes,
    )  # fmt: skip
