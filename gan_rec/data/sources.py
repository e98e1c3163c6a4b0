"""Data sets by name or path."""

import difflib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from gan_rec.data.assemble import assemble
from gan_rec.data.columns import Columns
from gan_rec.data.fetch import Origin, fetch, verify
from gan_rec.data.interactions import Dataset
from gan_rec.data.named import NAMED, NamedDataset
from gan_rec.data.read import read_interactions, table_of_frame
from gan_rec.data.synthetic import synthetic
from gan_rec.errors import UserError
from gan_rec.files import cache_folder


def load(
    dataset: str | Path | pd.DataFrame,
    *,
    positive_from: float | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
    time_column: str | None = None,
    min_user: int = 1,
    min_item: int = 1,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Dataset:
    """Read a data set.

    Args:
        dataset: a name (see `named_datasets`), a file (CSV, TSV, space- or `::`-separated, `.inter`, Parquet, also
            gzipped; `user item [rating [timestamp]]` with or without a header, or lists `user item item ...`), a
            directory with `train.*`, `test.*` and perhaps `valid.*` of these forms, or a data frame.
        positive_from: ratings from this value on are positive; None makes every row positive.
        user_column, item_column, rating_column, time_column: names of columns, where the header's are not understood.
        min_user, min_item: users and items with fewer interactions are left out.
        say: called with a line before anything is fetched.

    Raises:
        UserError: no such name or file, or its contents or the options do not make at least 2 users and 2 items.
    """
    if positive_from is not None and not math.isfinite(positive_from):
        raise UserError(f"positive_from must be a number, got {positive_from}")
    for name, value in {"min_user": min_user, "min_item": min_item}.items():
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    columns = Columns(user_column, item_column, rating_column, time_column)
    options = {"positive_from": positive_from, "min_user": min_user, "min_item": min_item}
    if isinstance(dataset, pd.DataFrame):
        return assemble({"all": table_of_frame(dataset, columns)}, "dataframe", **options)
    if str(dataset) in NAMED:
        return _load_named(NAMED[str(dataset)], columns, options, say)
    path = Path(dataset).expanduser()
    if not os.path.exists(path):  # unlike Path.exists, answers also for names that no file can have
        raise UserError(_unknown(str(dataset)))
    return assemble(read_interactions(path, columns), path.absolute().name or str(path.absolute()), **options)


def named_datasets() -> list[NamedDataset]:
    """The data sets that have a name."""
    return list(NAMED.values())


def locate(name: str) -> Path | None:
    """Where a named data set lies on this disk, in `$GAN_REC_DATA` or in the cache; None if it does not.

    Raises:
        UserError: there is no data set of this name.
    """
    if name not in NAMED:
        raise UserError(_unknown(name))
    named = NAMED[name]
    for root in filter(None, (os.environ.get("GAN_REC_DATA"), cache_folder())):
        for place in named.places:
            if (path := Path(root) / place).exists():
                return path
    return None


def _load_named(named: NamedDataset, columns: Columns, options: dict, say) -> Dataset:
    if named.name == "synthetic":
        world = table_of_frame(synthetic().parts["all"].to_frame(), columns)
        return replace(assemble({"all": world}, named.name, **options), terms=named.terms)
    path = locate(named.name)
    if path is None:
        path = _get(named, say)
    elif path.name in named.pins:
        _verify(path, named.pins[path.name])
    notes = tuple(note for file, note in named.notes.items() if file == path.name)
    if options["positive_from"] is None and named.positive_from is not None:
        options = options | {"positive_from": named.positive_from}
        notes += (f"ratings from {named.positive_from:g} on are positive, as in the source's protocol",)
    dataset = assemble(read_interactions(path, columns), named.name, **options)
    return replace(dataset, notes=notes + dataset.notes, terms=named.terms, default_split=named.default_split)


def _get(named: NamedDataset, say) -> Path:
    if not named.origins:
        now = os.environ.get("GAN_REC_DATA") or "not set"
        raise UserError(
            f"{named.name} is not on this disk; set GAN_REC_DATA to the folder that contains {named.places[0]} "
            f"(it is {now})"
        )
    origins = [Origin(**origin) for origin in named.origins]
    return fetch(origins, cache_folder() / named.name, say)


def _verify(path: Path, sha256: str) -> None:
    try:
        verify(path.read_bytes(), sha256, str(path), "; delete or replace it")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _unknown(given: str) -> str:
    close = difflib.get_close_matches(given, NAMED, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown data set {given!r}{hint}: no file or directory of that name; named ones: {', '.join(NAMED)}"
