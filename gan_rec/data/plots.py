"""Plots of films as texts of items: titles of MovieLens 1M with their genres and what happens in them."""

from collections.abc import Sequence
from pathlib import Path

from gan_rec.data.text import count
from gan_rec.errors import UserError

PLOTS = "ml-1m-text"  # a folder below $GAN_REC_DATA or the cache
_FIELDS, _PLOT = 11, 9  # of movies_extrainfos.dat


def read_plots(folder: Path, titles: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """A text for each film, "Title (Year). Genres. Plot", and notes on films of which less is known.

    Args:
        folder: with movies.dat of MovieLens 1M and movies_extrainfos.dat, both with `::` between fields and the ids of
            MovieLens (Lee et al., MeLU, KDD 2019).
        titles: of I films, as in movies.dat.

    Raises:
        UserError: a file is missing or of another form, or none of the titles is among its films.
    """
    plots = {row[0]: row[_PLOT] for row in _rows(folder / "movies_extrainfos.dat", "utf-8", _FIELDS)}
    films = {
        title: (genres.replace("|", ", "), plots.get(film, "").replace("N/A", ""))
        for film, title, genres in _rows(folder / "movies.dat", "latin-1", 3)
    }
    known = [films.get(title) for title in titles]
    if not any(known):
        raise UserError(f"none of the {len(titles)} items is a film of {folder}, for example {titles[0]!r}")
    texts = tuple(". ".join(filter(None, (title, *(film or ())))) for title, film in zip(titles, known, strict=True))
    bare = sum(film is None or not film[1] for film in known)
    return texts, [f"{folder.name}: {count(bare, 'item')} without a plot"] if bare else []


def _rows(path: Path, encoding: str, fields: int) -> list[list[str]]:
    try:
        lines = path.read_text(encoding=encoding).split("\n")  # splitlines would break at more than line ends
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read plots from {path}: {getattr(error, 'strerror', None) or error}") from error
    rows = [line.split("::") for line in lines if line]
    wrong = next((i for i, row in enumerate(rows) if len(row) != fields), None)
    if wrong is not None:
        raise UserError(f"{path}, line {wrong + 1}: {fields} fields with :: between them are needed")
    return rows
