"""Data sets by name or path."""

import difflib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.data.assemble import assemble
from gan_rec.data.columns import Columns
from gan_rec.data.domains import distinct as without_same_products
from gan_rec.data.domains import domain_folders, join, with_domains
from gan_rec.data.fetch import Origin, fetch, verify
from gan_rec.data.interactions import Dataset
from gan_rec.data.item_text import read_item_texts
from gan_rec.data.named import NAMED, NamedDataset
from gan_rec.data.parquet import parquet_files
from gan_rec.data.people import as_people
from gan_rec.data.plots import PLOTS, read_plots
from gan_rec.data.read import part_of, read_interactions, table_of_frame
from gan_rec.data.side import SideInformation, check_features, named_features, read_features, read_links
from gan_rec.data.streamed import StreamedDataset, open_streamed
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
    item_text: str | Path | bool | None = None,
    item_features: str | Path | Sequence[str | Path] | Mapping[str, str | Path | np.ndarray] | bool | None = None,
    links: str | Path | bool | None = None,
    people: bool = False,
    distinct: bool = False,
    buffer: int = 64,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Dataset | StreamedDataset:
    """Read a data set.

    Args:
        dataset: a name (see `named_datasets`), a file (CSV, TSV, space- or `::`-separated, `.inter`, Parquet, also
            gzipped; `user item [rating [timestamp]]` with or without a header, or lists `user item item ...`), a
            directory with `train.*`, `test.*` and perhaps `valid.*` of these forms, or of several such directories,
            each a domain (users of one id are one user, items belong to their domain), or a data frame; or a directory
            of other Parquet files, whose interactions are streamed: they may be more than memory holds.
        positive_from: ratings from this value on are positive; None makes every row positive.
        user_column, item_column, rating_column, time_column: names of columns, where the header's are not understood.
        min_user, min_item: users and items with fewer interactions are left out.
        item_text: a CSV or TSV file with a header, ids of items and whatever else is to be their text; or True: the
            texts that a named data set has; or "ml-1m-text": plots of films by their titles, see
            `gan_rec.data.plots`. Without it there are none.
        item_features: files of items' features (see `gan_rec.data.side.read_features`), each a modality that has the
            file's name; or modalities by name, files or arrays `[I, F]`; or True: those that a named data set has.
        links: a file of links between users (see `gan_rec.data.side.read_links`); or True, as above.
        people: items are users, as in data of who follows whom; see `gan_rec.data.people.as_people`.
        distinct: leave out items that seem to be in two domains, see `gan_rec.data.domains.same_products`.
        buffer: MiB of pairs that are held at a time of streamed interactions.
        say: called with a line before anything is fetched.

    Raises:
        UserError: no such name or file, or its contents or the options do not make at least 2 users and 2 items.
    """
    if positive_from is not None and not math.isfinite(positive_from):
        raise UserError(f"positive_from must be a number, got {positive_from}")
    for name, value in {"min_user": min_user, "min_item": min_item, "buffer": buffer}.items():
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    columns = Columns(user_column, item_column, rating_column, time_column)
    if not isinstance(dataset, pd.DataFrame) and is_streamed(dataset):
        given = {
            "item_text": item_text,
            "item_features": item_features,
            "links": links,
            "people": people,
            "distinct": distinct,
        }
        given = {name: value is not None and bool(len(value) if isinstance(value, Sized) else value)
                 for name, value in given.items()}  # fmt: skip
        _refuse({"min_user": min_user > 1, "min_item": min_item > 1} | given, dataset)
        folder = Path(dataset).expanduser().absolute()
        return open_streamed(folder, columns, positive_from=positive_from, buffer=buffer)
    options = {"positive_from": positive_from, "min_user": min_user, "min_item": min_item}
    loaded = _load(dataset, columns, options, say)
    named = None if isinstance(dataset, pd.DataFrame) else NAMED.get(str(dataset))
    if people and named is not None and not named.people:
        of_people = ", ".join(name for name, other in NAMED.items() if other.people)
        raise UserError(f"items of {named.name} are no people; named data sets whose items are users: {of_people}")
    if people or (named is not None and named.people):
        loaded = as_people(loaded)
    loaded = without_same_products(loaded) if distinct else loaded
    loaded = _with_texts(loaded, dataset, item_text, item_column, say) if item_text else loaded
    return _with_side(loaded, named, item_features, links, item_column)


def _refuse(given: dict[str, bool], dataset: str | Path) -> None:
    for name, is_given in given.items():
        if is_given:
            raise UserError(f"{name} is not possible with streamed interactions, which {dataset} holds")


def is_streamed(dataset: str | Path) -> bool:
    """Whether this is a directory of Parquet files that are no train and test parts."""
    folder = Path(dataset).expanduser()
    return (
        str(dataset) not in NAMED
        and any(part_of(file) is None for file in parquet_files(folder))
        and not any(map(part_of, folder.iterdir()))
    )


def _load(dataset: str | Path | pd.DataFrame, columns: Columns, options: dict, say) -> Dataset:
    if isinstance(dataset, pd.DataFrame):
        return assemble({"all": table_of_frame(dataset, columns)}, "dataframe", **options)
    if str(dataset) in NAMED:
        return _load_named(NAMED[str(dataset)], columns, options, say)
    path = Path(dataset).expanduser()
    if not os.path.exists(path):  # unlike Path.exists, answers also for names that no file can have
        raise UserError(_unknown(str(dataset)))
    return _assemble(path, columns, path.absolute().name or str(path.absolute()), options)


def _assemble(path: Path, columns: Columns, name: str, options: dict) -> Dataset:
    """A file, a folder with the parts of a split, or one with a folder for each domain."""
    if folders := domain_folders(path):
        tables = join({domain: read_interactions(folder, columns) for domain, folder in folders.items()})
        return with_domains(assemble(tables, name, **options))
    return assemble(read_interactions(path, columns), name, **options)


def _with_texts(loaded: Dataset, dataset, item_text: str | Path | bool, id_column: str | None, say) -> Dataset:
    item_ids = next(iter(loaded.parts.values())).item_ids
    if str(item_text) == PLOTS and not Path(PLOTS).exists():
        texts, notes = _plots(dataset, item_ids, say)
    else:
        path = _texts_of(dataset, say) if item_text is True else Path(item_text).expanduser()
        texts, notes = read_item_texts(path, item_ids, id_column)
    return replace(loaded, item_texts=texts, notes=(*loaded.notes, *notes))


def _plots(dataset, item_ids, say) -> tuple[tuple[str, ...], list[str]]:
    """By titles: the texts of the data set, or where it brings none its ids."""
    folder = _find((PLOTS,))
    if folder is None:
        raise UserError(f"plots are not on this disk; {_expected(PLOTS)}")
    named = None if isinstance(dataset, pd.DataFrame) else NAMED.get(str(dataset))
    brings = named is not None and named.texts is not None
    titles = read_item_texts(_texts_of(dataset, say), item_ids)[0] if brings else tuple(map(str, item_ids))
    return read_plots(folder, titles)


def _with_side(loaded: Dataset, named: NamedDataset | None, features, links, id_column: str | None) -> Dataset:
    some, side, notes = next(iter(loaded.parts.values())), loaded.side_information or SideInformation(), []
    if features is True:
        features = {modality: _place(named, place) for modality, place in (named.features if named else {}).items()}
        _check_brought(loaded, features, "item features", "item_features (--item-features)", "features")
    if features:
        found = {}
        for name, given in named_features(features).items():
            if isinstance(given, np.ndarray):
                found[name] = check_features(given, some.item_ids, name)
            else:
                found[name], own = read_features(given, some.item_ids, id_column)
                notes += own
        side = replace(side, item_features=found)
    if links is True:
        links = named.links and _place(named, named.links) if named else None
        _check_brought(loaded, links, "links between users", "links (--links)", "links")
    if links:
        found, own = read_links(Path(links).expanduser(), some.user_ids)
        side, notes = replace(side, user_links=found), notes + own
    return replace(loaded, side_information=side, notes=(*loaded.notes, *notes)) if side else loaded


def _place(named: NamedDataset, place: str) -> Path:
    if (path := _find((place,))) is None:
        raise UserError(f"{Path(place).name} of {named.name} is not on this disk; {_expected(place)}")
    return path


def _check_brought(loaded: Dataset, found, what: str, option: str, name: str) -> None:
    if not found:
        brings = ", ".join(other for other, row in NAMED.items() if getattr(row, name))
        raise UserError(f"{loaded.name} brings no {what} (named data sets that do: {brings}); give a file as {option}")


def _texts_of(dataset: str | Path | pd.DataFrame, say) -> Path:
    """The file of a named data set's texts, fetched if need be."""
    named = None if isinstance(dataset, pd.DataFrame) else NAMED.get(str(dataset))
    if named is None or named.texts is None:
        brings = ", ".join(name for name, other in NAMED.items() if other.texts)
        name = "the data frame" if isinstance(dataset, pd.DataFrame) else dataset
        raise UserError(
            f"{name} brings no item texts (named data sets that do: {brings}); give a file as item_text (--item-text)"
        )
    path, origin = _find((named.texts["place"],)), named.texts.get("origin")
    if path is None and origin is not None:
        return fetch([Origin(**origin)], cache_folder() / named.name, say)
    if path is None:
        raise UserError(f"the texts of {named.name} are not on this disk; {_expected(named.texts['place'])}")
    if origin is not None:
        _verify(path, origin["sha256"])
    return path


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
    return _find(NAMED[name].places)


def _find(places: tuple[str, ...]) -> Path | None:
    for root in filter(None, (os.environ.get("GAN_REC_DATA"), cache_folder())):
        for place in places:
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
    dataset = _assemble(path, columns, named.name, options)
    return replace(dataset, notes=notes + dataset.notes, terms=named.terms, default_split=named.default_split)


def _get(named: NamedDataset, say) -> Path:
    if not named.origins:
        raise UserError(f"{named.name} is not on this disk; {_expected(named.places[0])}")
    origins = [Origin(**origin) for origin in named.origins]
    return fetch(origins, cache_folder() / named.name, say)


def _expected(place: str) -> str:
    now = os.environ.get("GAN_REC_DATA") or "not set"
    return f"set GAN_REC_DATA to the folder that contains {place} (it is {now})"


def _verify(path: Path, sha256: str) -> None:
    try:
        verify(path.read_bytes(), sha256, str(path), "; delete or replace it")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _unknown(given: str) -> str:
    close = difflib.get_close_matches(given, NAMED, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown data set {given!r}{hint}: no file or directory of that name; named ones: {', '.join(NAMED)}"
