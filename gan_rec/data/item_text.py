"""Texts of items: a file with a row for each item, whose columns but that of the ids become one text."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.data.columns import role_of
from gan_rec.data.text import count
from gan_rec.errors import UserError


def read_item_texts(
    path: Path, item_ids: np.ndarray, id_column: str | None = None
) -> tuple[tuple[str, ...], list[str]]:
    """A text for each item, in the order of `item_ids`, and notes on what does not fit.

    Args:
        path: CSV or TSV in UTF-8 with a header; RecBole's `.item` files are such.
        item_ids: I ids as in the interactions; they are compared as text.
        id_column: its column of ids; None: the first whose name says so, else the first.

    Returns:
        The fields of each item's row, but for its id and what is empty, joined by ". "; "" for items without a row.

    Raises:
        UserError: the file cannot be read, has no such column, or none of its ids is an item's.
    """
    frame = read_columns(path, "item texts")
    column = id_column_of(path, list(frame), id_column)
    ids = frame.pop(column)
    again = ids.duplicated()
    texts = dict(zip(ids[~again], _joined(frame[~again]), strict=True))
    wanted = [str(item) for item in item_ids.tolist()]
    unknown, missing = set(texts) - set(wanted), [item for item in wanted if not texts.get(item)]
    if len(unknown) == len(texts):
        raise UserError(
            f"{path.name}: none of the ids in column {column!r} (such as {next(iter(texts), '')!r}) is an item's; the "
            f"data has {len(wanted)} items, for example {', '.join(wanted[:3])}"
        )
    notes = []
    if again.any():
        notes.append(f"{path.name}: {count(int(again.sum()), 'row')} of an item that had one before skipped")
    if unknown:
        notes.append(f"{path.name}: {count(len(unknown), 'row')} of items that the data does not have skipped")
    if missing:
        notes.append(
            f"{path.name}: {count(len(missing), 'item')} without a text (first: {missing[0]}) get an empty one"
        )
    return tuple(texts.get(item, "") for item in wanted), notes


def read_columns(path: Path, what: str) -> pd.DataFrame:
    """A CSV or TSV file in UTF-8 with a header, all as text.

    Raises:
        UserError: the file cannot be read; the message says `what` was to be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            tabs = "\t" in file.readline()
        # Quotation marks are part of a title in files that are separated by tabs.
        how = {"sep": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"sep": ","}
        how |= {"index_col": False, "compression": None}
        with warnings.catch_warnings():
            # Of a row that is longer than the header pandas would drop the end.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", **how)
    except pd.errors.ParserWarning as error:
        raise UserError(
            f"{path} has rows with more fields than its header; a text that contains a comma needs quotation marks"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {what} from {path}: it is no text in UTF-8 (nor may it be packed)") from error
    except (OSError, ValueError) as error:  # pandas' errors are ValueErrors, and what is said of a name with a NUL
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"cannot read {what} from {path}: {why}; a CSV or TSV file with a header is needed") from error
    frame.columns = [name.split(":")[0].strip() for name in frame.columns]
    if (twice := frame.columns[frame.columns.duplicated()]).size:
        raise UserError(f"cannot read {what} from {path}: two of its columns have the name {twice[0]!r}")
    return frame


def id_column_of(path: Path, columns: Sequence[str], given: str | None) -> str:
    """The column of ids.

    Raises:
        UserError: there is no other column.
    """
    if len(columns) < 2:
        raise UserError(f"{path.name} has the column {', '.join(columns)} only; ids of items and a text are needed")
    if given is not None and given in columns:
        return given
    return next((name for name in columns if role_of(name) == "item" or name == "item_id"), columns[0])


def _joined(frame: pd.DataFrame) -> list[str]:
    rows = (map(str.strip, row) for row in frame.itertuples(index=False, name=None))
    return [". ".join(filter(None, row)) for row in rows]
